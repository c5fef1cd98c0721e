"""Progress while a measurement runs: a line that is written over on a terminal, nothing elsewhere.

Rules: it goes to standard error, so that results can be piped. rich is imported only when there is a terminal.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pybroker_bench.series import Second, Series


@contextlib.contextmanager
def watching(title: str, series: Series, *, is_quiet: bool = False) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Yields what takes in the workers' progress, and shows it."""

    def take(told: Mapping[str, Any]) -> None:
        series.add(time.monotonic_ns(), told)

    if is_quiet or not sys.stderr.isatty():
        yield take
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    started = time.monotonic()
    console = Console(stderr=True, no_color="NO_COLOR" in os.environ)
    with Live(Text(title), console=console, refresh_per_second=4, transient=True) as live:

        def show(told: Mapping[str, Any]) -> None:
            take(told)
            second = series.last_whole()
            if second is not None:
                live.update(Text(f"{title}  {time.monotonic() - started:4.0f} s  {line_of(second)}"))

        yield show


def line_of(second: Second) -> str:
    """A second in a few words."""
    parts = []
    if second.produced:
        parts.append(f"in {second.produced:,}/s {second.produced_bytes / 1e6:,.1f} MB/s")
    if second.consumed:
        parts.append(f"out {second.consumed:,}/s {second.consumed_bytes / 1e6:,.1f} MB/s")
    for name, title in (("publish", "publish"), ("end_to_end", "end to end")):
        histogram = second.latencies.get(name)
        if histogram is not None and histogram.count:
            p50, p99 = histogram.percentile(50) / 1e6, histogram.percentile(99) / 1e6
            parts.append(f"{title} p50 {p50:,.1f} p99 {p99:,.1f} ms")
    return "  ".join(parts) or "nothing yet"
