"""The controller against a store in memory: what it answers, and what survives a race with another broker."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Sequence

import pytest
from tests.support.cluster import Cluster, a_broker, a_cluster
from tests.support.manual_time import ManualTime

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_server.config.dynamic import Alteration, AlterOperation
from pybroker_server.controller.brokers import Return
from pybroker_server.controller.configs import BrokerResource, TopicResource
from pybroker_server.controller.controller import ClusterIdError, TopicOutcome
from pybroker_server.controller.producer_ids import ProducerIdAllocator
from pybroker_server.controller.topics import NewTopic
from pybroker_server.metadata.image import CLUSTER_DEFAULT
from pybroker_server.metadata.memory import MemoryStore
from pybroker_server.metadata.store import CommitResult, Compare, Put, StoreError
from pybroker_server.runtime.tasks import TaskOwner


def codes(outcomes: Sequence[TopicOutcome]) -> list[ErrorCode]:
    return [outcome.error.code if outcome.error else ErrorCode.NONE for outcome in outcomes]


async def create(cluster: Cluster, *wanted: NewTopic) -> list[TopicOutcome]:
    return await cluster.controller.create_topics(wanted, cluster.config)


class StoreInTrouble(MemoryStore):
    """Lets something happen before the next commits: another change, or a failure."""

    def __init__(self, limit: int) -> None:
        time = ManualTime()
        super().__init__(time, time)
        self.max_operations_per_commit = limit
        self.before_commit: list[Awaitable[object] | StoreError] = []
        self.largest = 0

    async def commit(
        self, compares: Sequence[Compare] = (), puts: Sequence[Put] = (), deletes: Sequence[bytes] = ()
    ) -> CommitResult:
        if self.before_commit:
            trouble = self.before_commit.pop(0)
            if isinstance(trouble, StoreError):
                raise trouble
            await trouble
        self.largest = max(self.largest, len(compares), len(puts) + len(deletes))
        return await super().commit(compares, puts, deletes)


def a_store(limit: int = 1_000_000) -> StoreInTrouble:
    return StoreInTrouble(limit)


async def test_the_first_broker_makes_up_a_cluster_id_and_all_keep_it() -> None:
    async with a_cluster() as one:
        first = await one.controller.ensure_cluster(known_id=None, wanted_id=None)
        assert re.fullmatch(r"[A-Za-z0-9_-]{22}", first)
        async with a_cluster(store=one.store) as two:
            assert await two.controller.ensure_cluster(known_id=None, wanted_id=None) == first
            assert await two.controller.ensure_cluster(known_id=first, wanted_id=first) == first


async def test_the_wanted_cluster_id_is_taken_for_a_new_cluster_only() -> None:
    async with a_cluster() as cluster:
        assert await cluster.controller.ensure_cluster(known_id=None, wanted_id="mine") == "mine"
        with pytest.raises(ClusterIdError, match=r"cluster\.id is of cluster other"):
            await cluster.controller.ensure_cluster(known_id=None, wanted_id="other")


async def test_an_empty_store_under_old_data_is_refused() -> None:
    async with a_cluster() as cluster:
        with pytest.raises(ClusterIdError, match="metadata store is empty"):
            await cluster.controller.ensure_cluster(known_id="old", wanted_id=None)
        assert cluster.image.cluster_id == ""


async def test_data_of_another_cluster_is_refused() -> None:
    async with a_cluster() as cluster:
        await cluster.controller.ensure_cluster(known_id=None, wanted_id="mine")
        with pytest.raises(ClusterIdError, match="the data is of cluster old"):
            await cluster.controller.ensure_cluster(known_id="old", wanted_id=None)


async def test_each_registration_gets_a_larger_epoch() -> None:
    async with a_cluster() as cluster:
        first = await cluster.controller.register_broker(a_broker(1))
        second = await cluster.controller.register_broker(a_broker(1))
        assert second > first
        assert cluster.image.brokers[1].epoch == second


async def test_a_broker_whose_registration_ends_stays_known_as_a_fenced_one() -> None:
    async with a_cluster() as cluster:
        epoch = await cluster.controller.register_broker(a_broker(1, rack="r"))
        await cluster.controller.fence_broker(1, epoch)
        fenced = cluster.image.brokers[1]
        assert (fenced.fenced, fenced.mod_revision, fenced.rack, fenced.epoch) == (True, 0, "r", epoch)
        again = await cluster.controller.register_broker(a_broker(1))
        await cluster.controller.fence_broker(1, epoch)
        assert not cluster.image.brokers[1].fenced, "who fences an earlier life does not hit the present one"
        assert cluster.image.brokers[1].epoch == again


async def test_a_created_topic_is_in_the_image_when_the_answer_comes() -> None:
    async with a_cluster() as cluster:
        await cluster.add_brokers(1, 2)
        [outcome] = await create(cluster, NewTopic("t", 3, 2, configs={"retention.ms": "5000"}))
        topic = cluster.image.topics_by_name["t"]
        assert outcome.topic is not None
        assert topic.topic_id == outcome.topic.topic_id
        assert [p.index for p in topic.partitions] == [0, 1, 2]
        assert all(sorted(p.replicas) == [1, 2] and p.isr == p.replicas for p in topic.partitions)
        assert all((p.leader, p.leader_epoch, p.partition_epoch) == (p.replicas[0], 0, 0) for p in topic.partitions)
        assert dict(topic.configs) == {"retention.ms": "5000"}


async def test_good_and_bad_topics_of_one_request_are_answered_one_by_one() -> None:
    async with a_cluster() as cluster:
        await cluster.add_brokers(1)
        await create(cluster, NewTopic("there", 1, 1))
        outcomes = await create(
            cluster, NewTopic("good", 1, 1), NewTopic("there", 1, 1), NewTopic("b@d", 1, 1), NewTopic("good2", 1, 1)
        )
        expected = [ErrorCode.NONE, ErrorCode.TOPIC_ALREADY_EXISTS, ErrorCode.INVALID_TOPIC_EXCEPTION, ErrorCode.NONE]
        assert codes(outcomes) == expected
        assert sorted(cluster.image.topics_by_name) == ["good", "good2", "there"]


async def test_validate_only_changes_nothing() -> None:
    async with a_cluster() as cluster:
        await cluster.add_brokers(1)
        revision = cluster.image.revision
        [outcome] = await cluster.controller.create_topics([NewTopic("t", 4, 1)], cluster.config, validate_only=True)
        assert outcome.topic is not None
        assert len(outcome.topic.partitions) == 4
        assert cluster.image.revision == revision


async def test_names_that_collide_cannot_be_made_in_one_request_either() -> None:
    async with a_cluster() as cluster:
        await cluster.add_brokers(1)
        outcomes = await create(cluster, NewTopic("a.b", 1, 1), NewTopic("a_b", 1, 1))
        assert codes(outcomes) == [ErrorCode.NONE, ErrorCode.INVALID_TOPIC_EXCEPTION]


async def test_two_brokers_that_create_one_name_at_once_agree_on_one_topic() -> None:
    async with a_cluster() as one, a_cluster(store=one.store) as two:
        await one.add_brokers(1)
        await two.publisher.wait_for_revision(one.image.revision)
        results = await asyncio.gather(create(one, NewTopic("a.b", 1, 1)), create(two, NewTopic("a_b", 1, 1)))
        assert sorted(int(codes(outcomes)[0]) for outcomes in results) == [0, 17]
        await one.publisher.wait_for_revision(two.image.revision)
        await two.publisher.wait_for_revision(one.image.revision)
        assert one.image == two.image


async def test_a_lost_race_is_planned_anew_and_told_as_it_is() -> None:
    store = a_store()
    async with a_cluster(store=store) as cluster:
        await cluster.add_brokers(1)
        store.before_commit = [create(cluster, NewTopic("t", 1, 1))]
        assert codes(await create(cluster, NewTopic("t", 1, 1))) == [ErrorCode.TOPIC_ALREADY_EXISTS]


async def test_a_store_that_does_not_answer_times_the_request_out() -> None:
    store = a_store()
    async with a_cluster(store=store) as cluster:
        await cluster.add_brokers(1)
        store.before_commit = [StoreError("no quorum")]
        with pytest.raises(KafkaError) as raised:
            await create(cluster, NewTopic("t", 1, 1))
        assert raised.value.code is ErrorCode.REQUEST_TIMED_OUT


async def test_where_commits_are_limited_large_topics_appear_and_vanish_whole() -> None:
    """etcd takes 128 operations: no image on the way may show a part of a topic."""
    store = a_store(limit=10)
    async with a_cluster(store=store) as cluster:
        await cluster.add_brokers(1, 2)
        seen: set[int] = set()
        cluster.publisher.subscribe(
            lambda _, new: seen.add(len(new.topics_by_name["t"].partitions) if "t" in new.topics_by_name else 0)
        )
        [first, _] = await create(cluster, NewTopic("t", 55, 2), NewTopic("other", 5, 1))
        assert first.topic is not None
        await cluster.controller.grow_topic("t", 77, None)
        await cluster.controller.delete_topic(first.topic.topic_id)
        assert seen == {0, 55, 77}
        assert store.largest <= 10
        assert list(cluster.image.topics_by_name) == ["other"]
        assert not cluster.image.staged_partitions


async def test_a_deleted_topic_comes_back_under_another_id() -> None:
    async with a_cluster() as cluster:
        await cluster.add_brokers(1)
        [first] = await create(cluster, NewTopic("t", 2, 1, configs={"retention.ms": "1000"}))
        assert first.topic is not None
        await cluster.controller.delete_topic(first.topic.topic_id)
        assert not cluster.image.topics_by_name
        assert not cluster.image.topics_by_id
        with pytest.raises(KafkaError) as raised:
            await cluster.controller.delete_topic(first.topic.topic_id)
        assert raised.value.code is ErrorCode.UNKNOWN_TOPIC_ID
        [second] = await create(cluster, NewTopic("t", 1, 1))
        assert second.topic is not None
        assert second.topic.topic_id != first.topic.topic_id
        assert dict(cluster.image.topics_by_name["t"].configs) == {}
        items = (await cluster.store.range(b"")).items
        assert not [item.key for item in items if first.topic.topic_id.hex.encode() in item.key]


async def test_growing_keeps_old_partitions_as_they_are() -> None:
    async with a_cluster() as cluster:
        await cluster.add_brokers(1, 2, 3)
        await create(cluster, NewTopic("t", 2, 2))
        before = cluster.image.topics_by_name["t"].partitions
        await cluster.controller.grow_topic("t", 5, None, validate_only=True)
        assert cluster.image.topics_by_name["t"].partitions == before
        await cluster.controller.grow_topic("t", 5, None)
        await cluster.controller.grow_topic("t", 6, [[3, 1]])
        after = cluster.image.topics_by_name["t"].partitions
        assert after[:2] == before
        assert len(after) == 6
        assert after[5].replicas == (3, 1)


async def test_two_brokers_that_grow_a_topic_at_once_do_not_both_succeed() -> None:
    async with a_cluster() as one, a_cluster(store=one.store) as two:
        await one.add_brokers(1)
        await create(one, NewTopic("t", 1, 1))
        await two.publisher.wait_for_revision(one.image.revision)
        results = await asyncio.gather(
            one.controller.grow_topic("t", 3, None), two.controller.grow_topic("t", 3, None), return_exceptions=True
        )
        [failure] = [result for result in results if isinstance(result, KafkaError)]
        assert failure.code is ErrorCode.INVALID_PARTITIONS
        assert len(one.image.topics_by_name["t"].partitions) == 3


async def test_after_an_unclean_restart_another_replica_leads_or_the_same_one_in_a_new_epoch() -> None:
    store = a_store(limit=4)
    async with a_cluster(store=store) as cluster:
        await cluster.add_brokers(1, 2)
        await create(cluster, NewTopic("t", 9, 2), NewTopic("alone", assignments=[(0, [1])]))
        before = cluster.image.topics_by_name["t"].partitions
        clean, crashed = (Return(1, was_clean, lambda topic, index: True) for was_clean in (True, False))
        await cluster.controller.settle_return(clean, cluster.config)
        assert cluster.image.topics_by_name["t"].partitions == before
        await cluster.controller.settle_return(crashed, cluster.config)
        for old, new in zip(before, cluster.image.topics_by_name["t"].partitions, strict=True):
            assert (new.leader, new.isr, new.partition_epoch) == (2, (2,), 1)
            assert new.leader_epoch == (1 if old.leader == 1 else 0)
        [alone] = cluster.image.topics_by_name["alone"].partitions
        assert (alone.leader, alone.isr, alone.leader_epoch) == (1, (1,), 1)


def setting(name: str, value: str) -> list[Alteration]:
    return [Alteration(name, AlterOperation.SET, value)]


async def test_config_changes_of_two_brokers_at_once_are_both_kept() -> None:
    async with a_cluster() as one, a_cluster(store=one.store) as two:
        await one.add_brokers(1)
        await create(one, NewTopic("t", 1, 1))
        await two.publisher.wait_for_revision(one.image.revision)
        resource = TopicResource("t")
        await asyncio.gather(
            one.controller.alter_configs(resource, setting("retention.ms", "1000"), one.config),
            two.controller.alter_configs(resource, setting("segment.ms", "2000"), two.config),
        )
        await one.publisher.wait_for_revision(two.image.revision)
        assert dict(one.image.topics_by_name["t"].configs) == {"retention.ms": "1000", "segment.ms": "2000"}


async def test_configs_go_back_to_their_defaults() -> None:
    async with a_cluster() as cluster:
        await cluster.add_brokers(1)
        await create(cluster, NewTopic("t", 1, 1, configs={"retention.ms": "1000", "segment.ms": "2000"}))
        resource = TopicResource("t")
        await cluster.controller.replace_configs(resource, {"retention.ms": "7"}, cluster.config)
        assert dict(cluster.image.topics_by_name["t"].configs) == {"retention.ms": "7"}
        delete = [Alteration("retention.ms", AlterOperation.DELETE, None)]
        await cluster.controller.alter_configs(resource, delete, cluster.config)
        assert dict(cluster.image.topics_by_name["t"].configs) == {}
        assert not (await cluster.store.range(b"config/")).items


async def test_bad_configs_are_refused_as_a_whole() -> None:
    async with a_cluster() as cluster:
        await cluster.add_brokers(1)
        await create(cluster, NewTopic("t", 1, 1))
        mixed = setting("retention.ms", "1000") + setting("segment.ms", "soon")
        with pytest.raises(KafkaError) as raised:
            await cluster.controller.alter_configs(TopicResource("t"), mixed, cluster.config)
        assert raised.value.code is ErrorCode.INVALID_CONFIG
        assert dict(cluster.image.topics_by_name["t"].configs) == {}


async def test_broker_overrides_are_kept_by_broker_and_for_all() -> None:
    async with a_cluster() as cluster:
        await cluster.add_brokers(1)
        controller, config = cluster.controller, cluster.config
        await controller.alter_configs(BrokerResource(1), setting("log.retention.ms", "1000"), config)
        await controller.alter_configs(
            BrokerResource(CLUSTER_DEFAULT), setting("log.retention.ms", "2000"), config, validate_only=True
        )
        assert {node: dict(values) for node, values in cluster.image.broker_configs.items()} == {
            1: {"log.retention.ms": "1000"}
        }


async def test_producer_ids_are_never_given_twice() -> None:
    async with a_cluster() as one, a_cluster(store=one.store) as two:
        blocks = await asyncio.gather(*(c.controller.allocate_producer_ids() for c in (one, two, one, two)))
        assert sorted(first for block in blocks for first in block) == list(range(4000))
        allocator = ProducerIdAllocator(one.controller.allocate_producer_ids, one.runtime.tasks.spawn)
        given: list[int] = []
        everybody_has_one = asyncio.Event()

        def take(error: KafkaError | None) -> None:
            assert error is None
            given.append(allocator.take())
            if len(given) == 1500:
                everybody_has_one.set()

        for _ in range(1500):
            allocator.when_ready(take)
        await everybody_has_one.wait()
        assert given == list(range(4000, 5500))


async def test_the_next_producer_ids_are_fetched_before_the_last_one_is_taken() -> None:
    fetched: list[int] = []

    async def allocate() -> range:
        fetched.append(100 * len(fetched))
        return range(fetched[-1], fetched[-1] + 100)

    async with TaskOwner("test") as tasks:
        allocator = ProducerIdAllocator(allocate, tasks.spawn)
        with pytest.raises(KafkaError) as refused:
            allocator.take()
        assert refused.value.code is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
        await asyncio.sleep(0)
        given = []
        for _ in range(300):
            given.append(allocator.take())
            await asyncio.sleep(0)
        assert given == list(range(300))
        assert fetched == [0, 100, 200, 300]


async def test_who_waits_for_a_producer_id_is_told_when_there_is_none() -> None:
    async def refuse() -> range:
        raise KafkaError(ErrorCode.REQUEST_TIMED_OUT)

    told: list[KafkaError | None] = []
    async with TaskOwner("test") as tasks:
        allocator = ProducerIdAllocator(refuse, tasks.spawn)
        allocator.when_ready(told.append)
        allocator.when_ready(told.append)
    assert [error.code for error in told if error is not None] == [ErrorCode.REQUEST_TIMED_OUT] * 2


async def test_a_topic_named_by_a_client_is_made_once_in_the_background() -> None:
    async with a_cluster({"num.partitions": "3"}) as cluster:
        await cluster.add_brokers(1)
        cluster.controller.auto_create_topics(["t", "__consumer_offsets", "__cluster_metadata"], cluster.config)
        cluster.controller.auto_create_topics(["t"], cluster.config)
        assert not cluster.image.topics_by_name
        created = asyncio.Event()
        cluster.publisher.subscribe(lambda _, new: created.set() if "t" in new.topics_by_name else None)
        async with asyncio.timeout(10):
            await created.wait()
        assert len(cluster.image.topics_by_name["t"].partitions) == 3
        offsets = cluster.image.topics_by_name["__consumer_offsets"]
        assert len(offsets.partitions) == 50
        assert offsets.configs["cleanup.policy"] == "compact"
        assert offsets.is_internal
        assert "__cluster_metadata" not in cluster.image.topics_by_name


async def test_a_topic_that_cannot_be_made_can_be_asked_for_again() -> None:
    async with a_cluster({"default.replication.factor": "2"}) as cluster:
        await cluster.add_brokers(1)
        cluster.controller.auto_create_topics(["t"], cluster.config)
        while cluster.runtime.tasks.task_names != ["test/metadata-watch"]:
            await asyncio.sleep(0)
        assert not cluster.image.topics_by_name
        await cluster.add_brokers(2)
        cluster.controller.auto_create_topics(["t"], cluster.config)
        while cluster.runtime.tasks.task_names != ["test/metadata-watch"]:
            await asyncio.sleep(0)
        assert list(cluster.image.topics_by_name) == ["t"]
