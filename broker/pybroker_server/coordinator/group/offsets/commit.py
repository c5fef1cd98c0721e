"""What clients ask to commit, and what they are told of it: the values of OffsetCommit and OffsetFetch.

Rules of this file: plain values, cheap to import; handlers build them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from pybroker_protocol.errors import ErrorCode
from pybroker_server.coordinator.group.offsets.store import CommittedOffset, TopicPartition


class OffsetToCommit(NamedTuple):
    """One partition of an OffsetCommit."""

    where: TopicPartition
    offset: int
    leader_epoch: int
    metadata: str | None
    topic_id: UUID


class Commit(NamedTuple):
    """An OffsetCommit of version 2-10. `epoch` is a generation id or a member epoch, -1 outside membership."""

    group_id: str
    member_id: str
    instance_id: str | None
    epoch: int
    version: int
    retention_ms: int
    offsets: Sequence[OffsetToCommit]


class TransactionalCommit(NamedTuple):
    """A TxnOffsetCommit. `epoch` is a generation id or a member epoch; versions 0-2 say nothing of membership."""

    group_id: str
    member_id: str
    instance_id: str | None
    epoch: int
    version: int
    producer_id: int
    producer_epoch: int
    offsets: Sequence[OffsetToCommit]


class Fetched(NamedTuple):
    """One partition of an OffsetFetch. Nothing committed: `committed` None without an error."""

    where: TopicPartition
    committed: CommittedOffset | None
    error: ErrorCode = ErrorCode.NONE
