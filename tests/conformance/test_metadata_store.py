"""What every metadata store must do, in the words of `metadata/store.py`. Runs over each implementation."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from tests.support.lease_time import LeaseTime

from pybroker_server.metadata.store import (
    CommitResult,
    CompactedError,
    Compare,
    KeyValue,
    LeaseNotFoundError,
    MetadataStore,
    Put,
    StoreError,
    WatchBatch,
    WatchEvent,
)


async def put(store: MetadataStore, key: bytes, value: bytes = b"v", lease_id: int = 0) -> int:
    result = await store.commit(puts=[Put(key, value, lease_id)])
    assert result.succeeded
    return result.revision


async def value_of(store: MetadataStore, key: bytes) -> bytes | None:
    found, _ = await store.get(key)
    return found.value if found else None


async def newest(store: MetadataStore) -> int:
    _, revision = await store.get(b"any")
    return revision


async def take(watch: AsyncIterator[WatchBatch], until: int) -> list[WatchBatch]:
    """Batches up to and including the revision `until`."""
    batches: list[WatchBatch] = []
    async with asyncio.timeout(10):
        while not batches or batches[-1].revision < until:
            batches.append(await anext(watch))
    return batches


def events_of(batches: list[WatchBatch]) -> list[WatchEvent]:
    return [event for batch in batches for event in batch.events]


async def test_a_key_that_was_never_written_is_absent(store: MetadataStore) -> None:
    found, revision = await store.get(b"k")
    assert found is None
    assert revision >= 0


async def test_a_put_raises_the_revision_and_is_read_back(store: MetadataStore) -> None:
    before = await newest(store)
    revision = await put(store, b"k", b"one")
    assert revision > before
    assert await store.get(b"k") == (KeyValue(b"k", b"one", revision, revision), revision)


async def test_a_second_put_keeps_the_create_revision(store: MetadataStore) -> None:
    first = await put(store, b"k", b"one")
    second = await put(store, b"k", b"two")
    assert await store.get(b"k") == (KeyValue(b"k", b"two", first, second), second)


async def test_a_put_of_the_same_value_is_a_change(store: MetadataStore) -> None:
    first = await put(store, b"k")
    assert await put(store, b"k") == first + 1


async def test_an_empty_value_is_not_an_absent_key(store: MetadataStore) -> None:
    await put(store, b"k", b"")
    assert await value_of(store, b"k") == b""


async def test_a_key_created_after_a_deletion_begins_anew(store: MetadataStore) -> None:
    await put(store, b"k")
    await store.commit(deletes=[b"k"])
    assert await value_of(store, b"k") is None
    revision = await put(store, b"k")
    found, _ = await store.get(b"k")
    assert found is not None
    assert found.create_revision == revision


async def test_deleting_an_absent_key_changes_nothing(store: MetadataStore) -> None:
    before = await put(store, b"k")
    assert await store.commit(deletes=[b"other"]) == CommitResult(True, before)
    assert await store.commit() == CommitResult(True, before)


async def test_all_keys_of_a_commit_share_one_revision(store: MetadataStore) -> None:
    await put(store, b"old")
    result = await store.commit(puts=[Put(b"a", b"1"), Put(b"b", b"2")], deletes=[b"old"])
    items = (await store.range(b"")).items
    assert [(item.key, item.mod_revision) for item in items] == [(b"a", result.revision), (b"b", result.revision)]


async def test_a_commit_holds_only_while_its_comparisons_do(store: MetadataStore) -> None:
    first = await put(store, b"k", b"one")
    second = await put(store, b"k", b"two")
    refused = await store.commit([Compare(b"k", first)], [Put(b"k", b"three"), Put(b"x", b"y")])
    assert refused == CommitResult(False, second)
    assert await value_of(store, b"k") == b"two"
    assert await value_of(store, b"x") is None
    accepted = await store.commit([Compare(b"k", second)], [Put(b"k", b"three")])
    assert accepted == CommitResult(True, second + 1)


async def test_comparing_with_zero_means_must_not_exist(store: MetadataStore) -> None:
    assert (await store.commit([Compare(b"k", 0)], [Put(b"k", b"one")])).succeeded
    assert not (await store.commit([Compare(b"k", 0)], [Put(b"k", b"two")])).succeeded
    await store.commit(deletes=[b"k"])
    assert (await store.commit([Compare(b"k", 0)], [Put(b"k", b"three")])).succeeded


async def test_one_failed_comparison_of_many_refuses_everything(store: MetadataStore) -> None:
    a = await put(store, b"a")
    b = await put(store, b"b")
    refused = await store.commit([Compare(b"a", a), Compare(b"b", a)], [Put(b"a", b"new")], [b"b"])
    assert refused == CommitResult(False, b)
    assert await value_of(store, b"b") == b"v"


async def test_of_many_that_create_the_same_key_at_once_one_succeeds(store: MetadataStore) -> None:
    attempts = [store.commit([Compare(b"k", 0)], [Put(b"k", b"%d" % i)]) for i in range(20)]
    results = await asyncio.gather(*attempts)
    assert [result.succeeded for result in results].count(True) == 1


async def test_counting_by_compare_and_swap_loses_no_step(store: MetadataStore) -> None:
    await put(store, b"n", b"0")

    async def count_up() -> None:
        for _ in range(10):
            while True:
                found, _ = await store.get(b"n")
                assert found is not None
                step = Put(b"n", b"%d" % (int(found.value) + 1))
                if (await store.commit([Compare(b"n", found.mod_revision)], [step])).succeeded:
                    break

    await asyncio.gather(*(count_up() for _ in range(5)))
    assert await value_of(store, b"n") == b"50"


@pytest.mark.parametrize(
    ("puts", "deletes"),
    [
        ([Put(b"k", b"1"), Put(b"k", b"2")], []),
        ([Put(b"k", b"1")], [b"k"]),
        ([], [b"k", b"k"]),
        ([Put(b"", b"1")], []),
    ],
)
async def test_a_commit_that_touches_a_key_twice_or_an_empty_key_is_a_caller_error(
    store: MetadataStore, puts: list[Put], deletes: list[bytes]
) -> None:
    before = await newest(store)
    with pytest.raises(ValueError):
        await store.commit(puts=puts, deletes=deletes)
    assert await newest(store) == before


async def test_a_range_is_in_byte_order_under_its_prefix(store: MetadataStore) -> None:
    for key in (b"b/2", b"a", b"b/10", b"b", b"c", b"b/\xff\xff", b"b0"):
        await put(store, key)
    assert [item.key for item in (await store.range(b"b/")).items] == [b"b/10", b"b/2", b"b/\xff\xff"]
    everything = [item.key for item in (await store.range(b"")).items]
    assert everything == [b"a", b"b", b"b/10", b"b/2", b"b/\xff\xff", b"b0", b"c"]


async def test_a_prefix_of_the_highest_bytes_has_no_upper_end(store: MetadataStore) -> None:
    for key in (b"\xff", b"\xff\xff", b"\xff\xff\x00", b"\xfe"):
        await put(store, key)
    assert [item.key for item in (await store.range(b"\xff\xff")).items] == [b"\xff\xff", b"\xff\xff\x00"]


async def test_a_range_is_read_in_pages_at_one_revision(store: MetadataStore) -> None:
    for i in range(7):
        await put(store, b"k%d" % i)
    page = await store.range(b"k", limit=3)
    at, keys = page.revision, [item.key for item in page.items]
    await store.commit(puts=[Put(b"k35", b"new")], deletes=[b"k6"])
    while len(page.items) == 3:
        page = await store.range(b"k", limit=3, after=keys[-1], revision=at)
        keys += [item.key for item in page.items]
    assert keys == [b"k%d" % i for i in range(7)]
    assert page.revision == at


async def test_a_range_at_a_revision_to_come_is_refused(store: MetadataStore) -> None:
    revision = await put(store, b"k")
    with pytest.raises(StoreError):
        await store.range(b"", revision=revision + 1)


async def test_a_watch_brings_history_and_then_what_comes(store: MetadataStore) -> None:
    first = await put(store, b"a", b"1")
    await put(store, b"a", b"2")
    watch = store.watch(b"", first)
    last = await put(store, b"b", b"3")
    await take(watch, last)
    deletion = (await store.commit(deletes=[b"a"])).revision
    assert events_of(await take(watch, deletion)) == [WatchEvent(b"a", b"", deletion, deleted=True)]


async def test_a_watch_from_the_next_revision_waits_for_it(store: MetadataStore) -> None:
    revision = await put(store, b"a")
    watch = store.watch(b"", revision + 1)
    waiting = asyncio.ensure_future(take(watch, revision + 1))
    await put(store, b"b")
    assert events_of(await waiting) == [WatchEvent(b"b", b"v", revision + 1)]


async def test_a_watch_never_splits_a_revision(store: MetadataStore) -> None:
    first = await newest(store) + 1
    for i in range(30):
        await store.commit(puts=[Put(b"%d/%d" % (i, j), b"v") for j in range(5)])
    batches = await take(store.watch(b"", first), first + 29)
    events = events_of(batches)
    assert len(events) == 150
    assert [event.mod_revision for event in events] == sorted(event.mod_revision for event in events)
    for batch in batches:
        of_last = [event for event in batch.events if event.mod_revision == batch.revision]
        assert len(of_last) == 5


async def test_a_watch_sees_its_prefix_only_but_the_revision_of_all(store: MetadataStore) -> None:
    first = await put(store, b"a/1")
    last = await put(store, b"b/1")
    batches = await take(store.watch(b"a/", first), last)
    assert events_of(batches) == [WatchEvent(b"a/1", b"v", first)]
    assert batches[-1].revision == last


async def test_watchers_follow_at_their_own_pace(store: MetadataStore) -> None:
    """A watcher that was left behind by more than any buffer holds still sees every change."""
    first = await put(store, b"k", b"0")
    slow = store.watch(b"", first)
    await anext(slow)
    for i in range(1, 1501):
        last = await put(store, b"k", b"%d" % i)
    events = events_of(await take(slow, last))
    assert [int(event.value) for event in events] == list(range(1, 1501))


async def test_a_closed_store_ends_its_watches(store: MetadataStore) -> None:
    watch = store.watch(b"", await newest(store) + 1)
    waiting = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0)
    await store.close()
    with pytest.raises(StoreError):
        await waiting
    with pytest.raises(StoreError):
        await store.get(b"k")


async def test_compaction_keeps_newest_values_and_forgets_history(store: MetadataStore) -> None:
    first = await put(store, b"a", b"1")
    await put(store, b"b", b"1")
    await store.commit(deletes=[b"b"])
    kept = await put(store, b"a", b"2")
    last = await put(store, b"c", b"3")
    await store.compact(kept)
    assert [(item.key, item.value) for item in (await store.range(b"")).items] == [(b"a", b"2"), (b"c", b"3")]
    assert [item.key for item in (await store.range(b"", revision=kept)).items] == [b"a"]
    assert events_of(await take(store.watch(b"", kept + 1), last)) == [WatchEvent(b"c", b"3", last)]
    with pytest.raises(CompactedError):
        await store.range(b"", revision=first)
    with pytest.raises(CompactedError):
        await anext(store.watch(b"", first))


async def test_a_watch_from_the_compacted_revision_misses_nothing_of_it(store: MetadataStore) -> None:
    await put(store, b"a")
    deleted = (await store.commit(deletes=[b"a"])).revision
    await put(store, b"b")
    await store.compact(deleted)
    assert events_of(await take(store.watch(b"", deleted), deleted))[0] == WatchEvent(b"a", b"", deleted, deleted=True)
    with pytest.raises(CompactedError):
        await anext(store.watch(b"", deleted - 1))


async def test_compaction_of_everything_does_not_take_the_revision_back(store: MetadataStore) -> None:
    await put(store, b"a")
    last = (await store.commit(deletes=[b"a"])).revision
    await store.compact(last)
    assert await newest(store) == last
    assert await put(store, b"a") == last + 1


async def test_compaction_twice_or_back_is_no_error_but_ahead_is(store: MetadataStore) -> None:
    await put(store, b"a")
    last = await put(store, b"a")
    await store.compact(last)
    await store.compact(last)
    await store.compact(last - 1)
    with pytest.raises(StoreError):
        await store.compact(last + 1)


async def test_a_lease_that_expires_takes_its_keys_along(store: MetadataStore, time: LeaseTime) -> None:
    ttl_ms = 5 * time.unit_ms
    lease = await store.grant_lease(ttl_ms)
    await put(store, b"mine", b"v", lease)
    last = await put(store, b"also-mine", b"v", lease)
    await put(store, b"other")
    watch = store.watch(b"", last + 2)
    await time.passes(ttl_ms - time.margin_ms)
    assert await value_of(store, b"mine") == b"v"
    await time.passes(2 * time.margin_ms)
    await time.until_gone(store, b"mine")
    assert await value_of(store, b"other") == b"v"
    [batch] = await take(watch, last + 2)
    assert sorted((event.key, event.deleted) for event in batch.events) == [(b"also-mine", True), (b"mine", True)]
    with pytest.raises(LeaseNotFoundError):
        await store.keep_alive(lease)


async def test_a_lease_kept_alive_stays(store: MetadataStore, time: LeaseTime) -> None:
    ttl_ms = 5 * time.unit_ms
    lease = await store.grant_lease(ttl_ms)
    await put(store, b"mine", b"v", lease)
    for _ in range(3):
        await time.passes(3 * time.unit_ms)
        # A store may count in whole seconds.
        assert 0 < await store.keep_alive(lease) < ttl_ms + 1_000
    await time.passes(4 * time.unit_ms)
    assert await value_of(store, b"mine") == b"v"
    await time.passes(time.unit_ms + time.margin_ms)
    await time.until_gone(store, b"mine")


async def test_a_revoked_lease_takes_its_keys_along_at_once(store: MetadataStore) -> None:
    lease = await store.grant_lease(60_000)
    await put(store, b"mine", b"v", lease)
    await store.revoke_lease(lease)
    assert await value_of(store, b"mine") is None
    with pytest.raises(LeaseNotFoundError):
        await store.revoke_lease(lease)


async def test_a_put_with_an_unknown_lease_writes_nothing(store: MetadataStore) -> None:
    with pytest.raises(LeaseNotFoundError):
        await store.commit(puts=[Put(b"a", b"v"), Put(b"b", b"v", 4711)])
    assert await value_of(store, b"a") is None


async def test_a_key_follows_the_lease_of_its_last_put(store: MetadataStore, time: LeaseTime) -> None:
    short, long = await store.grant_lease(5 * time.unit_ms), await store.grant_lease(12 * time.unit_ms)
    await put(store, b"freed", b"v", short)
    await put(store, b"moved", b"v", short)
    await put(store, b"freed")
    await put(store, b"moved", b"v", long)
    await time.passes(9 * time.unit_ms)
    assert await value_of(store, b"freed") == b"v"
    assert await value_of(store, b"moved") == b"v"
    await time.passes(3 * time.unit_ms + time.margin_ms)
    await time.until_gone(store, b"moved")
    assert await value_of(store, b"freed") == b"v"


async def test_leases_end_apart_from_each_other(store: MetadataStore, time: LeaseTime) -> None:
    first, second = await store.grant_lease(5 * time.unit_ms), await store.grant_lease(12 * time.unit_ms)
    assert first != second
    await put(store, b"a", b"v", first)
    await put(store, b"b", b"v", second)
    await time.passes(5 * time.unit_ms + time.margin_ms)
    await time.until_gone(store, b"a")
    assert await value_of(store, b"b") == b"v"


async def test_large_values_and_many_keys_in_one_commit(store: MetadataStore) -> None:
    count = min(2_000, store.max_operations_per_commit)
    big = bytes(range(256)) * 400
    revision = await put(store, b"big", big)
    await store.commit(puts=[Put(b"many/%04d" % i, b"v" * 50) for i in range(count)])
    assert await value_of(store, b"big") == big
    assert len((await store.range(b"many/")).items) == count
    assert await newest(store) == revision + 1


@dataclass
class Model:
    """The plainest store there can be: a copy of everything per revision."""

    states: dict[int, dict[bytes, tuple[bytes, int, int]]]
    newest: int
    events: list[WatchEvent] = field(default_factory=list)
    compacted: int = 0

    @property
    def now(self) -> dict[bytes, tuple[bytes, int, int]]:
        return self.states[self.newest]

    def commit(self, compares: list[Compare], puts: list[Put], deletes: list[bytes]) -> CommitResult:
        for compare in compares:
            if self.now.get(compare.key, (b"", 0, 0))[2] != compare.mod_revision:
                return CommitResult(False, self.newest)
        present = [key for key in deletes if key in self.now]
        if puts or present:
            after, revision = dict(self.now), self.newest + 1
            for one in puts:
                after[one.key] = (one.value, after.get(one.key, (b"", revision, 0))[1], revision)
                self.events.append(WatchEvent(one.key, one.value, revision))
            for key in present:
                del after[key]
                self.events.append(WatchEvent(key, b"", revision, deleted=True))
            self.newest = revision
            self.states[revision] = after
        return CommitResult(True, self.newest)

    def range(self, prefix: bytes, revision: int) -> list[KeyValue]:
        state = self.states[revision]
        return [KeyValue(key, *state[key]) for key in sorted(state) if key.startswith(prefix)]


def random_commit(rng: random.Random, model: Model) -> tuple[list[Compare], list[Put], list[bytes]]:
    keys = [b"%s%d" % (prefix, i) for prefix in (b"a/", b"ab", b"b/\xff") for i in range(4)]
    touched = rng.sample(keys, rng.randint(0, 4))
    split = rng.randint(0, len(touched))
    compares = []
    for key in rng.sample(keys, rng.randint(0, 2)):
        right = model.now.get(key, (b"", 0, 0))[2]
        compares.append(Compare(key, right if rng.random() < 0.8 else rng.randint(0, model.newest)))
    puts = [Put(key, rng.randbytes(rng.randint(0, 30))) for key in touched[:split]]
    return compares, puts, touched[split:]


class Walk:
    """Random operations on a store and the model side by side, with one watcher that follows in leaps."""

    def __init__(self, store: MetadataStore, start: int, seed: int) -> None:
        self.store = store
        self.rng = random.Random(seed)
        self.model = Model({start: {}}, start, compacted=start)
        self.watch = store.watch(b"", start + 1)
        self.seen_revision = start
        self.seen: list[WatchEvent] = []

    async def commit(self) -> None:
        compares, puts, deletes = random_commit(self.rng, self.model)
        expected = self.model.commit(compares, puts, deletes)
        assert await self.store.commit(compares, puts, deletes) == expected

    async def read_range(self) -> None:
        revision = self.rng.randint(self.model.compacted, self.model.newest)
        prefix = self.rng.choice([b"", b"a", b"a/", b"b/\xff", b"c"])
        found = await self.store.range(prefix, revision=revision)
        assert list(found.items) == self.model.range(prefix, revision)

    async def read_key(self) -> None:
        key = self.rng.choice([*self.model.now, b"none"])
        found, revision = await self.store.get(key)
        held = self.model.now.get(key)
        assert found == (KeyValue(key, *held) if held else None)
        assert revision == self.model.newest

    async def follow(self) -> None:
        if self.seen_revision < self.model.newest:
            self.seen += events_of(await take(self.watch, self.model.newest))
            self.seen_revision = self.model.newest

    async def compact(self) -> None:
        """Never past the watcher, which would rightly be told that its place is gone."""
        self.model.compacted = self.rng.randint(self.model.compacted, self.seen_revision)
        await self.store.compact(self.model.compacted)


@pytest.mark.parametrize("seed", range(4))
async def test_long_random_sequences_agree_with_the_model(store: MetadataStore, seed: int) -> None:
    walk = Walk(store, await newest(store), seed)
    actions = [walk.commit] * 14 + [walk.read_range, walk.read_key] * 3 + [walk.follow] * 2 + [walk.compact]
    for _ in range(600):
        await walk.rng.choice(actions)()
    await walk.follow()
    assert walk.seen == walk.model.events
    kept = walk.model.compacted
    await walk.commit()
    history = events_of(await take(store.watch(b"", kept + 1), walk.model.newest)) if kept < walk.model.newest else []
    assert history == [event for event in walk.model.events if event.mod_revision > kept]
