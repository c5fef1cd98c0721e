"""CreateTopics, CreatePartitions, DeleteTopics: the codes that Apache Kafka 4.3.0 gave to the same
requests."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from uuid import UUID

import pytest
from tests.support.admin import AdminBroker, an_admin_broker
from tests.support.cluster import a_broker

from pybroker_protocol.messages import (
    CreatePartitionsRequest,
    CreatePartitionsResponse,
    CreateTopicsRequest,
    CreateTopicsResponse,
    DeleteTopicsRequest,
    DeleteTopicsResponse,
)

NO_ID = UUID(int=0)
Topic = CreateTopicsRequest.CreatableTopic
TopicState = DeleteTopicsRequest.DeleteTopicState


def new(
    name: str,
    partitions: int = 1,
    replicas: int = 1,
    assignments: Sequence[tuple[int, list[int]]] = (),
    configs: Mapping[str, str | None] | Sequence[tuple[str, str | None]] = (),
) -> Topic:
    pairs = configs.items() if isinstance(configs, Mapping) else configs
    return Topic(
        name=name,
        num_partitions=partitions,
        replication_factor=replicas,
        assignments=[
            CreateTopicsRequest.CreatableReplicaAssignment(partition_index=index, broker_ids=nodes)
            for index, nodes in assignments
        ],
        configs=[CreateTopicsRequest.CreatableTopicConfig(name=name, value=value) for name, value in pairs],
    )


async def create(
    broker: AdminBroker, *topics: Topic, version: int = 7, validate_only: bool = False
) -> CreateTopicsResponse:
    request = CreateTopicsRequest(topics=list(topics), timeout_ms=1000, validate_only=validate_only)
    answer: CreateTopicsResponse = await broker.ask(version, request)
    return answer


def codes(answer: CreateTopicsResponse | CreatePartitionsResponse) -> dict[str, int]:
    results = answer.topics if isinstance(answer, CreateTopicsResponse) else answer.results
    return {result.name: int(result.error_code) for result in results}


@pytest.mark.parametrize("version", range(2, 8))
async def test_a_topic_is_created_and_told(version: int) -> None:
    async with an_admin_broker() as broker:
        topic = new("t", 2, 1, configs={"retention.ms": "1000"})
        [result] = (await create(broker, topic, version=version)).topics
        made = broker.cluster.image.topics_by_name["t"]
        assert result.error_code == 0
        assert result.error_message is None
        assert result.topic_id == (made.topic_id if version >= 7 else NO_ID)
        assert (result.num_partitions, result.replication_factor) == ((2, 1) if version >= 5 else (-1, -1))
        configs = {c.name: (c.value, c.read_only, c.config_source, c.is_sensitive) for c in result.configs or ()}
        if version >= 5:
            assert list(configs) == sorted(configs)
            assert configs["retention.ms"] == ("1000", False, 1, False)
            assert configs["cleanup.policy"] == ("delete", False, 5, False)
        else:
            assert not configs


@pytest.mark.parametrize(
    ("topic", "code"),
    [
        (new(""), 17),
        (new("."), 17),
        (new(".."), 17),
        (new("a" * 250), 17),
        (new("x/y"), 17),
        (new("a b"), 17),
        (new("é"), 17),
        (new("nul\0"), 17),
        (new("t\n"), 17),
        (new("a" * 249), 0),
        (new("there"), 36),
        (new("the.re"), 0),
        (new("ot.her"), 36),
        (new("ot_her"), 17),
        (new("t", 0), 37),
        (new("t", -2), 37),
        (new("t", -1, -1), 0),
        (new("t", 1, 0), 38),
        (new("t", 1, -2), 38),
        (new("t", 1, 9), 38),
        (new("t", 0, 0), 38),
        (new("t", 10_001), 44),
        (new("t", 1_000_000_000), 44),
        (new("t", -1, -1, [(i, [1]) for i in range(10_001)]), 44),
        (new("t", 2, -1, [(0, [1])]), 42),
        (new("t", -1, 1, [(0, [1])]), 42),
        (new("t", -1, -1, [(0, [1]), (1, [2])]), 0),
        (new("t", -1, -1, [(0, [2, 1]), (1, [1, 2])]), 0),
        (new("t", -1, -1, [(0, [1]), (1, [1, 2])]), 39),
        (new("t", -1, -1, [(0, [1]), (0, [1])]), 39),
        (new("t", -1, -1, [(0, [])]), 39),
        (new("t", -1, -1, [(0, [1, 1])]), 39),
        (new("t", -1, -1, [(0, [7])]), 39),
        (new("t", -1, -1, [(0, [-1])]), 39),
        (new("t", -1, -1, [(0, [1]), (2, [1])]), 39),
        (new("t", -1, -1, [(1, [1])]), 39),
        (new("t", -1, -1, [(-1, [1])]), 39),
        (new("t", configs={"nope": "1"}), 40),
        (new("t", configs={"retention.ms": "abc"}), 40),
        (new("t", configs={"retention.ms": ""}), 40),
        (new("t", configs={"retention.ms": None}), 40),
        (new("t", configs={"segment.bytes": "99999999999"}), 40),
        (new("t", configs={"cleanup.policy": "foo"}), 40),
        (new("t", configs={"min.compaction.lag.ms": "10", "max.compaction.lag.ms": "5"}), 40),
        (new("t", configs=[("retention.ms", "1"), ("retention.ms", "2")]), 0),
        (new("there", 0, configs={"nope": "1"}), 36),
        (new("t", 0, 0, configs={"nope": "1"}), 40),
        (new("x/y", 0, configs={"nope": "1"}), 17),
        (new("__consumer_offsets"), 0),
        (new("__cluster_metadata"), 42),
    ],
)
async def test_what_is_refused_and_with_which_code(topic: Topic, code: int) -> None:
    async with an_admin_broker(brokers=(1, 2)) as broker:
        await create(broker, new("there"), new("ot.her"))
        before = set(broker.cluster.image.topics_by_name)
        [result] = (await create(broker, topic)).topics
        assert (result.name, int(result.error_code)) == (topic.name, code)
        added = set(broker.cluster.image.topics_by_name) - before
        assert added == (set() if code else {topic.name})
        if code:
            assert (result.num_partitions, result.replication_factor, result.configs) == (-1, -1, [])
            assert result.topic_id == NO_ID
            assert result.error_message


async def test_the_limit_of_partitions_counts_over_the_request() -> None:
    async with an_admin_broker() as broker:
        answer = await create(broker, new("s1", 6000), new("x/y"), new("s2", 6000), validate_only=True)
        assert codes(answer) == {"s1": 44, "x/y": 44, "s2": 44}


async def test_a_name_given_twice_is_not_created() -> None:
    async with an_admin_broker() as broker:
        answer = await create(broker, new("d1"), new("d2"), new("d1"))
        assert [(r.name, int(r.error_code)) for r in answer.topics] == [("d2", 0), ("d1", 42)]
        assert list(broker.cluster.image.topics_by_name) == ["d2"]


async def test_the_last_of_two_values_for_one_config_counts() -> None:
    async with an_admin_broker() as broker:
        await create(broker, new("t", configs=[("retention.ms", "1"), ("retention.ms", "2")]))
        assert dict(broker.cluster.image.topics_by_name["t"].configs) == {"retention.ms": "2"}


async def test_validate_only_tells_everything_and_makes_nothing() -> None:
    async with an_admin_broker() as broker:
        [result] = (await create(broker, new("t", 3), validate_only=True)).topics
        assert (result.error_code, result.num_partitions) == (0, 3)
        assert len(result.configs or ()) > 30
        assert not broker.cluster.image.topics_by_name


async def test_without_any_time_the_work_is_begun_and_not_waited_for() -> None:
    """Kafka: REQUEST_TIMED_OUT, and the topic appears all the same."""
    async with an_admin_broker() as broker:
        answer = await broker.ask(7, CreateTopicsRequest(topics=[new("t")], timeout_ms=0))
        assert codes(answer) == {"t": 7}
        async with asyncio.timeout(5):
            while "t" not in broker.cluster.image.topics_by_name:
                await asyncio.sleep(0)


async def test_a_request_without_topics_has_an_answer_without_topics() -> None:
    async with an_admin_broker() as broker:
        assert (await create(broker)).topics == []
        assert (await broker.ask(3, CreatePartitionsRequest())).results == []
        assert (await broker.ask(6, DeleteTopicsRequest())).responses == []


def grow(name: str, count: int, assignments: list[list[int]] | None = None) -> CreatePartitionsRequest:
    return CreatePartitionsRequest(
        timeout_ms=10_000,
        topics=[
            CreatePartitionsRequest.CreatePartitionsTopic(
                name=name,
                count=count,
                assignments=None
                if assignments is None
                else [CreatePartitionsRequest.CreatePartitionsAssignment(broker_ids=a) for a in assignments],
            )
        ],
    )


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (grow("g", 4), 0),
        (grow("g", 3), 37),
        (grow("g", 2), 37),
        (grow("g", 0), 37),
        (grow("g", -1), 37),
        (grow("no", 4), 3),
        (grow("", 4), 3),
        (grow("x/y", 4), 3),
        (grow("g", 5, [[1]]), 39),
        (grow("g", 5, [[1], [1], [1]]), 39),
        (grow("g", 5, []), 39),
        (grow("g", 4, [[]]), 39),
        (grow("g", 4, [[1, 1]]), 39),
        (grow("g", 4, [[9]]), 39),
        (grow("g", 4, [[1, 2]]), 39),
        (grow("g", 5, [[2], [1]]), 0),
        (grow("g", 20_000), 44),
    ],
)
async def test_growing_topics(request_: CreatePartitionsRequest, code: int) -> None:
    async with an_admin_broker(brokers=(1, 2)) as broker:
        await create(broker, new("g", 3))
        request_.validate_only = True
        assert list(codes(await broker.ask(3, request_)).values()) == [code]
        assert len(broker.cluster.image.topics_by_name["g"].partitions) == 3
        request_.validate_only = False
        for version in (0, 1, 2, 3) if code else (3,):
            assert list(codes(await broker.ask(version, request_)).values()) == [code]
        expected = 3 if code else request_.topics[0].count
        assert len(broker.cluster.image.topics_by_name["g"].partitions) == expected


async def test_partitions_are_not_placed_on_brokers_that_cannot_lead() -> None:
    async with an_admin_broker(brokers=(1, 2)) as broker:
        await create(broker, new("g", 1, 1))
        await broker.cluster.controller.register_broker(a_broker(2, fenced=True))
        assert codes(await broker.ask(3, grow("g", 2, [[2]]))) == {"g": 39}
        assert codes(await broker.ask(3, grow("g", 9))) == {"g": 0}
        assert {p.leader for p in broker.cluster.image.topics_by_name["g"].partitions[1:]} == {1}


async def test_a_topic_to_grow_named_twice_is_left_alone() -> None:
    async with an_admin_broker() as broker:
        await create(broker, new("g", 1), new("h", 1))
        both = grow("g", 2)
        both.topics += grow("g", 3).topics + grow("h", 2).topics
        assert codes(await broker.ask(3, both)) == {"g": 42, "h": 0}
        assert len(broker.cluster.image.topics_by_name["g"].partitions) == 1


async def delete(broker: AdminBroker, *asked: tuple[str | None, UUID]) -> list[tuple[str | None, UUID, int]]:
    topics = [TopicState(name=name, topic_id=topic_id) for name, topic_id in asked]
    answer: DeleteTopicsResponse = await broker.ask(6, DeleteTopicsRequest(topics=topics, timeout_ms=10_000))
    return [(r.name, r.topic_id, int(r.error_code)) for r in answer.responses]


async def test_deleting_by_name_and_by_id() -> None:
    async with an_admin_broker() as broker:
        await create(broker, new("a"), new("b"))
        a, b = (broker.cluster.image.topics_by_name[name].topic_id for name in "ab")
        assert await delete(broker, ("no", NO_ID), ("a", NO_ID)) == [("no", NO_ID, 3), ("a", a, 0)]
        assert await delete(broker, (None, b)) == [("b", b, 0)]
        assert await delete(broker, (None, b)) == [(None, b, 100)]
        assert not broker.cluster.image.topics_by_name


async def test_a_topic_meant_twice_is_not_deleted() -> None:
    async with an_admin_broker() as broker:
        await create(broker, new("a"))
        a = broker.cluster.image.topics_by_name["a"].topic_id
        assert await delete(broker, ("a", NO_ID), ("a", NO_ID)) == [("a", NO_ID, 42)]
        assert await delete(broker, (None, a), (None, a)) == [(None, a, 42)]
        assert await delete(broker, ("a", NO_ID), (None, a)) == [("a", a, 42)]
        assert await delete(broker, ("a", a)) == [("a", a, 42)]
        assert await delete(broker, (None, NO_ID)) == [(None, NO_ID, 42)]
        assert list(broker.cluster.image.topics_by_name) == ["a"]


async def test_two_names_for_the_same_mistake_are_told_apart() -> None:
    """Kafka: duplicates are answered once, nameless entries each."""
    async with an_admin_broker() as broker:
        nine = UUID(int=9)
        asked = [("no", NO_ID), ("no", NO_ID), (None, nine), (None, nine), (None, NO_ID), (None, NO_ID)]
        assert sorted(await delete(broker, *asked), key=repr) == sorted(
            [("no", NO_ID, 42), (None, nine, 42), (None, NO_ID, 42), (None, NO_ID, 42)], key=repr
        )


@pytest.mark.parametrize("version", range(1, 6))
async def test_older_versions_delete_by_name(version: int) -> None:
    async with an_admin_broker() as broker:
        await create(broker, new("a"))
        answer = await broker.ask(
            version, DeleteTopicsRequest(topic_names=["a", "no", "a.b$", "twice", "twice"], timeout_ms=10_000)
        )
        codes_of = {r.name: int(r.error_code) for r in answer.responses}
        assert codes_of == {"a": 0, "no": 3, "a.b$": 3, "twice": 42}
        assert all((r.error_message is not None) == (version >= 5 and r.error_code != 0) for r in answer.responses)


@pytest.mark.parametrize(("version", "code"), [(1, 42), (2, 42), (3, 73), (6, 73)])
async def test_deletion_can_be_turned_off(version: int, code: int) -> None:
    async with an_admin_broker({"delete.topic.enable": "false"}) as broker:
        await create(broker, new("a"))
        request = DeleteTopicsRequest(topic_names=["a"], topics=[TopicState(name="a")])
        answer = await broker.ask(version, request)
        assert [(r.name, int(r.error_code)) for r in answer.responses] == [("a", code)]
        assert list(broker.cluster.image.topics_by_name) == ["a"]
