"""The metadata store: a small ordered map of bytes with revisions, in etcd's words (design D4).

Rules of this file: the interface and its values only. No Kafka meaning lives in a store; it lives above,
once, in `image.py`, `keys.py` and the controller. Implementations: `memory.py`, `sqlite.py`, `etcd.py`; one
conformance suite (`tests/conformance/`) runs over all of them. Every revision is a positive 64-bit number
that rises with each commit that changed something; `create_revision` 0 means "the key does not exist", as in
etcd.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class KeyValue:
    key: bytes
    value: bytes
    create_revision: int
    mod_revision: int
    lease_id: int = 0


@dataclass(frozen=True, slots=True)
class Compare:
    """Holds when the key's modification revision equals `mod_revision`; 0 = the key must not exist."""

    key: bytes
    mod_revision: int


@dataclass(frozen=True, slots=True)
class Put:
    key: bytes
    value: bytes
    lease_id: int = 0


@dataclass(frozen=True, slots=True)
class CommitResult:
    """`succeeded` is False when a comparison failed: nothing was written. `revision` is the store's
    newest."""

    succeeded: bool
    revision: int


@dataclass(frozen=True, slots=True)
class RangeResult:
    items: tuple[KeyValue, ...]
    revision: int
    """The store revision at which the items were read."""


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One changed key. A deletion has an empty `value` and `deleted` set; `mod_revision` is that of the
    change.
    """

    key: bytes
    value: bytes
    mod_revision: int
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class WatchBatch:
    """All changes under the prefix of one or more revisions, in order; `revision` is the last one covered.

    A revision is never split over two batches. `events` may be empty (progress).
    """

    revision: int
    events: tuple[WatchEvent, ...]


class StoreError(Exception):
    """The store could not be reached or refused: the operation may or may not have happened."""


class CompactedError(StoreError):
    """The asked revision is gone; read the range again and watch from its revision + 1."""


class StoreDamagedError(StoreError):
    """What the store keeps is not what was written. It is refused, never repaired by guessing or begun
    anew."""


class LeaseNotFoundError(StoreError):
    """The lease expired or never was; what it carried is deleted."""


def check_commit(puts: Sequence[Put], deletes: Sequence[bytes]) -> None:
    """Raises ValueError, in every implementation alike, for a commit that touches a key twice or an empty
    key.
    """
    keys = [put.key for put in puts] + list(deletes)
    if len(set(keys)) != len(keys):
        raise ValueError("a key stands twice among the puts and deletes of one commit")
    if b"" in keys:
        raise ValueError("an empty key cannot be written")


class MetadataStore(Protocol):
    """Nine methods and no more. All may raise `StoreError`; values are whole, never merged."""

    @property
    def max_operations_per_commit(self) -> int:
        """Compares, puts and deletes that one commit may hold, each counted for itself (etcd: 128 by
        default).
        """

    async def get(self, key: bytes) -> tuple[KeyValue | None, int]:
        """The key's newest value (None when absent) and the store's revision."""

    async def range(self, prefix: bytes, *, limit: int = 0, after: bytes = b"", revision: int = 0) -> RangeResult:
        """Keys with the prefix in byte order, after `after` if given; at an older `revision` if given and
        kept.
        """

    async def commit(
        self, compares: Sequence[Compare] = (), puts: Sequence[Put] = (), deletes: Sequence[bytes] = ()
    ) -> CommitResult:
        """All or nothing. A key may stand once among puts and deletes. Deleting an absent key is no
        change."""

    def watch(self, prefix: bytes, from_revision: int) -> AsyncIterator[WatchBatch]:
        """Changes with `mod_revision >= from_revision`, for ever.

        Raises CompactedError when `from_revision` lies below the compacted revision, StoreError when the
        store is closed or lost: the caller then begins again with a range read.
        """

    async def grant_lease(self, ttl_ms: int) -> int:
        """A new lease id. Keys put with it are deleted (in one revision) when it expires or is revoked.

        It lives at least `ttl_ms`; a store may round up, and expiry may be noticed a little later.
        """

    async def keep_alive(self, lease_id: int) -> int:
        """Renews the lease; the remaining time in ms. Raises LeaseNotFoundError."""

    async def revoke_lease(self, lease_id: int) -> None: ...

    async def compact(self, revision: int) -> None:
        """Forgets history below `revision`; newest values stay. A revision already compacted is no error."""

    async def close(self) -> None: ...
