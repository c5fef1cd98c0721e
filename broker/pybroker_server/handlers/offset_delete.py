"""OffsetDelete: delete a group's stored positions of some partitions (KIP-496). Version 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import OffsetDeleteRequest, OffsetDeleteResponse
from pybroker_server.coordinator.effects import Effects
from pybroker_server.coordinator.effects import Reply as CoordinatorReply
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import Pending, Reply, RequestContext
from pybroker_server.handlers.services import Services

if TYPE_CHECKING:
    from pybroker_server.coordinator.group.shard import GroupShard

Partition = OffsetDeleteResponse.OffsetDeleteResponsePartition
Topic = OffsetDeleteResponse.OffsetDeleteResponseTopic


@handles(ApiKey.OFFSET_DELETE, 0, 0)
def handle_offset_delete(services: Services, context: RequestContext, request: OffsetDeleteRequest) -> Reply:
    """Partitions that do not exist are refused one by one, as Kafka does."""
    image = services.metadata.image
    refused: dict[str, Topic] = {}
    asked_topics: list[Topic] = []
    wanted: list[tuple[str, int]] = []
    places: list[Topic] = []
    for asked in request.topics:
        topic = Topic(name=asked.name)
        for each in asked.partitions:
            if image.partition(asked.name, each.partition_index) is None:
                code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
                place = refused.setdefault(asked.name, Topic(name=asked.name))
                place.partitions.append(Partition(partition_index=each.partition_index, error_code=code))
            else:
                wanted.append((asked.name, each.partition_index))
                places.append(topic)
        asked_topics.append(topic)
    if not request.group_id:
        return OffsetDeleteResponse(error_code=ErrorCode.INVALID_GROUP_ID)
    pending: Pending[OffsetDeleteResponse] = Pending()

    def complete(answer: Sequence[ErrorCode] | ErrorCode) -> None:
        if isinstance(answer, ErrorCode):
            pending.complete(OffsetDeleteResponse(error_code=answer))
            return
        for (_, index), place, code in zip(wanted, places, answer, strict=True):
            place.partitions.append(Partition(partition_index=index, error_code=code))
        pending.complete(OffsetDeleteResponse(topics=_merged(refused, asked_topics)))

    def delete(shard: GroupShard, effects: Effects, reply: CoordinatorReply[Sequence[ErrorCode] | ErrorCode]) -> None:
        effects.answer(reply, shard.offsets.delete(effects, request.group_id, wanted))

    reply = CoordinatorReply[Sequence[ErrorCode] | ErrorCode](complete, lambda code: code)
    services.groups.run(request.group_id, delete, reply)
    return pending


def _merged(refused: dict[str, Topic], asked: Sequence[Topic]) -> list[Topic]:
    """As Kafka does it: a topic named twice is answered twice, but once when any partition was refused before."""
    answered = [topic for topic in asked if topic.partitions]
    if not refused:
        return answered
    for topic in answered:
        first = refused.setdefault(topic.name, topic)
        if first is not topic:
            first.partitions += topic.partitions
    return list(refused.values())
