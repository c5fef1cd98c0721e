"""Produce: what is answered, when, and what is refused before anything is appended."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from tests.support.one_broker import Answer, OneBroker, batch, topic_id_of, topic_image

from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import ProduceRequest
from pybroker_server.handlers.produce import handle_produce
from pybroker_server.handlers.request import NO_RESPONSE, CloseConnection

Topic = ProduceRequest.TopicProduceData
Data = ProduceRequest.PartitionProduceData


@pytest.fixture
def broker() -> OneBroker:
    made = OneBroker()
    made.show_topics(topic_image("t", 2))
    return made


def produce(
    broker: OneBroker,
    records: Any = None,
    *,
    topics: list[ProduceRequest.TopicProduceData] | None = None,
    version: int = 9,
    acks: int = 1,
    timeout_ms: int = 1_000,
    transactional_id: str | None = None,
) -> Any:
    if topics is None:
        topics = [Topic(name="t", partition_data=[Data(index=0, records=records)])]
    request = ProduceRequest(acks=acks, timeout_ms=timeout_ms, topic_data=topics, transactional_id=transactional_id)
    return handle_produce(broker.services, broker.context(0, version), request)


def results(response: Any) -> list[tuple[str, int, int, int]]:
    """(topic, partition, error, base offset)"""
    return [
        (topic.name, result.index, result.error_code, result.base_offset)
        for topic in response.responses
        for result in topic.partition_responses
    ]


def only(response: Any) -> Any:
    ((result,),) = [topic.partition_responses for topic in response.responses]
    return result


class TestAcks:
    def test_one_is_answered_after_the_append(self, broker: OneBroker) -> None:
        broker.append(b"before")
        result = only(produce(broker, batch(b"a", b"b")))
        assert (result.error_code, result.base_offset, result.log_append_time_ms) == (0, 1, -1)
        assert broker.partition().high_watermark == 1

    def test_all_is_answered_when_it_is_on_the_device(self, broker: OneBroker) -> None:
        answer = Answer(produce(broker, batch(b"a"), acks=-1))
        broker.settle()
        assert answer.is_waiting
        broker.flush()
        assert results(answer.response) == [("t", 0, 0, 0)]

    def test_all_is_answered_at_once_where_the_page_cache_is_enough(self) -> None:
        broker = OneBroker({"durability": "page-cache"})
        broker.show_topics(topic_image("t"))
        assert results(produce(broker, batch(b"a"), acks=-1)) == [("t", 0, 0, 0)]

    def test_zero_is_never_answered(self, broker: OneBroker) -> None:
        assert produce(broker, batch(b"a"), acks=0) is NO_RESPONSE
        assert broker.log().log_end_offset == 1

    def test_zero_with_an_error_closes_the_connection(self, broker: OneBroker) -> None:
        with pytest.raises(CloseConnection):
            produce(broker, memoryview(b""), acks=0)
        with pytest.raises(CloseConnection):
            produce(broker, batch(b"a", transactional=True), acks=0)

    @pytest.mark.parametrize("acks", [2, -2])
    def test_others_are_refused(self, broker: OneBroker, acks: int) -> None:
        result = only(produce(broker, batch(b"a"), acks=acks))
        assert (result.error_code, result.base_offset, result.log_start_offset) == (21, -1, -1)
        assert broker.log().log_end_offset == 0

    def test_several_may_wait_and_are_answered_in_order(self, broker: OneBroker) -> None:
        answers = [Answer(produce(broker, batch(b"a", producer=(7, 0, n)), acks=-1)) for n in range(5)]
        broker.flush()
        assert [only(answer.response).base_offset for answer in answers] == [0, 1, 2, 3, 4]

    def test_time_out(self, broker: OneBroker) -> None:
        answer = Answer(produce(broker, batch(b"a"), acks=-1, timeout_ms=50))
        broker.time.advance_ms(50)
        assert only(answer.response).error_code == ErrorCode.REQUEST_TIMED_OUT
        broker.flush()
        assert len(answer.given) == 1

    def test_nobody_waits_for_a_closed_connection(self, broker: OneBroker) -> None:
        answer = Answer(produce(broker, batch(b"a"), acks=-1))
        assert answer.pending is not None
        answer.pending.abandon()
        assert len(broker.manager.purgatory) == 0
        broker.flush()
        assert answer.is_waiting

    def test_deleted_while_waiting(self, broker: OneBroker) -> None:
        answer = Answer(produce(broker, batch(b"a"), acks=-1))
        broker.hide_topic(topic_id_of("t"))
        broker.settle()
        assert only(answer.response).error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION

    def test_refused_before_the_append_when_too_many_wait(self, broker: OneBroker) -> None:
        broker.manager.purgatory.limit = 1
        Answer(produce(broker, batch(b"a"), acks=-1))
        refused = only(produce(broker, batch(b"b"), acks=-1))
        assert refused.error_code == ErrorCode.REQUEST_TIMED_OUT
        assert broker.log().log_end_offset == 1
        assert only(produce(broker, batch(b"b"), acks=1)).error_code == 0

    def test_below_the_minimum_isr(self) -> None:
        broker = OneBroker()
        image = topic_image("t", replicas=(1, 2), configs={"min.insync.replicas": "2"})
        lone = type(image.partitions[0])(0, (1, 2), (1,), 1, 0, 1)
        broker.show_topics(type(image)(image.topic_id, "t", (lone,), image.configs))
        result = only(produce(broker, batch(b"a"), acks=-1))
        assert (result.error_code, result.log_start_offset) == (ErrorCode.NOT_ENOUGH_REPLICAS, 0)


class TestPartitions:
    def test_each_has_a_result_of_its_own(self, broker: OneBroker) -> None:
        topics = [
            Topic(name="t", partition_data=[Data(index=1, records=batch(b"a")), Data(index=9, records=batch(b"a"))]),
            Topic(name="nope", partition_data=[Data(index=0, records=batch(b"a"))]),
        ]
        assert results(produce(broker, topics=topics)) == [("t", 1, 0, 0), ("t", 9, 3, -1), ("nope", 0, 3, -1)]

    def test_one_that_fails_does_not_keep_the_others_from_waiting(self, broker: OneBroker) -> None:
        partitions = [Data(index=0, records=memoryview(b"")), Data(index=1, records=batch(b"a"))]
        answer = Answer(produce(broker, topics=[Topic(name="t", partition_data=partitions)], acks=-1))
        assert answer.is_waiting
        broker.flush()
        assert results(answer.response) == [("t", 0, 87, -1), ("t", 1, 0, 0)]

    def test_one_named_twice_is_written_once_with_the_last_records(self, broker: OneBroker) -> None:
        twice = [Data(index=0, records=batch(b"a", b"b")), Data(index=0, records=batch(b"c"))]
        assert results(produce(broker, topics=[Topic(name="t", partition_data=twice)])) == [("t", 0, 0, 0)]
        assert broker.log().log_end_offset == 1

    def test_a_topic_named_twice_likewise(self, broker: OneBroker) -> None:
        topics = [
            Topic(name="t", partition_data=[Data(index=i, records=batch(b"a", b"b")) for i in (0, 1)]),
            Topic(name="t", partition_data=[Data(index=0, records=batch(b"c"))]),
        ]
        assert results(produce(broker, topics=topics)) == [("t", 0, 0, 0), ("t", 1, 0, 0)]
        assert broker.log().log_end_offset == 1

    def test_nothing_asked_nothing_answered(self, broker: OneBroker) -> None:
        assert produce(broker, topics=[], acks=-1).responses == []

    def test_by_id_from_version_13(self, broker: OneBroker) -> None:
        def by_id(topic_id: UUID, index: int) -> Any:
            topic = Topic(topic_id=topic_id, partition_data=[Data(index=index, records=batch(b"a"))])
            response = produce(broker, topics=[topic], version=13)
            assert response.responses[0].topic_id == topic_id
            return only(response).error_code

        assert by_id(topic_id_of("t"), 0) == 0
        assert by_id(topic_id_of("t"), 9) == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        assert by_id(UUID(int=77), 0) == ErrorCode.UNKNOWN_TOPIC_ID
        assert by_id(UUID(int=0), 0) == ErrorCode.UNKNOWN_TOPIC_ID

    def test_a_log_that_fails(self, broker: OneBroker) -> None:
        broker.log().failure = OSError(5, "Input/output error")
        assert only(produce(broker, batch(b"a"))).error_code == ErrorCode.KAFKA_STORAGE_ERROR


class TestRecords:
    def test_none_at_all(self, broker: OneBroker) -> None:
        for records in (None, memoryview(b"")):
            result = only(produce(broker, records))
            assert (result.error_code, result.log_start_offset) == (ErrorCode.INVALID_RECORD, -1)

    def test_more_than_one_batch(self, broker: OneBroker) -> None:
        result = only(produce(broker, memoryview(bytes(batch(b"a")) + bytes(batch(b"b")))))
        assert (result.error_code, result.log_start_offset) == (ErrorCode.INVALID_RECORD, -1)

    def test_a_damaged_batch(self, broker: OneBroker) -> None:
        damaged = batch(b"a")
        damaged[-1] ^= 1
        result = only(produce(broker, damaged))
        assert (result.error_code, result.log_start_offset) == (ErrorCode.CORRUPT_MESSAGE, -1)

    def test_zstd_needs_version_7(self, broker: OneBroker) -> None:
        zstd = batch(b"a")
        zstd[22] |= 4
        assert only(produce(broker, zstd, version=6)).error_code == ErrorCode.UNSUPPORTED_COMPRESSION_TYPE
        assert only(produce(broker, zstd, version=7)).error_code == ErrorCode.CORRUPT_MESSAGE

    def test_a_retry_is_answered_with_the_first_offset(self, broker: OneBroker) -> None:
        first = batch(b"a", b"b", producer=(7, 0, 0), timestamps=[500, 600])
        again = memoryview(bytearray(first))
        assert only(produce(broker, first)).base_offset == 0
        broker.append(b"other")
        answer = only(produce(broker, again, acks=-1))
        assert (answer.error_code, answer.base_offset, answer.log_append_time_ms) == (0, 0, 600)
        assert broker.log().log_end_offset == 3

    def test_a_retry_waits_for_what_is_not_flushed_yet(self, broker: OneBroker) -> None:
        produce(broker, batch(b"a", producer=(7, 0, 0)))
        answer = Answer(produce(broker, batch(b"a", producer=(7, 0, 0)), acks=-1))
        assert answer.is_waiting
        broker.flush()
        assert only(answer.response).base_offset == 0

    def test_a_gap_in_the_sequence(self, broker: OneBroker) -> None:
        produce(broker, batch(b"a", producer=(7, 0, 0)))
        result = only(produce(broker, batch(b"a", producer=(7, 0, 5))))
        assert (result.error_code, result.base_offset, result.log_start_offset) == (45, -1, 0)
        assert result.error_message is None

    def test_single_records_are_blamed(self) -> None:
        broker = OneBroker()
        broker.show_topics(topic_image("t", configs={"cleanup.policy": "compact"}))
        result = only(produce(broker, batch(b"a", b"b", key=None)))
        assert (result.error_code, result.log_start_offset) == (ErrorCode.INVALID_RECORD, 0)
        assert [error.batch_index for error in result.record_errors] == [0, 1]
        assert all(error.batch_index_error_message for error in result.record_errors)
        assert result.error_message

    def test_append_time_is_told(self) -> None:
        broker = OneBroker()
        broker.show_topics(topic_image("t", configs={"message.timestamp.type": "LogAppendTime"}))
        assert only(produce(broker, batch(b"a"))).log_append_time_ms == broker.time.wall_ms()

    def test_the_log_start_is_told(self, broker: OneBroker) -> None:
        broker.append(b"a", b"b", b"c")
        broker.partition().delete_records(2)
        assert only(produce(broker, batch(b"d"))).log_start_offset == 2

    def test_internal_topics_are_not_the_clients_to_write(self) -> None:
        broker = OneBroker()
        broker.show_topics(topic_image("__consumer_offsets"))
        topics = [Topic(name="__consumer_offsets", partition_data=[Data(index=0, records=batch(b"a"))])]
        result = only(produce(broker, topics=topics))
        assert (result.error_code, result.log_start_offset) == (ErrorCode.INVALID_TOPIC_EXCEPTION, -1)


class TestTransactions:
    def test_a_transactional_batch_without_an_id_refuses_the_whole_request(self, broker: OneBroker) -> None:
        partitions = [Data(index=0, records=batch(b"a")), Data(index=1, records=batch(b"b", transactional=True))]
        response = produce(broker, topics=[Topic(name="t", partition_data=partitions)])
        assert results(response) == [("t", 0, 53, -1), ("t", 1, 53, -1)]
        assert broker.log().log_end_offset == 0


class TestLeaderHints:
    @pytest.fixture
    def moved(self, broker: OneBroker) -> OneBroker:
        broker.show_topics(topic_image("t", replicas=(1, 2), leader=2, leader_epoch=4, partition_epoch=1))
        return broker

    def test_from_version_10_the_new_leader_is_named(self, moved: OneBroker) -> None:
        response = produce(moved, batch(b"a"), version=10)
        result = only(response)
        assert result.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
        assert (result.current_leader.leader_id, result.current_leader.leader_epoch) == (2, 4)
        assert [(n.node_id, n.host, n.port, n.rack) for n in response.node_endpoints] == [(2, "host2", 9092, "rack2")]

    def test_before_it_is_not(self, moved: OneBroker) -> None:
        response = produce(moved, batch(b"a"), version=9)
        assert only(response).current_leader is None
        assert response.node_endpoints == []

    def test_by_id_as_well(self, moved: OneBroker) -> None:
        topic = Topic(topic_id=topic_id_of("t"), partition_data=[Data(index=0, records=batch(b"a"))])
        response = produce(moved, topics=[topic], version=13)
        assert only(response).current_leader.leader_id == 2

    def test_when_the_leadership_is_lost_while_waiting(self, broker: OneBroker) -> None:
        answer = Answer(produce(broker, batch(b"a"), acks=-1, version=10))
        broker.show_topics(topic_image("t", replicas=(1, 2), leader=2, leader_epoch=4, partition_epoch=1))
        broker.settle()
        result = only(answer.response)
        assert result.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
        assert result.current_leader.leader_id == 2

    def test_a_leader_that_the_client_cannot_reach_is_named_without_an_address(self, moved: OneBroker) -> None:
        moved.connection.listener = "OTHER"
        response = produce(moved, batch(b"a"), version=10)
        assert only(response).current_leader.leader_id == 2
        assert response.node_endpoints == []
