"""Metadata: brokers, topics, partitions and their leaders.

Versions 0-13. v0 has no "no topics": an empty list means all, as null does from v1 on. v4 may forbid
auto-creation, v5 offline replicas, v6 LISTENER_NOT_FOUND, v7 leader epochs (KIP-320), v8 authorized
operations (KIP-430), v10 topic ids (KIP-516), v12 topics by id, v13 a top-level error code (KIP-1102).

A named topic that does not exist is begun to be created when the request and `auto.create.topics.enable`
allow it; the answer is UNKNOWN_TOPIC_OR_PARTITION all the same, and clients ask again. One topic id in a
request makes all of it a request by id.

A broker whose lease is over knows no more who leads what it led. It closes the connection of whoever asks for such a
partition: told that there is no leader, librdkafka would ask the same broker again and again, for as long as it is cut
off, while others know the new one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.messages import MetadataRequest, MetadataResponse
from pybroker_server.controller.topics import check_name
from pybroker_server.handlers.authorized_operations import on_cluster, on_topic
from pybroker_server.handlers.partition_views import (
    ReachableBroker,
    controller_for,
    leader_and_error,
    listed_brokers,
    offline_replicas,
    reachable_brokers,
)
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import CloseConnection, Pending, RequestContext
from pybroker_server.handlers.services import Services
from pybroker_server.metadata.image import INTERNAL_TOPICS, PartitionImage, TopicImage

Topic = MetadataResponse.MetadataResponseTopic
Partition = MetadataResponse.MetadataResponsePartition

_NO_ID = UUID(int=0)


def error_response(context: RequestContext, request: MetadataRequest, code: ErrorCode) -> MetadataResponse:
    """Says `code` of every topic asked, and of the request where the version has a place for it."""
    topics = [Topic(error_code=code, name=asked.name or "", topic_id=asked.topic_id) for asked in request.topics or ()]
    return MetadataResponse(topics=topics, cluster_id=None, controller_id=-1, error_code=code)


@handles(ApiKey.METADATA, 0, 13, error_response=error_response)
def handle_metadata(
    services: Services, context: RequestContext, request: MetadataRequest
) -> MetadataResponse | Pending[MetadataResponse]:
    pending: Pending[Any] = Pending()

    def answer_later() -> None:
        try:
            pending.complete(_answer(services, context, request))
        except CloseConnection as close:
            pending.complete(close)

    return pending if services.departures.wait(answer_later) else _answer(services, context, request)


def _answer(services: Services, context: RequestContext, request: MetadataRequest) -> MetadataResponse:
    """Raises CloseConnection."""
    version, image = context.api_version, services.metadata.image
    asked = request.topics
    if _is_malformed(version, asked):
        return _refused(request)
    reachable = reachable_brokers(services, context.connection)
    services.replicas.check_lease(context.now_ms)
    view = _View(services, reachable, version, on_topic(request.include_topic_authorized_operations))
    if asked is None or (version == 0 and not asked):
        topics = [view.topic(topic) for _, topic in sorted(image.topics_by_name.items())]
    elif any(topic.topic_id != _NO_ID for topic in asked):
        topics = view.topics_by_id(topic.topic_id for topic in asked)
    else:
        names = dict.fromkeys(topic.name for topic in asked if topic.name is not None)
        topics, missing = view.topics_by_name(names)
        if missing and request.allow_auto_topic_creation and services.config.auto_create_topics_enable:
            services.controller.auto_create_topics(missing, services.config)
    return MetadataResponse(
        brokers=[
            MetadataResponse.MetadataResponseBroker(
                node_id=node_id,
                host=found.endpoint.host,
                port=found.endpoint.port,
                rack=found.broker.rack,
            )
            for node_id, found in listed_brokers(services, context.connection, reachable).items()
        ],
        cluster_id=services.cluster_id,
        controller_id=controller_for(services, reachable),
        topics=topics,
        cluster_authorized_operations=on_cluster(request.include_cluster_authorized_operations),
    )


def _is_malformed(version: int, asked: list[MetadataRequest.MetadataRequestTopic] | None) -> bool:
    """Names may be null, and ids given, from version 12 on only; and then one of the two has to be there."""
    if asked is None or version < 10:
        return False
    if version < 12:
        return any(topic.name is None or topic.topic_id != _NO_ID for topic in asked)
    return any(topic.name is None and topic.topic_id == _NO_ID for topic in asked)


def _refused(request: MetadataRequest) -> MetadataResponse:
    """Kafka names the topics and nothing else: no brokers, no cluster, and no top-level code."""
    topics = [
        Topic(error_code=ErrorCode.INVALID_REQUEST, name=asked.name or "", topic_id=asked.topic_id)
        for asked in request.topics or ()
    ]
    return MetadataResponse(topics=topics, cluster_id=None, controller_id=-1)


class _View:
    """Topics of one image as one request is to see them. Raises CloseConnection: see the head of this file."""

    def __init__(
        self, services: Services, reachable: dict[int, ReachableBroker], version: int, operations: int
    ) -> None:
        self._replicas = services.replicas
        self._image = services.metadata.image
        self._reachable = reachable
        self._version = version
        self._operations = operations

    def topic(self, topic: TopicImage) -> Topic:
        return Topic(
            error_code=0,
            name=topic.name,
            topic_id=topic.topic_id,
            is_internal=topic.is_internal,
            partitions=[self._partition(partition) for partition in topic.partitions],
            topic_authorized_operations=self._operations,
        )

    def topics_by_id(self, topic_ids: Iterable[UUID]) -> list[Topic]:
        answers = []
        for topic_id in dict.fromkeys(topic_ids):
            topic = self._image.topics_by_id.get(topic_id)
            if topic is not None:
                answers.append(self.topic(topic))
            elif topic_id != _NO_ID:
                answers.append(Topic(error_code=ErrorCode.UNKNOWN_TOPIC_ID, name=None, topic_id=topic_id))
        return answers

    def topics_by_name(self, names: Iterable[str]) -> tuple[list[Topic], list[str]]:
        """Answers, and the names that could be created."""
        answers, missing = [], []
        for name in names:
            topic = self._image.topics_by_name.get(name)
            if topic is not None:
                answers.append(self.topic(topic))
                continue
            code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
            try:
                check_name(name)
                missing.append(name)
            except KafkaError as error:
                code = error.code
            answers.append(
                Topic(
                    error_code=code,
                    name=name,
                    is_internal=name in INTERNAL_TOPICS,
                    topic_authorized_operations=self._operations,
                )
            )
        return answers, missing

    def _partition(self, partition: PartitionImage) -> Partition:
        reachable = self._reachable
        if self._replicas.may_have_lost(partition):
            raise CloseConnection("metadata of a partition that this broker led until its lease ended")
        leader, code = leader_and_error(
            partition, reachable, self._image.brokers, knows_listener_errors=self._version >= 6
        )
        replicas, isr = list(partition.replicas), list(partition.isr)
        if self._version == 0:
            # Version 0 clients take every id for a broker that they were told of.
            replicas = [node_id for node_id in replicas if node_id in reachable]
            isr = [node_id for node_id in isr if node_id in reachable]
            if code is ErrorCode.NONE and len(replicas) < len(partition.replicas):
                code = ErrorCode.REPLICA_NOT_AVAILABLE
        return Partition(
            error_code=code,
            partition_index=partition.index,
            leader_id=leader,
            leader_epoch=partition.leader_epoch,
            replica_nodes=replicas,
            isr_nodes=isr,
            offline_replicas=offline_replicas(partition, reachable),
        )
