"""A partition's state, log and waiters together: what makes the high watermark move, and what stops the partition."""

from __future__ import annotations

import pytest
from tests.support.one_broker import OneBroker, batch, topic_image

from pybroker_protocol.errors import ErrorCode, KafkaError

ACKS_ALL = -1


@pytest.fixture
def broker() -> OneBroker:
    made = OneBroker()
    made.show_topics(topic_image("t"))
    return made


def append(broker: OneBroker, *values: bytes, acks: int = 1) -> int:
    return (
        broker.partition().append(batch(*values), acks, broker.time.monotonic_ms(), broker.time.wall_ms()).base_offset
    )


class TestAppending:
    def test_what_is_appended_shows_when_it_is_flushed(self, broker: OneBroker) -> None:
        assert append(broker, b"a", b"b") == 0
        assert broker.partition().high_watermark == 0
        broker.flush()
        assert broker.partition().high_watermark == 2
        assert broker.partition().high_watermark_position == broker.log().end_position

    def test_page_cache_mode_shows_it_at_once_and_asks_for_no_flush(self) -> None:
        broker = OneBroker({"durability": "page-cache"})
        broker.show_topics(topic_image("t"))
        append(broker, b"a")
        assert broker.partition().high_watermark == 1
        assert broker.flusher.requested == {}

    def test_page_cache_mode_flushes_every_so_many_messages(self) -> None:
        broker = OneBroker()
        broker.show_topics(topic_image("t", configs={"durability": "page-cache", "flush.messages": "3"}))
        append(broker, b"a", b"b")
        assert broker.flusher.requested == {}
        append(broker, b"c")
        assert broker.flusher.requested != {}
        broker.flush()
        assert broker.log().flushed_offset == 3

    def test_many_appends_ask_for_one_flush(self, broker: OneBroker) -> None:
        for _ in range(10):
            append(broker, b"a")
        assert len(broker.flusher.requested) == 1
        broker.flush()
        assert broker.partition().high_watermark == 10

    def test_an_append_during_a_flush_is_flushed_next(self, broker: OneBroker) -> None:
        append(broker, b"a")
        ((callback,),) = broker.flusher.requested.values()
        broker.log().flushed_offset = 1
        append(broker, b"b")
        broker.flusher.requested.clear()
        callback(None)
        assert broker.partition().high_watermark == 1
        broker.flush()
        assert broker.partition().high_watermark == 2

    def test_the_log_decides_what_is_a_batch(self, broker: OneBroker) -> None:
        with pytest.raises(KafkaError) as raised:
            broker.partition().append(memoryview(bytearray(100)), 1, 0, 0)
        assert raised.value.code is ErrorCode.CORRUPT_MESSAGE
        assert broker.log().log_end_offset == 0

    def test_too_few_in_sync_refuses_acks_all_only(self) -> None:
        broker = OneBroker()
        image = topic_image("t", replicas=(1, 2), configs={"min.insync.replicas": "2"})
        broker.show_topics(image)
        lone = topic_image("t", replicas=(1, 2), partition_epoch=1, configs={"min.insync.replicas": "2"})
        partitions = tuple(type(p)(0, (1, 2), (1,), 1, 0, 1) for p in lone.partitions)
        broker.show_topics(type(lone)(lone.topic_id, "t", partitions, lone.configs))
        with pytest.raises(KafkaError) as raised:
            append(broker, b"a", acks=ACKS_ALL)
        assert raised.value.code is ErrorCode.NOT_ENOUGH_REPLICAS
        assert append(broker, b"a", acks=1) == 0


class TestStorageErrors:
    def test_a_failed_append_stops_the_partition(self, broker: OneBroker) -> None:
        broker.log().failure = OSError(5, "Input/output error")
        for _ in range(2):
            with pytest.raises(KafkaError) as raised:
                append(broker, b"a")
            assert raised.value.code is ErrorCode.KAFKA_STORAGE_ERROR
        assert not broker.partition().is_serving_leader

    def test_a_failed_flush_stops_the_partition_and_shows_nothing_of_it(self, broker: OneBroker) -> None:
        append(broker, b"a")
        broker.flush(OSError(28, "No space left on device"))
        assert broker.partition().high_watermark == 0
        with pytest.raises(KafkaError) as raised:
            broker.partition().check_leader()
        assert raised.value.code is ErrorCode.KAFKA_STORAGE_ERROR


class TestDeletingRecords:
    def test_up_to_an_offset_or_to_the_high_watermark(self, broker: OneBroker) -> None:
        broker.append(b"a", b"b", b"c")
        append(broker, b"not flushed")
        assert broker.partition().delete_records(2) == 2
        assert broker.partition().delete_records(1) == 1
        assert broker.partition().low_watermark == 2, "it never falls"
        assert broker.partition().delete_records(-1) == 3
        assert broker.partition().low_watermark == 3

    @pytest.mark.parametrize("offset", [4, -2])
    def test_not_beyond_what_is_committed(self, broker: OneBroker, offset: int) -> None:
        broker.append(b"a", b"b", b"c")
        append(broker, b"not flushed")
        with pytest.raises(KafkaError) as raised:
            broker.partition().delete_records(offset)
        assert raised.value.code is ErrorCode.OFFSET_OUT_OF_RANGE

    def test_not_in_a_topic_that_is_only_compacted(self) -> None:
        broker = OneBroker()
        broker.show_topics(topic_image("t", configs={"cleanup.policy": "compact"}))
        with pytest.raises(KafkaError) as raised:
            broker.partition().delete_records(-1)
        assert raised.value.code is ErrorCode.POLICY_VIOLATION


class TestEpochs:
    def test_a_new_leadership_is_written_down_before_anything_is_served(self, broker: OneBroker) -> None:
        broker.append(b"a", b"b")
        broker.show_topics(topic_image("t", leader_epoch=3, partition_epoch=1))
        assert broker.partition().end_offset_for_epoch(3, 0) == (0, 2)
        assert broker.partition().end_offset_for_epoch(-1, 3) == (3, 2)
        append(broker, b"c")
        assert broker.partition().end_offset_for_epoch(-1, 3) == (3, 3)

    @pytest.mark.parametrize(
        ("epoch", "code"), [(2, ErrorCode.FENCED_LEADER_EPOCH), (4, ErrorCode.UNKNOWN_LEADER_EPOCH)]
    )
    def test_other_epochs_are_fenced(self, epoch: int, code: ErrorCode) -> None:
        broker = OneBroker()
        broker.show_topics(topic_image("t", leader_epoch=3))
        with pytest.raises(KafkaError) as raised:
            broker.partition().check_leader(epoch)
        assert raised.value.code is code

    def test_divergence(self, broker: OneBroker) -> None:
        broker.append(b"a", b"b")
        broker.show_topics(topic_image("t", leader_epoch=3, partition_epoch=1))
        broker.append(b"c")
        partition = broker.partition()
        assert partition.diverging_epoch(3, 3) is None
        assert partition.diverging_epoch(0, 2) is None
        assert partition.diverging_epoch(0, 3) == (0, 2), "it has more of epoch 0 than this log"
        assert partition.diverging_epoch(2, 2) == (0, 2), "this log never had epoch 2"
        assert partition.diverging_epoch(3, 9) == (3, 3)
        with pytest.raises(KafkaError) as raised:
            partition.diverging_epoch(7, 1)
        assert raised.value.code is ErrorCode.OFFSET_OUT_OF_RANGE


class TestLastStableOffset:
    def test_it_is_the_high_watermark_without_transactions(self, broker: OneBroker) -> None:
        broker.append(b"a", b"b")
        assert broker.partition().last_stable_offset == 2
        assert broker.partition().last_stable_position() == broker.partition().high_watermark_position

    def test_it_stops_at_an_open_transaction(self, broker: OneBroker) -> None:
        broker.append(b"a")
        broker.append(b"b")
        broker.log().producer_state.first_unstable_offset = 1
        assert broker.partition().last_stable_offset == 1
        assert broker.partition().last_stable_position() == broker.log().position_of(1)

    def test_of_a_transaction_whose_first_records_were_deleted_it_is_what_is_left(self, broker: OneBroker) -> None:
        records = batch(b"b", b"c", producer=(7, 0, 0), transactional=True)
        held = broker.partition().begin_verification(7, 0, 0, 0, adds=False)
        broker.partition().append(records, 1, 0, 0, verification=held)
        append(broker, b"d")
        broker.flush()
        assert broker.partition().last_stable_offset == 0
        broker.partition().delete_records(2)
        assert broker.partition().last_stable_offset == 2
        assert broker.partition().last_stable_position() == broker.log().position_of(2)
