"""The metadata store of clusters over many hosts: an etcd cluster (design D4). Consensus is etcd's job.

Rules of this file: each method of `MetadataStore` as requests to etcd, and nothing that etcd does not promise. A commit
is sent once: when its answer is lost, its outcome is unknown and StoreError says so; the caller reads and decides.
Reads have a quorum behind them. The store's revision is etcd's, which also rises with what others write there.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from pybroker_server.metadata.etcd_answer import EtcdRefusedError
from pybroker_server.metadata.etcd_http import EtcdHttp
from pybroker_server.metadata.etcd_url import EtcdOptions
from pybroker_server.metadata.etcd_watch import EtcdWatch
from pybroker_server.metadata.etcd_wire import Json, Keyspace, number, revision_of, text
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
    check_commit,
)
from pybroker_server.runtime.runtime import Runtime

_COMPACTED = "required revision has been compacted"
_NO_LEASE = "requested lease not found"


class EtcdStore:
    """See `store.MetadataStore`; made by `open`."""

    max_operations_per_commit = 128

    def __init__(self, http: EtcdHttp, keyspace: Keyspace, runtime: Runtime) -> None:
        self._http = http
        self._keyspace = keyspace
        self._runtime = runtime
        self._told_revision = 0
        """The newest revision that a commit told without having changed anything there."""

    @classmethod
    async def open(cls, options: EtcdOptions, runtime: Runtime) -> EtcdStore:
        """Raises StoreError when no member answers or the first that does refuses."""
        keyspace = Keyspace(options.prefix)
        http = await EtcdHttp.open(options, keyspace.progress, runtime)
        store = cls(http, keyspace, runtime)
        try:
            await store.get(b"cluster")
        except BaseException:
            await http.close()
            raise
        return store

    @property
    def member_in_use(self) -> str:
        """Base URL of the member that is asked next."""
        return self._http.current

    async def get(self, key: bytes) -> tuple[KeyValue | None, int]:
        answer = await self._http.read("/v3/kv/range", {"key": text(self._keyspace.key(key))})
        found = answer.get("kvs", [])
        return self._keyspace.key_value(found[0]) if found else None, revision_of(answer)

    async def range(self, prefix: bytes, *, limit: int = 0, after: bytes = b"", revision: int = 0) -> RangeResult:
        try:
            answer = await self._http.read("/v3/kv/range", self._keyspace.range(prefix, limit, after, revision))
        except EtcdRefusedError as refusal:
            if _COMPACTED in refusal.reason:
                raise CompactedError(f"revision {revision} is gone: etcd's history was compacted") from refusal
            raise
        items = tuple(self._keyspace.key_value(found) for found in answer.get("kvs", []))
        return RangeResult(items, revision or revision_of(answer))

    async def commit(
        self, compares: Sequence[Compare] = (), puts: Sequence[Put] = (), deletes: Sequence[bytes] = ()
    ) -> CommitResult:
        check_commit(puts, deletes)
        try:
            answer = await self._http.write("/v3/kv/txn", self._keyspace.commit(compares, puts, deletes))
        except EtcdRefusedError as refusal:
            if _NO_LEASE in refusal.reason:
                raise LeaseNotFoundError("a lease of the commit expired or never was") from refusal
            raise
        result = CommitResult(bool(answer.get("succeeded")), revision_of(answer))
        if not (result.succeeded and puts):
            self._told_revision = max(self._told_revision, result.revision)
        return result

    def watch(self, prefix: bytes, from_revision: int) -> AsyncIterator[WatchBatch]:
        watch = EtcdWatch(self._http, self._keyspace, self._runtime, prefix, from_revision, lambda: self._told_revision)
        return watch.batches()

    async def grant_lease(self, ttl_ms: int) -> int:
        # One that was granted without our hearing of it carries no key and runs out.
        answer = await self._http.read("/v3/lease/grant", {"TTL": str(max(-(-ttl_ms // 1000), 1))})
        return number(answer, "ID")

    async def keep_alive(self, lease_id: int) -> int:
        answer = await self._http.read("/v3/lease/keepalive", {"ID": str(lease_id)})
        seconds = number(answer.get("result", {}), "TTL")
        if seconds <= 0:
            raise LeaseNotFoundError(f"lease {lease_id} expired or never was")
        return seconds * 1000

    async def revoke_lease(self, lease_id: int) -> None:
        try:
            await self._http.write("/v3/lease/revoke", {"ID": str(lease_id)})
        except EtcdRefusedError as refusal:
            if _NO_LEASE in refusal.reason:
                raise LeaseNotFoundError(f"lease {lease_id} expired or never was") from refusal
            raise

    async def compact(self, revision: int) -> None:
        """Forgets one revision less than it may: a watch from `revision` on then misses nothing (`etcd_watch.py`).

        The history is etcd's, hence also that of others who use it.
        """
        _, newest = await self.get(b"cluster")
        if revision > newest:
            raise StoreError(f"revision {revision} is in the future: the store is at {newest}")
        body: Json = {"revision": str(revision - 1)}
        try:
            if revision > 1:
                await self._http.read("/v3/kv/compaction", body)
        except EtcdRefusedError as refusal:
            if _COMPACTED not in refusal.reason:
                raise

    async def close(self) -> None:
        await self._http.close()
