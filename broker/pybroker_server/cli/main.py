"""The command `pybroker`: its sub-commands by name, and how any of them ends.

Rules of this file: it imports click and nothing that takes time; a sub-command's module is imported when that
sub-command runs, so that `pybroker --help` and completion answer at once.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, Final

import click

from pybroker_server.cli.errors import EXIT_CODES_HELP, EXIT_INTERRUPTED, EXIT_USAGE, CliError

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "serve": ("serve:serve", "Run a broker."),
    "topic": ("topic:topic", "List, describe, create, configure, grow, trim and delete topics."),
    "group": ("group:group", "List, describe, watch, move, configure and delete consumer groups."),
    "cluster": ("cluster:cluster", "Brokers: their state and health; move, drain and balance what lies on them."),
    "txn": ("txn:txn", "List, describe and abort transactions; find those that hang."),
    "produce": ("produce:produce", "Send lines of standard input as records."),
    "consume": ("consume:consume", "Print records."),
    "log": ("log_dump:log", "Look into segment files."),
    "config": ("config_explain:config", "Explain every setting: its value and where it comes from."),
    "bench": ("bench:bench", "Measure a broker, and check every record meanwhile."),
    "completion": ("completion:completion", "Print the completion script of a shell."),
    "top": ("top:top", "Watch brokers, topics and groups: rates, latencies, lag."),
    "health": ("health:health", "Ask a broker whether it serves; for HEALTHCHECK and probes."),
    "version": ("version:version", "Print versions."),
}
"""By name: where the command lives below this package, and its line in the help."""


class LazyGroup(click.Group):
    """A group that imports a sub-command when it is used, and lists all of them without importing any."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = COMMANDS.get(cmd_name)
        if found is None:
            return None
        module, _, attribute = found[0].partition(":")
        command: click.Command = getattr(import_module(f"pybroker_server.cli.{module}"), attribute)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from pybroker_server.cli.errors import did_you_mean

            hint = did_you_mean(args[0], list(COMMANDS), where="See `pybroker --help`.")
            raise click.UsageError(f"{error.format_message()} {hint}", ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EXIT_CODES_HELP,
)
def cli() -> None:
    """An event-streaming broker that speaks the Apache Kafka protocol, and tools that work with any Kafka."""


def main(arguments: list[str] | None = None) -> None:
    """The entry point. Always ends by SystemExit, with the exit code of `errors.py`."""
    given = sys.argv[1:] if arguments is None else arguments
    try:
        code = cli.main(given, prog_name="pybroker", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except CliError as error:
        error.show()
        sys.exit(error.code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output is gone (`| head`): nothing left to say, and no traceback at interpreter exit.
        sys.stdout = None
        sys.exit(0)
    except UnicodeError as error:
        click.echo(f"error: an argument is not valid text: {error}", err=True)
        sys.exit(EXIT_USAGE)
    sys.exit(code if isinstance(code, int) else 0)
