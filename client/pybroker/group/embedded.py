"""What members of a classic group tell each other inside JoinGroup and SyncGroup: the consumer protocol's own bytes.

Rules: written as the Java client and librdkafka read it: a version, then the message. A newer version only appends
fields, so a version that is not known is read as the newest that is. The cooperative-sticky assignor of older Java
clients looks for the generation in the user data (an int32); newer ones and librdkafka take it from the subscription.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

from pybroker.group.assignors import Subscriber
from pybroker.metadata import TopicPartition
from pybroker_protocol.codec import decode, encode
from pybroker_protocol.errors import ProtocolError
from pybroker_protocol.messages import ConsumerProtocolAssignment, ConsumerProtocolSubscription

__all__ = ["read_assignment", "read_subscription", "write_assignment", "write_subscription"]

_VERSION: Final = struct.Struct(">h")
_GENERATION: Final = struct.Struct(">i")
_SUBSCRIPTION_VERSION: Final = 3
_ASSIGNMENT_VERSION: Final = 3
_ASSIGNMENT_VERSION_WRITTEN: Final = 0


def write_subscription(
    topics: Iterable[str],
    *,
    owned: Iterable[TopicPartition] = (),
    generation: int = -1,
    rack: str = "",
    is_sticky: bool = False,
) -> bytes:
    """JoinGroup's metadata for one assignor."""
    message = ConsumerProtocolSubscription(
        topics=sorted(topics),
        user_data=_GENERATION.pack(generation) if is_sticky else None,
        owned_partitions=[
            ConsumerProtocolSubscription.TopicPartition(topic=topic, partitions=numbers)
            for topic, numbers in _by_topic(owned).items()
        ],
        generation_id=generation,
        rack_id=rack or None,
    )
    return _VERSION.pack(_SUBSCRIPTION_VERSION) + b"".join(encode(message, _SUBSCRIPTION_VERSION))


def read_subscription(member_id: str, instance_id: str | None, data: bytes) -> Subscriber:
    """A member as its metadata describes it; one whose bytes make no sense subscribes to nothing."""
    try:
        version = min(_version_of(data), _SUBSCRIPTION_VERSION)
        message, _ = decode(ConsumerProtocolSubscription, version, memoryview(data), _VERSION.size)
    except ProtocolError:
        return Subscriber(member_id, frozenset(), instance_id)
    owned = tuple(TopicPartition(each.topic, number) for each in message.owned_partitions for number in each.partitions)
    generation = message.generation_id
    if generation < 0 and message.user_data is not None and len(message.user_data) == _GENERATION.size:
        (generation,) = _GENERATION.unpack(message.user_data)
    return Subscriber(member_id, frozenset(message.topics), instance_id, owned, generation)


def write_assignment(partitions: Iterable[TopicPartition]) -> bytes:
    """SyncGroup's assignment for one member."""
    message = ConsumerProtocolAssignment(
        assigned_partitions=[
            ConsumerProtocolAssignment.TopicPartition(topic=topic, partitions=numbers)
            for topic, numbers in _by_topic(partitions).items()
        ],
        user_data=None,
    )
    return _VERSION.pack(_ASSIGNMENT_VERSION_WRITTEN) + b"".join(encode(message, _ASSIGNMENT_VERSION_WRITTEN))


def read_assignment(data: bytes) -> list[TopicPartition]:
    """What the leader assigned; nothing when there are no bytes. Raises ProtocolError."""
    if not data:
        return []
    version = min(_version_of(data), _ASSIGNMENT_VERSION)
    message, _ = decode(ConsumerProtocolAssignment, version, memoryview(data), _VERSION.size)
    return [TopicPartition(each.topic, number) for each in message.assigned_partitions for number in each.partitions]


def _version_of(data: bytes) -> int:
    if len(data) < _VERSION.size:
        raise ProtocolError("no version before the consumer protocol's message")
    version: int = _VERSION.unpack_from(data)[0]
    if version < 0:
        raise ProtocolError(f"version {version} of the consumer protocol")
    return version


def _by_topic(partitions: Iterable[TopicPartition]) -> dict[str, list[int]]:
    topics: dict[str, list[int]] = {}
    for tp in sorted(partitions):
        topics.setdefault(tp.topic, []).append(tp.partition)
    return topics
