"""How the time of leases passes for a store: at the test's word, or really, where the store has a clock of its own."""

from __future__ import annotations

import asyncio
from typing import Protocol

from tests.support.manual_time import ManualTime

from pybroker_server.metadata.store import MetadataStore


class LeaseTime(Protocol):
    """`unit_ms` is the test's second; `margin_ms` how exactly the store keeps time."""

    unit_ms: int
    margin_ms: int

    async def passes(self, duration_ms: int) -> None: ...

    async def until_gone(self, store: MetadataStore, key: bytes) -> None:
        """Returns when the key, whose lease is over, is gone; fails when it stays."""


class ManualLeaseTime:
    unit_ms = 1_000
    margin_ms = 1

    def __init__(self, time: ManualTime) -> None:
        self._time = time

    async def passes(self, duration_ms: int) -> None:
        self._time.advance_ms(duration_ms)

    async def until_gone(self, store: MetadataStore, key: bytes) -> None:
        found, _ = await store.get(key)
        assert found is None


class RealLeaseTime:
    """Of an etcd, which rounds up to whole seconds and looks twice a second. Waiting really is the only way."""

    unit_ms = 250
    margin_ms = 250

    async def passes(self, duration_ms: int) -> None:
        await asyncio.sleep(duration_ms / 1_000)

    async def until_gone(self, store: MetadataStore, key: bytes) -> None:
        async with asyncio.timeout(10):
            while (await store.get(key))[0] is not None:
                await asyncio.sleep(0.02)
