"""OffsetFetch: a group's stored positions, of some or all topics.

Versions 1-10. v2 null topics for all and a code for the group, v7 `require_stable` (KIP-447), v8 several groups at once
(KIP-709), v9 member epochs (KIP-848), v10 topics by id. Nothing stored is offset -1 without an error, also for a group
that nobody knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING
from uuid import UUID

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import OffsetFetchRequest, OffsetFetchResponse
from pybroker_server.coordinator.effects import Effects
from pybroker_server.coordinator.effects import Reply as CoordinatorReply
from pybroker_server.handlers.coordination import Gather
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import Reply, RequestContext
from pybroker_server.handlers.services import Services
from pybroker_server.metadata.image import MetadataImage

if TYPE_CHECKING:
    from pybroker_server.coordinator.group.offsets.commit import Fetched
    from pybroker_server.coordinator.group.shard import GroupShard

Group = OffsetFetchResponse.OffsetFetchResponseGroup
GroupRequest = OffsetFetchRequest.OffsetFetchRequestGroup
Partition = OffsetFetchResponse.OffsetFetchResponsePartitions
Topic = OffsetFetchResponse.OffsetFetchResponseTopics

_TOP_LEVEL_ERROR_FROM = 2
_GROUPS_FROM = 8
_TOPIC_IDS_FROM = 10
_NO_OFFSET = -1
_ZERO = UUID(int=0)


@handles(ApiKey.OFFSET_FETCH, 1, 10)
def handle_offset_fetch(services: Services, context: RequestContext, request: OffsetFetchRequest) -> Reply:
    """See the head of this file."""
    version = context.api_version
    groups = request.groups if version >= _GROUPS_FROM else [_as_group(request)]

    def finish(answers: Sequence[Group]) -> OffsetFetchResponse:
        return OffsetFetchResponse(groups=list(answers)) if version >= _GROUPS_FROM else _as_one(answers[0])

    gather: Gather[Group, OffsetFetchResponse] = Gather(finish)
    for group in groups:
        question = _Question(services.metadata.image, group, version, require_stable=request.require_stable)
        services.groups.run(group.group_id, question.ask, gather.reply(question.refuse))
    return gather.seal()


def _as_group(request: OffsetFetchRequest) -> GroupRequest:
    """Versions 1-7 in the form of version 8."""
    topics = None
    if request.topics is not None:
        topics = [
            OffsetFetchRequest.OffsetFetchRequestTopics(name=topic.name, partition_indexes=topic.partition_indexes)
            for topic in request.topics
        ]
    return GroupRequest(group_id=request.group_id, topics=topics)


def _as_one(group: Group) -> OffsetFetchResponse:
    return OffsetFetchResponse(
        error_code=group.error_code,
        topics=[
            OffsetFetchResponse.OffsetFetchResponseTopic(
                name=topic.name,
                partitions=[
                    OffsetFetchResponse.OffsetFetchResponsePartition(
                        partition_index=each.partition_index,
                        committed_offset=each.committed_offset,
                        committed_leader_epoch=each.committed_leader_epoch,
                        metadata=each.metadata,
                        error_code=each.error_code,
                    )
                    for each in topic.partitions
                ],
            )
            for topic in group.topics
        ],
    )


class _Question:
    """One group of the request."""

    def __init__(self, image: MetadataImage, group: GroupRequest, version: int, *, require_stable: bool) -> None:
        self._image = image
        self._group = group
        self._version = version
        self._by_id = version >= _TOPIC_IDS_FROM
        self._require_stable = require_stable
        self._known: list[tuple[str, UUID, list[int]]] = []
        self._unknown: list[Topic] = []
        for topic in group.topics or ():
            self._take(topic)

    def _take(self, topic: OffsetFetchRequest.OffsetFetchRequestTopics) -> None:
        name = topic.name
        if self._by_id:
            found = self._image.topics_by_id.get(topic.topic_id)
            if found is None:
                self._unknown.append(_failed(topic, ErrorCode.UNKNOWN_TOPIC_ID))
                return
            name = found.name
        self._known.append((name, topic.topic_id, topic.partition_indexes))

    def ask(self, shard: GroupShard, effects: Effects, reply: CoordinatorReply[Group]) -> None:
        group = self._group
        wanted = None
        if group.topics is not None:
            wanted = [(name, index) for name, _, indexes in self._known for index in indexes]
        found = shard.offsets.fetch(
            group.group_id,
            wanted,
            member_id=group.member_id,
            member_epoch=group.member_epoch,
            require_stable=self._require_stable,
        )
        topics = self._all(found) if wanted is None else self._asked(found)
        effects.answer(reply, Group(group_id=group.group_id, topics=topics))

    def refuse(self, code: ErrorCode) -> Group:
        """Version 1 has no place for the group's code: every partition says it."""
        group = self._group
        if self._version >= _TOP_LEVEL_ERROR_FROM:
            return Group(group_id=group.group_id, error_code=code)
        return Group(group_id=group.group_id, topics=[_failed(topic, code) for topic in group.topics or ()])

    def _asked(self, found: Sequence[Fetched]) -> list[Topic]:
        rest = iter(found)
        topics = [
            Topic(name=name, topic_id=topic_id, partitions=[_partition(each) for each in islice(rest, len(indexes))])
            for name, topic_id, indexes in self._known
        ]
        return topics + self._unknown

    def _all(self, found: Sequence[Fetched]) -> list[Topic]:
        topics: dict[str, Topic] = {}
        for each in found:
            name = each.where[0]
            topic = topics.get(name)
            if topic is None:
                image = self._image.topics_by_name.get(name)
                topic = topics[name] = Topic(name=name, topic_id=_ZERO if image is None else image.topic_id)
            topic.partitions.append(_partition(each))
        # By id only what still has one can be told.
        return [topic for topic in topics.values() if not self._by_id or topic.topic_id != _ZERO]


def _failed(topic: OffsetFetchRequest.OffsetFetchRequestTopics, code: ErrorCode) -> Topic:
    return Topic(
        name=topic.name,
        topic_id=topic.topic_id,
        partitions=[
            Partition(partition_index=index, committed_offset=_NO_OFFSET, metadata="", error_code=code)
            for index in topic.partition_indexes
        ],
    )


def _partition(fetched: Fetched) -> Partition:
    committed = fetched.committed
    if committed is None:
        return Partition(
            partition_index=fetched.where[1], committed_offset=_NO_OFFSET, metadata="", error_code=fetched.error
        )
    return Partition(
        partition_index=fetched.where[1],
        committed_offset=committed.offset,
        committed_leader_epoch=committed.leader_epoch,
        metadata=committed.metadata,
    )
