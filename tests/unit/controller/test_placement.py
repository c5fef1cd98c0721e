"""Placement of replicas: round robin, over racks, and never two on one host while another is free (design
D10)."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.cluster import a_broker

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_server.controller.placement import place_replicas, ring
from pybroker_server.metadata.image import BrokerImage


def place(
    brokers: list[BrokerImage], partitions: int, factor: int, start: int = 0, shift: int = 0
) -> list[tuple[int, ...]]:
    return place_replicas(brokers, partitions, factor, start=start, shift=shift)


def test_leaders_go_round_robin_from_the_start() -> None:
    placed = place([a_broker(i) for i in (1, 2, 3)], 7, 1, start=1)
    assert [replicas[0] for replicas in placed] == [2, 3, 1, 2, 3, 1, 2]


def test_the_partitions_of_one_leader_have_their_followers_spread() -> None:
    placed = place([a_broker(i) for i in range(5)], 20, 2)
    followers_of_0 = {replicas[1] for replicas in placed if replicas[0] == 0}
    assert followers_of_0 == {1, 2, 3, 4}
    assert Counter(replicas[1] for replicas in placed) == dict.fromkeys(range(5), 4)


def test_neighbours_on_the_ring_stand_on_other_racks_and_hosts() -> None:
    brokers = [
        a_broker(1, rack="a", host_id="h1"),
        a_broker(2, rack="a", host_id="h1"),
        a_broker(3, rack="a", host_id="h2"),
        a_broker(4, rack="b", host_id="h3"),
        a_broker(5, rack="b", host_id="h3"),
    ]
    assert [broker.node_id for broker in ring(brokers)] == [1, 4, 3, 5, 2]


def test_a_fenced_broker_takes_replicas_only_when_there_is_no_other() -> None:
    brokers = [a_broker(1), a_broker(2, fenced=True), a_broker(3), a_broker(4, shutting_down=True)]
    for replicas in place(brokers, 6, 2):
        assert sorted(replicas) == [1, 3]
    for replicas in place(brokers, 6, 3):
        assert set(replicas[:2]) == {1, 3}
        assert replicas[2] in (2, 4)


@pytest.mark.parametrize("brokers", [[], [a_broker(1)], [a_broker(1, fenced=True), a_broker(2, fenced=True)]])
def test_too_few_brokers(brokers: list[BrokerImage]) -> None:
    with pytest.raises(KafkaError) as raised:
        place(brokers, 1, 2)
    assert raised.value.code is ErrorCode.INVALID_REPLICATION_FACTOR


@settings(max_examples=200, deadline=None)
@given(
    homes=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=12),
    partitions=st.integers(1, 40),
    factor=st.integers(1, 5),
    start=st.integers(0, 1000),
    shift=st.integers(0, 1000),
)
def test_what_holds_for_every_cluster(
    homes: list[tuple[int, int]], partitions: int, factor: int, start: int, shift: int
) -> None:
    """No broker twice; hosts and racks are reused only when all are in use; leaders differ by one at most."""
    brokers = [a_broker(i, rack=f"r{rack}", host_id=f"r{rack}h{host}") for i, (rack, host) in enumerate(homes)]
    factor = min(factor, len(brokers))
    host_of = {broker.node_id: broker.host_id for broker in brokers}
    rack_of = {broker.node_id: broker.rack for broker in brokers}
    placed = place(brokers, partitions, factor, start, shift)
    assert len(placed) == partitions
    for replicas in placed:
        assert len(set(replicas)) == factor
        hosts = {host_of[node] for node in replicas}
        assert len(hosts) == min(factor, len(set(host_of.values())))
        if factor <= len(set(rack_of.values())):
            assert len({rack_of[node] for node in replicas}) == factor
    leaders = Counter({broker.node_id: 0 for broker in brokers})
    leaders.update(replicas[0] for replicas in placed)
    assert max(leaders.values()) - min(leaders.values()) <= 1
