"""The newest changes of a store, kept in memory so that many watchers can follow at their own pace.

Rules of this file: a bounded buffer on the event loop, shared by the store implementations. A watcher that
falls out of the buffer reads the store's own history; it never holds anything up, and nothing here grows with
its slowness.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from itertools import islice

from pybroker_server.metadata.store import StoreError, WatchBatch, WatchEvent

BATCHES_KEPT = 1024
EVENTS_PER_BATCH = 10_000
"""A batch read from history holds about this many events: it ends with the revision that reaches the number.
"""

ReadHistory = Callable[[int], Awaitable[WatchBatch | None]]
"""(from_revision) -> all kept changes of the next revisions, None when there are none yet; may raise
CompactedError.
"""


class ChangeFeed:
    """`revision` is the newest one published. The kept batches are `_first_kept` to `revision` without a
    hole.
    """

    def __init__(self, revision: int) -> None:
        self.revision = revision
        self._kept: deque[WatchBatch] = deque(maxlen=BATCHES_KEPT)
        self._first_kept = revision + 1
        self._waiting: set[asyncio.Future[None]] = set()
        self._closed = False

    def publish(self, batches: Iterable[WatchBatch]) -> None:
        for batch in batches:
            assert batch.revision == self.revision + 1, "every revision is published once, in order"
            if len(self._kept) == BATCHES_KEPT:
                self._first_kept += 1
            self._kept.append(batch)
            self.revision = batch.revision
        self._wake()

    def forget_below(self, revision: int) -> None:
        """After a compaction: what the history no longer has must not be seen here either."""
        while self._kept and self._first_kept < revision:
            self._kept.popleft()
            self._first_kept += 1

    def close(self) -> None:
        """Ends every watch with StoreError."""
        self._closed = True
        self._wake()

    async def watch(self, prefix: bytes, from_revision: int, read_history: ReadHistory) -> AsyncIterator[WatchBatch]:
        following = from_revision
        while True:
            if self._closed:
                raise StoreError("the metadata store is closed")
            if following > self.revision:
                await self._wait()
                continue
            if following < self._first_kept:
                batch = await read_history(following)
                if batch is not None:
                    following = batch.revision + 1
                    yield _under(prefix, batch)
                continue
            for batch in list(islice(self._kept, following - self._first_kept, None)):
                following = batch.revision + 1
                yield _under(prefix, batch)

    async def _wait(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiter)
        try:
            await waiter
        finally:
            self._waiting.discard(waiter)

    def _wake(self) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_result(None)


def _under(prefix: bytes, batch: WatchBatch) -> WatchBatch:
    if not prefix:
        return batch
    return WatchBatch(batch.revision, tuple(event for event in batch.events if event.key.startswith(prefix)))


def batches_of(events: Iterable[WatchEvent]) -> list[WatchBatch]:
    """One batch per revision, from events in order of revision."""
    grouped: dict[int, list[WatchEvent]] = {}
    for event in events:
        grouped.setdefault(event.mod_revision, []).append(event)
    return [WatchBatch(revision, tuple(of_revision)) for revision, of_revision in grouped.items()]
