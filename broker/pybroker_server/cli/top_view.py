"""The screen of `pybroker top`: a View as tables.

Rules of this file: rich only; what is shown is decided in `top_model.py`.
"""

from __future__ import annotations

import os
import sys
from typing import Final

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from pybroker_server.cli.top_model import BrokerRow, View

_UNITS: Final = ("", "K", "M", "G", "T", "P")
_STEP: Final = 1000
_WIDTH_ELSEWHERE: Final = 200


def screen(view: View, rows_max: int) -> RenderableType:
    """All of it: a line for the cluster, then brokers, topics and groups."""
    parts: list[RenderableType] = [_head(view), _brokers(view)]
    parts += [Text(f"{failure.address}: {failure.reason}", style="red") for failure in view.unreachable]
    parts.append(_topics(view, rows_max))
    if view.groups:
        parts.append(_groups(view, rows_max))
    return Group(*parts)


def console() -> Console:
    """Where it is shown; wide enough for every column when no terminal says how wide it is."""
    return Console(no_color="NO_COLOR" in os.environ, width=None if sys.stdout.isatty() else _WIDTH_ELSEWHERE)


def short(value: float | None) -> str:
    """A number that a glance takes in: 1.23M."""
    if value is None:
        return "-"
    size = float(value)
    for unit in _UNITS:
        if abs(size) < _STEP or unit == _UNITS[-1]:
            break
        size /= _STEP
    if not unit and size == int(size):
        return str(int(size))
    return f"{size:.3g}{unit}" if abs(size) < _STEP - 0.5 else f"{size:.0f}{unit}"


def _head(view: View) -> Text:
    text = Text.assemble(("pybroker top", "bold"), f"  cluster {view.cluster_id or '?'}, {view.brokers_in_cluster} ")
    text.append("broker" if view.brokers_in_cluster == 1 else "brokers")
    behind = sum(row.under_replicated for row in view.topics)
    if behind:
        text.append(f", {behind} under-replicated", style="yellow")
    if view.partitions_without_leader:
        text.append(f", {view.partitions_without_leader} without a leader", style="bold red")
    return text


def _table(*columns: str, left: int = 1) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number < left else "right", no_wrap=number >= left)
    return table


def _brokers(view: View) -> Table:
    table = _table(
        "broker", "state", "cpu %", "memory", "conns", "req/s", "err/s", "rec/s in", "B/s in", "B/s out",
        "produce p50/p99 ms", "fetch p50/p99 ms", "fsync p99", "loop p99", left=2,
    )  # fmt: skip
    for row in view.brokers:
        table.add_row(
            f"{row.node_id} {row.address}",
            Text("ready", style="green") if row.ready else Text("not ready", style="bold red"),
            short(row.cpu_percent),
            short(row.resident_bytes),
            short(row.connections),
            short(row.requests_per_s),
            _alarming(row),
            short(row.records_in_per_s),
            short(row.bytes_in_per_s),
            short(row.bytes_out_per_s),
            f"{_ms(row.produce_p50_ms)}/{_ms(row.produce_p99_ms)}",
            f"{_ms(row.fetch_p50_ms)}/{_ms(row.fetch_p99_ms)}",
            _ms(row.fsync_p99_ms),
            _ms(row.loop_lag_p99_ms),
        )
    return table


def _alarming(row: BrokerRow) -> Text:
    return Text(short(row.errors_per_s), style="yellow" if row.errors_per_s else "")


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _topics(view: View, rows_max: int) -> Table:
    table = _table("topic", "partitions", "under-repl.", "rec/s in", "B/s in", "B/s out", "on disk B")
    for row in view.topics[:rows_max]:
        table.add_row(
            Text(row.topic),
            short(row.partitions),
            short(row.under_replicated),
            short(row.records_in_per_s),
            short(row.bytes_in_per_s),
            short(row.bytes_out_per_s),
            short(row.log_size_bytes),
        )
    return table


def _groups(view: View, rows_max: int) -> Table:
    table = _table("group", "state", "members", "read/s", "lag", left=2)
    for row in view.groups[:rows_max]:
        table.add_row(Text(row.group), row.state, short(row.members), short(row.read_per_s), short(row.lag))
    return table
