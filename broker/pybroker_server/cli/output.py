"""How results are shown: a table on a terminal, tab-separated lines when piped, JSON on request.

Rules of this file: rich is imported only when a table is drawn on a terminal. The JSON of a command is a list of
objects whose keys are the column names in lower case with underscores; it is stable and tested.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.table import Table

Cell = str | int | float | bool | None


def output_option(*, default: str = "auto") -> click.Option:
    """`-o auto|json|plain`, the same on every command that lists something."""
    return click.Option(
        ["-o", "--output", "output"],
        type=click.Choice(["auto", "json", "plain"]),
        default=default,
        show_default=True,
        help="auto: a table on a terminal, tab-separated when piped.",
    )


def show_table(columns: Sequence[str], rows: Sequence[Sequence[Cell]], output: str) -> None:
    """Prints rows under column names. Plain output has a heading too, so that columns can be named in scripts."""
    if output == "json":
        keys = [column.lower().replace(" ", "_").replace("-", "_") for column in columns]
        show_json([dict(zip(keys, row, strict=True)) for row in rows])
    elif output == "plain" or not sys.stdout.isatty():
        click.echo("\t".join(column.upper() for column in columns))
        for row in rows:
            click.echo("\t".join(_plain(cell) for cell in row))
    else:
        from rich.console import Console

        Console(no_color="NO_COLOR" in os.environ).print(rich_table(columns, rows))


def show_json(value: object) -> None:
    """Prints a value as JSON; indented on a terminal, one line when piped."""
    indent = 2 if sys.stdout.isatty() else None
    click.echo(json.dumps(value, indent=indent, ensure_ascii=False))


def _plain(cell: Cell) -> str:
    if cell is None:
        return "-"
    if isinstance(cell, bool):
        return "true" if cell else "false"
    return str(cell).replace("\t", "\\t").replace("\n", "\\n")


def rich_table(columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> Table:
    """The table as rich draws it; numbers stand to the right."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    numeric = [_is_numeric([row[i] for row in rows]) for i in range(len(columns))]
    for column, is_number in zip(columns, numeric, strict=True):
        table.add_column(column, justify="right" if is_number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(_escaped(_plain(cell)) for cell in row))
    return table


def _is_numeric(cells: Sequence[Cell]) -> bool:
    known = [cell for cell in cells if cell is not None]
    return bool(known) and all(isinstance(cell, int | float) for cell in known)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape("".join(c if c.isprintable() else repr(c)[1:-1] for c in text))
