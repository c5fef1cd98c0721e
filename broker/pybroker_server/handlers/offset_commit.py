"""OffsetCommit: store a group's positions.

Versions 2-10. v2-4 carry a retention time, v6 leader epochs (KIP-320), v7 static members (KIP-345), v9 member epochs
(KIP-848), v10 topics by id. Positions of partitions that do not exist are refused one by one; the others are stored
together or not at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import OffsetCommitRequest, OffsetCommitResponse
from pybroker_server.coordinator.effects import Effects
from pybroker_server.coordinator.effects import Reply as CoordinatorReply
from pybroker_server.coordinator.group.offsets.commit import Commit, OffsetToCommit
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import Pending, Reply, RequestContext
from pybroker_server.handlers.services import Services
from pybroker_server.metadata.image import MetadataImage

if TYPE_CHECKING:
    from pybroker_server.coordinator.group.shard import GroupShard

Partition = OffsetCommitResponse.OffsetCommitResponsePartition
Topic = OffsetCommitResponse.OffsetCommitResponseTopic

_TOPIC_IDS_FROM = 10


def refuse_all(context: RequestContext, request: OffsetCommitRequest, code: ErrorCode) -> OffsetCommitResponse:
    """A response that says `code` of every partition in the request."""
    return OffsetCommitResponse(
        topics=[
            Topic(
                name=topic.name,
                topic_id=topic.topic_id,
                partitions=[
                    Partition(partition_index=each.partition_index, error_code=code) for each in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )


@handles(ApiKey.OFFSET_COMMIT, 2, 10, pipelined=True, error_response=refuse_all)
def handle_offset_commit(services: Services, context: RequestContext, request: OffsetCommitRequest) -> Reply:
    """See the head of this file."""
    plan = _Plan(services.metadata.image, request, by_id=context.api_version >= _TOPIC_IDS_FROM)
    if not plan.offsets:
        return plan.response()
    commit = Commit(
        request.group_id,
        request.member_id,
        request.group_instance_id,
        request.generation_id_or_member_epoch,
        context.api_version,
        request.retention_time_ms,
        plan.offsets,
    )

    def run(shard: GroupShard, effects: Effects, reply: CoordinatorReply[Sequence[ErrorCode]]) -> None:
        shard.offsets.commit(effects, reply, commit)

    pending: Pending[OffsetCommitResponse] = Pending()
    reply = CoordinatorReply[Sequence[ErrorCode]](
        lambda codes: pending.complete(plan.response(codes)), lambda code: [code] * len(plan.offsets)
    )
    services.groups.run(request.group_id, run, reply)
    return pending


class _Plan:
    """Which partitions are there to be committed; what the response says of the others.

    A topic that is named twice is answered twice, but once when any partition of the request is refused here: Kafka
    puts its own refusals and the coordinator's answers together by topic. A topic without partitions is not answered.
    """

    def __init__(self, image: MetadataImage, request: OffsetCommitRequest, *, by_id: bool) -> None:
        self.offsets: list[OffsetToCommit] = []
        self._places: list[Topic] = []
        """Where the code of each of `offsets` goes."""
        self._refused: dict[object, Topic] = {}
        self._asked: list[Topic] = []
        self._by_id = by_id
        self._image = image
        for topic in request.topics:
            self._take(topic)

    def _take(self, topic: OffsetCommitRequest.OffsetCommitRequestTopic) -> None:
        image = self._image
        found = image.topics_by_id.get(topic.topic_id) if self._by_id else image.topics_by_name.get(topic.name)
        asked = Topic(name=topic.name, topic_id=topic.topic_id)
        for each in topic.partitions:
            if found is None or not 0 <= each.partition_index < len(found.partitions):
                refused = self._refused.setdefault(self._key(topic), Topic(name=topic.name, topic_id=topic.topic_id))
                is_unknown_id = found is None and self._by_id
                code = ErrorCode.UNKNOWN_TOPIC_ID if is_unknown_id else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
                refused.partitions.append(Partition(partition_index=each.partition_index, error_code=code))
                continue
            where = (found.name, each.partition_index)
            self.offsets.append(
                OffsetToCommit(
                    where, each.committed_offset, each.committed_leader_epoch, each.committed_metadata, found.topic_id
                )
            )
            self._places.append(asked)
        self._asked.append(asked)

    def _key(self, topic: Topic | OffsetCommitRequest.OffsetCommitRequestTopic) -> object:
        return topic.topic_id if self._by_id else topic.name

    def response(self, codes: Sequence[ErrorCode] = ()) -> OffsetCommitResponse:
        for offset, place, code in zip(self.offsets, self._places, codes, strict=True):
            place.partitions.append(Partition(partition_index=offset.where[1], error_code=code))
        answered = [topic for topic in self._asked if topic.partitions]
        if not self._refused:
            return OffsetCommitResponse(topics=answered)
        merged = self._refused
        for topic in answered:
            first = merged.setdefault(self._key(topic), topic)
            if first is not topic:
                first.partitions += topic.partitions
        return OffsetCommitResponse(topics=list(merged.values()))
