"""A metadata store in memory: for tests, for the simulator, and for brokers whose data may vanish.

Rules of this file: everything happens at once, on the event loop, with no await between reading and changing.
Several brokers of one process share one object. Leases expire by the clock that was handed in. It keeps whole
history until `compact`, so that it can serve as the judge of the other stores.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from pybroker_server.metadata.feed import EVENTS_PER_BATCH, ChangeFeed, batches_of
from pybroker_server.metadata.store import (
    CommitResult,
    CompactedError,
    Compare,
    KeyValue,
    LeaseNotFoundError,
    Put,
    RangeResult,
    StoreError,
    WatchBatch,
    WatchEvent,
    check_commit,
)
from pybroker_server.runtime.ports import Clock, TimerHandle, Timers


@dataclass(slots=True)
class _Version:
    """What a key held from `revision` on; `item` is None from a deletion on."""

    revision: int
    item: KeyValue | None


@dataclass(slots=True)
class _Lease:
    ttl_ms: int
    deadline_ms: int
    keys: set[bytes] = field(default_factory=set)


class MemoryStore:
    """See `store.MetadataStore`."""

    max_operations_per_commit = 1_000_000

    def __init__(self, clock: Clock, timers: Timers) -> None:
        self._clock = clock
        self._timers = timers
        self._revision = 1
        self._compacted = 0
        self._versions: dict[bytes, list[_Version]] = {}
        self._sorted_keys: list[bytes] = []
        self._history: list[WatchEvent] = []
        self._leases: dict[int, _Lease] = {}
        self._last_lease_id = 0
        self._timer: TimerHandle | None = None
        self._feed = ChangeFeed(self._revision)
        self._closed = False

    async def get(self, key: bytes) -> tuple[KeyValue | None, int]:
        self._begin()
        return self._newest(key), self._revision

    async def range(self, prefix: bytes, *, limit: int = 0, after: bytes = b"", revision: int = 0) -> RangeResult:
        self._begin()
        at = revision or self._revision
        if at > self._revision:
            raise StoreError(f"revision {at} is in the future: the store is at {self._revision}")
        if at < self._compacted:
            raise CompactedError(f"revision {at} is gone: history begins at {self._compacted}")
        items: list[KeyValue] = []
        for key in self._keys_under(prefix, after):
            item = _at(self._versions[key], at)
            if item is not None:
                items.append(item)
                if len(items) == limit:
                    break
        return RangeResult(tuple(items), at)

    async def commit(
        self, compares: Sequence[Compare] = (), puts: Sequence[Put] = (), deletes: Sequence[bytes] = ()
    ) -> CommitResult:
        self._begin()
        check_commit(puts, deletes)
        for compare in compares:
            found = self._newest(compare.key)
            if (found.mod_revision if found else 0) != compare.mod_revision:
                return CommitResult(False, self._revision)
        for put in puts:
            if put.lease_id and put.lease_id not in self._leases:
                raise LeaseNotFoundError(f"lease {put.lease_id} expired or never was")
        self._apply(puts, deletes)
        return CommitResult(True, self._revision)

    def watch(self, prefix: bytes, from_revision: int) -> AsyncIterator[WatchBatch]:
        return self._feed.watch(prefix, from_revision, self._read_history)

    async def grant_lease(self, ttl_ms: int) -> int:
        self._begin()
        self._last_lease_id += 1
        self._leases[self._last_lease_id] = _Lease(ttl_ms, self._clock.monotonic_ms() + ttl_ms)
        self._arm()
        return self._last_lease_id

    async def keep_alive(self, lease_id: int) -> int:
        self._begin()
        lease = self._lease(lease_id)
        lease.deadline_ms = self._clock.monotonic_ms() + lease.ttl_ms
        self._arm()
        return lease.ttl_ms

    async def revoke_lease(self, lease_id: int) -> None:
        self._begin()
        self._end_lease(lease_id, self._lease(lease_id))

    async def compact(self, revision: int) -> None:
        self._begin()
        if revision > self._revision:
            raise StoreError(f"revision {revision} is in the future: the store is at {self._revision}")
        if revision <= self._compacted:
            return
        self._compacted = revision
        self._history = [event for event in self._history if event.mod_revision >= revision]
        for key, versions in list(self._versions.items()):
            first = max(_position(versions, revision), 0)
            del versions[:first]
            if len(versions) == 1 and versions[0].item is None and versions[0].revision < revision:
                del self._versions[key]
        self._sorted_keys = sorted(self._versions)
        self._feed.forget_below(revision)

    async def close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._feed.close()

    def _begin(self) -> None:
        if self._closed:
            raise StoreError("the metadata store is closed")
        self._expire_leases()

    def _newest(self, key: bytes) -> KeyValue | None:
        versions = self._versions.get(key)
        return versions[-1].item if versions else None

    def _keys_under(self, prefix: bytes, after: bytes) -> list[bytes]:
        first = bisect_left(self._sorted_keys, prefix)
        if after:
            first = max(first, bisect_right(self._sorted_keys, after))
        found = []
        for key in self._sorted_keys[first:]:
            if not key.startswith(prefix):
                break
            found.append(key)
        return found

    def _apply(self, puts: Sequence[Put], deletes: Sequence[bytes]) -> None:
        present = [key for key in deletes if self._newest(key) is not None]
        if not puts and not present:
            return
        revision = self._revision + 1
        events = [self._put(put, revision) for put in puts] + [self._delete(key, revision) for key in present]
        self._revision = revision
        self._history.extend(events)
        self._feed.publish([WatchBatch(revision, tuple(events))])

    def _put(self, put: Put, revision: int) -> WatchEvent:
        before = self._newest(put.key)
        if before is not None and before.lease_id:
            self._leases[before.lease_id].keys.discard(put.key)
        if put.lease_id:
            self._leases[put.lease_id].keys.add(put.key)
        created = before.create_revision if before else revision
        item = KeyValue(put.key, put.value, created, revision, put.lease_id)
        self._add_version(put.key, _Version(revision, item))
        return WatchEvent(put.key, put.value, revision)

    def _delete(self, key: bytes, revision: int) -> WatchEvent:
        before = self._newest(key)
        if before is not None and before.lease_id in self._leases:
            self._leases[before.lease_id].keys.discard(key)
        self._add_version(key, _Version(revision, None))
        return WatchEvent(key, b"", revision, deleted=True)

    def _add_version(self, key: bytes, version: _Version) -> None:
        versions = self._versions.get(key)
        if versions is None:
            self._versions[key] = [version]
            self._sorted_keys.insert(bisect_left(self._sorted_keys, key), key)
        else:
            versions.append(version)

    def _lease(self, lease_id: int) -> _Lease:
        lease = self._leases.get(lease_id)
        if lease is None:
            raise LeaseNotFoundError(f"lease {lease_id} expired or never was")
        return lease

    def _end_lease(self, lease_id: int, lease: _Lease) -> None:
        keys = sorted(lease.keys)
        del self._leases[lease_id]
        self._apply((), keys)

    def _expire_leases(self) -> None:
        now_ms = self._clock.monotonic_ms()
        for lease_id, lease in sorted(self._leases.items()):
            if lease.deadline_ms <= now_ms:
                self._end_lease(lease_id, lease)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._leases and not self._closed:
            next_ms = min(lease.deadline_ms for lease in self._leases.values())
            self._timer = self._timers.call_after_ms(max(next_ms - self._clock.monotonic_ms(), 0), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._expire_leases()
        self._arm()

    async def _read_history(self, from_revision: int) -> WatchBatch | None:
        if from_revision < self._compacted:
            raise CompactedError(f"revision {from_revision} is gone: history begins at {self._compacted}")
        first = bisect_left(self._history, from_revision, key=lambda event: event.mod_revision)
        taken: list[WatchEvent] = []
        for event in self._history[first:]:
            if len(taken) >= EVENTS_PER_BATCH and event.mod_revision != taken[-1].mod_revision:
                break
            taken.append(event)
        grouped = batches_of(taken)
        return WatchBatch(grouped[-1].revision, tuple(taken)) if grouped else None


def _position(versions: list[_Version], revision: int) -> int:
    """Index of the version in force at `revision`; -1 when the key did not exist yet."""
    return bisect_right(versions, revision, key=lambda version: version.revision) - 1


def _at(versions: list[_Version], revision: int) -> KeyValue | None:
    position = _position(versions, revision)
    return versions[position].item if position >= 0 else None
