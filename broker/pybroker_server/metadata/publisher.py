"""Follows the metadata store and publishes each new image to the parts of this broker.

Rules of this file: it alone holds the current image and owns the watch. Images are published on the event
loop, one after the other, each newer than the last; listeners are called synchronously and in the order they
subscribed, so that all parts see the same image between two events. After a gap or a compaction the image is
rebuilt from a range read at one revision. While the store cannot be reached the last image stays in force. A
store that went back, or that belongs to another cluster, is refused: that ends the broker (reliability.md
R12).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pybroker_server.metadata.delta import apply, build_image
from pybroker_server.metadata.image import MetadataImage
from pybroker_server.metadata.store import (
    CompactedError,
    KeyValue,
    MetadataStore,
    StoreDamagedError,
    StoreError,
)
from pybroker_server.runtime.ports import Timers
from pybroker_server.runtime.tasks import TaskOwner
from pybroker_server.telemetry.events import get_logger

PAGE_KEYS = 5_000
"""Keys per range read while the image is built."""
RETRY_MS = 500
HISTORY_KEPT = 10_000
"""Revisions kept behind the newest, so that a broker that was away for a moment can follow instead of
reading anew."""

Listener = Callable[[MetadataImage, MetadataImage], None]
"""(old image, new image)"""

_log = get_logger("pybroker.metadata")


class StoreWentBackError(Exception):
    """The store is older than what was already seen, or another cluster's. Going on would lose metadata."""


class MetadataPublisher:
    """`image` is the newest image; `start` builds the first one before it returns."""

    def __init__(self, store: MetadataStore, timers: Timers, *, known_revision: int = 0) -> None:
        """`known_revision`: what this broker saw in an earlier life; a store that is older is refused."""
        self.image = MetadataImage()
        self._store = store
        self._timers = timers
        self._known_revision = known_revision
        self._compacted = 0
        self._task: asyncio.Task[None] | None = None
        self._listeners: list[Listener] = []
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    def subscribe(self, listener: Listener) -> None:
        """Called with every further image; one subscribed before `start` sees the first against an empty
        one."""
        self._listeners.append(listener)

    async def start(self, owner: TaskOwner) -> None:
        """Raises StoreError when the store cannot be read, StoreWentBackError when it must not be trusted."""
        self._publish(await self._load())
        self._compacted = max(self.image.revision - HISTORY_KEPT, 0)
        self._task = owner.spawn("metadata-watch", self._follow())

    async def stop(self) -> None:
        """Follows no longer; call it before the store is closed."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def wait_for_revision(self, revision: int) -> None:
        """Returns when the image shows `revision` or a later one."""
        if self.image.revision >= revision:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((revision, waiter))
        await waiter

    async def _follow(self) -> None:
        while True:
            try:
                async for batch in self._store.watch(b"", self.image.revision + 1):
                    self._publish(apply(self.image, batch))
                    await self._maybe_compact()
            except StoreDamagedError:
                raise
            except CompactedError:
                _log.warning("metadata_watch_compacted", revision=self.image.revision)
                await self._reload()
            except StoreError as error:
                _log.warning("metadata_store_unreachable", error=str(error), revision=self.image.revision)
                await self._pause()
                await self._reload()

    async def _reload(self) -> None:
        while True:
            try:
                image = await self._load()
            except StoreDamagedError:
                raise
            except StoreError as error:
                _log.warning("metadata_store_unreachable", error=str(error), revision=self.image.revision)
                await self._pause()
            else:
                break
        if image.revision > self.image.revision:
            self._publish(image)

    async def _load(self) -> MetadataImage:
        """Reads everything at one revision, page by page."""
        page = await self._store.range(b"", limit=PAGE_KEYS)
        revision = page.revision
        items: list[KeyValue] = list(page.items)
        while len(page.items) == PAGE_KEYS:
            page = await self._store.range(b"", limit=PAGE_KEYS, after=items[-1].key, revision=revision)
            items += page.items
        image = build_image(items, revision)
        self._check(image)
        return image

    def _check(self, image: MetadataImage) -> None:
        seen = max(self.image.revision, self._known_revision)
        if image.revision < seen:
            raise StoreWentBackError(f"the metadata store is at revision {image.revision}, but {seen} was seen before")
        if self.image.cluster_id and image.cluster_id != self.image.cluster_id:
            raise StoreWentBackError(
                f"the metadata store is of cluster {image.cluster_id or '(none)'}, not {self.image.cluster_id}"
            )

    def _publish(self, image: MetadataImage) -> None:
        old, self.image = self.image, image
        for listener in self._listeners:
            listener(old, image)
        ready = [waiter for revision, waiter in self._waiting if revision <= image.revision]
        self._waiting = [entry for entry in self._waiting if entry[0] > image.revision]
        for waiter in ready:
            if not waiter.done():
                waiter.set_result(None)

    async def _maybe_compact(self) -> None:
        if self.image.revision - self._compacted >= 2 * HISTORY_KEPT:
            self._compacted = self.image.revision - HISTORY_KEPT
            await self._store.compact(self._compacted)

    async def _pause(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        handle = self._timers.call_after_ms(RETRY_MS, lambda: waiter.set_result(None))
        try:
            await waiter
        finally:
            handle.cancel()
