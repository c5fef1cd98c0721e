"""How far groups are behind: once, or watched with rates.

Rules of this file: one look at a cluster asks each group once, some groups at a time; a group that vanishes while it is
watched is left out, not an error.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from pybroker_server.cli.output import Cell, rich_table, show_table

if TYPE_CHECKING:
    from pybroker import Admin, TopicPartition
    from pybroker.group_info import PartitionLag

    Lags = dict[str, dict[TopicPartition, PartitionLag]]

LAG_COLUMNS: Final = ("group", "topic", "partition", "offset", "end offset", "lag", "member", "client")
_WATCH_COLUMNS: Final = ("group", "topic", "partition", "offset", "end offset", "lag", "per s", "time left", "client")
_AT_ONCE: Final = 16


async def read_lags(admin: Admin, names: Iterable[str], *, missing_ok: bool = False) -> Lags:
    """By group; of all groups when none is named."""
    from pybroker.errors import NotFound

    chosen = list(dict.fromkeys(names))
    are_all = not chosen
    if are_all:
        chosen = [listed.name for listed in await admin.groups() if listed.protocol_type in ("", "consumer")]
    turns = asyncio.Semaphore(_AT_ONCE)

    async def read(name: str) -> dict[TopicPartition, PartitionLag]:
        async with turns:
            try:
                return await admin.group_lag(name)
            except NotFound:
                if are_all or missing_ok:
                    return {}
                raise

    return dict(zip(chosen, await asyncio.gather(*map(read, chosen)), strict=True))


def lag_rows(lags: Lags) -> list[tuple[Cell, ...]]:
    return [
        (
            name,
            tp.topic,
            tp.partition,
            each.committed.offset if each.committed else None,
            each.end,
            each.lag,
            each.member.member_id if each.member else None,
            each.member.client_id if each.member else None,
        )
        for name, partitions in lags.items()
        for tp, each in partitions.items()
    ]


class Watch:
    """`lag --watch`: a table that renews itself on a terminal; elsewhere one after the other."""

    def __init__(self, names: Iterable[str], interval_s: float, count: int | None, output: str) -> None:
        self._names = list(names)
        self._interval_s = interval_s
        self._count = count
        self._output = output
        self._before: tuple[float, Lags] | None = None

    async def run(self, admin: Admin) -> None:
        if self._output == "auto" and sys.stdout.isatty():
            await self._on_terminal(admin)
            return
        left = self._count
        while True:
            show_table(_WATCH_COLUMNS, await self._look(admin, is_first=self._before is None), self._output)
            sys.stdout.flush()
            if left is not None:
                left -= 1
                if not left:
                    return
            await asyncio.sleep(self._interval_s)

    async def _on_terminal(self, admin: Admin) -> None:
        from rich.live import Live

        left = self._count
        with Live(auto_refresh=False) as live:
            while True:
                rows = await self._look(admin, is_first=self._before is None)
                live.update(rich_table(_WATCH_COLUMNS, rows), refresh=True)
                if left is not None:
                    left -= 1
                    if not left:
                        return
                await asyncio.sleep(self._interval_s)

    async def _look(self, admin: Admin, *, is_first: bool) -> list[tuple[Cell, ...]]:
        lags = await read_lags(admin, self._names, missing_ok=not is_first)
        now = asyncio.get_running_loop().time()
        before, self._before = self._before, (now, lags)
        rates = {} if before is None else rates_between(before[1], lags, now - before[0])
        rows: list[tuple[Cell, ...]] = []
        for name, topic, partition, offset, end, left, _, client in lag_rows(lags):
            rate = rates.get((str(name), str(topic), int(partition or 0)))
            shown = None if rate is None else round(rate, 1)
            rows.append((name, topic, partition, offset, end, left, shown, time_left(left, rate), client))
        return rows


def rates_between(before: Lags, after: Lags, elapsed_s: float) -> dict[tuple[str, str, int], float]:
    """Records a second that were committed between two looks."""
    rates = {}
    for name, partitions in after.items():
        earlier: Mapping[TopicPartition, PartitionLag] = before.get(name, {})
        for tp, each in partitions.items():
            old = earlier.get(tp)
            if each.committed is not None and old is not None and old.committed is not None and elapsed_s > 0:
                rates[name, tp.topic, tp.partition] = (each.committed.offset - old.committed.offset) / elapsed_s
    return rates


def time_left(lag: Cell, rate: float | None) -> str | None:
    """How long the rest takes at this rate; None when it never ends or nothing is known."""
    if not isinstance(lag, int) or rate is None or (lag > 0 and rate <= 0):
        return None
    seconds = round(lag / rate) if lag else 0
    hours, rest = divmod(seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{seconds:02}s" if minutes else f"{seconds}s"
