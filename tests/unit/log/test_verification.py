"""The question whether a producer's transaction is open, and what makes its answer worthless."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.compaction import batch
from tests.support.partition_logs import NOW_MS, SMALL, end_transaction, new_log

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.records.control import ControlType
from pybroker_server.log.partition_log import PartitionLog
from pybroker_server.log.validator import AppendOrigin
from pybroker_server.log.verification import Verification

PRODUCER = 7


@pytest.fixture
def log(tmp_path: Path) -> PartitionLog:
    return new_log(tmp_path, replace(SMALL, transaction_partition_verification_enable=True))


def ask(log: PartitionLog, sequence: int = 0, *, epoch: int = 0, adds: bool = False) -> Verification:
    return log.producer_state.verifications.begin(PRODUCER, epoch, sequence, NOW_MS, adds=adds)


def write(
    log: PartitionLog,
    held: Verification | None,
    sequence: int = 0,
    *,
    epoch: int = 0,
    origin: AppendOrigin = AppendOrigin.CLIENT,
) -> ErrorCode:
    records = batch((b"k", b"v"), producer=(PRODUCER, epoch, sequence), transactional=True)
    try:
        log.append_as_leader(records, 0, NOW_MS, origin=origin, verification=held)
    except KafkaError as error:
        return error.code
    return ErrorCode.NONE


def test_the_first_batch_of_a_transaction_needs_an_answer_and_the_next_ones_do_not(log: PartitionLog) -> None:
    assert write(log, None) is ErrorCode.INVALID_TXN_STATE
    assert write(log, ask(log)) is ErrorCode.NONE
    assert write(log, None, 1) is ErrorCode.NONE
    assert len(log.producer_state.verifications) == 0
    end_transaction(log, ControlType.COMMIT, PRODUCER)
    assert write(log, None, 2) is ErrorCode.INVALID_TXN_STATE


def test_what_a_coordinator_writes_in_a_transaction_needs_an_answer_as_well(log: PartitionLog) -> None:
    assert write(log, None, -1, origin=AppendOrigin.COORDINATOR) is ErrorCode.INVALID_TXN_STATE
    assert write(log, ask(log, -1), -1, origin=AppendOrigin.COORDINATOR) is ErrorCode.NONE


@pytest.mark.parametrize("adds", [False, True])
def test_an_answer_that_comes_after_the_end_of_the_transaction_allows_nothing(log: PartitionLog, adds: bool) -> None:
    held = ask(log, adds=adds)
    end_transaction(log, ControlType.ABORT, PRODUCER, epoch=int(adds), transaction_version=2 if adds else 0)
    assert write(log, held) is ErrorCode.INVALID_TXN_STATE
    assert log.log_end_offset == 1


def test_an_answer_to_a_question_of_the_last_transaction_does_not_serve_the_next(log: PartitionLog) -> None:
    late = ask(log)
    end_transaction(log, ControlType.ABORT, PRODUCER)
    fresh = ask(log)
    assert write(log, late) is ErrorCode.INVALID_TXN_STATE
    assert write(log, fresh) is ErrorCode.NONE


def test_the_marker_of_the_last_transaction_leaves_the_question_of_the_next_with_version_2(log: PartitionLog) -> None:
    assert write(log, ask(log, adds=True)) is ErrorCode.NONE
    asked_before_the_marker_came = ask(log, epoch=1, adds=True)
    end_transaction(log, ControlType.COMMIT, PRODUCER, epoch=1, transaction_version=2)
    assert write(log, asked_before_the_marker_came, epoch=1) is ErrorCode.NONE


def test_a_late_write_of_the_last_transaction_gets_nowhere_on_the_question_of_the_next(log: PartitionLog) -> None:
    late = ask(log, adds=True)
    asked = ask(log, epoch=1, adds=True)
    end_transaction(log, ControlType.ABORT, PRODUCER, epoch=1, transaction_version=2)
    assert write(log, late) is ErrorCode.INVALID_PRODUCER_EPOCH
    assert write(log, asked, epoch=1) is ErrorCode.NONE


def test_a_batch_does_not_overtake_one_that_waits(log: PartitionLog) -> None:
    first, second = ask(log, 0), ask(log, 1)
    assert first is second
    assert write(log, second, 1) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert write(log, first, 0) is ErrorCode.NONE
    assert write(log, second, 1) is ErrorCode.NONE


def test_a_newer_epoch_begins_its_own_order(log: PartitionLog) -> None:
    ask(log, 5, epoch=0)
    held = ask(log, 0, epoch=1)
    assert (held.epoch, held.lowest_sequence) == (1, 0)
    assert write(log, held, 0, epoch=1) is ErrorCode.NONE


def test_a_producer_without_state_begins_at_zero_when_the_write_itself_adds_the_partition(log: PartitionLog) -> None:
    assert write(log, ask(log, 3, adds=True), 3) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER


def test_a_batch_sent_again_is_answered_without_a_question(log: PartitionLog) -> None:
    assert write(log, ask(log)) is ErrorCode.NONE
    end_transaction(log, ControlType.COMMIT, PRODUCER)
    assert write(log, None) is ErrorCode.NONE
    assert log.log_end_offset == 2


def test_questions_whose_write_never_came_are_forgotten(log: PartitionLog) -> None:
    held = ask(log)
    log.producer_state.remove_expired(NOW_MS + 999, 1_000)
    assert write(log, held) is ErrorCode.NONE
    end_transaction(log, ControlType.ABORT, PRODUCER)
    held = ask(log, 1)
    log.producer_state.remove_expired(NOW_MS + 1_000, 1_000)
    assert write(log, held, 1) is ErrorCode.INVALID_TXN_STATE


def test_nothing_is_asked_where_it_is_turned_off(tmp_path: Path) -> None:
    log = new_log(tmp_path, SMALL)
    assert write(log, None) is ErrorCode.NONE
