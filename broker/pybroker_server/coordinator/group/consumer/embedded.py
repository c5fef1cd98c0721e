"""What clients of the classic protocol tell each other inside JoinGroup and SyncGroup: subscriptions and assignments.

Rules of this file: pure. In a consumer group the broker reads and writes them in the place of the clients' leader. The
first protocol that a member names decides, as all of them carry the same topics.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

from pybroker_protocol.codec import decode, encode
from pybroker_protocol.errors import ErrorCode, KafkaError, ProtocolError
from pybroker_protocol.messages import ConsumerProtocolAssignment, ConsumerProtocolSubscription
from pybroker_server.coordinator.group.consumer.member import Assignment, ClassicMetadata
from pybroker_server.metadata.image import MetadataImage

_VERSION: Final = Struct(">h")
_HIGHEST: Final = 3


@dataclass(frozen=True, slots=True)
class Subscription:
    topics: tuple[str, ...]
    owned: Assignment
    rack_id: str | None


def subscription_of(classic: ClassicMetadata, image: MetadataImage) -> Subscription:
    """What the member subscribes to and owns. Raises KafkaError INCONSISTENT_GROUP_PROTOCOL when it cannot be read."""
    metadata = classic.protocols[0][1]
    try:
        version = _version_of(metadata)
        read, _ = decode(ConsumerProtocolSubscription, version, memoryview(metadata), _VERSION.size)
    except ProtocolError:
        raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL, "The member's subscription cannot be read.") from None
    owned = {
        image.topics_by_name[each.topic].topic_id: frozenset(each.partitions)
        for each in read.owned_partitions
        if each.topic in image.topics_by_name and each.partitions
    }
    return Subscription(tuple(sorted(set(read.topics))), owned, read.rack_id)


def assignment_bytes(assigned: Assignment, classic: ClassicMetadata, image: MetadataImage) -> bytes:
    """The assignment in the version that the member spoke; topics that are gone are left out."""
    version = _version_of(classic.protocols[0][1])
    message = ConsumerProtocolAssignment(
        assigned_partitions=[
            ConsumerProtocolAssignment.TopicPartition(
                topic=image.topics_by_id[topic_id].name, partitions=sorted(partitions)
            )
            for topic_id, partitions in assigned.items()
            if topic_id in image.topics_by_id
        ],
        user_data=None,
    )
    return _VERSION.pack(version) + b"".join(bytes(part) for part in encode(message, version))


def assignment_from(data: bytes, image: MetadataImage) -> Assignment:
    """Raises ProtocolError."""
    if not data:
        return {}
    read, _ = decode(ConsumerProtocolAssignment, _version_of(data), memoryview(data), _VERSION.size)
    return {
        image.topics_by_name[each.topic].topic_id: frozenset(each.partitions)
        for each in read.assigned_partitions
        if each.topic in image.topics_by_name and each.partitions
    }


def _version_of(data: bytes) -> int:
    """Versions of the future are read as the highest known one, which they begin with."""
    if len(data) < _VERSION.size:
        raise ProtocolError("no version")
    version: int = _VERSION.unpack_from(data)[0]
    if version < 0:
        raise ProtocolError("a negative version")
    return min(version, _HIGHEST)
