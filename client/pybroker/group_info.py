"""What is told of a group: its members, who owns what, how far it has come. Pure.

Rules: one shape for both protocols; what only the newer one knows (epochs, targets, patterns) is empty for a classic
group. What a member of another kind of client wrote into its metadata and cannot be read counts as nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

from pybroker.metadata import TopicPartition
from pybroker_protocol.codec import decode
from pybroker_protocol.errors import ProtocolError
from pybroker_protocol.messages import (
    ConsumerGroupDescribeResponse,
    ConsumerProtocolAssignment,
    ConsumerProtocolSubscription,
    DescribeGroupsResponse,
)

__all__ = ["CommittedOffset", "GroupInfo", "GroupListing", "GroupMember", "PartitionLag"]

_VERSION: Final = Struct(">h")
_HIGHEST_VERSION: Final = 3
_CONSUMERS: Final = "consumer"


@dataclass(frozen=True, slots=True)
class GroupListing:
    """A group as it is listed. `kind` is "classic", "consumer", "share" or "streams", as far as the broker says it."""

    name: str
    kind: str
    protocol_type: str
    state: str
    coordinator: int
    """The node id of the broker that looks after it."""


@dataclass(frozen=True, slots=True)
class GroupMember:
    """One consumer. `epoch` is -1 and `target` empty in a classic group."""

    member_id: str
    instance_id: str | None
    client_id: str
    host: str
    topics: tuple[str, ...]
    assigned: tuple[TopicPartition, ...]
    pattern: str | None = None
    epoch: int = -1
    target: tuple[TopicPartition, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupInfo:
    """A group and its members. `assignor` is the strategy in use, `epoch` -1 in a classic group."""

    name: str
    kind: str
    state: str
    coordinator: int
    protocol_type: str
    assignor: str
    members: tuple[GroupMember, ...]
    epoch: int = -1
    assignment_epoch: int = -1

    @property
    def owners(self) -> dict[TopicPartition, GroupMember]:
        """Which member owns a partition."""
        return {tp: member for member in self.members for tp in member.assigned}


@dataclass(frozen=True, slots=True)
class CommittedOffset:
    """A stored position: the next record that the group is to read."""

    offset: int
    leader_epoch: int = -1
    metadata: str = ""


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """How far a group is behind in a partition; None for what is not there."""

    committed: CommittedOffset | None
    end: int | None
    """The offset after the last record; None when the partition is gone or has no leader."""
    member: GroupMember | None

    @property
    def lag(self) -> int | None:
        """Records left, never below zero; None unless both ends are known."""
        if self.committed is None or self.end is None:
            return None
        return max(self.end - self.committed.offset, 0)


def classic_group(answer: DescribeGroupsResponse.DescribedGroup, coordinator: int) -> GroupInfo:
    is_consumers = answer.protocol_type == _CONSUMERS
    members = [
        GroupMember(
            each.member_id,
            each.group_instance_id,
            each.client_id,
            each.client_host.removeprefix("/"),
            _subscribed(each.member_metadata) if is_consumers else (),
            _assigned(each.member_assignment) if is_consumers else (),
        )
        for each in answer.members
    ]
    return GroupInfo(
        answer.group_id,
        "classic",
        answer.group_state,
        coordinator,
        answer.protocol_type,
        answer.protocol_data,
        tuple(members),
    )


def consumer_group(answer: ConsumerGroupDescribeResponse.DescribedGroup, coordinator: int) -> GroupInfo:
    members = [
        GroupMember(
            each.member_id,
            each.instance_id,
            each.client_id,
            each.client_host.removeprefix("/"),
            tuple(sorted(each.subscribed_topic_names)),
            _partitions(each.assignment),
            each.subscribed_topic_regex or None,
            each.member_epoch,
            _partitions(each.target_assignment),
        )
        for each in answer.members
    ]
    return GroupInfo(
        answer.group_id,
        "consumer",
        answer.group_state,
        coordinator,
        _CONSUMERS,
        answer.assignor_name,
        tuple(members),
        answer.group_epoch,
        answer.assignment_epoch,
    )


def _partitions(assignment: ConsumerGroupDescribeResponse.Assignment) -> tuple[TopicPartition, ...]:
    found = [
        TopicPartition(topic.topic_name, index) for topic in assignment.topic_partitions for index in topic.partitions
    ]
    return tuple(sorted(found))


def _subscribed(metadata: bytes) -> tuple[str, ...]:
    try:
        version = _version_of(metadata)
        read, _ = decode(ConsumerProtocolSubscription, version, memoryview(metadata), _VERSION.size)
    except ProtocolError:
        return ()
    return tuple(sorted(set(read.topics)))


def _assigned(assignment: bytes) -> tuple[TopicPartition, ...]:
    try:
        version = _version_of(assignment)
        read, _ = decode(ConsumerProtocolAssignment, version, memoryview(assignment), _VERSION.size)
    except ProtocolError:
        return ()
    found = [TopicPartition(topic.topic, index) for topic in read.assigned_partitions for index in topic.partitions]
    return tuple(sorted(found))


def _version_of(blob: bytes) -> int:
    if len(blob) < _VERSION.size:
        raise ProtocolError("too short for a version")
    (version,) = _VERSION.unpack_from(blob)
    if version < 0:
        raise ProtocolError(f"version {version}")
    # A newer one begins as the newest that we know (KIP-345 keeps it so).
    return min(int(version), _HIGHEST_VERSION)
