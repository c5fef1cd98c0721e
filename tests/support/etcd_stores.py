"""What tests of the etcd store share: stores over real etcds, and what they are asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.support.runtimes import real_runtime

from pybroker_server.metadata.etcd import EtcdStore
from pybroker_server.metadata.store import MetadataStore, Put, StoreError, WatchBatch, WatchEvent
from pybroker_server.metadata.stores import open_store

WATCH_LIMIT_S = 15


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[EtcdStore]:
    """A store in a runtime of its own, for the length of a block."""
    async with real_runtime() as runtime:
        store = await open_store(url, runtime)
        assert isinstance(store, EtcdStore)
        try:
            yield store
        finally:
            await store.close()


async def refusal(url: str) -> str:
    """Why a store cannot be opened."""
    async with real_runtime() as runtime:
        with pytest.raises(StoreError) as told:
            await open_store(url, runtime)
    return str(told.value)


async def put(store: MetadataStore, key: bytes, value: bytes = b"v") -> int:
    result = await store.commit(puts=[Put(key, value)])
    assert result.succeeded
    return result.revision


async def events_until(watch: AsyncIterator[WatchBatch], revision: int) -> list[WatchEvent]:
    """What a watch brings until it has covered `revision`."""
    found: list[WatchEvent] = []
    async with asyncio.timeout(WATCH_LIMIT_S):
        async for batch in watch:
            found += batch.events
            if batch.revision >= revision:
                return found
    raise AssertionError("a watch has no end")
