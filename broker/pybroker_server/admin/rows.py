"""What a scrape has gathered: values by metric and labels, before anybody formats them.

Rules of this file: cheap, because it is filled on the event loop; formatting is `exposition.py`'s, in a thread.
"""

from __future__ import annotations

from pybroker_server.telemetry.counts import Durations

Value = int | float | Durations


class Rows:
    """`by_metric`: for each name, (label values in the order of the table, value)."""

    __slots__ = ("by_metric",)

    def __init__(self) -> None:
        self.by_metric: dict[str, list[tuple[tuple[str, ...], Value]]] = {}

    def of(self, name: str) -> list[tuple[tuple[str, ...], Value]]:
        """The list of one metric, to be appended to: for the many rows of partitions."""
        return self.by_metric.setdefault(name, [])

    def add(self, name: str, value: Value, *labels: str) -> None:
        self.of(name).append((labels, value))
