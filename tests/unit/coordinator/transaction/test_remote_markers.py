"""Markers for partitions that other brokers lead: how they travel, and what comes of silence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest
from tests.support.one_broker import topic_image
from tests.support.transaction_desk import SilentPeers, TransactionDesk

from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import WriteTxnMarkersRequest, WriteTxnMarkersResponse
from pybroker_server.coordinator.end_marker import EndMarker
from pybroker_server.coordinator.transaction.remote_markers import RemoteMarkers
from pybroker_server.coordinator.transaction.transaction import State, TopicPartition, Transaction
from pybroker_server.peers.peers import Peers
from pybroker_server.peers.problem import PeerError, Problem

Codes = Mapping[TopicPartition, ErrorCode]
Marker = WriteTxnMarkersResponse.WritableTxnMarkerResult
Topic = WriteTxnMarkersResponse.WritableTxnMarkerTopicResult
Partition = WriteTxnMarkersResponse.WritableTxnMarkerPartitionResult


def marker(producer_id: int, epoch: int = 1, *, commit: bool = True) -> EndMarker:
    return EndMarker(producer_id, epoch, 3, commit, 2)


def all_written(request: WriteTxnMarkersRequest, code: ErrorCode = ErrorCode.NONE) -> WriteTxnMarkersResponse:
    return WriteTxnMarkersResponse(
        markers=[
            Marker(
                producer_id=asked.producer_id,
                topics=[
                    Topic(
                        name=topic.name,
                        partitions=[Partition(partition_index=i, error_code=code) for i in topic.partition_indexes],
                    )
                    for topic in asked.topics
                ],
            )
            for asked in request.markers
        ]
    )


@pytest.fixture
def peers() -> SilentPeers:
    return SilentPeers()


@pytest.fixture
def remote(peers: SilentPeers) -> RemoteMarkers:
    return RemoteMarkers(2, cast(Peers, peers))


def test_a_request_says_all_of_a_marker(remote: RemoteMarkers, peers: SilentPeers) -> None:
    told: list[Codes] = []
    remote.write(marker(7, 5, commit=False), [("b", 1), ("a", 0), ("b", 0)], told.append)
    [(node, request, done)] = peers.sent
    assert node == 2
    [asked] = request.markers
    assert (asked.producer_id, asked.producer_epoch, asked.transaction_result) == (7, 5, False)
    assert (asked.coordinator_epoch, asked.transaction_version) == (3, 2)
    assert [(topic.name, topic.partition_indexes) for topic in asked.topics] == [("a", [0]), ("b", [0, 1])]
    done(all_written(request), None)
    assert told == [{("a", 0): 0, ("b", 0): 0, ("b", 1): 0}]


def test_what_comes_while_one_is_under_way_goes_out_together(remote: RemoteMarkers, peers: SilentPeers) -> None:
    told: list[Codes] = []
    for producer_id in range(4):
        remote.write(marker(producer_id), [("t", producer_id)], told.append)
    [(_, request, done)] = peers.sent
    assert [asked.producer_id for asked in request.markers] == [0]
    done(all_written(request), None)
    _, request, done = peers.sent[1]
    assert [asked.producer_id for asked in request.markers] == [1, 2, 3]
    done(all_written(request), None)
    assert told == [{("t", i): ErrorCode.NONE} for i in range(4)]
    assert len(peers.sent) == 2


def test_a_producer_has_one_marker_in_a_request(remote: RemoteMarkers, peers: SilentPeers) -> None:
    told: list[Codes] = []
    remote.write(marker(0), [("t", 0)], told.append)
    remote.write(marker(7, 1), [("t", 1)], told.append)
    remote.write(marker(7, 2, commit=False), [("t", 1)], told.append)
    for _ in range(3):
        _, request, done = peers.sent[-1]
        done(all_written(request), None)
    assert [[(a.producer_id, a.producer_epoch) for a in request.markers] for _, request, _ in peers.sent] == [
        [(0, 1)],
        [(7, 1)],
        [(7, 2)],
    ]
    assert len(told) == 3


def test_silence_may_mean_anything(remote: RemoteMarkers, peers: SilentPeers) -> None:
    told: list[Codes] = []
    remote.write(marker(7), [("t", 0)], told.append)
    peers.sent[0][2](None, PeerError(Problem.CLOSED, "gone"))
    remote.write(marker(8), [("t", 0), ("t", 1)], told.append)
    answer = WriteTxnMarkersResponse(
        markers=[Marker(producer_id=8, topics=[Topic(name="t", partitions=[Partition(partition_index=1)])])]
    )
    peers.sent[1][2](answer, None)
    assert told == [
        {("t", 0): ErrorCode.REQUEST_TIMED_OUT},
        {("t", 0): ErrorCode.REQUEST_TIMED_OUT, ("t", 1): ErrorCode.NONE},
    ]


def test_each_leader_gets_its_own_and_a_leader_that_moves_is_followed() -> None:
    desk = TransactionDesk()
    desk.show_topics(topic_image("u", 2, replicas=(1, 2), leader=2))
    producer = desk.begin(("t", 0), ("u", 0), ("u", 1))
    desk.end(producer, commit=True)
    desk.settle()
    [held] = desk.sink.held
    assert held.partitions == (("t", 0),)
    [(node, request, done)] = desk.peers.sent
    assert node == 2
    done(all_written(request, ErrorCode.NOT_LEADER_OR_FOLLOWER), None)
    desk.show_topics(topic_image("u", 2, replicas=(1, 2), leader=1, leader_epoch=1))
    assert set(desk.sink.held[-1].partitions) == {("u", 0), ("u", 1)}
    desk.sink.let_go()
    found: Any = desk.describe()
    assert isinstance(found, Transaction)
    assert found.state is State.COMPLETE_COMMIT
