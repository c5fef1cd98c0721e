"""The controller's seat and what its holder does: one acts, another takes over, a deposed one changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from tests.support.cluster import Cluster, a_broker, a_cluster
from tests.support.manual_time import ManualTime

from pybroker_server.controller.change import Change
from pybroker_server.controller.membership import Membership
from pybroker_server.controller.reactor import Reactor
from pybroker_server.controller.topics import NewTopic
from pybroker_server.metadata.image import PartitionImage
from pybroker_server.metadata.keys import encode_partition, partition_key
from pybroker_server.metadata.memory import MemoryStore
from pybroker_server.metadata.store import Compare, Put


@dataclass
class Node:
    cluster: Cluster
    membership: Membership
    reactor: Reactor

    def partitions(self, topic: str = "t") -> list[PartitionImage]:
        return list(self.cluster.image.topics_by_name[topic].partitions)

    async def create(self, *wanted: NewTopic) -> None:
        outcomes = await self.cluster.controller.create_topics(wanted, self.cluster.config)
        assert all(outcome.error is None for outcome in outcomes)
        await settle()


async def settle() -> None:
    for _ in range(60):
        await asyncio.sleep(0)


@asynccontextmanager
async def a_node(
    node_id: int,
    store: MemoryStore,
    time: ManualTime,
    *,
    batch_size: int = 100,
    settings: Mapping[str, str] | None = None,
) -> AsyncIterator[Node]:
    """A member of the cluster with its reactor; it does not renew, as time moves only when a test moves it."""
    async with a_cluster(settings, store=store, time=time) as cluster:
        membership = Membership(
            store, cluster.publisher, cluster.controller, cluster.runtime, session_ms=9_000, heartbeat_ms=2_000
        )
        await membership.join(a_broker(node_id))
        reactor = Reactor(
            node_id,
            cluster.publisher,
            cluster.controller,
            membership,
            cluster.runtime,
            lambda: cluster.config,
            batch_size=batch_size,
        )
        reactor.start()
        await settle()
        yield Node(cluster, membership, reactor)
        await reactor.stop()


@asynccontextmanager
async def three_nodes(*, batch_size: int = 100) -> AsyncIterator[list[Node]]:
    time = ManualTime()
    store = MemoryStore(time, time)
    async with (
        a_node(1, store, time, batch_size=batch_size) as one,
        a_node(2, store, time, batch_size=batch_size) as two,
        a_node(3, store, time, batch_size=batch_size) as three,
    ):
        yield [one, two, three]


def in_office(nodes: list[Node]) -> list[int]:
    return [number for number, node in enumerate(nodes, 1) if node.reactor.is_in_office]


async def test_one_is_in_office_and_another_follows_it() -> None:
    async with three_nodes() as nodes:
        assert in_office(nodes) == [1]
        await nodes[1].cluster.controller.fence_broker(1, nodes[0].membership.epoch)
        nodes[0].membership._is_leaving = True  # it does not come back
        await settle()
        assert len(in_office(nodes)) == 1
        assert in_office(nodes) != [1]


async def test_partitions_of_a_dead_broker_are_led_by_others_and_it_leaves_every_isr() -> None:
    async with three_nodes(batch_size=2) as nodes:
        await nodes[0].create(NewTopic("t", 9, 3))
        nodes[2].membership._is_leaving = True
        await nodes[0].cluster.controller.fence_broker(3, nodes[2].membership.epoch)
        await settle()
        for partition in nodes[1].partitions():
            assert partition.leader in (1, 2)
            assert sorted(partition.isr) == [1, 2]
            assert (partition.leader_epoch == 1) == (partition.replicas[0] == 3)


async def test_a_controller_that_dies_is_followed_and_what_it_led_as_well() -> None:
    async with three_nodes() as nodes:
        await nodes[0].create(NewTopic("t", 9, 3))
        nodes[0].membership._is_leaving = True
        await nodes[1].cluster.controller.fence_broker(1, nodes[0].membership.epoch)
        await settle()
        assert {partition.leader for partition in nodes[1].partitions()} == {2, 3}


async def test_who_shuts_down_hands_over_while_it_still_serves() -> None:
    async with three_nodes() as nodes:
        await nodes[0].create(NewTopic("t", 9, 3), NewTopic("alone", assignments=[(0, [2])]))
        leaving = asyncio.ensure_future(nodes[1].membership.leave(patience_ms=60_000))
        await settle()
        assert all(p.leader != 2 and 2 not in p.isr for p in nodes[0].partitions())
        [alone] = nodes[0].partitions("alone")
        assert (alone.leader, alone.isr) == (2, (2,)), "nobody else could"
        nodes[1].membership._wake.set()
        await leaving
        await nodes[1].membership.depart()
        await settle()
        [alone] = nodes[0].partitions("alone")
        assert (alone.leader, alone.isr, alone.eligible_leader_replicas) == (-1, (), (2,))


async def test_a_broker_that_returns_leads_again_what_only_it_can() -> None:
    async with three_nodes() as nodes:
        await nodes[0].create(NewTopic("t", assignments=[(0, [3])]))
        epoch = nodes[2].membership.epoch
        await nodes[0].cluster.controller.fence_broker(3, epoch)
        await settle()
        [partition] = nodes[0].partitions()
        assert nodes[2].membership.epoch > epoch
        assert (partition.leader, partition.isr, partition.eligible_leader_replicas) == (3, (3,), ())


async def test_leadership_goes_back_to_preferred_replicas_after_a_while() -> None:
    time = ManualTime()
    store = MemoryStore(time, time)
    every = {"leader.imbalance.check.interval.seconds": "5"}
    async with a_node(1, store, time, settings=every) as one, a_node(2, store, time, settings=every) as two:
        await one.create(NewTopic("t", 4, 2))
        await one.cluster.controller.fence_broker(2, two.membership.epoch)
        await settle()
        for partition in one.partitions():
            assert partition.leader == 1
            # The follower catches up.
            await _set_isr(one, partition, (1, 2))
        time.advance_ms(5_000)
        await settle()
        assert [p.leader for p in one.partitions()] == [p.replicas[0] for p in one.partitions()]


async def _set_isr(node: Node, partition: PartitionImage, isr: tuple[int, ...]) -> None:
    key = partition_key(node.cluster.image.topics_by_name["t"].topic_id, partition.index)
    changed = replace(partition, isr=isr, partition_epoch=partition.partition_epoch + 1)
    change = Change(compares=[Compare(key, partition.mod_revision)], puts=[Put(key, encode_partition(changed))])
    await node.cluster.controller.change(lambda image: change)
