"""Metadata and its relatives. Where a test says "Kafka", the answer was taken from Apache Kafka 4.3.0."""

from __future__ import annotations

from dataclasses import replace
from typing import cast
from uuid import UUID

import pytest
from tests.support.admin import AdminBroker, LeasedReplicas, an_admin_broker
from tests.support.cluster import a_broker

from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import (
    DescribeClusterRequest,
    DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse,
    MetadataRequest,
    MetadataResponse,
)
from pybroker_server.controller.topics import NewTopic
from pybroker_server.handlers.request import CloseConnection
from pybroker_server.metadata.image import Endpoint, PartitionImage
from pybroker_server.metadata.keys import encode_broker, encode_partition, partition_key
from pybroker_server.metadata.store import Put

NOT_ASKED = -(2**31)
ALL_ON_TOPIC, ALL_ON_CLUSTER = 3576, 8096  # Kafka's, without an authorizer
NO_ID = UUID(int=0)


def named(*names: str | None) -> list[MetadataRequest.MetadataRequestTopic]:
    return [MetadataRequest.MetadataRequestTopic(name=name) for name in names]


def by_id(*topic_ids: UUID) -> list[MetadataRequest.MetadataRequestTopic]:
    return [MetadataRequest.MetadataRequestTopic(name=None, topic_id=topic_id) for topic_id in topic_ids]


async def create(broker: AdminBroker, *wanted: NewTopic) -> None:
    outcomes = await broker.cluster.controller.create_topics(wanted, broker.cluster.config)
    assert all(outcome.error is None for outcome in outcomes)


async def change_partition(broker: AdminBroker, topic: str, **fields: object) -> None:
    """Writes partition 0 of a topic as the leader or an election would."""
    image = broker.cluster.image.topics_by_name[topic]
    changed: PartitionImage = replace(image.partitions[0], **fields)  # type: ignore[arg-type]
    result = await broker.cluster.store.commit(puts=[Put(partition_key(image.topic_id, 0), encode_partition(changed))])
    await broker.cluster.publisher.wait_for_revision(result.revision)


def summary(response: MetadataResponse) -> list[tuple[int, str | None, int]]:
    return [(topic.error_code, topic.name, len(topic.partitions)) for topic in response.topics]


@pytest.mark.parametrize("version", range(14))
async def test_a_topic_by_name_in_every_version(version: int) -> None:
    async with an_admin_broker(brokers=(1, 2)) as broker:
        await create(broker, NewTopic("t", 2, 2))
        answer = await broker.ask(version, MetadataRequest(topics=named("t")))
        assert [(b.node_id, b.host, b.port) for b in answer.brokers] == [(1, "127.0.0.1", 9001), (2, "127.0.0.1", 9002)]
        assert answer.cluster_id == ("test-cluster" if version >= 2 else None)
        assert answer.controller_id == (1 if version >= 1 else -1)
        [topic] = answer.topics
        expected_id = broker.cluster.image.topics_by_name["t"].topic_id if version >= 10 else NO_ID
        assert (topic.name, topic.topic_id, topic.error_code) == ("t", expected_id, 0)
        for index, partition in enumerate(topic.partitions):
            assert partition.partition_index == index
            assert partition.leader_id == partition.replica_nodes[0]
            assert sorted(partition.isr_nodes) == [1, 2]
            assert partition.leader_epoch == (0 if version >= 7 else -1)
            assert partition.error_code == 0


async def test_null_and_empty_lists_of_topics() -> None:
    async with an_admin_broker() as broker:
        await create(broker, NewTopic("b", 1, 1), NewTopic("a", 1, 1))
        everything = [(0, "a", 1), (0, "b", 1)]
        assert summary(await broker.ask(0, MetadataRequest(topics=[]))) == everything
        for version in (1, 9, 13):
            assert summary(await broker.ask(version, MetadataRequest(topics=None))) == everything
            assert summary(await broker.ask(version, MetadataRequest(topics=[]))) == []


async def test_the_first_answer_is_unknown_and_a_later_one_has_the_topic() -> None:
    async with an_admin_broker({"num.partitions": "3"}) as broker:
        request = MetadataRequest(topics=named("new"), allow_auto_topic_creation=True)
        assert summary(await broker.ask(12, request)) == [(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "new", 0)]
        await broker.cluster.publisher.wait_for_revision(broker.cluster.image.revision + 1)
        assert summary(await broker.ask(12, request)) == [(0, "new", 3)]


@pytest.mark.parametrize(
    ("version", "allowed", "enabled"), [(12, False, "true"), (12, True, "false"), (3, True, "false")]
)
async def test_nothing_is_created_unless_request_and_broker_allow_it(version: int, allowed: bool, enabled: str) -> None:
    async with an_admin_broker({"auto.create.topics.enable": enabled}) as broker:
        request = MetadataRequest(topics=named("new"), allow_auto_topic_creation=allowed)
        assert summary(await broker.ask(version, request)) == [(3, "new", 0)]
        assert broker.cluster.runtime.tasks.task_names == ["test/metadata-watch"]


async def test_asking_for_all_topics_or_by_id_creates_none() -> None:
    async with an_admin_broker() as broker:
        await broker.ask(12, MetadataRequest(topics=None))
        await broker.ask(12, MetadataRequest(topics=by_id(UUID(int=77))))
        assert broker.cluster.runtime.tasks.task_names == ["test/metadata-watch"]


async def test_illegal_names_are_told_and_not_created() -> None:
    async with an_admin_broker() as broker:
        answer = await broker.ask(9, MetadataRequest(topics=named("x/y", "", ".", "a" * 250)))
        assert {topic.error_code for topic in answer.topics} == {ErrorCode.INVALID_TOPIC_EXCEPTION}
        assert broker.cluster.runtime.tasks.task_names == ["test/metadata-watch"]


async def test_topics_by_id() -> None:
    async with an_admin_broker() as broker:
        await create(broker, NewTopic("t", 1, 1), NewTopic("u", 1, 1))
        topic_id = broker.cluster.image.topics_by_name["t"].topic_id
        answer = await broker.ask(12, MetadataRequest(topics=by_id(topic_id, UUID(int=77), topic_id)))
        assert summary(answer) == [(0, "t", 1), (ErrorCode.UNKNOWN_TOPIC_ID, None, 0)]
        assert answer.topics[1].topic_id == UUID(int=77)
        # Kafka: one id makes it a request by id, names are not looked at.
        mixed = await broker.ask(12, MetadataRequest(topics=by_id(topic_id) + named("u")))
        assert summary(mixed) == [(0, "t", 1)]
        wrong_name = [MetadataRequest.MetadataRequestTopic(name="u", topic_id=topic_id)]
        assert summary(await broker.ask(12, MetadataRequest(topics=wrong_name))) == [(0, "t", 1)]


@pytest.mark.parametrize("version", [10, 11])
async def test_versions_with_ids_but_not_by_id_refuse_them(version: int) -> None:
    """Kafka: neither brokers nor cluster, and the topics with what was given of them."""
    async with an_admin_broker() as broker:
        asked = [MetadataRequest.MetadataRequestTopic(name="t", topic_id=UUID(int=7)), *named(None)]
        answer = await broker.ask(version, MetadataRequest(topics=asked))
        assert (answer.brokers, answer.cluster_id, answer.controller_id) == ([], None, -1)
        assert [(t.error_code, t.name, t.topic_id) for t in answer.topics] == [
            (ErrorCode.INVALID_REQUEST, "t", UUID(int=7)),
            (ErrorCode.INVALID_REQUEST, "", NO_ID),
        ]


async def test_a_topic_asked_twice_is_answered_once() -> None:
    async with an_admin_broker() as broker:
        await create(broker, NewTopic("t", 1, 1))
        assert summary(await broker.ask(12, MetadataRequest(topics=named("t", "t", "no", "no"))))[0] == (0, "t", 1)
        assert len((await broker.ask(12, MetadataRequest(topics=named("t", "t")))).topics) == 1


@pytest.mark.parametrize("version", [8, 9, 10])
async def test_authorized_operations_are_told_when_asked(version: int) -> None:
    async with an_admin_broker() as broker:
        await create(broker, NewTopic("t", 1, 1))
        silent = await broker.ask(version, MetadataRequest(topics=named("t")))
        assert silent.cluster_authorized_operations == NOT_ASKED
        assert silent.topics[0].topic_authorized_operations == NOT_ASKED
        request = MetadataRequest(
            topics=named("t"),
            include_cluster_authorized_operations=True,
            include_topic_authorized_operations=True,
        )
        told = await broker.ask(version, request)
        assert told.cluster_authorized_operations == ALL_ON_CLUSTER
        assert told.topics[0].topic_authorized_operations == ALL_ON_TOPIC


async def test_a_partition_without_a_leader_stays_in_the_list() -> None:
    async with an_admin_broker(brokers=(1, 2)) as broker:
        await create(broker, NewTopic("t", 2, 2))
        await change_partition(broker, "t", leader=-1, leader_epoch=5, isr=(2,))
        answer = await broker.ask(12, MetadataRequest(topics=named("t")))
        partition = answer.topics[0].partitions[0]
        assert len(answer.topics[0].partitions) == 2
        assert (partition.error_code, partition.leader_id, partition.leader_epoch) == (5, -1, 5)
        assert partition.isr_nodes == [2]


async def test_a_fenced_broker_is_not_listed_and_its_partitions_have_no_leader() -> None:
    async with an_admin_broker(brokers=(1, 2)) as broker:
        await create(broker, NewTopic("t", 2, 2))
        await broker.cluster.controller.register_broker(a_broker(2, fenced=True))
        for version, isr in ((12, [1, 2]), (0, [1])):
            answer = await broker.ask(version, MetadataRequest(topics=named("t")))
            assert [b.node_id for b in answer.brokers] == [1]
            of_two = next(p for p in answer.topics[0].partitions if p.leader_id == -1)
            assert of_two.error_code == ErrorCode.LEADER_NOT_AVAILABLE
            assert sorted(of_two.isr_nodes) == isr
            assert of_two.offline_replicas == ([2] if version >= 5 else [])


async def test_a_broker_that_just_died_is_listed_and_leads_nothing() -> None:
    async with an_admin_broker(brokers=(1, 2)) as broker:
        await create(broker, NewTopic("t", 2, 2))
        controller, image = broker.cluster.controller, broker.cluster.image
        await controller.fence_broker(2, image.brokers[2].epoch)
        answer = await broker.ask(12, MetadataRequest(topics=named("t")))
        assert [b.node_id for b in answer.brokers] == [1, 2]
        assert all(partition.leader_id != 2 for partition in answer.topics[0].partitions)
        assert all(partition.offline_replicas == [2] for partition in answer.topics[0].partitions)


@pytest.mark.parametrize(("version", "code"), [(5, 5), (6, 72)])
async def test_a_leader_that_does_not_serve_the_listener(version: int, code: int) -> None:
    async with an_admin_broker(brokers=(1,)) as broker:
        await create(broker, NewTopic("t", 1, 1))
        hidden = replace(a_broker(1), endpoints=(Endpoint("OTHER", "h", 1),))
        await broker.cluster.controller.register_broker(hidden)
        answer = await broker.ask(version, MetadataRequest(topics=named("t")))
        assert answer.topics[0].partitions[0].error_code == code
        assert answer.controller_id == -1


async def test_internal_topics_are_marked() -> None:
    async with an_admin_broker() as broker:
        await create(broker, NewTopic("__consumer_offsets", 1, 1), NewTopic("t", 1, 1))
        answer = await broker.ask(12, MetadataRequest(topics=None))
        assert [(topic.name, topic.is_internal) for topic in answer.topics] == [
            ("__consumer_offsets", True),
            ("t", False),
        ]


async def test_describe_cluster() -> None:
    async with an_admin_broker(brokers=(1, 2)) as broker:
        fenced = encode_broker(a_broker(2, fenced=True))
        await broker.cluster.store.commit(puts=[Put(b"broker/0000000002", fenced)])
        await broker.cluster.publisher.wait_for_revision(broker.cluster.image.revision + 1)
        answer = await broker.ask(2, DescribeClusterRequest())
        assert (answer.error_code, answer.cluster_id, answer.controller_id) == (0, "test-cluster", 1)
        assert [(b.broker_id, b.port, b.is_fenced) for b in answer.brokers] == [(1, 9001, False)]
        assert answer.cluster_authorized_operations == NOT_ASKED
        request = DescribeClusterRequest(include_fenced_brokers=True, include_cluster_authorized_operations=True)
        everyone = await broker.ask(2, request)
        assert [(b.broker_id, b.is_fenced) for b in everyone.brokers] == [(1, False), (2, True)]
        assert everyone.cluster_authorized_operations == ALL_ON_CLUSTER


@pytest.mark.parametrize(("endpoint_type", "code"), [(2, 114), (9, 115)])
async def test_describe_cluster_of_controllers_is_refused(endpoint_type: int, code: int) -> None:
    async with an_admin_broker() as broker:
        answer = await broker.ask(1, DescribeClusterRequest(endpoint_type=endpoint_type))
        assert (answer.error_code, answer.cluster_id, answer.brokers) == (code, "", [])


def pages(
    answer: DescribeTopicPartitionsResponse,
) -> tuple[list[tuple[int, str | None, list[int]]], tuple[str, int] | None]:
    topics = [(t.error_code, t.name, [p.partition_index for p in t.partitions]) for t in answer.topics]
    cursor = answer.next_cursor
    return topics, (cursor.topic_name, cursor.partition_index) if cursor else None


def topic_page(*names: str, limit: int = 2000, cursor: tuple[str, int] | None = None) -> DescribeTopicPartitionsRequest:
    at = DescribeTopicPartitionsRequest.Cursor(topic_name=cursor[0], partition_index=cursor[1]) if cursor else None
    return DescribeTopicPartitionsRequest(
        topics=[DescribeTopicPartitionsRequest.TopicRequest(name=name) for name in names],
        response_partition_limit=limit,
        cursor=at,
    )


async def test_describe_topic_partitions_in_pages() -> None:
    """Kafka: in order of names; a topic that does not exist takes no room, but is not looked at without
    room."""
    async with an_admin_broker() as broker:
        await create(broker, NewTopic("a", 1, 1), NewTopic("g", 3, 1))
        cases = [
            (topic_page("g", "a"), ([(0, "a", [0]), (0, "g", [0, 1, 2])], None)),
            (topic_page(), ([(0, "a", [0]), (0, "g", [0, 1, 2])], None)),
            (topic_page("a", "g", limit=1), ([(0, "a", [0])], ("g", 0))),
            (topic_page("a", "g", limit=2), ([(0, "a", [0]), (0, "g", [0])], ("g", 1))),
            (topic_page("a", "g", limit=4), ([(0, "a", [0]), (0, "g", [0, 1, 2])], None)),
            (topic_page("a", "g", limit=0), ([(0, "a", [0])], ("g", 0))),
            (topic_page("a", "g", cursor=("g", 1)), ([(0, "g", [1, 2])], None)),
            (topic_page(cursor=("b", 0)), ([(0, "g", [0, 1, 2])], None)),
            (topic_page("a", "no", limit=1), ([(0, "a", [0])], ("no", 0))),
            (topic_page("b", "c", "g", limit=1), ([(3, "b", []), (3, "c", []), (0, "g", [0])], ("g", 1))),
            (topic_page("g", cursor=("g", 3)), ([(0, "g", [])], None)),
            (topic_page("a", "g", cursor=("z", 0)), ([(42, "a", []), (42, "g", [])], None)),
            (topic_page("a", cursor=("a", -1)), ([(42, "a", [])], None)),
            (topic_page("x/y"), ([(17, "x/y", [])], None)),
        ]
        for request, expected in cases:
            assert pages(await broker.ask(0, request)) == expected
        answer = await broker.ask(0, topic_page("a"))
        assert answer.topics[0].topic_authorized_operations == ALL_ON_TOPIC
        assert answer.topics[0].partitions[0].eligible_leader_replicas == []


async def test_a_broker_whose_lease_is_over_does_not_name_itself() -> None:
    async with an_admin_broker(brokers=(1, 2)) as broker:
        await create(broker, NewTopic("two", 2, 2), NewTopic("one", 2, 1))
        cast(LeasedReplicas, broker.services.replicas).lease_is_over = True
        with pytest.raises(CloseConnection):
            await broker.ask(12, MetadataRequest(topics=None))
        answer = await broker.ask(12, MetadataRequest(topics=named("one")))
        assert {partition.leader_id for partition in answer.topics[0].partitions} == {1, 2}
        described = await broker.ask(0, DescribeTopicPartitionsRequest(topics=[], response_partition_limit=100))
        leaders = {p.leader_id for topic in described.topics if topic.name == "two" for p in topic.partitions}
        assert leaders == {-1, 2}
