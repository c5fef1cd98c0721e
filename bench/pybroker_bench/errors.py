"""Errors as people read them: what failed, the likely cause, what to try."""

from __future__ import annotations

from typing import Final

import click

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_UNREACHABLE: Final = 3


class BenchError(click.ClickException):
    """Ends a measurement with a message in up to three parts."""

    def __init__(
        self, what: str, *, cause: str | None = None, hint: str | None = None, code: int = EXIT_FAILED
    ) -> None:
        super().__init__(what)
        self.cause = cause
        self.hint = hint
        self.code = code

    @property
    def exit_code(self) -> int:  # type: ignore[override]
        return self.code

    def format_message(self) -> str:
        parts = [self.message]
        if self.cause:
            parts.append(f"  cause: {self.cause}")
        if self.hint:
            parts.append(f"  try:   {self.hint}")
        return "\n".join(parts)

    def show(self, file: object = None) -> None:
        click.echo(f"error: {self.format_message()}", err=True)
