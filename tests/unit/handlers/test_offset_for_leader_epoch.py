"""OffsetForLeaderEpoch: where an epoch ended, as Kafka answers it."""

from __future__ import annotations

import pytest
from tests.support.one_broker import OneBroker, topic_image

from pybroker_protocol.messages import OffsetForLeaderEpochRequest
from pybroker_server.handlers.offset_for_leader_epoch import handle_offset_for_leader_epoch

Topic = OffsetForLeaderEpochRequest.OffsetForLeaderTopic
Part = OffsetForLeaderEpochRequest.OffsetForLeaderPartition


@pytest.fixture
def broker() -> OneBroker:
    """Epoch 1 from offset 0 to 2, epoch 4 from there to 5."""
    made = OneBroker()
    made.show_topics(topic_image("t", leader_epoch=1))
    made.append(b"a", b"b")
    made.show_topics(topic_image("t", leader_epoch=4, partition_epoch=1))
    made.append(b"a", b"b", b"c")
    return made


def ask(broker: OneBroker, epoch: int, *, current: int = -1, index: int = 0, topic: str = "t") -> tuple[int, int, int]:
    """(error, leader epoch, end offset)"""
    asked = Part(partition=index, current_leader_epoch=current, leader_epoch=epoch)
    request = OffsetForLeaderEpochRequest(replica_id=-1, topics=[Topic(topic=topic, partitions=[asked])])
    response = handle_offset_for_leader_epoch(broker.services, broker.context(23, 4), request)
    ((result,),) = [answer.partitions for answer in response.topics]
    assert (response.topics[0].topic, result.partition) == (topic, index)
    return result.error_code, result.leader_epoch, result.end_offset


@pytest.mark.parametrize(
    ("epoch", "expected"),
    [
        (4, (0, 4, 5)),
        (1, (0, 1, 2)),
        (3, (0, 1, 2)),
        (0, (0, 0, 0)),
        (5, (0, -1, -1)),
        (-1, (0, -1, -1)),
    ],
)
def test_the_largest_epoch_not_above_the_asked_one_and_its_end(
    broker: OneBroker, epoch: int, expected: tuple[int, int, int]
) -> None:
    assert ask(broker, epoch) == expected


@pytest.mark.parametrize(("current", "code"), [(3, 74), (5, 75), (4, 0)])
def test_leader_epochs_are_fenced(broker: OneBroker, current: int, code: int) -> None:
    assert ask(broker, 4, current=current)[0] == code


def test_unknown_partitions(broker: OneBroker) -> None:
    assert ask(broker, 4, index=9) == (3, -1, -1)
    assert ask(broker, 4, topic="nope") == (3, -1, -1)
