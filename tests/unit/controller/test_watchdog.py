"""Whose connections end, and whose registration ends with them."""

from __future__ import annotations

import asyncio

from tests.support.cluster import Cluster, a_cluster

from pybroker_server.controller.change import Change
from pybroker_server.controller.watchdog import Watchdog
from pybroker_server.metadata.keys import CONTROLLER_KEY, encode_controller
from pybroker_server.metadata.store import Compare, Put
from pybroker_server.peers.problem import Problem


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def with_controller(cluster: Cluster, node_id: int) -> None:
    """Brokers 1 to 3, one of them in office."""
    await cluster.add_brokers(1, 2, 3)
    epoch = cluster.image.brokers[node_id].epoch
    change = Change(
        compares=[Compare(CONTROLLER_KEY, 0)], puts=[Put(CONTROLLER_KEY, encode_controller(node_id, epoch))]
    )
    await cluster.controller.change(lambda image: change if image.controller is None else Change())


def a_watchdog(cluster: Cluster) -> Watchdog:
    """Broker 1's."""
    return Watchdog(1, cluster.publisher, cluster.controller, cluster.runtime.tasks)


async def lose(cluster: Cluster, watchdog: Watchdog, node_id: int, problem: Problem = Problem.REFUSED) -> bool:
    """Whether the broker is fenced afterwards."""
    watchdog.on_lost(node_id, cluster.image.brokers[node_id].epoch, problem)
    await settle()
    return cluster.image.brokers[node_id].fenced


async def test_the_controller_fences_who_is_gone() -> None:
    async with a_cluster() as cluster:
        await with_controller(cluster, 1)
        watchdog = a_watchdog(cluster)
        watchdog.on_reached(2, cluster.image.brokers[2].epoch)
        assert not await lose(cluster, watchdog, 2, Problem.CLOSED), "it may be back at once"
        assert not await lose(cluster, watchdog, 2, Problem.UNREACHABLE), "that may be the network"
        assert await lose(cluster, watchdog, 2)
        assert not cluster.image.brokers[3].fenced


async def test_others_fence_the_controller_only() -> None:
    async with a_cluster() as cluster:
        await with_controller(cluster, 2)
        watchdog = a_watchdog(cluster)
        assert not await lose(cluster, watchdog, 3)
        assert await lose(cluster, watchdog, 2)
        assert await lose(cluster, watchdog, 3), "nobody is in office now"


async def test_an_earlier_life_is_not_taken_for_the_present_one() -> None:
    async with a_cluster() as cluster:
        await with_controller(cluster, 1)
        watchdog = a_watchdog(cluster)
        before = cluster.image.brokers[2].epoch
        await cluster.add_brokers(2)
        watchdog.on_lost(2, before, Problem.REFUSED)
        await settle()
        assert not cluster.image.brokers[2].fenced


async def test_who_registers_an_address_that_nobody_can_reach_is_fenced_once() -> None:
    async with a_cluster() as cluster:
        await with_controller(cluster, 1)
        watchdog = a_watchdog(cluster)
        assert await lose(cluster, watchdog, 2)
        await cluster.add_brokers(2)
        assert not await lose(cluster, watchdog, 2)
        watchdog.on_reached(2, cluster.image.brokers[2].epoch)
        assert await lose(cluster, watchdog, 2)


async def test_a_broker_that_stops_fences_nobody() -> None:
    async with a_cluster() as cluster:
        await with_controller(cluster, 1)
        watchdog = a_watchdog(cluster)
        watchdog.stop()
        assert not await lose(cluster, watchdog, 2)
