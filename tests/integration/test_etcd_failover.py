"""The etcd store while members of etcd are killed, hang and come back: nothing lost, doubled or left unsaid."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.broker_process import free_port
from tests.support.etcd import Etcd, EtcdCluster, running_etcd
from tests.support.etcd_stores import events_until, opened, put, refusal
from tests.support.manual_time import ManualTime
from tests.support.runtimes import manual_runtime, real_runtime

from pybroker_server.metadata.etcd import EtcdStore
from pybroker_server.metadata.publisher import MetadataPublisher, StoreWentBackError
from pybroker_server.metadata.store import CompactedError, Compare, MetadataStore, Put, StoreError, WatchEvent
from pybroker_server.metadata.stores import open_store
from pybroker_server.runtime.tasks import TaskOwner


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    """Three members; a test leaves them running."""
    made = EtcdCluster(tmp_path_factory.mktemp("members"), 3)
    try:
        made.start()
        yield made
    finally:
        made.stop()


class Counter:
    """Counts up by compare-and-swap, and says what was acknowledged and what is not known."""

    def __init__(self, store: MetadataStore) -> None:
        self.store = store
        self.acknowledged: dict[int, int] = {}
        """By revision, the number written there."""
        self.unknown: set[int] = set()
        self.is_stopped = False

    async def run(self) -> None:
        while not self.is_stopped:
            try:
                found, _ = await self.store.get(b"count")
                number = int(found.value) + 1 if found else 1
                compare = Compare(b"count", found.mod_revision if found else 0)
            except StoreError:
                continue
            try:
                result = await self.store.commit([compare], [Put(b"count", b"%d" % number)])
            except StoreError:
                self.unknown.add(number)
                continue
            # It fails when a commit of unknown outcome happened after the number was read.
            if result.succeeded:
                self.acknowledged[result.revision] = number
            else:
                assert number in self.unknown, "nobody else counts"

    async def progress(self, more: int) -> None:
        """Returns when so many more were acknowledged."""
        target = len(self.acknowledged) + more
        async with asyncio.timeout(20):
            while len(self.acknowledged) < target:
                await asyncio.sleep(0.01)


async def test_kills_of_the_member_in_use_lose_and_double_nothing(cluster: EtcdCluster) -> None:
    async with opened(cluster.url("/kills")) as store, TaskOwner("test") as owner:
        watch = store.watch(b"", (await store.get(b"count"))[1] + 1)
        counter = Counter(store)
        counting = owner.spawn("count", counter.run())
        seen: list[WatchEvent] = []
        for _ in range(3):
            await counter.progress(20)
            seen += await events_until(watch, max(counter.acknowledged))
            victim = cluster.member_at(store.member_in_use)
            victim.kill()
            await counter.progress(20)
            seen += await events_until(watch, max(counter.acknowledged))
            victim.start()
        counter.is_stopped = True
        await counting
        seen += await events_until(watch, max(counter.acknowledged))
    assert [int(event.value) for event in seen] == list(range(1, len(seen) + 1)), "every step, once, in order"
    by_revision = {event.mod_revision: int(event.value) for event in seen}
    assert counter.acknowledged.items() <= by_revision.items()
    assert set(by_revision.values()) - set(counter.acknowledged.values()) <= counter.unknown


async def test_a_member_that_hangs_is_left(cluster: EtcdCluster) -> None:
    """Its connections stay, so that nothing but silence tells."""
    async with opened(cluster.url("/hangs")) as store:
        first = await put(store, b"before")
        watch = store.watch(b"", first)
        await events_until(watch, first)
        hanging = cluster.member_at(store.member_in_use)
        hanging.suspend()
        try:
            with pytest.raises(StoreError, match=r"unknown.*no answer within 3 s") as lost:
                await store.commit([Compare(b"once", 0)], [Put(b"once", b"v")])
            assert hanging.endpoint in str(lost.value)
            # The next member is asked at once, and the watch finds out by itself.
            last = await put(store, b"after")
            events = await events_until(watch, last)
        finally:
            hanging.resume()
        assert [event.key for event in events if event.key != b"once"] == [b"after"]
        found, _ = await store.get(b"once")
        assert found is None or found.create_revision == found.mod_revision, "sent once"


async def test_members_that_are_away_at_the_start_are_passed_over(tmp_path: Path) -> None:
    with running_etcd(tmp_path) as etcd:
        gone = f"127.0.0.1:{free_port()}"
        async with opened(f"etcd://{gone},{etcd.address}") as store:
            revision = await put(store, b"k")
            assert await store.get(b"k") != (None, revision)
            assert store.member_in_use == etcd.endpoint


async def test_an_etcd_that_is_not_there_is_named_with_a_hint() -> None:
    one, other = free_port(), free_port()
    assert await refusal(f"etcd://127.0.0.1:{one},127.0.0.1:{other}") == (
        f"etcd does not answer (http://127.0.0.1:{one}: Connection refused; http://127.0.0.1:{other}: Connection"
        " refused); is it running, and do address, port and tls fit?"
    )


async def test_a_name_that_nobody_knows_is_told() -> None:
    assert "http://nobody.invalid:2379: the name is not known" in await refusal("etcd://nobody.invalid")


async def test_something_else_than_an_etcd_is_told() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\nConnection: close\r\n\r\nnot found")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        told = await refusal(f"etcd://127.0.0.1:{port}")
    assert "HTTP status 404 and no JSON ('not found'): not the gateway of an etcd 3.4 or newer" in told


async def test_one_that_accepts_and_says_nothing_does_not_hold_up_the_start() -> None:
    time = ManualTime()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        async with manual_runtime(time) as runtime:
            opening = asyncio.ensure_future(open_store(f"etcd://{address}", runtime))
            for _ in range(100):
                await asyncio.sleep(0.01)
                time.advance_ms(500)
                if opening.done():
                    break
            with pytest.raises(StoreError, match=rf"http://{address}: no answer within 3 s"):
                await opening
    assert time.monotonic_ms() - ManualTime().monotonic_ms() < 10_000


async def test_a_member_of_another_cluster_is_not_written_to(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    with running_etcd(tmp_path / "a") as own, running_etcd(tmp_path / "b") as stranger:
        async with opened(f"etcd://{own.address},{stranger.address}") as store:
            await put(store, b"k")
            own.kill()
            with pytest.raises(StoreError, match=f"{stranger.endpoint}: it is of another etcd cluster"):
                await store.get(b"k")
            with pytest.raises(StoreError, match="another etcd cluster"):
                await put(store, b"k", b"elsewhere")
            own.start()
            await put(store, b"k", b"back")
        assert stranger.all_keys() == []


async def _restarted(etcd: Etcd, store: EtcdStore) -> None:
    etcd.kill()
    with pytest.raises(StoreError, match="Connection refused"):
        await store.get(b"k")
    etcd.start()


async def test_a_watch_whose_place_was_compacted_while_it_was_away_says_so(etcd: Etcd) -> None:
    async with opened(f"etcd://{etcd.address}") as store:
        first = await put(store, b"k")
        watch = store.watch(b"", first)
        await events_until(watch, first)
        await _restarted(etcd, store)
        for _ in range(5):
            last = await put(store, b"k")
        await store.compact(last)
        with pytest.raises(CompactedError, match="history begins at"):
            await events_until(watch, last)
        assert [event.mod_revision for event in await events_until(store.watch(b"", last), last)] == [last]


async def test_a_watch_goes_on_behind_what_it_saw_when_etcd_comes_back(etcd: Etcd) -> None:
    async with opened(f"etcd://{etcd.address}") as store:
        first = await put(store, b"k", b"1")
        watch = store.watch(b"", first)
        await events_until(watch, first)
        await _restarted(etcd, store)
        last = await put(store, b"k", b"2")
        assert await events_until(watch, last) == [WatchEvent(b"k", b"2", last)]


async def test_an_image_outlives_an_outage_of_etcd(etcd: Etcd) -> None:
    async with real_runtime() as runtime:
        store = await open_store(f"etcd://{etcd.address}", runtime)
        publisher = MetadataPublisher(store, runtime.timers)
        await publisher.start(runtime.tasks)
        revision = await put(store, b"unknown-kind/1")
        await publisher.wait_for_revision(revision)
        etcd.kill()
        with pytest.raises(StoreError):
            await put(store, b"unknown-kind/2")
        assert publisher.image.revision == revision
        etcd.start()
        async with asyncio.timeout(10):
            await publisher.wait_for_revision(await put(store, b"unknown-kind/3"))
        await store.close()


async def test_an_etcd_that_lost_its_data_is_refused(etcd: Etcd, tmp_path: Path) -> None:
    async with opened(f"etcd://{etcd.address}") as store, real_runtime() as runtime:
        for _ in range(3):
            last = await put(store, b"k")
        watch = store.watch(b"", last)
        await events_until(watch, last)
        etcd.kill()
        etcd.data_dir.rename(tmp_path / "lost")
        etcd.start()
        with pytest.raises(StoreError, match=f"revision 1, but its revision {last} was seen"):
            await events_until(watch, last + 1)
        with pytest.raises(StoreWentBackError):
            await MetadataPublisher(store, runtime.timers, known_revision=last).start(runtime.tasks)
