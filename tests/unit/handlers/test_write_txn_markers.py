"""WriteTxnMarkers: where the end of a transaction is written, when it is answered, and who is told what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from tests.support.one_broker import OneBroker, batch, topic_image

from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import WriteTxnMarkersRequest
from pybroker_server.coordinator.group.coordinator import OFFSETS_TOPIC
from pybroker_server.handlers.request import Pending
from pybroker_server.handlers.write_txn_markers import handle_write_txn_markers

PRODUCER = 7


@pytest.fixture
def broker() -> OneBroker:
    made = OneBroker({"transaction.partition.verification.enable": "false"})
    made.show_topics(topic_image("t", 2), topic_image("far", replicas=(1, 2), leader=2))
    return made


def marker(places: Mapping[str, Sequence[int]], *, producer_id: int = PRODUCER, epoch: int = 0, **more: Any) -> Any:
    topics = [
        WriteTxnMarkersRequest.WritableTxnMarkerTopic(name=name, partition_indexes=list(indexes))
        for name, indexes in places.items()
    ]
    return WriteTxnMarkersRequest.WritableTxnMarker(
        producer_id=producer_id, producer_epoch=epoch, topics=topics, **{"transaction_result": True, **more}
    )


def ask(broker: OneBroker, *markers: Any, version: int = 1) -> Pending[Any]:
    request = WriteTxnMarkersRequest(markers=list(markers))
    return handle_write_txn_markers(broker.services, broker.context(27, version), request)


def codes(pending: Pending[Any], producer_id: int = PRODUCER) -> dict[tuple[str, int], ErrorCode]:
    assert pending.completed
    return {
        (topic.name, partition.partition_index): ErrorCode(partition.error_code)
        for result in pending.response.markers
        if result.producer_id == producer_id
        for topic in result.topics
        for partition in topic.partitions
    }


def write(broker: OneBroker, index: int = 0) -> None:
    records = batch(b"a", producer=(PRODUCER, 0, 0), transactional=True)
    broker.partition("t", index).append(records, -1, 0, 0)


def test_an_open_transaction_ends_and_is_answered_when_that_is_safe(broker: OneBroker) -> None:
    write(broker)
    broker.flush()
    assert broker.partition().last_stable_offset == 0
    pending = ask(broker, marker({"t": [0]}))
    assert not pending.completed
    assert broker.partition().last_stable_offset == 0, "its end is not safe yet"
    broker.flush()
    assert codes(pending) == {("t", 0): ErrorCode.NONE}
    assert broker.partition().last_stable_offset == 2


def test_each_partition_is_told_what_became_of_it(broker: OneBroker) -> None:
    pending = ask(broker, marker({"t": [0, 1, 9], "far": [0], "no": [0]}))
    broker.flush()
    assert codes(pending) == {
        ("t", 0): ErrorCode.NONE,
        ("t", 1): ErrorCode.NONE,
        ("t", 9): ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ("far", 0): ErrorCode.NOT_LEADER_OR_FOLLOWER,
        ("no", 0): ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    }


def test_a_partition_named_twice_gets_one_marker(broker: OneBroker) -> None:
    pending = ask(broker, marker({"t": [0, 0]}))
    broker.flush()
    assert codes(pending) == {("t", 0): ErrorCode.NONE}
    assert broker.log().log_end_offset == 1


def test_one_refused_marker_does_not_hold_up_the_others(broker: OneBroker) -> None:
    ask(broker, marker({"t": [0]}, epoch=5))
    broker.flush()
    pending = ask(broker, marker({"t": [0, 1]}, epoch=4), marker({"t": [0]}, producer_id=8))
    broker.flush()
    assert codes(pending) == {("t", 0): ErrorCode.INVALID_PRODUCER_EPOCH, ("t", 1): ErrorCode.NONE}
    assert codes(pending, 8) == {("t", 0): ErrorCode.NONE}


def test_a_partition_whose_leader_changes_meanwhile_is_asked_for_again(broker: OneBroker) -> None:
    pending = ask(broker, marker({"t": [0]}))
    broker.show_topics(topic_image("t", 2, replicas=(1, 2), leader=2, leader_epoch=1, partition_epoch=1))
    broker.time.advance_ms(0)
    assert codes(pending) == {("t", 0): ErrorCode.NOT_LEADER_OR_FOLLOWER}


def test_what_never_becomes_safe_is_answered_after_the_request_timeout(broker: OneBroker) -> None:
    pending = ask(broker, marker({"t": [0]}))
    broker.time.advance_ms(29_999)
    assert not pending.completed
    broker.time.advance_ms(1)
    assert codes(pending) == {("t", 0): ErrorCode.REQUEST_TIMED_OUT}


def test_the_group_coordinator_writes_it_where_offsets_are_kept(broker: OneBroker) -> None:
    broker.show_topics(topic_image(OFFSETS_TOPIC, 2))
    pending = ask(broker, marker({OFFSETS_TOPIC: [1], "t": [0]}))
    broker.flush()
    assert codes(pending) == {(OFFSETS_TOPIC, 1): ErrorCode.NONE, ("t", 0): ErrorCode.NONE}
    assert broker.log(OFFSETS_TOPIC, 1).log_end_offset == 1


def test_a_group_coordinator_that_still_loads_is_asked_again(broker: OneBroker) -> None:
    broker.show_topics(topic_image(OFFSETS_TOPIC))
    ask(broker, marker({OFFSETS_TOPIC: [0]}))
    broker.flush()
    broker.show_topics(topic_image(OFFSETS_TOPIC, leader_epoch=1, partition_epoch=1))
    pending = ask(broker, marker({OFFSETS_TOPIC: [0]}))
    assert codes(pending) == {(OFFSETS_TOPIC, 0): ErrorCode.NOT_LEADER_OR_FOLLOWER}
