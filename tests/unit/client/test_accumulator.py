"""Batches of a partition: how they are cut, when they may go, and that retries keep their order and their stamps.

The clock is a number that the tests hand in; what a broker would answer, they answer.
"""

from __future__ import annotations

from typing import Any

import pytest

from pybroker.accumulator import EPOCH_MAX, SEQUENCE_MAX, Accumulator, Identity, PartitionQueue, Settings
from pybroker.batch import Batch, Stamp
from pybroker.errors import Closed, Rejected, TimedOut
from pybroker.metadata import TopicPartition
from pybroker.retry import Backoff, ProduceVerdict
from pybroker_protocol.records.batch import parse_batch_header
from pybroker_protocol.records.record import iter_records

TP = TopicPartition("orders", 3)
ME = Identity(producer_id=77, producer_epoch=4)
RETRY, NOT_APPENDED = ProduceVerdict.RETRY, ProduceVerdict.RETRY_NOT_APPENDED
LOST, SPLIT = ProduceVerdict.SEQUENCE_LOST, ProduceVerdict.SPLIT
CHANCE = 0.5  # no jitter


def a_queue(**settings: Any) -> PartitionQueue:
    return PartitionQueue(TP, Settings(**settings), Backoff(first=0.1, most=1.0))


def a_known_queue(**settings: Any) -> PartitionQueue:
    """One that has sent a record already: sequence 0."""
    queue = a_queue(**settings)
    add(queue, b"first")
    queue.on_accepted(take(queue, ME if queue._settings.is_idempotent else None), 0, -1, 0.0, CHANCE)
    return queue


def add(queue: PartitionQueue, *values: bytes, now: float = 0.0) -> Batch:
    """One sealed batch of these values."""
    for value in values:
        batch, _ = queue.append(now, 1_000, None, value, None)
    queue.seal()
    return batch


def take(queue: PartitionQueue, identity: Identity | None = ME) -> Batch:
    batch, data = queue.take(identity)
    header = parse_batch_header(data)
    assert batch.stamp is None or batch.stamp == (header.producer_id, header.producer_epoch, header.base_sequence)
    return batch


def values_of(data: memoryview) -> list[bytes | None]:
    return [record.raw_value for record in iter_records(data, max_bytes=1 << 20)]


# Filling.


def test_records_share_a_batch_until_it_is_full() -> None:
    queue = a_queue(batch_bytes=400)
    batches = [queue.append(0.0, 1_000, None, b"x" * 100, None) for _ in range(7)]
    sizes = [sum(batch is each for each, _ in batches) for batch in dict.fromkeys(batch for batch, _ in batches)]
    assert sizes == [3, 3, 1]
    assert [index for _, index in batches] == [0, 1, 2, 0, 1, 2, 0]
    assert all(batch.size_bytes <= 400 for batch, _ in batches)


def test_a_record_larger_than_a_batch_has_one_of_its_own() -> None:
    queue = a_queue(batch_bytes=100)
    small, _ = queue.append(0.0, 1_000, None, b"s", None)
    large, index = queue.append(0.0, 1_000, None, b"x" * 500, None)
    after, _ = queue.append(0.0, 1_000, None, b"s", None)
    assert (large is not small, index, large.record_count, large.is_sealed) == (True, 0, 1, True)
    assert after is not large


def test_a_batch_made_outside_comes_after_what_was_there() -> None:
    queue = a_queue()
    outside = queue.new_batch(0.0)
    outside.extend_values(1_000, [b"2", b"3"])
    queue.append(0.0, 1_000, None, b"1", None)
    queue.enqueue(outside)
    queue.append(0.0, 1_000, None, b"4", None)
    assert [value for _ in range(3) for value in values_of(queue.take(ME)[1])] == [b"1", b"2", b"3", b"4"]
    assert queue.has_unsent is False


# When a batch may go.


def test_the_first_record_goes_at_once_and_later_ones_linger_while_it_is_under_way() -> None:
    queue = a_known_queue(linger=0.5)
    assert queue.sendable_at(0.0) is None
    queue.append(0.0, 1_000, None, b"1", None)
    assert queue.sendable_at(0.0) == 0.0
    first = take(queue)
    queue.append(10.0, 1_000, None, b"2", None)
    assert queue.sendable_at(10.0) == 10.5
    queue.on_accepted(first, 0, -1, 10.1, CHANCE)
    assert queue.sendable_at(10.1) == 0.0


def test_a_full_batch_does_not_linger_and_neither_does_a_flush() -> None:
    queue = a_known_queue(linger=5.0, batch_bytes=200)
    add(queue, b"1")
    take(queue)
    queue.append(0.0, 1_000, None, b"2", None)
    assert queue.sendable_at(0.0) == 5.0
    queue.is_flushing = True
    assert queue.sendable_at(0.0) == 0.0
    take(queue)
    assert not queue.is_flushing
    queue.append(0.0, 1_000, None, b"x" * 300, None)
    assert queue.sendable_at(0.0) == 0.0


@pytest.mark.parametrize(("is_idempotent", "limit"), [(True, 5), (False, 1)])
def test_only_so_many_batches_are_under_way(is_idempotent: bool, limit: int) -> None:
    queue = a_known_queue(is_idempotent=is_idempotent)
    for number in range(7):
        add(queue, b"%d" % number)
    identity = ME if is_idempotent else None
    under_way = [take(queue, identity) for _ in range(limit)]
    assert queue.sendable_at(0.0) is None
    queue.on_accepted(under_way[0], 0, -1, 0.0, CHANCE)
    assert queue.sendable_at(0.0) == 0.0


def test_the_first_batch_goes_alone_until_it_is_accepted() -> None:
    """A broker takes any sequence from a producer that it does not know: a second batch could overtake the first."""
    queue = a_queue()
    for number in range(3):
        add(queue, b"%d" % number)
    queue.on_setback(take(queue), NOT_APPENDED, 0.0, CHANCE)
    first = take(queue)
    assert queue.sendable_at(1.0) is None
    queue.on_accepted(first, 0, -1, 1.0, CHANCE)
    take(queue)
    assert queue.sendable_at(1.0) is not None


def test_nothing_is_sent_before_it_may() -> None:
    queue = a_queue()
    add(queue, b"1")
    queue.postpone(3.0)
    queue.postpone(2.0)
    assert queue.sendable_at(0.0) == 3.0


# Stamps.


def test_sequences_follow_each_other_by_the_number_of_records() -> None:
    queue = a_known_queue()
    for values in ([b"a", b"b"], [b"c"], [b"d", b"e", b"f"], [b"g"]):
        add(queue, *values)
    assert [take(queue).stamp for _ in range(4)] == [Stamp(77, 4, sequence) for sequence in (1, 3, 4, 7)]


def test_sequences_begin_anew_after_the_last_one() -> None:
    queue = a_queue()
    for values in ([b"a"], [b"b", b"c"], [b"d"]):
        add(queue, *values)
    take(queue)
    queue._next_sequence = SEQUENCE_MAX
    assert take(queue).stamp == Stamp(77, 4, SEQUENCE_MAX)
    assert take(queue).stamp == Stamp(77, 4, 1)


def test_without_idempotence_there_are_no_stamps() -> None:
    queue = a_queue(is_idempotent=False)
    add(queue, b"a")
    _, data = queue.take(None)
    header = parse_batch_header(data)
    assert (header.producer_id, header.producer_epoch, header.base_sequence) == (-1, -1, -1)


# Retries.


def test_a_retry_never_overtakes_and_keeps_its_stamp() -> None:
    queue = a_known_queue()
    batches = [add(queue, b"%d" % number) for number in range(5)]
    under_way = [take(queue) for _ in range(3)]
    stamps = [batch.stamp for batch in under_way]
    queue.on_setback(under_way[1], RETRY, 1.0, CHANCE)
    assert queue.sendable_at(1.0) is None, "two are still under way"
    queue.on_accepted(under_way[2], 2, -1, 1.0, CHANCE)
    assert queue.sendable_at(1.0) is None
    queue.on_setback(under_way[0], RETRY, 1.0, CHANCE)
    assert queue.sendable_at(1.0) == pytest.approx(1.1)
    again = [take(queue) for _ in range(4)]
    assert again == [batches[0], batches[1], batches[3], batches[4]]
    assert [batch.stamp for batch in again[:2]] == stamps[:2]
    assert [batch.stamp for batch in again[2:]] == [Stamp(77, 4, 4), Stamp(77, 4, 5)]


def test_waits_grow_with_setbacks_in_a_row() -> None:
    queue = a_queue()
    add(queue, b"1")
    waits = []
    for _ in range(4):
        queue.on_setback(take(queue), RETRY, 0.0, CHANCE)
        waits.append(queue._not_before)
    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8])


def test_a_gap_is_followed_by_a_new_epoch_from_sequence_0() -> None:
    queue = a_known_queue()
    for number in range(3):
        add(queue, b"%d" % number)
    first, second = take(queue), take(queue)
    queue.on_failed(first, Rejected("no"), 0.0, CHANCE)
    assert queue.sendable_at(0.0) is None, "the second may still be appended under the old epoch"
    queue.on_setback(second, LOST, 0.0, CHANCE)
    assert take(queue).stamp == Stamp(77, 5, 0)
    assert take(queue).stamp == Stamp(77, 5, 1)
    assert first.error is not None


def test_a_batch_that_may_be_in_the_log_keeps_its_stamp_though_there_is_a_gap() -> None:
    queue = a_known_queue()
    for number in range(3):
        add(queue, b"%d" % number)
    first, second = take(queue), take(queue)
    queue.on_setback(second, RETRY, 0.0, CHANCE)
    queue.on_failed(first, Rejected("no"), 0.0, CHANCE)
    assert take(queue) is second
    assert second.stamp == Stamp(77, 4, 2)
    assert queue.sendable_at(9.0) is None, "nothing new before its fate is known"
    queue.on_setback(second, LOST, 9.0, CHANCE)
    assert take(queue) is second
    assert second.stamp == Stamp(77, 5, 0)


def test_when_all_epochs_are_used_up_another_producer_id_is_needed() -> None:
    queue = a_queue()
    add(queue, b"1")
    last = Identity(77, EPOCH_MAX)
    queue.on_failed(take(queue, last), Rejected("no"), 0.0, CHANCE)
    add(queue, b"2")
    assert queue.refuses(last)
    assert not queue.refuses(Identity(78, 0))
    assert take(queue, Identity(78, 0)).stamp == Stamp(78, 0, 0)


def test_a_batch_too_large_goes_on_as_two_in_its_place() -> None:
    queue = a_queue()
    batch = add(queue, b"a", b"b", b"c")
    add(queue, b"d")
    assert take(queue) is batch
    parts = queue.on_setback(batch, SPLIT, 0.0, CHANCE)
    assert [part.record_count for part in parts] == [2, 1]
    assert (batch.is_done, batch.error) == (True, None)
    assert [values_of(queue.take(ME)[1]) for _ in range(3)] == [[b"a", b"b"], [b"c"], [b"d"]]
    assert [part.stamp for part in parts] == [Stamp(77, 5, 0), Stamp(77, 5, 2)]
    assert [batch.leaf(index) for index in range(3)] == [(parts[0], 0), (parts[0], 1), (parts[1], 0)]


# Giving up.


def test_what_was_never_sent_says_so() -> None:
    queue = a_queue(delivery_timeout=10.0)
    batch, _ = queue.append(0.0, 1_000, None, b"1", None)
    assert queue.expires_at() == 10.0
    queue.expire(9.9, CHANCE)
    assert not batch.is_done
    queue.expire(10.0, CHANCE)
    assert isinstance(batch.error, TimedOut)
    assert batch.error.message == "a batch of 1 records for orders-3 could not be delivered within 10 s"


def test_what_was_sent_and_not_confirmed_says_that_it_may_have_been_written() -> None:
    queue = a_queue(delivery_timeout=10.0)
    batch = add(queue, b"1")
    queue.on_setback(take(queue), RETRY, 1.0, CHANCE)
    queue.expire(10.0, CHANCE)
    assert batch.error is not None
    assert "was sent but not confirmed within 10 s; it may have been written" in batch.error.message


def test_what_was_refused_before_it_was_written_says_that_it_was_not() -> None:
    queue = a_queue(delivery_timeout=10.0)
    batch = add(queue, b"1")
    queue.on_setback(take(queue), NOT_APPENDED, 1.0, CHANCE)
    queue.expire(10.0, CHANCE)
    assert batch.error is not None
    assert "could not be delivered" in batch.error.message


def test_nothing_under_way_is_given_up() -> None:
    queue = a_queue(delivery_timeout=10.0)
    batch = add(queue, b"1")
    take(queue)
    queue.expire(99.0, CHANCE)
    assert not batch.is_done
    queue.on_accepted(batch, 5, -1, 100.0, CHANCE)
    assert (batch.error, batch.base_offset) == (None, 5)


def test_at_the_end_everything_fails_in_order() -> None:
    queue = a_known_queue()
    batches = [add(queue, b"%d" % number) for number in range(3)]
    queue.append(0.0, 1_000, None, b"open", None)
    ended: list[int] = []
    for index, batch in enumerate(batches):
        batch.when_done(lambda _, index=index: ended.append(index))  # type: ignore[misc]
    one, two = take(queue), take(queue)
    queue.on_setback(two, RETRY, 0.0, CHANCE)
    queue.fail_all(Closed("closed"))
    assert ended == [0, 1, 2]
    assert queue.is_empty
    assert isinstance(one.error, Closed)


# All partitions together.


def test_room_is_what_batches_hold_until_they_end() -> None:
    room: list[int] = []
    accumulator = Accumulator(Settings(buffer_bytes=100))
    accumulator.on_room = lambda: room.append(accumulator.buffered_bytes)
    queue = accumulator.queue(TP)
    batch = add(queue, b"1")
    accumulator.reserve(batch, 60)
    accumulator.reserve(batch, 30)
    assert accumulator.has_room(10)
    assert not accumulator.has_room(11)
    queue.on_accepted(take(queue), 0, -1, 0.0, CHANCE)
    assert room == [0]
    assert accumulator.has_room(1_000_000), "alone, a record may be larger than the whole buffer"


def test_the_halves_of_a_batch_hold_what_it_held() -> None:
    accumulator = Accumulator(Settings(buffer_bytes=100))
    queue = accumulator.queue(TP)
    batch = add(queue, b"1", b"2", b"3")
    accumulator.reserve(batch, 91)
    accumulator.adopt(queue.on_setback(take(queue), SPLIT, 0.0, CHANCE))
    assert accumulator.buffered_bytes == 91
    queue.on_accepted(take(queue), 0, -1, 0.0, CHANCE)
    assert accumulator.buffered_bytes == 46
    queue.on_failed(take(queue), Rejected("no"), 0.0, CHANCE)
    assert accumulator.buffered_bytes == 0


def test_a_partition_is_not_forgotten_while_its_retries_wait_for_the_others() -> None:
    accumulator = Accumulator(Settings())
    queue = accumulator.queue(TP)
    add(queue, b"0")
    queue.on_accepted(take(queue), 0, -1, 0.0, CHANCE)
    add(queue, b"1")
    add(queue, b"2")
    first, second = take(queue), take(queue)
    queue.on_setback(first, RETRY, 0.0, CHANCE)
    accumulator.activate(queue)
    assert accumulator.active == [queue]
    assert queue.expires_at() is None
    queue.on_accepted(second, 2, -1, 0.0, CHANCE)
    assert accumulator.active == [queue]
    assert take(queue) is first


def test_partitions_take_turns() -> None:
    accumulator = Accumulator(Settings())
    queues = [accumulator.queue(TopicPartition("t", index)) for index in range(3)]
    for queue in queues:
        add(queue, b"1")
        add(queue, b"2")
        accumulator.activate(queue)
    assert accumulator.active == queues
    take(queues[0])
    accumulator.served(queues[0])
    assert accumulator.active == [queues[1], queues[2], queues[0]]
    take(queues[1])
    take(queues[1])
    accumulator.served(queues[1])
    assert accumulator.active == [queues[2], queues[0]]
    assert len(accumulator.unfinished()) == 6
