"""The publisher: every image once, in order, through gaps, outages and compactions; never an older one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.support.manual_time import ManualTime
from tests.support.runtimes import manual_runtime

from pybroker_server.metadata import publisher as module
from pybroker_server.metadata.image import MetadataImage
from pybroker_server.metadata.keys import CLUSTER_KEY, broker_config_key, encode_cluster, encode_config
from pybroker_server.metadata.memory import MemoryStore
from pybroker_server.metadata.publisher import MetadataPublisher, StoreWentBackError
from pybroker_server.metadata.store import (
    CompactedError,
    Put,
    RangeResult,
    StoreDamagedError,
    StoreError,
    WatchBatch,
)


class UnreliableStore(MemoryStore):
    """Fails when a test says so."""

    def __init__(self) -> None:
        self.time = ManualTime()
        super().__init__(self.time, self.time)
        self.watch_failures: list[StoreError] = []
        self.range_failures: list[StoreError] = []
        self.watches = 0

    async def range(self, prefix: bytes, *, limit: int = 0, after: bytes = b"", revision: int = 0) -> RangeResult:
        if self.range_failures:
            raise self.range_failures.pop(0)
        return await super().range(prefix, limit=limit, after=after, revision=revision)

    def watch(self, prefix: bytes, from_revision: int) -> AsyncIterator[WatchBatch]:
        self.watches += 1
        return self._watch(super().watch(prefix, from_revision))

    async def _watch(self, batches: AsyncIterator[WatchBatch]) -> AsyncIterator[WatchBatch]:
        async for batch in batches:
            if self.watch_failures:
                raise self.watch_failures.pop(0)
            yield batch


async def put(store: MemoryStore, number: int, value: str = "v") -> int:
    return (await store.commit(puts=[Put(broker_config_key(number), encode_config({"k": value}))])).revision


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_the_first_image_is_there_when_start_returns() -> None:
    store = UnreliableStore()
    revision = await put(store, 1)
    async with manual_runtime(store.time) as runtime:
        publisher = MetadataPublisher(store, store.time)
        await publisher.start(runtime.tasks)
        assert publisher.image.revision == revision
        assert list(publisher.image.broker_configs) == [1]


async def test_listeners_hear_each_image_once_in_order() -> None:
    store = UnreliableStore()
    heard: list[tuple[str, int, int]] = []

    def listener(name: str) -> module.Listener:
        return lambda old, new: heard.append((name, old.revision, new.revision))

    async with manual_runtime(store.time) as runtime:
        publisher = MetadataPublisher(store, store.time)
        publisher.subscribe(listener("a"))
        publisher.subscribe(listener("b"))
        await publisher.start(runtime.tasks)
        first = publisher.image.revision
        await publisher.wait_for_revision(await put(store, 1))
        await publisher.wait_for_revision(await put(store, 2))
    steps = [(0, first), (first, first + 1), (first + 1, first + 2)]
    assert heard == [(name, *step) for step in steps for name in "ab"]


async def test_waiting_for_a_revision_ends_with_that_or_a_later_one() -> None:
    store = UnreliableStore()
    async with manual_runtime(store.time) as runtime:
        publisher = MetadataPublisher(store, store.time)
        await publisher.start(runtime.tasks)
        now = publisher.image.revision
        await publisher.wait_for_revision(now)
        waiting = [asyncio.ensure_future(publisher.wait_for_revision(now + ahead)) for ahead in (1, 2, 2)]
        cancelled = asyncio.ensure_future(publisher.wait_for_revision(now + 1))
        await settle()
        cancelled.cancel()
        await put(store, 1)
        await settle()
        assert [task.done() for task in waiting] == [True, False, False]
        await put(store, 2)
        await asyncio.gather(*waiting)


async def test_after_a_compaction_past_the_watch_everything_is_read_anew() -> None:
    store = UnreliableStore()
    async with manual_runtime(store.time) as runtime:
        publisher = MetadataPublisher(store, store.time)
        await publisher.start(runtime.tasks)
        store.watch_failures = [CompactedError("gone")]
        await put(store, 1)
        last = await put(store, 2)
        await publisher.wait_for_revision(last)
        assert sorted(publisher.image.broker_configs) == [1, 2]
        await publisher.wait_for_revision(await put(store, 3))
        assert store.watches == 2


async def test_while_the_store_is_away_the_last_image_stays() -> None:
    store = UnreliableStore()
    async with manual_runtime(store.time) as runtime:
        publisher = MetadataPublisher(store, store.time)
        await publisher.start(runtime.tasks)
        before = publisher.image
        await settle()
        store.watch_failures = [StoreError("no quorum")]
        store.range_failures = [StoreError("no quorum"), StoreError("no quorum")]
        last = await put(store, 1)
        for _ in range(3):
            await settle()
            assert publisher.image is before
            store.time.advance_ms(module.RETRY_MS)
        async with asyncio.timeout(5):
            await publisher.wait_for_revision(last)
        assert list(publisher.image.broker_configs) == [1]


async def test_a_large_store_is_read_in_pages_at_one_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAGE_KEYS", 3)
    store = UnreliableStore()
    for number in range(10):
        await put(store, number)
    async with manual_runtime(store.time) as runtime:
        publisher = MetadataPublisher(store, store.time)
        await publisher.start(runtime.tasks)
        assert sorted(publisher.image.broker_configs) == list(range(10))


async def until_the_broker_ends() -> None:
    async with asyncio.timeout(5):
        await asyncio.Event().wait()


async def follow_then_find(first: UnreliableStore, second: UnreliableStore) -> None:
    """Follows `first`, whose history goes away; what is found in its place is `second`."""
    async with manual_runtime(first.time) as runtime:
        publisher = MetadataPublisher(first, first.time)
        await publisher.start(runtime.tasks)
        await settle()
        publisher._store = second
        first.watch_failures = [CompactedError("gone")]
        await put(first, 9)
        await until_the_broker_ends()


async def test_a_store_that_went_back_ends_the_broker() -> None:
    newer, older = UnreliableStore(), UnreliableStore()
    await put(newer, 1)
    with pytest.raises(ExceptionGroup) as raised:
        await follow_then_find(newer, older)
    assert raised.value.subgroup(StoreWentBackError)


async def test_a_store_older_than_an_earlier_life_saw_is_refused() -> None:
    store = UnreliableStore()
    revision = await put(store, 1)
    async with manual_runtime(store.time) as runtime:
        with pytest.raises(StoreWentBackError, match=f"at revision {revision}, but {revision + 1} was seen"):
            await MetadataPublisher(store, store.time, known_revision=revision + 1).start(runtime.tasks)
        await MetadataPublisher(store, store.time, known_revision=revision).start(runtime.tasks)


async def test_another_clusters_store_is_refused() -> None:
    mine, other = UnreliableStore(), UnreliableStore()
    for store, cluster_id in ((mine, "mine"), (other, "other")):
        await store.commit(puts=[Put(CLUSTER_KEY, encode_cluster(cluster_id))])
    await put(other, 1)
    with pytest.raises(ExceptionGroup) as raised:
        await follow_then_find(mine, other)
    assert raised.value.subgroup(StoreWentBackError)


async def follow_into_damage(store: UnreliableStore) -> None:
    async with manual_runtime(store.time) as runtime:
        await MetadataPublisher(store, store.time).start(runtime.tasks)
        await store.commit(puts=[Put(broker_config_key(1), b"\xc1")])
        await until_the_broker_ends()


async def test_damage_is_not_taken_for_an_outage() -> None:
    with pytest.raises(ExceptionGroup) as raised:
        await follow_into_damage(UnreliableStore())
    assert raised.value.subgroup(StoreDamagedError)


async def test_history_is_forgotten_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HISTORY_KEPT", 10)
    store = UnreliableStore()
    async with manual_runtime(store.time) as runtime:
        publisher = MetadataPublisher(store, store.time)
        await publisher.start(runtime.tasks)
        first = publisher.image.revision
        for number in range(50):
            await publisher.wait_for_revision(await put(store, number % 3, str(number)))
        await settle()
        with pytest.raises(CompactedError):
            await store.range(b"", revision=first + 1)
        await store.range(b"", revision=publisher.image.revision - 10)
        assert isinstance(publisher.image, MetadataImage)
