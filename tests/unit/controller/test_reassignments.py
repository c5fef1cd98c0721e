"""Moving partitions: each step of a move, moves that change while under way, and that no step loses anybody in sync."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.cluster import Cluster, a_cluster

from pybroker_protocol.errors import ErrorCode
from pybroker_server.config.dynamic import Alteration, AlterOperation
from pybroker_server.controller.change import Change
from pybroker_server.controller.configs import TopicResource
from pybroker_server.controller.elections import Election, TopicRules, advanced, settled, with_isr
from pybroker_server.controller.partition_requests import ElectionWish, MoveWish
from pybroker_server.controller.reassignments import begun, cancelled, completed, is_reassigned, settled_replicas
from pybroker_server.controller.settling import plan_settling
from pybroker_server.controller.topics import NewTopic
from pybroker_server.metadata.image import PartitionImage
from pybroker_server.metadata.keys import encode_partition, partition_key
from pybroker_server.metadata.store import Compare, Put

ALL = frozenset(range(1, 6))
RULES = TopicRules(min_isr=1, allows_unclean=False, is_durable=True)


def partition(
    replicas: tuple[int, ...] = (1, 2), isr: tuple[int, ...] | None = None, leader: int = 1
) -> PartitionImage:
    return PartitionImage(0, replicas, replicas if isr is None else isr, leader, 4, 9)


def test_a_move_begins_with_the_target_first_and_nobody_gone() -> None:
    moving = begun(partition(), (3, 2))
    assert (moving.replicas, moving.adding_replicas, moving.removing_replicas) == ((3, 2, 1), (3,), (1,))
    assert (moving.isr, moving.leader) == ((1, 2), 1)
    assert settled_replicas(moving) == (2, 1)


def test_it_is_over_when_all_that_are_added_are_in_sync() -> None:
    moving = begun(partition(), (3, 4))
    for isr in ((1, 2), (1, 2, 3)):
        waiting = replace(moving, isr=isr)
        assert completed(waiting, ALL, RULES) is waiting
    before = replace(moving, isr=(1, 2, 3, 4))
    after = advanced(before, completed(before, ALL, RULES))
    assert (after.replicas, after.isr, after.leader) == ((3, 4), (3, 4), 3)
    assert not is_reassigned(after)
    assert after.leader_epoch == before.leader_epoch + 1


def test_a_replica_that_is_taken_away_may_not_fetch_in_the_old_epoch() -> None:
    before = begun(partition((1, 2, 3)), (1, 2))
    after = advanced(before, completed(before, ALL, RULES))
    assert (after.replicas, after.leader) == ((1, 2), 1)
    assert after.leader_epoch == before.leader_epoch + 1


def test_another_order_needs_no_move() -> None:
    before = partition()
    after = begun(before, (2, 1))
    assert (after.replicas, is_reassigned(after), after.leader) == ((2, 1), False, 1)
    assert advanced(before, after).leader_epoch == before.leader_epoch


def test_a_move_that_is_stopped_goes_back() -> None:
    moving = replace(begun(partition(), (3, 2)), isr=(1, 2, 3))
    back = cancelled(moving)
    assert (set(back.replicas), set(back.isr), is_reassigned(back)) == ({1, 2}, {1, 2}, False)


def test_a_move_that_gets_another_target_forgets_the_first() -> None:
    moving = begun(begun(partition(), (3, 2)), (4, 2))
    assert (moving.replicas[:2], moving.adding_replicas, set(moving.removing_replicas)) == ((4, 2), (4,), {1, 3})
    home = begun(begun(partition(), (3, 2)), (1, 2))
    assert (home.adding_replicas, home.removing_replicas) == ((), (3,))
    assert completed(home, ALL, RULES).replicas == (1, 2)


@given(
    targets=st.lists(st.lists(st.sampled_from(sorted(ALL)), min_size=1, max_size=3, unique=True), max_size=5),
    joins=st.lists(st.sampled_from(sorted(ALL)), max_size=20),
    dead=st.sets(st.sampled_from(sorted(ALL)), max_size=4),
)
@settings(max_examples=200, deadline=None)
def test_whatever_is_asked_somebody_who_holds_everything_is_left(
    targets: list[list[int]], joins: list[int], dead: set[int]
) -> None:
    now = partition()
    for step in range(max(len(targets), len(joins))):
        if step < len(targets):
            now = begun(now, tuple(targets[step]))
        if step < len(joins) and joins[step] in now.replicas and joins[step] not in now.isr and now.leader in now.isr:
            now = with_isr(now, (*now.isr, joins[step]), RULES)
        before = now
        now = completed(settled(now, ALL - dead, RULES), ALL - dead, RULES)
        assert set(now.isr) <= set(now.replicas)
        assert set(now.isr) | set(now.eligible_leader_replicas), f"from {before}"
        assert now.leader == -1 or now.leader in now.isr


async def the_partition(cluster: Cluster) -> PartitionImage:
    return cluster.image.topics_by_name["t"].partitions[0]


async def set_partition(cluster: Cluster, **fields: object) -> None:
    topic = cluster.image.topics_by_name["t"]
    before = topic.partitions[0]
    after = replace(before, partition_epoch=before.partition_epoch + 1, **fields)  # type: ignore[arg-type]
    key = partition_key(topic.topic_id, 0)
    change = Change(compares=[Compare(key, before.mod_revision)], puts=[Put(key, encode_partition(after))])
    await cluster.controller.change(lambda image: change if image.partition("t", 0) == before else Change())


async def move(cluster: Cluster, target: Sequence[int] | None, *, index: int = 0) -> ErrorCode:
    wish = MoveWish("t", index, None if target is None else tuple(target))
    [outcome] = await cluster.controller.reassign([wish], cluster.config)
    return ErrorCode.NONE if outcome is None else outcome.code


async def elect(cluster: Cluster, election: Election = Election.PREFERRED) -> ErrorCode:
    [outcome] = await cluster.controller.elect_leaders([ElectionWish("t", 0)], election, cluster.config)
    return ErrorCode.NONE if outcome is None else outcome.code


async def test_a_move_from_beginning_to_end_as_the_controller_carries_it_out() -> None:
    async with a_cluster() as cluster:
        await cluster.add_brokers(1, 2, 3)
        await cluster.controller.create_topics([NewTopic("t", assignments=[(0, [1])])], cluster.config)
        assert await move(cluster, [2, 3]) is ErrorCode.NONE
        assert plan_settling(cluster.image, cluster.config, 10).is_empty, "nobody has caught up"
        await set_partition(cluster, isr=(1, 2, 3))
        await cluster.controller.change(lambda image: plan_settling(image, cluster.config, 10))
        moved = await the_partition(cluster)
        assert (moved.replicas, moved.isr, moved.leader, is_reassigned(moved)) == ((2, 3), (2, 3), 2, False)


async def test_moves_that_cannot_be_are_refused_one_by_one() -> None:
    async with a_cluster() as cluster:
        await cluster.add_brokers(1, 2)
        await cluster.controller.create_topics([NewTopic("t", assignments=[(0, [1])])], cluster.config)
        assert await move(cluster, [9]) is ErrorCode.INVALID_REPLICA_ASSIGNMENT
        assert await move(cluster, [1], index=3) is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        assert await move(cluster, None) is ErrorCode.NO_REASSIGNMENT_IN_PROGRESS
        assert await move(cluster, [2]) is ErrorCode.NONE
        assert await move(cluster, None) is ErrorCode.NONE
        assert (await the_partition(cluster)).replicas == (1,)


async def test_elections_that_are_asked_for() -> None:
    async with a_cluster() as cluster:
        await cluster.add_brokers(1, 2)
        await cluster.controller.create_topics([NewTopic("t", assignments=[(0, [1, 2])])], cluster.config)
        assert await elect(cluster) is ErrorCode.ELECTION_NOT_NEEDED
        await set_partition(cluster, leader=2, isr=(2,))
        assert await elect(cluster) is ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE
        await set_partition(cluster, isr=(1, 2))
        assert await elect(cluster) is ErrorCode.NONE
        assert (await the_partition(cluster)).leader == 1
        assert await elect(cluster, Election.UNCLEAN) is ErrorCode.ELECTION_NOT_NEEDED
        await set_partition(cluster, leader=-1, isr=())
        assert await elect(cluster, Election.UNCLEAN) is ErrorCode.NONE
        unclean = await the_partition(cluster)
        assert (unclean.leader, unclean.isr) == (1, (1,))


async def test_no_unclean_election_without_anybody_alive() -> None:
    async with a_cluster() as cluster:
        await cluster.add_brokers(1, 2)
        await cluster.controller.create_topics([NewTopic("t", assignments=[(0, [2])])], cluster.config)
        await cluster.controller.fence_broker(2, cluster.image.brokers[2].epoch)
        await set_partition(cluster, leader=-1, isr=())
        assert await elect(cluster, Election.UNCLEAN) is ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE


@pytest.mark.parametrize("is_alive", [True, False])
async def test_a_broker_that_is_unregistered_is_known_no_longer(is_alive: bool) -> None:
    async with a_cluster() as cluster:
        await cluster.add_brokers(1, 2)
        if not is_alive:
            await cluster.controller.fence_broker(2, cluster.image.brokers[2].epoch)
        await cluster.controller.unregister_broker(2)
        assert sorted(cluster.image.brokers) == [1]


async def test_another_min_isr_forgets_eligible_replicas_where_there_is_a_leader() -> None:
    async with a_cluster({"min.insync.replicas": "2"}) as cluster:
        await cluster.add_brokers(1, 2)
        await cluster.controller.create_topics([NewTopic("t", assignments=[(0, [1, 2])])], cluster.config)
        await set_partition(cluster, isr=(1,), eligible_leader_replicas=(2,))
        retention = [Alteration("retention.ms", AlterOperation.SET, "5000")]
        await cluster.controller.alter_configs(TopicResource("t"), retention, cluster.config)
        assert (await the_partition(cluster)).eligible_leader_replicas == (2,)
        lower = [Alteration("min.insync.replicas", AlterOperation.SET, "1")]
        await cluster.controller.alter_configs(TopicResource("t"), lower, cluster.config)
        assert (await the_partition(cluster)).eligible_leader_replicas == ()
        await set_partition(cluster, isr=(), leader=-1, eligible_leader_replicas=(1,))
        default = [Alteration("min.insync.replicas", AlterOperation.DELETE, None)]
        await cluster.controller.alter_configs(TopicResource("t"), default, cluster.config)
        assert (await the_partition(cluster)).eligible_leader_replicas == (1,), "nothing can be committed meanwhile"
