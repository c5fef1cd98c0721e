"""What a partition remembers of its producers, and what it refuses because of it."""

import pytest

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_server.log.producer_state import BatchRange, CompletedTransaction, ProducerState
from pybroker_server.log.verification import Verification

SEQUENCE_MAX = 2**31 - 1


def write(state: ProducerState, sequence: int, *, offset: int = 0, epoch: int = 0, open_: bool = False) -> None:
    """One record of producer 1."""
    state.check_data(1, epoch, sequence, open_)
    state.apply_data(1, epoch, sequence, sequence, offset, offset, 1000 + offset, open_)


def code_of(call: object, *args: object, **how: object) -> ErrorCode:
    with pytest.raises(KafkaError) as caught:
        call(*args, **how)  # type: ignore[operator]
    return caught.value.code


def test_the_last_five_batches_are_known_again_and_no_sixth() -> None:
    state = ProducerState()
    for sequence in range(6):
        write(state, sequence, offset=sequence)
    assert state.find_duplicate(1, 0, 0, 0) is None
    for sequence in range(1, 6):
        expected = BatchRange(sequence, sequence, sequence, sequence, 1000 + sequence)
        assert state.find_duplicate(1, 0, sequence, sequence) == expected
    assert state.find_duplicate(1, 0, 4, 5) is None, "a batch is the same only with both its ends"
    assert state.find_duplicate(1, 1, 5, 5) is None, "an epoch has batches of its own"
    assert state.find_duplicate(2, 0, 5, 5) is None


@pytest.mark.parametrize(
    ("last", "sequence", "is_next"),
    [
        (0, 1, True),
        (0, 0, False),
        (0, 2, False),
        (SEQUENCE_MAX, 0, True),
        (SEQUENCE_MAX, 1, False),
        (SEQUENCE_MAX - 1, SEQUENCE_MAX, True),
        (SEQUENCE_MAX - 1, 0, False),
    ],
)
def test_sequences_follow_each_other_and_wrap_around(last: int, sequence: int, is_next: bool) -> None:
    state = ProducerState()
    write(state, last)
    if is_next:
        state.check_data(1, 0, sequence, False)
    else:
        assert code_of(state.check_data, 1, 0, sequence, False) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    state.check_data(1, 0, sequence, False, check_sequence=False)


def test_a_new_epoch_begins_at_0_and_fences_the_old_one() -> None:
    state = ProducerState()
    write(state, 0, epoch=1)
    assert code_of(state.check_data, 1, 0, 1, False) is ErrorCode.INVALID_PRODUCER_EPOCH
    assert code_of(state.check_data, 1, 2, 1, False) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    write(state, 0, epoch=2, offset=5)
    assert state.find_duplicate(1, 2, 0, 0) is not None
    assert state.get(1).batches[0].first_offset == 5  # type: ignore[union-attr]


def test_an_unknown_producer_must_begin_with_0_only_in_new_transactions() -> None:
    state = ProducerState()
    state.check_data(1, 0, 7, True)
    state.check_data(1, 0, 0, True, verification=Verification(0, 0, 0, adds=True))
    code = code_of(state.check_data, 1, 0, 7, True, verification=Verification(0, 7, 0, adds=True))
    assert code is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER


def test_readers_wait_for_the_oldest_transaction_until_its_marker_is_replicated() -> None:
    state = ProducerState()
    state.apply_data(1, 0, 0, 0, 10, 10, 0, True)
    state.apply_data(2, 0, 0, 0, 11, 11, 0, True)
    assert state.ongoing_transactions == {10: 1, 11: 2}
    assert state.apply_marker(1, 0, 0, 12, 0, True) == CompletedTransaction(1, 10, 12, True, 11)
    assert (state.first_unstable_offset, state.first_undecided_offset) == (10, 11)
    state.on_high_watermark(12)
    assert state.first_unstable_offset == 10, "the marker itself is not replicated yet"
    state.on_high_watermark(13)
    assert state.first_unstable_offset == 11
    assert state.apply_marker(2, 0, 0, 13, 0, False) == CompletedTransaction(2, 11, 13, False, 14)
    state.on_log_start(14)
    assert state.first_unstable_offset is None


def test_a_marker_without_a_transaction_ends_none_but_its_epoch_counts() -> None:
    state = ProducerState()
    write(state, 0)
    assert state.apply_marker(1, 1, 0, 5, 0, True) is None
    assert code_of(state.check_data, 1, 0, 1, False) is ErrorCode.INVALID_PRODUCER_EPOCH
    state.check_data(1, 1, 0, False)
    assert state.apply_marker(9, 0, 0, 6, 0, True) is None, "of a producer that was never heard of"
    assert len(state) == 2


def test_nothing_is_written_outside_of_an_open_transaction() -> None:
    state = ProducerState()
    write(state, 0, open_=True)
    assert code_of(state.check_data, 1, 0, 1, False) is ErrorCode.INVALID_TXN_STATE


def test_markers_are_fenced_by_epoch_and_by_coordinator() -> None:
    state = ProducerState()
    state.apply_data(1, 5, 0, 0, 0, 0, 0, True)
    state.check_marker(2, 0, 0, transaction_version=0)
    state.check_marker(1, 5, 0, transaction_version=0)
    assert code_of(state.check_marker, 1, 4, 0, transaction_version=0) is ErrorCode.INVALID_PRODUCER_EPOCH
    assert code_of(state.check_marker, 1, 5, 0, transaction_version=2) is ErrorCode.INVALID_PRODUCER_EPOCH
    state.check_marker(1, 6, 0, transaction_version=2)
    state.apply_marker(1, 6, 3, 1, 0, True)
    state.check_marker(1, 6, 3, transaction_version=2)
    assert code_of(state.check_marker, 1, 6, 2, transaction_version=0) is ErrorCode.TRANSACTION_COORDINATOR_FENCED


def test_idle_producers_are_forgotten_but_never_an_open_transaction() -> None:
    state = ProducerState(now_ms=1000)
    write(state, 0)
    state.apply_data(2, 0, 0, 0, 1, 1, 0, True)
    assert state.remove_expired(1099, 100) == 0
    assert state.remove_expired(1100, 100) == 1
    assert state.get(1) is None
    assert state.get(2) is not None
    write(state, 7)
    assert state.remove_expired(1199, 100) == 0, "time goes by when it was heard of last"


def test_loading_takes_the_place_of_all_that_was_known() -> None:
    old = ProducerState()
    old.apply_data(1, 0, 0, 0, 30, 30, 0, True)
    old.apply_data(2, 0, 0, 0, 20, 20, 0, True)
    state = ProducerState()
    write(state, 0)
    state.load(list(old))
    assert [entry.identity for entry in state] == [entry.identity for entry in old]
    assert (state.first_unstable_offset, state.ongoing_transactions) == (20, {20: 2, 30: 1})
    state.clear()
    assert (len(state), state.first_unstable_offset, state.ongoing_transactions) == (0, None, {})
