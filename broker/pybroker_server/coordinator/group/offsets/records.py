"""A committed offset as it is stored (`OffsetCommit`, key type 1; type 0 is an older form and only read).

Rules of this file: pure.
"""

from __future__ import annotations

from typing import Final

from pybroker_protocol.messages import LegacyOffsetCommitValue, OffsetCommitKey, OffsetCommitValue
from pybroker_server.coordinator.group.offsets.store import CommittedOffset, TopicPartition
from pybroker_server.coordinator.records import CoordinatorRecord

_WITH_EXPIRY: Final = 1
_CURRENT: Final = 4


def offset_record(group_id: str, where: TopicPartition, committed: CommittedOffset) -> CoordinatorRecord:
    """At version 4, or 1 for one that has a time of expiry of its own, as Kafka writes them."""
    value = OffsetCommitValue(
        offset=committed.offset,
        leader_epoch=committed.leader_epoch,
        metadata=committed.metadata,
        commit_timestamp=committed.commit_timestamp_ms,
        expire_timestamp=committed.expire_timestamp_ms,
        topic_id=committed.topic_id,
    )
    version = _WITH_EXPIRY if committed.expire_timestamp_ms >= 0 else _CURRENT
    return CoordinatorRecord(_key(group_id, where), value, version)


def offset_tombstone(group_id: str, where: TopicPartition) -> CoordinatorRecord:
    return CoordinatorRecord(_key(group_id, where), None)


def _key(group_id: str, where: TopicPartition) -> OffsetCommitKey:
    return OffsetCommitKey(group=group_id, topic=where[0], partition=where[1])


def committed_from(value: OffsetCommitValue | LegacyOffsetCommitValue) -> CommittedOffset:
    if isinstance(value, LegacyOffsetCommitValue):
        return CommittedOffset(value.offset, -1, value.metadata, value.commit_timestamp)
    return CommittedOffset(
        value.offset,
        value.leader_epoch,
        value.metadata,
        value.commit_timestamp,
        value.expire_timestamp,
        value.topic_id,
    )
