"""Errors as people read them: what failed, the likely cause, what to try; and the exit codes of every command.

Rules of this file: no traceback reaches a user for something the user can mend. A bug still shows one.
"""

from __future__ import annotations

import errno
from typing import Final

import click

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_UNREACHABLE: Final = 3
EXIT_NOT_FOUND: Final = 4
EXIT_INTERRUPTED: Final = 130

EXIT_CODES_HELP: Final = (
    "Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 no broker reachable, "
    "4 no such topic or file, 130 interrupted."
)


class CliError(click.ClickException):
    """Ends a command with a message in up to three parts."""

    def __init__(
        self, what: str, *, cause: str | None = None, hint: str | None = None, code: int = EXIT_FAILED
    ) -> None:
        super().__init__(what)
        self.cause = cause
        self.hint = hint
        self.code = code

    def format_message(self) -> str:
        parts = [self.message]
        if self.cause:
            parts.append(f"  cause: {self.cause}")
        if self.hint:
            parts.append(f"  try:   {self.hint}")
        return "\n".join(parts)

    def show(self, file: object = None) -> None:
        click.echo(f"error: {self.format_message()}", err=True)


def did_you_mean(name: str, known: list[str], *, where: str) -> str | None:
    """A hint that names the nearest of `known`, or where to see them all."""
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean {close[0]}? {where}" if close else where


def from_os_error(what: str, error: OSError) -> CliError:
    """An error of the operating system, with the usual reason for it."""
    path = f" {error.filename}" if error.filename else ""
    match error.errno:
        case errno.ENOENT:
            return CliError(what, cause=f"there is no{path}", code=EXIT_NOT_FOUND)
        case errno.EACCES | errno.EPERM:
            return CliError(
                what,
                cause=f"this user may not use{path or ' it'}",
                hint="check the owner and mode, or choose another path",
            )
        case errno.EISDIR:
            return CliError(what, cause=f"{path.strip()} is a directory", hint="name a file")
        case errno.EADDRINUSE:
            return CliError(
                what,
                cause="another process listens on that port",
                hint="stop it, or choose another port with --listeners PLAINTEXT://127.0.0.1:9093",
            )
        case errno.EADDRNOTAVAIL:
            return CliError(what, cause="this machine has no such address", hint="check --listeners")
        case errno.ENOSPC:
            return CliError(what, cause="the disk is full", hint="free some space, or use another --log-dirs")
        case _:
            return CliError(what, cause=str(error))
