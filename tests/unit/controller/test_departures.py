"""Answers that wait while it is being settled that a broker died, and brokers that are listed for a while longer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from tests.support.cluster import Cluster, a_cluster
from tests.support.manual_time import ManualTime

from pybroker_server.controller.departures import PATIENCE_MS, Departures
from pybroker_server.controller.settling import plan_settling
from pybroker_server.controller.topics import NewTopic
from pybroker_server.peers.problem import Problem

LISTED_MS = 9_000


@dataclass
class FakePeers:
    """Loses and reaches brokers when told to."""

    cluster: Cluster
    reached: set[int] = field(default_factory=lambda: {2, 3})
    lost_to: list[Callable[[int, int, Problem], None]] = field(default_factory=list)
    reached_by: list[Callable[[int, int], None]] = field(default_factory=list)

    def on_lost(self, listener: Callable[[int, int, Problem], None]) -> None:
        self.lost_to.append(listener)

    def on_reached(self, listener: Callable[[int, int], None]) -> None:
        self.reached_by.append(listener)

    def is_reached(self, node_id: int) -> bool:
        return node_id in self.reached

    def lose(self, node_id: int, problem: Problem = Problem.CLOSED) -> None:
        self.reached.discard(node_id)
        for listener in self.lost_to:
            listener(node_id, self.cluster.image.brokers[node_id].epoch, problem)

    def reach(self, node_id: int) -> None:
        self.reached.add(node_id)
        for listener in self.reached_by:
            listener(node_id, self.cluster.image.brokers[node_id].epoch)


async def watched(cluster: Cluster) -> tuple[Departures, FakePeers]:
    """Brokers 1 to 3, of which broker 2 leads a partition; seen by broker 1."""
    departures = Departures(cluster.publisher, cluster.runtime, listed_ms=LISTED_MS)
    peers = FakePeers(cluster)
    departures.watch(cast(Any, peers))
    await cluster.add_brokers(1, 2, 3)
    topic = NewTopic("t", assignments=[(0, (2, 3))])
    (outcome,) = await cluster.controller.create_topics([topic], cluster.config)
    assert outcome.error is None
    return departures, peers


async def die(cluster: Cluster, node_id: int) -> None:
    await cluster.controller.fence_broker(node_id, cluster.image.brokers[node_id].epoch)


async def test_answers_wait_until_another_leads() -> None:
    async with a_cluster() as cluster:
        departures, peers = await watched(cluster)
        answered: list[int] = []

        def answer() -> None:
            answered.append(cluster.image.topics_by_name["t"].partitions[0].leader)

        assert not departures.wait(answer)
        peers.lose(2)
        assert departures.wait(answer)
        await die(cluster, 2)
        assert not answered, "the dead broker is the leader still"
        await cluster.controller.change(lambda image: plan_settling(image, cluster.config, 10))
        assert answered == [3]
        assert not departures.wait(answer)


async def test_answers_wait_no_longer_than_their_patience_and_once_for_each_death() -> None:
    time = ManualTime()
    async with a_cluster(time=time) as cluster:
        departures, peers = await watched(cluster)
        answered: list[str] = []
        peers.lose(2)
        assert departures.wait(lambda: answered.append("waited"))
        time.advance_ms(PATIENCE_MS - 1)
        peers.lose(2, Problem.REFUSED)
        assert not answered
        time.advance_ms(1)
        assert answered == ["waited"]
        assert not departures.wait(lambda: answered.append("again"))


async def test_a_broker_that_is_back_at_once_is_waited_for_no_longer() -> None:
    async with a_cluster() as cluster:
        departures, peers = await watched(cluster)
        answered: list[str] = []
        peers.lose(2)
        assert departures.wait(lambda: answered.append("waited"))
        peers.reach(2)
        assert answered == ["waited"]


async def test_a_network_that_is_slow_makes_nobody_wait() -> None:
    async with a_cluster() as cluster:
        departures, peers = await watched(cluster)
        peers.lose(2, Problem.UNREACHABLE)
        assert not departures.wait(lambda: None)


async def test_a_connection_for_fetches_alone_makes_nobody_wait() -> None:
    async with a_cluster() as cluster:
        departures, peers = await watched(cluster)
        peers.lose(2)
        peers.reached.add(2)
        assert not departures.wait(lambda: None)


async def test_a_dead_broker_is_listed_as_long_as_its_lease_could_have_lasted() -> None:
    time = ManualTime()
    async with a_cluster(time=time) as cluster:
        departures, _ = await watched(cluster)
        await die(cluster, 2)
        assert departures.still_listed() == [2]
        time.advance_ms(LISTED_MS)
        assert departures.still_listed() == []


async def test_a_broker_that_took_leave_is_listed_no_longer() -> None:
    async with a_cluster() as cluster:
        departures, _ = await watched(cluster)
        await cluster.controller.announce_shutdown(2, cluster.image.brokers[2].epoch, lease_id=0)
        await die(cluster, 2)
        assert departures.still_listed() == []


async def test_a_broker_that_is_back_is_listed_as_itself() -> None:
    async with a_cluster() as cluster:
        departures, _ = await watched(cluster)
        await die(cluster, 2)
        await cluster.add_brokers(2)
        assert departures.still_listed() == []


async def test_one_answer_that_fails_does_not_keep_the_others() -> None:
    time = ManualTime()
    async with a_cluster(time=time) as cluster:
        departures, peers = await watched(cluster)
        answered: list[str] = []

        def fail() -> None:
            raise RuntimeError("a bug")

        peers.lose(2)
        assert departures.wait(fail)
        assert departures.wait(lambda: answered.append("waited"))
        with pytest.raises(RuntimeError):
            peers.reach(2)
        time.advance_ms(0)
        assert answered == ["waited"]
