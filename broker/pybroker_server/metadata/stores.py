"""Opens a metadata store by its URL, the value of `metadata.store.url` (design D4).

`sqlite:///absolute/path[?shared=true]`, `etcd://host:port,host:port/prefix[?options]` (`etcd_url.py` lists them) and
`memory://`. A new kind of store adds one entry to `_OPENERS`.

Rules of this file: a store is imported when its URL is given: etcd's loads aiohttp, which others do not pay for.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from pybroker_server.metadata.store import MetadataStore
from pybroker_server.runtime.runtime import Runtime


class StoreUrlError(ValueError):
    """The URL names no store that can be opened; the message is fit for the user."""


async def open_store(url: str, runtime: Runtime) -> MetadataStore:
    """Raises StoreUrlError for a bad URL, StoreError when the store cannot be opened."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise StoreUrlError(f"metadata.store.url is no URL: {error}") from None
    opener = _OPENERS.get(parts.scheme)
    if opener is None:
        known = ", ".join(f"{scheme}://" for scheme in _OPENERS)
        raise StoreUrlError(f"metadata.store.url: {url!r} names no known store; known are {known}")
    return await opener(url, parts, runtime)


async def _open_memory(url: str, parts: SplitResult, runtime: Runtime) -> MetadataStore:
    if parts.netloc or parts.path or parts.query:
        raise StoreUrlError(f"metadata.store.url: {url!r}: nothing may follow memory://")
    from pybroker_server.metadata.memory import MemoryStore

    return MemoryStore(runtime.clock, runtime.timers)


async def _open_sqlite(url: str, parts: SplitResult, runtime: Runtime) -> MetadataStore:
    path = unquote(parts.path)
    if parts.netloc or not path.strip("/") or path.endswith("/"):
        raise StoreUrlError(f"metadata.store.url: {url!r}: write sqlite:///absolute/path/of/the/file")
    options = parse_qs(parts.query, keep_blank_values=True)
    shared = options.pop("shared", ["false"])[-1]
    if options or shared not in ("true", "false"):
        raise StoreUrlError(f"metadata.store.url: {url!r}: the only option is shared=true or shared=false")
    from pybroker_server.metadata.sqlite import SqliteStore

    return await SqliteStore.open(
        path,
        disk=runtime.disk,
        clock=runtime.clock,
        timers=runtime.timers,
        blocking=runtime.blocking,
        shared=shared == "true",
    )


async def _open_etcd(url: str, parts: SplitResult, runtime: Runtime) -> MetadataStore:
    from pybroker_server.metadata.etcd_url import parse_etcd_url

    try:
        options = parse_etcd_url(parts)
    except ValueError as error:
        # The URL is not shown: it may hold a password, which is one of the errors.
        raise StoreUrlError(f"metadata.store.url: etcd://...: {error}") from None
    from pybroker_server.metadata.etcd import EtcdStore

    return await EtcdStore.open(options, runtime)


_OPENERS: dict[str, Callable[[str, SplitResult, Runtime], Awaitable[MetadataStore]]] = {
    "sqlite": _open_sqlite,
    "etcd": _open_etcd,
    "memory": _open_memory,
}
