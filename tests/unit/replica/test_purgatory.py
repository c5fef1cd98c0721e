"""Delayed produces and fetches: what completes them, in which order, at what cost."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from pybroker_protocol.errors import ErrorCode
from pybroker_server.replica.purgatory import DelayedFetch, DelayedOperation, DelayedProduce, Purgatory, WaitList


@dataclass(frozen=True)
class At:
    """A log position: 10 bytes for each offset, in one segment unless told otherwise."""

    offset: int
    segment_base_offset: int = 0

    @property
    def position(self) -> int:
        return (self.offset - self.segment_base_offset) * 10


class Answers:
    def __init__(self) -> None:
        self.given: list[DelayedOperation] = []

    def __call__(self, operation: DelayedOperation) -> None:
        self.given.append(operation)


def advance(
    wait_list: WaitList, offset: int, *, committed: int | None = None, segment: int = 0
) -> list[DelayedOperation]:
    upper = At(offset, segment)
    return wait_list.on_high_watermark(upper, upper if committed is None else At(committed, segment), ErrorCode.NONE)


def produce(purgatory: Purgatory, *waits: tuple[WaitList, int], deadline_ms: int = 1_000) -> DelayedProduce:
    operation = DelayedProduce(lambda _: None)
    for slot, (wait_list, required) in enumerate(waits):
        operation.add(slot, required, wait_list)
    purgatory.watch(operation, deadline_ms)
    return operation


def fetch(
    purgatory: Purgatory,
    *waits: tuple[WaitList, At],
    min_bytes: int = 1,
    max_bytes: int = 1_000_000,
    deadline_ms: int = 1_000,
    committed_only: bool = False,
) -> DelayedFetch:
    operation = DelayedFetch(min_bytes, lambda _: None)
    for wait_list, start in waits:
        operation.add(start, max_bytes, wait_list, committed_only=committed_only)
    purgatory.watch(operation, deadline_ms)
    return operation


@pytest.fixture
def purgatory() -> Purgatory:
    return Purgatory(limit=100)


class TestProduce:
    def test_completes_when_its_offset_is_reached(self, purgatory: Purgatory) -> None:
        partition = purgatory.new_wait_list()
        operation = produce(purgatory, (partition, 10))
        assert advance(partition, 9) == []
        assert advance(partition, 10) == [operation]
        assert operation.failures == []
        assert len(purgatory) == 0
        assert not partition

    def test_waits_for_every_partition(self, purgatory: Purgatory) -> None:
        left, right = purgatory.new_wait_list(), purgatory.new_wait_list()
        operation = produce(purgatory, (left, 10), (right, 20))
        assert advance(left, 15) == []
        assert advance(right, 20) == [operation]

    def test_completes_in_order_of_offsets_and_leaves_the_rest(self, purgatory: Purgatory) -> None:
        partition = purgatory.new_wait_list()
        operations = [produce(purgatory, (partition, offset)) for offset in (10, 20, 30)]
        assert advance(partition, 25) == operations[:2]
        assert partition.produce_count == 1

    def test_a_duplicate_with_an_older_offset_is_not_held_up_by_newer_ones(self, purgatory: Purgatory) -> None:
        partition = purgatory.new_wait_list()
        newer = produce(purgatory, (partition, 30))
        duplicate = produce(purgatory, (partition, 10))
        between = produce(purgatory, (partition, 20))
        assert advance(partition, 10) == [duplicate]
        assert advance(partition, 30) == [between, newer]

    def test_below_the_minimum_isr_after_the_append_is_code_20(self, purgatory: Purgatory) -> None:
        partition = purgatory.new_wait_list()
        operation = produce(purgatory, (partition, 10))
        upper = At(10)
        done = partition.on_high_watermark(upper, upper, ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND)
        assert done == [operation]
        assert operation.failures == [(0, ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND)]

    def test_an_error_of_one_partition_does_not_answer_for_the_others(self, purgatory: Purgatory) -> None:
        left, right = purgatory.new_wait_list(), purgatory.new_wait_list()
        operation = produce(purgatory, (left, 10), (right, 20))
        assert left.fail_all(ErrorCode.NOT_LEADER_OR_FOLLOWER) == []
        assert advance(right, 20) == [operation]
        assert operation.failures == [(0, ErrorCode.NOT_LEADER_OR_FOLLOWER)]

    def test_time_out_names_only_the_partitions_still_waiting(self, purgatory: Purgatory) -> None:
        left, right = purgatory.new_wait_list(), purgatory.new_wait_list()
        operation = produce(purgatory, (left, 10), (right, 20), deadline_ms=500)
        advance(left, 10)
        assert purgatory.expire(499) == []
        assert purgatory.expire(500) == [operation]
        assert operation.failures == [(1, ErrorCode.REQUEST_TIMED_OUT)]
        assert advance(right, 20) == []
        assert not right


class TestFetch:
    def test_one_byte_is_enough_by_default(self, purgatory: Purgatory) -> None:
        partition = purgatory.new_wait_list()
        operation = fetch(purgatory, (partition, At(5)))
        assert advance(partition, 5) == []
        assert advance(partition, 6) == [operation]
        assert not partition

    def test_bytes_add_up_over_partitions_and_are_not_counted_twice(self, purgatory: Purgatory) -> None:
        left, right = purgatory.new_wait_list(), purgatory.new_wait_list()
        operation = fetch(purgatory, (left, At(0)), (right, At(0)), min_bytes=100)
        assert advance(left, 4) == []
        assert advance(left, 5) == []
        assert advance(right, 4) == []
        assert operation.gathered_bytes == 90
        assert advance(left, 6) == [operation]

    def test_a_partition_contributes_no_more_than_its_limit(self, purgatory: Purgatory) -> None:
        left, right = purgatory.new_wait_list(), purgatory.new_wait_list()
        operation = fetch(purgatory, (left, At(0)), (right, At(0)), min_bytes=100, max_bytes=60)
        assert advance(left, 100) == []
        assert operation.gathered_bytes == 60
        assert advance(right, 4) == [operation]

    def test_what_was_there_already_counts(self, purgatory: Purgatory) -> None:
        partition = purgatory.new_wait_list()
        operation = DelayedFetch(100, lambda _: None)
        assert operation.add(At(0), 1_000, partition).count(At(7))
        purgatory.watch(operation, 1_000)
        assert advance(partition, 9) == []
        assert advance(partition, 10) == [operation]

    def test_a_start_above_the_high_watermark_gathers_nothing_until_it_is_passed(self, purgatory: Purgatory) -> None:
        partition = purgatory.new_wait_list()
        operation = fetch(purgatory, (partition, At(20)))
        assert advance(partition, 15) == []
        assert advance(partition, 20) == []
        assert advance(partition, 21) == [operation]

    def test_a_rolled_segment_answers_at_once(self, purgatory: Purgatory) -> None:
        partition = purgatory.new_wait_list()
        operation = fetch(purgatory, (partition, At(10)), min_bytes=1_000_000)
        assert advance(partition, 12, segment=11) == [operation]

    def test_read_committed_waits_for_the_last_stable_offset(self, purgatory: Purgatory) -> None:
        partition = purgatory.new_wait_list()
        committed = fetch(purgatory, (partition, At(0)), committed_only=True)
        uncommitted = fetch(purgatory, (partition, At(0)))
        assert advance(partition, 10, committed=0) == [uncommitted]
        assert advance(partition, 10, committed=10) == [committed]

    def test_leadership_change_answers_without_an_error_of_its_own(self, purgatory: Purgatory) -> None:
        left, right = purgatory.new_wait_list(), purgatory.new_wait_list()
        operation = fetch(purgatory, (left, At(0)), (right, At(0)), (left, At(0)))
        assert left.fail_all(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION) == [operation]
        assert not right

    def test_one_operation_is_handed_out_once(self, purgatory: Purgatory) -> None:
        partition = purgatory.new_wait_list()
        operation = fetch(purgatory, (partition, At(0)), (partition, At(0)))
        assert advance(partition, 5) == [operation]
        assert purgatory.expire(10_000) == []
        assert len(purgatory) == 0


class TestDeadlines:
    def test_expire_in_order_of_deadlines(self, purgatory: Purgatory) -> None:
        partition = purgatory.new_wait_list()
        late = fetch(purgatory, (partition, At(0)), deadline_ms=900)
        early = fetch(purgatory, (partition, At(0)), deadline_ms=100)
        assert purgatory.next_deadline_ms == 100
        assert purgatory.expire(1_000) == [early, late]
        assert purgatory.next_deadline_ms is None

    def test_the_next_deadline_skips_what_is_complete(self, purgatory: Purgatory) -> None:
        left, right = purgatory.new_wait_list(), purgatory.new_wait_list()
        fetch(purgatory, (left, At(0)), deadline_ms=100)
        fetch(purgatory, (right, At(0)), deadline_ms=200)
        advance(left, 1)
        assert purgatory.next_deadline_ms == 200

    def test_stale_deadlines_do_not_pile_up(self) -> None:
        purgatory = Purgatory()
        partition = purgatory.new_wait_list()
        parked = fetch(purgatory, (purgatory.new_wait_list(), At(0)), deadline_ms=10_000_000)
        for offset in range(1, 20_000):
            produce(purgatory, (partition, offset), deadline_ms=1_000_000)
            assert len(advance(partition, offset)) == 1
        assert purgatory.deadline_entries < 2_000
        assert purgatory.expire(10_000_000) == [parked]

    def test_cancelled_operations_are_forgotten_without_an_answer(self, purgatory: Purgatory) -> None:
        answers = Answers()
        partition = purgatory.new_wait_list()
        waiting = DelayedProduce(answers)
        waiting.add(0, 10, partition)
        purgatory.watch(waiting, 100)
        parked = DelayedFetch(1, answers)
        parked.add(At(0), 100, partition)
        purgatory.watch(parked, 100)
        purgatory.cancel(waiting)
        purgatory.cancel(parked)
        purgatory.cancel(parked)
        assert advance(partition, 10) == []
        assert purgatory.expire(1_000) == []
        assert len(purgatory) == 0
        assert answers.given == []

    def test_it_says_when_it_is_full(self) -> None:
        purgatory = Purgatory(limit=2)
        partition = purgatory.new_wait_list()
        fetch(purgatory, (partition, At(0)))
        assert not purgatory.is_full
        fetch(purgatory, (partition, At(0)))
        assert purgatory.is_full
        advance(partition, 1)
        assert not purgatory.is_full


def test_finish_answers_once() -> None:
    answers = Answers()
    operation = DelayedProduce(answers)
    operation.finish()
    operation.finish()
    assert answers.given == [operation]
