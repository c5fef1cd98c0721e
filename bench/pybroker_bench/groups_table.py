"""What consumer groups cost a broker, as lines: rates, and the broker's CPU for each request.

Rules: every load runs in rounds, because machines drift; the median is shown with the smallest and largest beside it.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from pybroker_bench import groups
from pybroker_bench.target import Target


def lines_of(target: Target, topic: str, rounds: int, scale: float) -> Iterator[str]:
    """`topic`: one that is there, with a partition. `scale` multiplies the counts."""
    bootstrap, line = target.bootstrap, "  {:28} {}"
    loads: dict[str, Callable[[], Coroutine[Any, Any, groups.Rate]]] = {
        "offset commits": lambda: groups.commits(bootstrap, topic, int(40_000 * scale)),
        "heartbeats, classic": lambda: groups.classic_heartbeats(bootstrap, int(80_000 * scale)),
        "heartbeats, KIP-848": lambda: groups.consumer_heartbeats(bootstrap, topic, int(80_000 * scale)),
        "members of 1,000 groups of 5": lambda: groups.many_groups(bootstrap, topic, int(1_000 * scale), 5),
    }
    yield "consumer groups, per second and broker CPU in microseconds for each"
    for title, load in loads.items():
        rates, cpu = [], []
        for _ in range(rounds):
            before = target.usage()
            rate = asyncio.run(load())
            after = target.usage()
            rates.append(rate.per_second)
            if before and after:
                cpu.append((after.cpu_s - before.cpu_s) / rate.count * 1e6)
        yield line.format(title, f"{spread(rates)}   CPU {spread(cpu, digits=1)}")
    found = [asyncio.run(groups.large_rebalance(bootstrap)) for _ in range(rounds)]
    yield line.format("rebalance of 200 members", spread([each.seconds * 1000 for each in found], " ms"))
    waits = spread([each.median_lag_ms for each in found], " ms", 1)
    most = spread([each.largest_lag_ms for each in found], " ms", 1)
    yield line.format("  others wait meanwhile", f"{waits}, at most {most}")


def spread(values: list[float], unit: str = "", digits: int = 0) -> str:
    """The median, with the smallest and largest."""
    if not values:
        return "-"
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:,.{digits}f}{unit} ({low:,.{digits}f} to {high:,.{digits}f})"
