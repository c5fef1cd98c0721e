"""One watch over all keys of a cluster in an etcd, followed over the failures of members.

Rules of this file: every change is seen once and in order, or the watch ends with an error. After a failure it goes on
behind the last revision it has seen whole. One stream brings everything that is ours, and the prefix is picked out
here, so that a revision which changed something of ours is heard of under any prefix.

What a watch of etcd does not tell, it is asked for:
- Silence may mean that nothing happened or that the member is cut off. Every CHECK_MS of silence, etcd is asked for its
  revision, with a quorum behind the answer. If that is ahead of the watch (others may use the same etcd), our progress
  key is written: the watch of every broker must then bring something, and one that does not is begun anew elsewhere.
- A history that was restored from a copy goes back: that is an error here, and the caller looks closer.
- A watch that begins at the very revision of a compaction misses a key that was deleted by it (etcd issue 19179). So
  it begins one earlier, which etcd refuses where anything can be missing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from pybroker_server.metadata.etcd_answer import EtcdRefusedError, MemberFailedError
from pybroker_server.metadata.etcd_connection import EtcdStream
from pybroker_server.metadata.etcd_http import EtcdHttp
from pybroker_server.metadata.etcd_wire import Json, Keyspace, number, revision_of, text
from pybroker_server.metadata.store import CompactedError, StoreError, WatchBatch, WatchEvent
from pybroker_server.runtime.runtime import Runtime
from pybroker_server.runtime.time_limit import time_limit

TICK_MS = 500
CHECK_MS = 2_000
ANSWER_MS = 1_500
"""After the progress key is written, the watch has this long to bring it."""
_FAILURES_MAX = 6
"""Streams that broke off without having brought anything, one after the other."""

Wanted = Callable[[], int]
"""The newest revision that somebody may wait to see; it need not be one that changed a key of ours."""


class EtcdWatch:
    """`batches` is to be called once."""

    def __init__(
        self, http: EtcdHttp, keyspace: Keyspace, runtime: Runtime, prefix: bytes, from_revision: int, wanted: Wanted
    ) -> None:
        self._http = http
        self._keyspace = keyspace
        self._clock = runtime.clock
        self._timers = runtime.timers
        self._prefix = prefix
        self._wanted = wanted
        self._covered = max(from_revision - 1, 0)
        """Everything up to here has been seen."""
        self._fragments: list[Json] = []
        self._behind = 0
        """A revision that was not covered at the last tick, though the store had reached it."""
        self._awaited = 0
        """The revision at which the progress key was written; 0 while it is not waited for."""
        self._next_check_ms = 0
        self._answer_by_ms = 0
        self._failures = 0

    async def batches(self) -> AsyncIterator[WatchBatch]:
        """See `MetadataStore.watch`."""
        while True:
            stream = await self._open()
            try:
                while True:
                    batch = await self._step(stream)
                    if batch is not None:
                        self._failures = 0
                        yield batch
            except (MemberFailedError, EtcdRefusedError) as error:
                self._http.check_open()
                self._on_failure(stream.endpoint, error)
            finally:
                stream.close()

    async def _open(self) -> EtcdStream:
        """A stream from where we are. Raises StoreError when no member gives one."""
        while True:
            self._http.check_open()
            # Goes to the next member when the one in use is gone, and sees whether the store went back.
            await self._check_revision()
            self._fragments = []
            self._behind = self._awaited = 0
            endpoint = self._http.current
            try:
                return await self._http.open_stream("/v3/watch", self._keyspace.watch(max(self._covered, 1)))
            except (MemberFailedError, EtcdRefusedError) as error:
                self._on_failure(endpoint, error)

    def _on_failure(self, endpoint: str, error: Exception) -> None:
        self._failures += 1
        if self._failures >= _FAILURES_MAX:
            raise StoreError(f"the watch breaks off again and again, last at {endpoint}: {error}") from error
        self._http.leave(endpoint, str(error))

    async def _step(self, stream: EtcdStream) -> WatchBatch | None:
        """The next message, or a tick of silence."""
        try:
            async with time_limit(self._timers, TICK_MS):
                message = await stream.next()
        except TimeoutError:
            await self._on_silence()
            return None
        return self._take(message)

    def _take(self, message: Json) -> WatchBatch | None:
        if message.get("canceled"):
            compacted = number(message, "compact_revision")
            if compacted:
                raise CompactedError(f"revision {self._covered + 1} is gone: history begins at {compacted}")
            raise MemberFailedError(f"it cancelled the watch: {message.get('cancel_reason', 'no reason given')}")
        events = message.get("events", [])
        self._fragments += events
        if message.get("fragment") or message.get("created"):
            return None
        if not self._fragments:
            return self._progress(revision_of(message))
        gathered, self._fragments = self._fragments, []
        return self._batch(gathered)

    def _batch(self, raw: list[Json]) -> WatchBatch | None:
        last = number(raw[-1]["kv"], "mod_revision")
        if last <= self._covered:
            return None
        fresh = [event for event in raw if number(event["kv"], "mod_revision") > self._covered]
        self._covered = last
        return WatchBatch(last, tuple(found for event in fresh if (found := self._wanted_event(event)) is not None))

    def _wanted_event(self, raw: dict[str, Any]) -> WatchEvent | None:
        event = self._keyspace.watch_event(raw)
        return event if event is not None and event.key.startswith(self._prefix) else None

    def _progress(self, revision: int) -> WatchBatch | None:
        """etcd tells a revision without events when all before it have been sent."""
        if revision <= self._covered:
            return None
        self._covered = revision
        return WatchBatch(revision, ())

    async def _on_silence(self) -> None:
        now_ms = self._clock.monotonic_ms()
        if self._awaited > self._covered:
            if now_ms >= self._answer_by_ms:
                raise MemberFailedError("its watch has fallen silent")
            return
        newest = self._wanted()
        if now_ms >= self._next_check_ms:
            newest = max(newest, await self._check_revision())
            if newest <= self._covered:
                self._failures = 0
        if self._behind > self._covered:
            await self._write_progress()
        elif newest > self._covered:
            # What is on its way has one more tick to arrive.
            self._behind = newest

    async def _check_revision(self) -> int:
        covered = self._covered
        answer = await self._http.read("/v3/kv/range", {"key": text(self._keyspace.progress)})
        newest = revision_of(answer)
        self._next_check_ms = self._clock.monotonic_ms() + CHECK_MS
        if newest < covered:
            raise StoreError(f"etcd is at revision {newest}, but its revision {covered} was seen before")
        return newest

    async def _write_progress(self) -> None:
        put = {"key": text(self._keyspace.progress)}
        self._awaited = revision_of(await self._http.read("/v3/kv/put", put))
        self._answer_by_ms = self._clock.monotonic_ms() + ANSWER_MS
        self._behind = 0
