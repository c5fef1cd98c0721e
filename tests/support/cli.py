"""Commands of `pybroker`, run in the test's process as users run them: anything but a clean exit fails the test."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pybroker_server.cli.main import main


class Done(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[list[str]]:
        return [line.split("\t") for line in self.out.splitlines()]


Run = Callable[..., Done]


@pytest.fixture
def pybroker(bootstrap: str, capfdbinary: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """`pybroker(*arguments, stdin=b"...")`: runs the command with the broker as PYBROKER_BOOTSTRAP names it."""
    monkeypatch.setenv("PYBROKER_BOOTSTRAP", bootstrap)

    def run(*arguments: str | Path, stdin: bytes = b"") -> Done:
        path = tmp_path / "stdin"
        path.write_bytes(stdin)
        with path.open("rb") as raw, pytest.raises(SystemExit) as ended:
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(raw))
            main([str(argument) for argument in arguments])
        captured = capfdbinary.readouterr()
        return Done(int(ended.value.code or 0), captured.out.decode(), captured.err.decode())

    return run


def refused(done: Done, code: int, *says: str) -> None:
    """The command failed as it should: with its code, in words, with nothing else printed and no traceback."""
    assert done.code == code, done
    assert done.out == ""
    assert "Traceback" not in done.err
    for words in says:
        assert words in done.err
