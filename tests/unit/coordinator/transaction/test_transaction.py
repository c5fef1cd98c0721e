"""The state machine of a transactional id: every request in every state, and what epochs and ids do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import pytest

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_server.coordinator.transaction import transaction as machine
from pybroker_server.coordinator.transaction.transaction import (
    EPOCH_MAX,
    LAST_USED_EPOCH,
    ProducerIdAndEpoch,
    State,
    Transaction,
)

NOW: Final = 5_000
IN: Final = ("t", 0)
OUT: Final = ("t", 1)
KNOWN: Final = Transaction(
    transactional_id="x",
    producer_id=7,
    previous_producer_id=7,
    producer_epoch=5,
    last_producer_epoch=4,
    timeout_ms=1_000,
    state=State.EMPTY,
    last_update_ms=4_000,
    client_version=2,
)


def known(state: State, **fields: object) -> Transaction:
    """In this state, with the partition `IN` where there are any."""
    if state in (State.ONGOING, State.PREPARE_COMMIT, State.PREPARE_ABORT):
        fields = {"partitions": frozenset((IN,)), "start_ms": 4_500, **fields}
    return replace(KNOWN, state=state, **fields)  # type: ignore[arg-type]


def new_id() -> int:
    return 8


def init(before: Transaction | None, expected: tuple[int, int] | None = None) -> Transaction:
    wanted = None if expected is None else ProducerIdAndEpoch(*expected)
    return machine.init_producer_id(before, "x", 2_000, wanted, NOW, new_id)


def add(before: Transaction | None, producer: tuple[int, int], partition: tuple[str, int] = OUT) -> Transaction | None:
    return machine.add_partitions(before, ProducerIdAndEpoch(*producer), [partition], 2, NOW)


def verify(before: Transaction | None, producer: tuple[int, int], partition: tuple[str, int]) -> ErrorCode:
    return machine.verify_partitions(before, ProducerIdAndEpoch(*producer), [partition])[partition]


def end(before: Transaction | None, producer: tuple[int, int], *, commit: bool, version: int = 2) -> machine.Ended:
    return machine.end(
        before,
        ProducerIdAndEpoch(*producer),
        commit=commit,
        client_version=version,
        now_ms=NOW,
        new_producer_id=new_id,
    )


REQUESTS: Final[dict[str, Callable[[Transaction | None], object]]] = {
    "init": init,
    "init, epoch in force": lambda before: init(before, (7, 5)),
    "init, epoch before": lambda before: init(before, (7, 4)),
    "init, old epoch": lambda before: init(before, (7, 3)),
    "init, foreign id": lambda before: init(before, (9, 5)),
    "add": lambda before: add(before, (7, 5)),
    "add what is part": lambda before: add(before, (7, 5), IN),
    "add, old epoch": lambda before: add(before, (7, 4)),
    "add, later epoch": lambda before: add(before, (7, 6)),
    "add, foreign id": lambda before: add(before, (9, 5)),
    "verify what is part": lambda before: verify(before, (7, 5), IN),
    "verify what is not": lambda before: verify(before, (7, 5), OUT),
    "verify, old epoch": lambda before: verify(before, (7, 4), IN),
    "verify, foreign id": lambda before: verify(before, (9, 5), IN),
    "commit v1": lambda before: end(before, (7, 5), commit=True, version=0),
    "commit v1, epoch before": lambda before: end(before, (7, 4), commit=True, version=0),
    "abort v1": lambda before: end(before, (7, 5), commit=False, version=0),
    "abort v1, foreign id": lambda before: end(before, (9, 5), commit=False, version=0),
    "commit v2": lambda before: end(before, (7, 5), commit=True),
    "commit v2, epoch before": lambda before: end(before, (7, 4), commit=True),
    "commit v2, old epoch": lambda before: end(before, (7, 3), commit=True),
    "commit v2, later epoch": lambda before: end(before, (7, 6), commit=True),
    "abort v2": lambda before: end(before, (7, 5), commit=False),
    "abort v2, epoch before": lambda before: end(before, (7, 4), commit=False),
    "abort v2, old epoch": lambda before: end(before, (7, 3), commit=False),
    "abort v2, foreign id": lambda before: end(before, (9, 5), commit=False),
}

STATES: Final = ("none", "Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort")

TABLE: Final = """
init                    | Em8.0   | Em7.6     | PA7.6     | wait    | wait    | Em7.6     | Em7.6
init, epoch in force    | Em8.0   | Em7.6     | PA7.6     | wait    | wait    | Em7.6     | Em7.6
init, epoch before      | Em8.0   | Em7.5     | PA7.6     | wait    | wait    | Em7.5     | Em7.5
init, old epoch         | Em8.0   | fenced    | PA7.6     | wait    | wait    | fenced    | fenced
init, foreign id        | Em8.0   | fenced    | fenced    | wait    | wait    | fenced    | fenced
add                     | mapping | On7.5     | On7.5     | wait    | wait    | On7.5     | On7.5
add what is part        | mapping | On7.5     | =         | wait    | wait    | On7.5     | On7.5
add, old epoch          | mapping | fenced    | fenced    | wait    | wait    | fenced    | fenced
add, later epoch        | mapping | fenced    | fenced    | wait    | wait    | fenced    | fenced
add, foreign id         | mapping | mapping   | mapping   | wait    | wait    | mapping   | mapping
verify what is part     | mapping | no        | yes       | wait    | wait    | no        | no
verify what is not      | mapping | no        | no        | wait    | wait    | no        | no
verify, old epoch       | mapping | fenced    | fenced    | fenced  | fenced  | fenced    | fenced
verify, foreign id      | mapping | mapping   | mapping   | mapping | mapping | mapping   | mapping
commit v1               | mapping | state     | PC7.5     | wait    | wait    | =         | state
commit v1, epoch before | mapping | fenced    | fenced    | fenced  | fenced  | fenced    | fenced
abort v1                | mapping | state     | PA7.5     | wait    | wait    | state     | =
abort v1, foreign id    | mapping | mapping   | mapping   | mapping | mapping | mapping   | mapping
commit v2               | mapping | state     | PC7.6>7.6 | wait    | wait    | state     | state
commit v2, epoch before | mapping | fenced    | fenced    | wait    | wait    | =>7.5     | state
commit v2, old epoch    | mapping | fenced    | fenced    | fenced  | fenced  | fenced    | fenced
commit v2, later epoch  | mapping | fenced    | fenced    | fenced  | fenced  | fenced    | fenced
abort v2                | mapping | PA7.6>7.6 | PA7.6>7.6 | wait    | wait    | PA7.6>7.6 | PA7.6>7.6
abort v2, epoch before  | mapping | fenced    | fenced    | wait    | wait    | state     | =>7.5
abort v2, old epoch     | mapping | fenced    | fenced    | fenced  | fenced  | fenced    | fenced
abort v2, foreign id    | mapping | mapping   | mapping   | mapping | mapping | mapping   | mapping
"""
"""One column per state. What is written: the state and `id.epoch`, `=` when nothing is; or the code in few letters.
After an EndTxn of version 2: the `id.epoch` that it answers."""

CODES: Final = {
    ErrorCode.NONE: "yes",
    ErrorCode.TRANSACTION_ABORTABLE: "no",
    ErrorCode.CONCURRENT_TRANSACTIONS: "wait",
    ErrorCode.PRODUCER_FENCED: "fenced",
    ErrorCode.INVALID_PRODUCER_ID_MAPPING: "mapping",
    ErrorCode.INVALID_TXN_STATE: "state",
}
SHORT: Final = {
    State.EMPTY: "Em",
    State.ONGOING: "On",
    State.PREPARE_COMMIT: "PC",
    State.PREPARE_ABORT: "PA",
    State.COMPLETE_COMMIT: "CC",
    State.COMPLETE_ABORT: "CA",
}


def outcome(request: str, before: Transaction | None) -> str:
    try:
        result = REQUESTS[request](before)
    except KafkaError as error:
        return CODES[error.code]
    if isinstance(result, ErrorCode):
        return CODES[result]
    answer = ""
    if isinstance(result, machine.Ended):
        answer = f">{result.producer_id}.{result.producer_epoch}" if result.producer_id >= 0 else ""
        result = result.change
    if result is None:
        return "=" + answer
    assert isinstance(result, Transaction)
    return f"{SHORT[result.state]}{result.producer_id}.{result.producer_epoch}{answer}"


def rows() -> list[tuple[str, str, str]]:
    found = []
    for line in TABLE.strip().splitlines():
        request, *outcomes = (cell.strip() for cell in line.split("|"))
        assert len(outcomes) == len(STATES), line
        found += [(request, state, wanted) for state, wanted in zip(STATES, outcomes, strict=True)]
    return found


def test_every_request_has_its_row() -> None:
    assert list(dict.fromkeys(request for request, _, _ in rows())) == list(REQUESTS)


@pytest.mark.parametrize(
    ("request_", "state", "wanted"), [pytest.param(*row, id=f"{row[0]}-{row[1]}") for row in rows()]
)
def test_what_a_request_does_in_a_state(request_: str, state: str, wanted: str) -> None:
    before = None if state == "none" else known(machine.STATES_BY_LABEL[state])
    assert outcome(request_, before) == wanted


class TestEpochs:
    def test_a_producer_that_asks_again_with_its_old_epoch_is_given_the_same_one(self) -> None:
        """KIP-360: the answer to the first request was lost."""
        first = init(known(State.EMPTY), (7, 5))
        assert (first.producer_epoch, first.last_producer_epoch) == (6, 5)
        again = init(first, (7, 5))
        assert (again.producer_epoch, again.last_producer_epoch) == (6, 5)

    def test_another_producer_in_between_fences_the_one_that_asks_again(self) -> None:
        second = init(init(known(State.EMPTY), (7, 5)))
        assert (second.producer_epoch, second.last_producer_epoch) == (7, -1)
        for epoch in (5, 6):
            with pytest.raises(KafkaError) as refused:
                init(second, (7, epoch))
            assert refused.value.code is ErrorCode.PRODUCER_FENCED

    @pytest.mark.parametrize("state", [State.EMPTY, State.COMPLETE_COMMIT, State.COMPLETE_ABORT])
    @pytest.mark.parametrize("expected", [None, (7, LAST_USED_EPOCH)])
    def test_at_their_end_a_new_producer_id_begins(self, state: State, expected: tuple[int, int] | None) -> None:
        after = init(known(state, producer_epoch=LAST_USED_EPOCH), expected)
        assert (after.producer_id, after.producer_epoch, after.previous_producer_id) == (8, 0, 7)
        assert after.last_producer_epoch == (-1 if expected is None else LAST_USED_EPOCH)

    def test_who_did_not_hear_of_the_new_producer_id_may_ask_again(self) -> None:
        rotated = init(known(State.EMPTY, producer_epoch=LAST_USED_EPOCH), (7, LAST_USED_EPOCH))
        again = init(rotated, (7, LAST_USED_EPOCH))
        assert (again.producer_id, again.producer_epoch) == (8, 0)

    def test_an_end_at_the_last_epoch_hands_over_to_a_new_producer_id(self) -> None:
        ended = end(known(State.ONGOING, producer_epoch=LAST_USED_EPOCH), (7, LAST_USED_EPOCH), commit=True)
        assert (ended.producer_id, ended.producer_epoch) == (8, 0)
        prepared = ended.change
        assert prepared is not None
        assert (prepared.producer_id, prepared.producer_epoch, prepared.next_producer_id) == (7, EPOCH_MAX, 8)
        done = machine.complete(prepared, NOW)
        assert (done.producer_id, done.producer_epoch, done.previous_producer_id, done.next_producer_id) == (
            8,
            0,
            7,
            -1,
        )
        retried = end(done, (7, LAST_USED_EPOCH), commit=True)
        assert retried == (None, 8, 0)

    def test_while_it_hands_over_the_retry_waits(self) -> None:
        prepared = end(known(State.ONGOING, producer_epoch=LAST_USED_EPOCH), (7, LAST_USED_EPOCH), commit=True).change
        assert outcome_of(lambda: end(prepared, (7, LAST_USED_EPOCH), commit=True)) == "wait"

    @pytest.mark.parametrize(
        ("epoch", "fenced", "then"),
        [
            (5, 6, (7, 6)),
            (LAST_USED_EPOCH - 1, LAST_USED_EPOCH, (7, LAST_USED_EPOCH)),
            (LAST_USED_EPOCH, EPOCH_MAX, (8, 0)),
        ],
    )
    def test_fencing_takes_the_epoch_after_that_of_the_transaction(
        self, epoch: int, fenced: int, then: tuple[int, int]
    ) -> None:
        prepared = machine.fence(known(State.ONGOING, producer_epoch=epoch), NOW, new_id)
        assert (prepared.state, prepared.producer_id, prepared.producer_epoch) == (State.PREPARE_ABORT, 7, fenced)
        done = machine.complete(prepared, NOW)
        assert (done.producer_id, done.producer_epoch) == then

    def test_a_producer_that_was_fenced_may_abort_what_was_aborted_and_go_on(self) -> None:
        """It cannot be told from one whose own abort was not answered; to commit it is refused."""
        done = machine.complete(machine.fence(known(State.ONGOING), NOW, new_id), NOW)
        assert end(done, (7, 5), commit=False) == (None, 7, 6)
        assert outcome_of(lambda: end(done, (7, 5), commit=True)) == "state"
        assert outcome_of(lambda: add(done, (7, 5))) == "fenced"

    def test_once_another_producer_came_the_fenced_one_may_nothing(self) -> None:
        done = machine.complete(machine.fence(known(State.ONGOING), NOW, new_id), NOW)
        taken = init(done)
        for commit in (True, False):
            assert outcome_of(lambda commit=commit: end(taken, (7, 5), commit=commit)) == "fenced"  # type: ignore[misc]
            assert outcome_of(lambda commit=commit: end(taken, (7, 6), commit=commit)) == "fenced"  # type: ignore[misc]

    def test_without_an_id_at_hand_nothing_is_decided(self) -> None:
        def none_left() -> int:
            raise KafkaError(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)

        with pytest.raises(KafkaError) as refused:
            machine.init_producer_id(None, "x", 1_000, None, NOW, none_left)
        assert refused.value.code is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS


class TestTimes:
    def test_a_transaction_begins_with_its_first_partition(self) -> None:
        first = add(known(State.COMPLETE_COMMIT), (7, 5))
        assert first is not None
        assert (first.start_ms, first.last_update_ms) == (NOW, NOW)
        second = machine.add_partitions(first, ProducerIdAndEpoch(7, 5), [IN], 2, NOW + 10)
        assert second is not None
        assert (second.start_ms, second.last_update_ms) == (NOW, NOW + 10)
        assert second.partitions == {IN, OUT}

    def test_an_abort_of_nothing_begins_when_it_ends(self) -> None:
        change = end(known(State.EMPTY), (7, 5), commit=False).change
        assert change is not None
        assert change.start_ms == NOW

    def test_it_has_run_out_of_time_after_its_timeout(self) -> None:
        ongoing = known(State.ONGOING)
        assert not ongoing.is_timed_out(5_500)
        assert ongoing.is_timed_out(5_501)
        assert not known(State.PREPARE_COMMIT).is_timed_out(10_000)

    @pytest.mark.parametrize(
        ("state", "expires"),
        [
            (State.EMPTY, True),
            (State.ONGOING, False),
            (State.PREPARE_COMMIT, False),
            (State.PREPARE_ABORT, False),
            (State.COMPLETE_COMMIT, True),
            (State.COMPLETE_ABORT, True),
        ],
    )
    def test_it_is_forgotten_when_nobody_used_it_for_long(self, state: State, expires: bool) -> None:
        assert known(state).is_expired(5_000, 1_000) is expires
        assert not known(state).is_expired(4_999, 1_000)


def outcome_of(request: Callable[[], object]) -> str:
    with pytest.raises(KafkaError) as refused:
        request()
    return CODES[refused.value.code]
