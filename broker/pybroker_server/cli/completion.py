"""`pybroker completion bash|zsh|fish`: the script that teaches a shell our commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from pybroker_server.cli.errors import CliError

_HOW = {
    "bash": '# put into ~/.bashrc:   eval "$(pybroker completion bash)"',
    "zsh": '# put into ~/.zshrc:    eval "$(pybroker completion zsh)"',
    "fish": "# save as ~/.config/fish/completions/pybroker.fish",
}


@click.command()
@click.argument("shell", type=click.Choice(list(_HOW)))
def completion(shell: str) -> None:
    """Print the completion script of a shell; the script's first line says where it goes."""
    from pybroker_server.cli.main import cli

    found = get_completion_class(shell)
    if found is None:
        raise CliError(f"no completion for {shell}")
    script = found(cli, {}, "pybroker", "_PYBROKER_COMPLETE")
    # Not `source()`: that one first runs the shell to look at its version, which need not be there to print this.
    click.echo(f"{_HOW[shell]}\n{script.source_template % script.source_vars()}")
