"""DeleteRecords: what may be deleted, and that it is answered when nothing can bring it back."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from tests.support.one_broker import Answer, OneBroker, topic_image

from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import DeleteRecordsRequest
from pybroker_server.handlers.delete_records import handle_delete_records

Topic = DeleteRecordsRequest.DeleteRecordsTopic
Part = DeleteRecordsRequest.DeleteRecordsPartition


@pytest.fixture
def broker() -> OneBroker:
    """Three committed records in each of two partitions."""
    made = OneBroker()
    made.show_topics(topic_image("t", 2))
    for index in (0, 1):
        made.append(b"a", b"b", b"c", index=index)
    return made


def begin(broker: OneBroker, *asked: tuple[int, int], topic: str = "t") -> Answer:
    partitions = [Part(partition_index=index, offset=offset) for index, offset in asked]
    request = DeleteRecordsRequest(topics=[Topic(name=topic, partitions=partitions)] if asked else [], timeout_ms=1_000)
    return Answer(handle_delete_records(broker.services, broker.context(21, 2), request))


def delete(broker: OneBroker, *asked: tuple[int, int], topic: str = "t") -> list[tuple[int, int, int]]:
    """(partition, error, low watermark)"""
    answer = begin(broker, *asked, topic=topic)
    broker.blocking.run_all()
    return results(answer.response)


def results(response: Any) -> list[tuple[int, int, int]]:
    return [(p.partition_index, p.error_code, p.low_watermark) for t in response.topics for p in t.partitions]


def test_answered_when_the_new_log_start_is_written(broker: OneBroker) -> None:
    answer = begin(broker, (0, 2))
    assert answer.is_waiting
    assert broker.log().log_start_offset == 2, "readers below are refused from now on"
    broker.blocking.run_all()
    assert results(answer.response) == [(0, 0, 2)]
    assert broker.logs.written_log_starts["t", 0] == 2


def test_nothing_to_delete_is_answered_at_once(broker: OneBroker) -> None:
    delete(broker, (0, 2))
    assert not begin(broker, (0, 1)).is_waiting
    assert delete(broker, (0, 1), (1, 0)) == [(0, 0, 2), (1, 0, 0)]


def test_minus_one_is_everything_that_is_committed(broker: OneBroker) -> None:
    broker.append(b"not flushed", flush=False)
    assert delete(broker, (0, -1)) == [(0, 0, 3)]


@pytest.mark.parametrize("offset", [4, -2, 2**63 - 1])
def test_out_of_range(broker: OneBroker, offset: int) -> None:
    assert delete(broker, (0, offset)) == [(0, ErrorCode.OFFSET_OUT_OF_RANGE, -1)]


def test_each_partition_has_an_answer_of_its_own(broker: OneBroker) -> None:
    assert delete(broker, (0, 9), (1, 2), (7, 0)) == [(0, 1, -1), (1, 0, 2), (7, 3, -1)]


def test_of_a_partition_named_twice_the_last_offset_counts(broker: OneBroker) -> None:
    assert delete(broker, (0, 3), (0, 2)) == [(0, 0, 2)]


def test_topics_that_are_not_to_be_trimmed(broker: OneBroker) -> None:
    broker.show_topics(
        topic_image("c", configs={"cleanup.policy": "compact"}),
        topic_image("both", configs={"cleanup.policy": "compact,delete"}),
        topic_image("far", replicas=(1, 2), leader=2),
    )
    assert delete(broker, (0, 0), topic="c") == [(0, ErrorCode.POLICY_VIOLATION, -1)]
    assert delete(broker, (0, 0), topic="both") == [(0, 0, 0)]
    assert delete(broker, (0, 0), topic="far") == [(0, ErrorCode.NOT_LEADER_OR_FOLLOWER, -1)]
    assert delete(broker, (0, 0), topic="nope") == [(0, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, -1)]
    assert delete(broker, (0, 0), topic="__consumer_offsets") == [(0, ErrorCode.INVALID_TOPIC_EXCEPTION, -1)]


def test_nothing_asked(broker: OneBroker) -> None:
    assert delete(broker) == []


def test_a_disk_that_does_not_take_it(broker: OneBroker) -> None:
    broker.logs.failure = OSError(28, "No space left on device")
    assert delete(broker, (0, 2), (1, 9)) == [(0, ErrorCode.KAFKA_STORAGE_ERROR, -1), (1, 1, -1)]


def test_many_requests_share_a_write_but_none_is_answered_by_an_earlier_one(broker: OneBroker) -> None:
    first = begin(broker, (0, 1))
    others = [begin(broker, (0, 2)), begin(broker, (1, 3))]
    broker.blocking.run_all()
    assert not first.is_waiting
    assert all(answer.is_waiting for answer in others)
    broker.blocking.run_all()
    assert [results(answer.response) for answer in others] == [[(0, 0, 2)], [(1, 0, 3)]]
    assert broker.blocking.submitted == []


class TestFollowers:
    @pytest.fixture
    def replicated(self) -> OneBroker:
        """Three committed records, on a leader and on a follower whose log begins at 0."""
        made = OneBroker()
        made.show_topics(topic_image("t", replicas=(1, 2)))
        made.append(b"a", b"b", b"c")
        self.fetch(made, log_start_offset=0)
        return made

    @staticmethod
    def fetch(broker: OneBroker, *, log_start_offset: int) -> None:
        """The follower asks for what follows the third record, and says where its log begins."""
        broker.partition().on_follower_fetch(2, 20, 3, log_start_offset, broker.time.monotonic_ms())
        broker.settle()

    def test_the_answer_waits_for_followers_that_live(self, replicated: OneBroker) -> None:
        answer = begin(replicated, (0, 2))
        replicated.blocking.run_all()
        self.fetch(replicated, log_start_offset=1)
        assert answer.is_waiting
        self.fetch(replicated, log_start_offset=2)
        assert results(answer.response) == [(0, 0, 2)]

    def test_at_the_time_out_it_tells_how_far_it_came(self, replicated: OneBroker) -> None:
        answer = begin(replicated, (0, 2))
        replicated.blocking.run_all()
        replicated.time.advance_ms(1_000)
        assert results(answer.response) == [(0, ErrorCode.REQUEST_TIMED_OUT, 0)]
        assert len(replicated.manager.purgatory) == 0

    def test_a_leader_that_is_one_no_more_says_so(self, replicated: OneBroker) -> None:
        answer = begin(replicated, (0, 2))
        replicated.blocking.run_all()
        replicated.show_topics(topic_image("t", replicas=(1, 2), leader=2, leader_epoch=1, partition_epoch=1))
        replicated.settle()
        assert results(answer.response) == [(0, ErrorCode.NOT_LEADER_OR_FOLLOWER, -1)]

    def test_a_follower_that_is_gone_holds_nothing_up(self, replicated: OneBroker) -> None:
        brokers = replicated.metadata.image.brokers
        replicated.show(brokers=MappingProxyType({1: brokers[1], 2: replace(brokers[2], fenced=True)}))
        assert delete(replicated, (0, 2)) == [(0, 0, 2)]
