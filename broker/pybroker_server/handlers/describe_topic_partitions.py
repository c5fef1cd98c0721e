"""DescribeTopicPartitions: topics and their partitions in pages, in order of names (KIP-966).

Version 0. No topics asked means all. An answer holds at most `response_partition_limit` partitions (and at
most `max.request.partition.size.limit`); where it stops, a cursor says what to ask for next. Topics that do
not exist take no room.
"""

from __future__ import annotations

from collections.abc import Iterable

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.messages import DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse
from pybroker_server.controller.topics import check_name
from pybroker_server.handlers.authorized_operations import ALL_ON_TOPIC
from pybroker_server.handlers.partition_views import (
    ReachableBroker,
    leader_and_error,
    offline_replicas,
    reachable_brokers,
)
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import RequestContext
from pybroker_server.handlers.services import Services
from pybroker_server.metadata.image import NO_LEADER, PartitionImage, TopicImage

Topic = DescribeTopicPartitionsResponse.DescribeTopicPartitionsResponseTopic
Partition = DescribeTopicPartitionsResponse.DescribeTopicPartitionsResponsePartition
Cursor = DescribeTopicPartitionsResponse.Cursor


def error_response(
    context: RequestContext, request: DescribeTopicPartitionsRequest, code: ErrorCode
) -> DescribeTopicPartitionsResponse:
    topics = [Topic(error_code=code, name=topic.name) for topic in request.topics]
    return DescribeTopicPartitionsResponse(topics=topics, next_cursor=None)


@handles(ApiKey.DESCRIBE_TOPIC_PARTITIONS, 0, 0, error_response=error_response)
def handle_describe_topic_partitions(
    services: Services, context: RequestContext, request: DescribeTopicPartitionsRequest
) -> DescribeTopicPartitionsResponse:
    image = services.metadata.image
    asked = {topic.name for topic in request.topics}
    cursor = request.cursor
    if cursor is not None and (cursor.partition_index < 0 or (asked and cursor.topic_name not in asked)):
        return error_response(context, request, ErrorCode.INVALID_REQUEST)
    first_name = cursor.topic_name if cursor is not None else ""
    names = sorted(name for name in asked or image.topics_by_name if name >= first_name)
    limit = max(1, min(request.response_partition_limit, services.config.max_request_partition_size_limit))
    services.replicas.check_lease(context.now_ms)
    page = _Page(services, reachable_brokers(services, context.connection), limit)
    page.fill(names, first_name, cursor.partition_index if cursor is not None else 0)
    return DescribeTopicPartitionsResponse(topics=page.topics, next_cursor=page.next_cursor)


class _Page:
    """One answer being filled."""

    def __init__(self, services: Services, reachable: dict[int, ReachableBroker], limit: int) -> None:
        self.topics: list[Topic] = []
        self.next_cursor: Cursor | None = None
        self._replicas = services.replicas
        self._image = services.metadata.image
        self._reachable = reachable
        self._room = limit

    def fill(self, names: Iterable[str], first_name: str, first_index: int) -> None:
        for name in names:
            if self._room == 0:
                self.next_cursor = Cursor(topic_name=name, partition_index=0)
                return
            topic = self._image.topics_by_name.get(name)
            if topic is None:
                self.topics.append(_unknown(name))
                continue
            begin = first_index if name == first_name else 0
            taken = topic.partitions[begin : begin + self._room]
            self._room -= len(taken)
            self.topics.append(self._topic(topic, taken))
            if begin + len(taken) < len(topic.partitions):
                self.next_cursor = Cursor(topic_name=name, partition_index=begin + len(taken))
                return

    def _topic(self, topic: TopicImage, partitions: Iterable[PartitionImage]) -> Topic:
        return Topic(
            name=topic.name,
            topic_id=topic.topic_id,
            is_internal=topic.is_internal,
            partitions=[self._partition(partition) for partition in partitions],
            topic_authorized_operations=ALL_ON_TOPIC,
        )

    def _partition(self, partition: PartitionImage) -> Partition:
        leader, code = NO_LEADER, ErrorCode.LEADER_NOT_AVAILABLE
        if not self._replicas.may_have_lost(partition):
            leader, code = leader_and_error(partition, self._reachable, self._image.brokers)
        return Partition(
            error_code=code,
            partition_index=partition.index,
            leader_id=leader,
            leader_epoch=partition.leader_epoch,
            replica_nodes=list(partition.replicas),
            isr_nodes=list(partition.isr),
            eligible_leader_replicas=list(partition.eligible_leader_replicas),
            last_known_elr=list(partition.last_known_eligible_leader_replicas),
            offline_replicas=offline_replicas(partition, self._reachable),
        )


def _unknown(name: str) -> Topic:
    code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    try:
        check_name(name)
    except KafkaError as error:
        code = error.code
    return Topic(error_code=code, name=name, topic_authorized_operations=ALL_ON_TOPIC)
