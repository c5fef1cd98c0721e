"""The root command: lazy sub-commands, hints, exit codes, and no traceback for what a user can mend."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module

import click
import pytest

from pybroker_server.cli.errors import CliError, did_you_mean, from_os_error
from pybroker_server.cli.main import COMMANDS, main


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    captured = capsys.readouterr()
    return ended.value.code or 0, captured.out, captured.err  # type: ignore[return-value]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_exists_and_helps(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module, _, attribute = COMMANDS[name][0].partition(":")
    assert isinstance(getattr(import_module(f"pybroker_server.cli.{module}"), attribute), click.Command)
    code, out, _ = run(capsys, name, "--help")
    assert code == 0
    assert "Usage: pybroker" in out


def test_the_list_of_commands_imports_none_of_them() -> None:
    script = (
        "import sys\nfrom pybroker_server.cli.main import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print([m for m in sys.modules if m.startswith(('pybroker', 'asyncio', 'structlog', 'rich', 'uvloop'))])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(ast.literal_eval(done.stdout.splitlines()[-1]))
    own = {"pybroker_server", "pybroker_server.cli", "pybroker_server.cli.main", "pybroker_server.cli.errors"}
    assert loaded == own


def test_a_slip_in_a_command_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "serv")
    assert code == 2
    assert "did you mean serve?" in err


def test_an_error_has_its_parts_and_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "config", "explain", "--key", "log.drs")
    assert code == 4
    assert out == ""
    assert err.splitlines() == [
        "error: no such configuration key: log.drs",
        "  try:   did you mean log.dirs? `pybroker config explain` lists all keys",
    ]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_call_us(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "completion", shell)
    assert code == 0
    assert "_PYBROKER_COMPLETE" in out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "version")
    assert code == 0
    assert out.startswith("pybroker ")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(98, "Address already in use"), "another process listens"),
        (FileNotFoundError(2, "No such file", "x.conf"), "there is no x.conf"),
        (PermissionError(13, "Permission denied", "/data"), "this user may not use /data"),
        (IsADirectoryError(21, "Is a directory", "/data"), "/data is a directory"),
        (OSError(28, "No space left"), "the disk is full"),
        (OSError(71, "Protocol error"), "Protocol error"),
    ],
)
def test_errors_of_the_system_come_with_their_usual_cause(error: OSError, says: str) -> None:
    found = from_os_error("it failed", error)
    assert isinstance(found, CliError)
    assert says in found.format_message()


def test_a_hint_without_a_near_name_still_says_where_to_look() -> None:
    assert did_you_mean("xyz", ["orders"], where="see the list") == "see the list"
