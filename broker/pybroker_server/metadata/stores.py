"""Opens a metadata store by its URL, the value of `metadata.store.url` (design D4).

`sqlite:///absolute/path[?shared=true]` and `memory://`. A new kind of store adds one entry to `_OPENERS`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from pybroker_server.metadata.memory import MemoryStore
from pybroker_server.metadata.sqlite import SqliteStore
from pybroker_server.metadata.store import MetadataStore
from pybroker_server.runtime.ports import Blocking, Clock, Disk, Timers


class StoreUrlError(ValueError):
    """The URL names no store that can be opened; the message is fit for the user."""


@dataclass(frozen=True, slots=True)
class StorePorts:
    """What the stores need of the outside world."""

    disk: Disk
    clock: Clock
    timers: Timers
    blocking: Blocking


async def open_store(url: str, ports: StorePorts) -> MetadataStore:
    """Raises StoreUrlError for a bad URL, StoreError when the store cannot be opened."""
    parts = urlsplit(url)
    opener = _OPENERS.get(parts.scheme)
    if opener is None:
        known = ", ".join(f"{scheme}://" for scheme in _OPENERS)
        raise StoreUrlError(f"metadata.store.url: {url!r} names no known store; known are {known}")
    return await opener(url, parts, ports)


async def _open_memory(url: str, parts: SplitResult, ports: StorePorts) -> MetadataStore:
    if parts.netloc or parts.path or parts.query:
        raise StoreUrlError(f"metadata.store.url: {url!r}: nothing may follow memory://")
    return MemoryStore(ports.clock, ports.timers)


async def _open_sqlite(url: str, parts: SplitResult, ports: StorePorts) -> MetadataStore:
    path = unquote(parts.path)
    if parts.netloc or not path.strip("/") or path.endswith("/"):
        raise StoreUrlError(f"metadata.store.url: {url!r}: write sqlite:///absolute/path/of/the/file")
    options = parse_qs(parts.query, keep_blank_values=True)
    shared = options.pop("shared", ["false"])[-1]
    if options or shared not in ("true", "false"):
        raise StoreUrlError(f"metadata.store.url: {url!r}: the only option is shared=true or shared=false")
    return await SqliteStore.open(
        path,
        disk=ports.disk,
        clock=ports.clock,
        timers=ports.timers,
        blocking=ports.blocking,
        shared=shared == "true",
    )


_OPENERS: dict[str, Callable[[str, SplitResult, StorePorts], Awaitable[MetadataStore]]] = {
    "sqlite": _open_sqlite,
    "memory": _open_memory,
}
