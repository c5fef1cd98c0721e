"""A consumer under measurement: reads by the list, checks what it read, and counts.

Rules: latencies run from when a record was due to when the client gave it out. A member that comes and goes (a
rebalance under load) closes its client and opens another; what it has seen stays known.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from pybroker_bench.clients.base import ConsumerClient, Read
from pybroker_bench.counting import Flow
from pybroker_bench.payload import STAMP_BYTES, due_of
from pybroker_bench.verify import Checker

_READ_S: Final = 0.2


class Consuming:
    """One consumer of subscription `subscription`."""

    def __init__(
        self,
        subscription: int,
        make_client: Callable[[], ConsumerClient],
        topics: dict[str, int],
        checker: Checker | None,
        flow: Flow,
        record_bytes: float,
    ) -> None:
        self.subscription = subscription
        self.checker = checker
        self.flow = flow
        self._make_client = make_client
        self._topics = topics
        self._record_bytes = record_bytes
        self._client: ConsumerClient | None = None
        self._is_stopping = False
        self.rejoins = 0
        self.leave_every_ns = 0
        self._leave_at_ns = 0

    async def open(self) -> None:
        self._client = self._make_client()
        await self._client.open()

    def stop(self) -> None:
        self._is_stopping = True

    def leave_every(self, seconds: float, first_ns: int) -> None:
        self.leave_every_ns = int(seconds * 1e9)
        self._leave_at_ns = first_ns

    async def run(self) -> None:
        """Reads until `stop`."""
        assert self._client is not None
        while not self._is_stopping:
            for read in await self._client.read(_READ_S):
                self._take(read)
            await asyncio.sleep(0)
            if self.leave_every_ns and time.monotonic_ns() > self._leave_at_ns < self.flow.window.last_ns:
                await self._client.close()
                await self.open()
                self.rejoins += 1
                self._leave_at_ns += self.leave_every_ns
        await self._client.close()

    def _take(self, read: Read) -> None:
        self.flow.came(read.at_ns, read.count, int(read.count * self._record_bytes))
        if self.checker is not None:
            due = self.checker.check(self._topics[read.topic], read.partition, read.offsets, read.values)
            self.flow.took("end_to_end", read.at_ns, due)
        elif read.sample is not None and len(read.sample) >= STAMP_BYTES:
            self.flow.took("end_to_end", read.at_ns, (due_of(read.sample),))
