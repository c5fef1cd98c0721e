"""Partitions come and go with the metadata; what waits on them is answered."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any
from uuid import UUID

import pytest
from tests.support.memory_log import MemoryLogs
from tests.support.one_broker import OneBroker, batch, topic_id_of, topic_image

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_server.replica.purgatory import DelayedFetch, DelayedOperation, DelayedProduce


def codes_of(broker: OneBroker, topic: str, index: int) -> tuple[ErrorCode, ErrorCode]:
    return broker.manager.missing(topic, index), broker.manager.missing_by_id(topic_id_of(topic), index)


class TestImages:
    def test_partitions_are_found_by_name_and_by_id(self) -> None:
        broker = OneBroker()
        broker.show_topics(topic_image("t", 2))
        found = broker.manager.partition("t", 1)
        assert broker.manager.partition_by_id(topic_id_of("t"), 1) is found
        assert found.is_serving_leader
        assert {(p.topic, p.index) for p in broker.manager.all_partitions()} == {("t", 0), ("t", 1)}

    def test_why_a_partition_is_missing(self) -> None:
        broker = OneBroker()
        broker.show_topics(topic_image("t"), topic_image("far", replicas=(2,), leader=2))
        unknown = (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.UNKNOWN_TOPIC_ID)
        assert codes_of(broker, "nope", 0) == unknown
        assert codes_of(broker, "t", 7) == (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,) * 2
        assert codes_of(broker, "far", 0) == (ErrorCode.NOT_LEADER_OR_FOLLOWER,) * 2
        with pytest.raises(KafkaError) as raised:
            broker.manager.partition("far", 0)
        assert raised.value.code is ErrorCode.NOT_LEADER_OR_FOLLOWER

    def test_a_log_that_cannot_be_made_is_a_storage_error_and_others_go_on(self) -> None:
        broker = OneBroker()
        broker.logs.failure = OSError(28, "No space left on device")
        broker.show_topics(topic_image("t"))
        assert codes_of(broker, "t", 0) == (ErrorCode.KAFKA_STORAGE_ERROR,) * 2
        broker.logs.failure = None
        broker.show_topics(topic_image("t", partition_epoch=1))
        assert broker.partition().is_serving_leader

    def test_partitions_are_added(self) -> None:
        broker = OneBroker()
        broker.show_topics(topic_image("t"))
        first = broker.partition()
        broker.show_topics(topic_image("t", 3))
        assert broker.partition("t", 2).is_serving_leader
        assert broker.partition() is first

    def test_configuration_reaches_the_log_and_the_state(self) -> None:
        broker = OneBroker()
        broker.show_topics(topic_image("t"))
        broker.append(b"a", flush=False)
        broker.show_topics(topic_image("t", configs={"durability": "page-cache", "max.message.bytes": "1000"}))
        assert broker.log().config.max_message_bytes == 1000
        assert broker.partition().high_watermark == 1, "what is in the page cache counts from now on"

    def test_a_topic_made_durable_flushes_what_was_not(self) -> None:
        broker = OneBroker({"durability": "page-cache"})
        broker.show_topics(topic_image("t"))
        broker.append(b"a", flush=False)
        broker.show_topics(topic_image("t", configs={"durability": "fsync"}))
        assert broker.flusher.requested != {}

    def test_a_change_of_the_brokers_defaults_reaches_topics(self) -> None:
        broker = OneBroker()
        broker.show_topics(topic_image("t"), topic_image("own", configs={"retention.ms": "7"}))
        broker.manager.on_config(OneBroker({"log.retention.ms": "5000"}).config)
        assert broker.log().config.retention_ms == 5000
        assert broker.log("own").config.retention_ms == 7

    def test_a_replica_moved_away_goes_with_its_log(self) -> None:
        broker = OneBroker()
        broker.show_topics(topic_image("t"))
        broker.show_topics(topic_image("t", replicas=(2,), leader=2, leader_epoch=1, partition_epoch=1))
        assert broker.manager.missing("t", 0) is ErrorCode.NOT_LEADER_OR_FOLLOWER
        assert broker.logs.deleted == [("t", 0, topic_id_of("t"))]

    def test_a_deleted_topic_goes_with_its_logs(self) -> None:
        broker = OneBroker()
        broker.show_topics(topic_image("t", 2))
        broker.hide_topic(topic_id_of("t"))
        assert codes_of(broker, "t", 0) == (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.UNKNOWN_TOPIC_ID)
        assert [index for _, index, _ in broker.logs.deleted] == [0, 1]

    def test_deleted_and_made_anew_in_one_step(self) -> None:
        broker = OneBroker()
        broker.show_topics(topic_image("t"))
        broker.append(b"old")
        old = broker.partition()
        again = topic_image("t", topic_id=UUID(int=9))
        broker.show(
            topics_by_id=MappingProxyType({again.topic_id: again}), topics_by_name=MappingProxyType({"t": again})
        )
        assert broker.partition() is not old
        assert broker.partition().topic_id == UUID(int=9)
        assert broker.log().log_end_offset == 0
        assert old.error is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION

    def test_made_anew_while_the_old_log_is_cut_it_opens_when_the_files_are_free(self) -> None:
        broker = OneBroker()
        waiting = broker.logs.being_cut["t", 0] = []
        broker.show_topics(topic_image("t"))
        assert codes_of(broker, "t", 0) == (ErrorCode.NOT_LEADER_OR_FOLLOWER,) * 2
        del broker.logs.being_cut["t", 0]
        waiting[0]()
        assert broker.partition().is_serving_leader


class TestRestart:
    def restarted(self, logs: MemoryLogs) -> OneBroker:
        broker = OneBroker(logs=logs)
        broker.show_topics(topic_image("t"))
        return broker

    def test_what_was_recovered_is_flushed_before_it_is_shown(self) -> None:
        before = OneBroker()
        before.show_topics(topic_image("t"))
        before.append(b"a")
        before.append(b"b", flush=False)
        before.logs.high_watermarks["t", 0] = 1
        after = self.restarted(before.logs)
        assert after.partition().high_watermark == 1
        after.flush()
        assert after.partition().high_watermark == 2

    def test_a_checkpoint_past_the_log_end_is_cut(self) -> None:
        before = OneBroker()
        before.show_topics(topic_image("t"))
        before.append(b"a")
        before.logs.high_watermarks["t", 0] = 99
        assert self.restarted(before.logs).partition().high_watermark == 1

    def test_a_log_of_another_topic_of_the_name_is_not_taken_over(self) -> None:
        before = OneBroker()
        before.show_topics(topic_image("t", topic_id=UUID(int=5)))
        before.append(b"stale")
        after = self.restarted(before.logs)
        assert after.log().log_end_offset == 0
        assert before.logs.deleted == [("t", 0, UUID(int=5))]


class ToldProduce(DelayedProduce):
    """Remembers in `told` what it was answered with: an operation that was answered knows nothing any more."""

    told: list[tuple[Any, ErrorCode]]

    def release(self) -> None:
        self.told = self.failures
        super().release()


class TestWaiting:
    def waiting_produce(self, broker: OneBroker, answers: list[DelayedOperation], timeout_ms: int) -> ToldProduce:
        partition = broker.partition()
        info = partition.append(batch(b"a"), -1, broker.time.monotonic_ms(), broker.time.wall_ms())
        operation = ToldProduce(answers.append)
        operation.add(0, info.last_offset + 1, partition.waiting)
        broker.manager.watch(operation, broker.time.monotonic_ms() + timeout_ms)
        return operation

    def waiting_fetch(self, broker: OneBroker, answers: list[DelayedOperation], timeout_ms: int) -> DelayedFetch:
        operation = DelayedFetch(1, answers.append)
        partition = broker.partition()
        operation.add(partition.high_watermark_position, 1_000, partition.waiting)
        broker.manager.watch(operation, broker.time.monotonic_ms() + timeout_ms)
        return operation

    @pytest.fixture
    def broker(self) -> OneBroker:
        made = OneBroker()
        made.show_topics(topic_image("t"))
        return made

    def test_a_flush_answers_produces_and_fetches_after_the_current_call(self, broker: OneBroker) -> None:
        answers: list[DelayedOperation] = []
        fetch = self.waiting_fetch(broker, answers, 500)
        produce = self.waiting_produce(broker, answers, 500)
        broker.flusher.flush()
        assert answers == []
        broker.settle()
        assert answers == [produce, fetch]
        assert produce.told == []

    def test_deadlines_are_kept_by_one_timer(self, broker: OneBroker) -> None:
        answers: list[DelayedOperation] = []
        late = self.waiting_fetch(broker, answers, 900)
        early = self.waiting_produce(broker, answers, 300)
        broker.time.advance_ms(299)
        assert answers == []
        broker.time.advance_ms(1)
        assert answers == [early]
        assert early.told == [(0, ErrorCode.REQUEST_TIMED_OUT)]
        broker.time.advance_ms(600)
        assert answers == [early, late]

    @pytest.mark.parametrize("what", ["deleted", "moved", "re-elected", "broken"])
    def test_everything_is_answered_when_the_partition_changes(self, broker: OneBroker, what: str) -> None:
        answers: list[DelayedOperation] = []
        fetch = self.waiting_fetch(broker, answers, 10_000)
        produce = self.waiting_produce(broker, answers, 10_000)
        expected = ErrorCode.NOT_LEADER_OR_FOLLOWER
        if what == "deleted":
            broker.hide_topic(topic_id_of("t"))
            expected = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        elif what == "moved":
            broker.show_topics(topic_image("t", replicas=(1, 2), leader=2, leader_epoch=1, partition_epoch=1))
        elif what == "re-elected":
            broker.show_topics(topic_image("t", leader_epoch=1, partition_epoch=1))
        else:
            broker.flush(OSError(5, "Input/output error"))
            expected = ErrorCode.KAFKA_STORAGE_ERROR
        broker.settle()
        assert sorted(answers, key=id) == sorted([fetch, produce], key=id)
        assert produce.told == [(0, expected)]
        assert len(broker.manager.purgatory) == 0

    def test_one_answer_that_fails_does_not_keep_the_others(self, broker: OneBroker) -> None:
        answers: list[DelayedOperation] = []

        def fail(_: DelayedOperation) -> None:
            raise RuntimeError("a bug")

        bad = DelayedProduce(fail)
        good = DelayedProduce(answers.append)
        broker.manager.finish([bad, good])
        with pytest.raises(RuntimeError):
            broker.settle()
        broker.settle()
        assert answers == [good]


def test_brokers_that_are_fenced_or_leaving_are_not_eligible() -> None:
    broker = OneBroker()
    broker.show_topics(topic_image("t", replicas=(1, 2)))
    state = broker.partition().state
    assert dict(state.eligible_brokers) == {1: 10, 2: 20}
    brokers = dict(broker.metadata.image.brokers)
    brokers[2] = replace(brokers[2], fenced=True)
    broker.show(brokers=MappingProxyType(brokers))
    assert dict(state.eligible_brokers) == {1: 10}
