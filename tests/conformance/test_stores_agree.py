"""Memory, SQLite and etcd, given the same random operations, give the same answers and the same history.

Revisions are compared relative to where each store began; which lease a number names is each store's own business.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.manual_time import ManualTime
from tests.support.runtimes import manual_runtime, real_runtime

from pybroker_server.metadata.store import (
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
from pybroker_server.metadata.stores import open_store

OPERATIONS = 700
PREFIXES = (b"", b"a", b"a/", b"b/\xff", b"\xff", b"none")
KEYS = [b"%s%d" % (prefix, number) for prefix in (b"a/", b"ab", b"b/\xff", b"\xff\xff") for number in range(3)]
NOBODYS_LEASE = -1
"""Stands for a lease that no store has granted."""


@dataclass
class Subject:
    """One store, spoken to in revisions from its start and in leases by their order."""

    store: MetadataStore
    start: int
    watch: AsyncIterator[WatchBatch]
    leases: list[int] = field(default_factory=list)
    seen: list[WatchEvent] = field(default_factory=list)
    seen_revision: int = 0

    def lease_id(self, index: int | None) -> int:
        if index is None:
            return 0
        return 4711 if index == NOBODYS_LEASE else self.leases[index]

    def lease_index(self, lease_id: int) -> int | None:
        return self.leases.index(lease_id) if lease_id else None

    def shown(self, item: KeyValue) -> tuple[Any, ...]:
        revisions = (item.create_revision - self.start, item.mod_revision - self.start)
        return (item.key, item.value, *revisions, self.lease_index(item.lease_id))

    async def commit(
        self, compares: list[Compare], puts: list[tuple[bytes, bytes, int | None]], deletes: list[bytes]
    ) -> Any:
        absolute = [
            replace(one, mod_revision=one.mod_revision + (self.start if one.mod_revision else 0)) for one in compares
        ]
        given = [Put(key, value, self.lease_id(lease)) for key, value, lease in puts]
        result = await self.store.commit(absolute, given, deletes)
        return result.succeeded, result.revision - self.start

    async def get(self, key: bytes) -> Any:
        found, revision = await self.store.get(key)
        return self.shown(found) if found else None, revision - self.start

    async def range(self, prefix: bytes, limit: int, after: bytes, revision: int) -> Any:
        found = await self.store.range(
            prefix, limit=limit, after=after, revision=self.start + revision if revision else 0
        )
        return [self.shown(item) for item in found.items], found.revision - self.start

    async def grant(self) -> Any:
        self.leases.append(await self.store.grant_lease(600_000))

    async def keep_alive(self, index: int) -> Any:
        return await self.store.keep_alive(self.lease_id(index))

    async def revoke(self, index: int) -> Any:
        await self.store.revoke_lease(self.lease_id(index))

    async def compact(self, revision: int) -> Any:
        await self.store.compact(self.start + revision)

    async def follow(self, revision: int) -> Any:
        """What the watch brought up to a revision, which need not be new."""
        async with asyncio.timeout(10):
            while self.seen_revision < revision:
                batch = await anext(self.watch)
                self.seen_revision = batch.revision - self.start
                self.seen += batch.events
        return [(each.key, each.value, each.mod_revision - self.start, each.deleted) for each in _ordered(self.seen)]


def _ordered(events: list[WatchEvent]) -> list[WatchEvent]:
    """Of the keys of one lease, which end in one revision, no order is promised."""
    return sorted(events, key=lambda event: (event.mod_revision, event.key if event.deleted else b""))


@pytest.fixture
async def subjects(etcd_url: str, tmp_path: Path) -> AsyncIterator[list[Subject]]:
    async with AsyncExitStack() as stack:
        manual = await stack.enter_async_context(manual_runtime(ManualTime()))
        real = await stack.enter_async_context(real_runtime())
        opened = []
        for url, runtime in (("memory://", manual), (f"sqlite://{tmp_path}/meta.db", manual), (etcd_url, real)):
            store = await open_store(url, runtime)
            stack.push_async_callback(store.close)
            start = (await store.get(b"any"))[1]
            opened.append(Subject(store, start, store.watch(b"", start + 1)))
        yield opened


class Sequence:
    """Draws the next operation from what the stores agreed on so far."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.revision = 0
        self.followed = 0
        self.compacted = 0
        self.granted = 0
        self.mod_revisions: dict[bytes, int] = {}

    def next(self) -> Callable[[Subject], Awaitable[Any]]:
        draw = self.rng.choices(
            (self._commit, self._get, self._range, self._lease, self._follow, self._compact), (50, 12, 15, 12, 6, 2)
        )
        return draw[0]()

    def _commit(self) -> Callable[[Subject], Awaitable[Any]]:
        rng = self.rng
        touched = rng.sample(KEYS, rng.randint(0, 4))
        split = rng.randint(0, len(touched))
        compares = [
            Compare(key, self.mod_revisions.get(key, 0) if rng.random() < 0.8 else rng.randint(0, self.revision))
            for key in rng.sample(KEYS, rng.randint(0, 2))
        ]
        puts = [(key, rng.randbytes(rng.randint(0, 40)), self._some_lease()) for key in touched[:split]]
        return lambda subject: subject.commit(compares, puts, touched[split:])

    def _some_lease(self) -> int | None:
        if self.rng.random() < 0.7 or not self.granted:
            return None
        return NOBODYS_LEASE if self.rng.random() < 0.05 else self.rng.randrange(self.granted)

    def _get(self) -> Callable[[Subject], Awaitable[Any]]:
        key = self.rng.choice([*KEYS, b"none"])
        return lambda subject: subject.get(key)

    def _range(self) -> Callable[[Subject], Awaitable[Any]]:
        rng = self.rng
        prefix = rng.choice(PREFIXES)
        limit, after = rng.choice((0, 0, 1, 3)), rng.choice((b"", b"", *KEYS))
        # Older than the compaction by one, etcd still knows: it keeps one revision more.
        revision = rng.choice((0, self.revision + 1, rng.randint(self.compacted, self.revision), self.compacted - 2))
        return lambda subject: subject.range(prefix, limit, after, max(revision, 0))

    def _lease(self) -> Callable[[Subject], Awaitable[Any]]:
        kind, index = self.rng.randrange(3), self.rng.randrange(max(self.granted, 1))
        if kind == 0 or not self.granted:
            self.granted += 1
            return lambda subject: subject.grant()
        return (lambda subject: subject.keep_alive(index)) if kind == 1 else (lambda subject: subject.revoke(index))

    def _follow(self) -> Callable[[Subject], Awaitable[Any]]:
        self.followed = revision = self.revision
        return lambda subject: subject.follow(revision)

    def _compact(self) -> Callable[[Subject], Awaitable[Any]]:
        """Never past the watch, which would rightly end."""
        revision = self.rng.choice((self.followed, self.rng.randint(0, self.followed), self.revision + 1))
        if revision <= self.revision:
            self.compacted = max(self.compacted, revision)
        return lambda subject: subject.compact(revision)


async def _outcome(subject: Subject, operation: Callable[[Subject], Awaitable[Any]]) -> Any:
    """The answer, or which error it was: their words differ."""
    try:
        return await operation(subject)
    except (CompactedError, LeaseNotFoundError, StoreError) as error:
        kinds = (CompactedError, LeaseNotFoundError)
        return next((kind.__name__ for kind in kinds if isinstance(error, kind)), StoreError.__name__)


async def _note_state(sequence: Sequence, judge: Subject) -> None:
    found = await judge.store.range(b"")
    sequence.revision = found.revision - judge.start
    sequence.mod_revisions = {item.key: item.mod_revision - judge.start for item in found.items}


@pytest.mark.parametrize("seed", range(3))
async def test_long_random_sequences_give_equal_results(subjects: list[Subject], seed: int) -> None:
    sequence = Sequence(seed)
    for step in range(OPERATIONS):
        operation = sequence.next()
        outcomes = [await _outcome(subject, operation) for subject in subjects]
        assert outcomes[1:] == outcomes[:1] * 2, f"step {step}"
        await _note_state(sequence, subjects[0])
    histories = [await subject.follow(sequence.revision) for subject in subjects]
    assert histories[1:] == histories[:1] * 2
    assert len(histories[0]) > OPERATIONS / 4
