"""The transaction coordinator: what is stored, when it answers, when markers go out, and what survives a new term."""

from __future__ import annotations

import pytest
from tests.support.one_broker import topic_image
from tests.support.transaction_desk import TIMEOUT_MS, TransactionDesk

from pybroker_protocol.errors import ErrorCode
from pybroker_server.coordinator.end_marker import EndMarker
from pybroker_server.coordinator.transaction.records import TRANSACTIONS_TOPIC
from pybroker_server.coordinator.transaction.transaction import State, Transaction

T0, T1 = ("t", 0), ("t", 1)
SCAN_MS = 10_000
HOUR_MS = 3_600_000
WEEK_MS = 604_800_000


@pytest.fixture
def desk() -> TransactionDesk:
    return TransactionDesk()


def state_of(desk: TransactionDesk, name: str = "x") -> State:
    found = desk.describe(name)
    assert isinstance(found, Transaction)
    return found.state


class TestDecisions:
    def test_an_answer_waits_until_what_it_says_is_safe(self, desk: TransactionDesk) -> None:
        given = desk.init()
        assert given == []
        desk.settle()
        assert given == [(1_000, 0)]

    def test_markers_wait_until_the_decision_is_safe(self, desk: TransactionDesk) -> None:
        producer = desk.begin(T0, T1)
        answer = desk.end(producer, commit=True)
        assert (answer, desk.sink.held) == ([], [])
        desk.settle()
        assert answer == [(1_000, 1)]
        [held] = desk.sink.held
        assert held.marker == EndMarker(1_000, 1, 0, is_commit=True, transaction_version=2)
        assert set(held.partitions) == {T0, T1}

    def test_the_next_transaction_waits_for_the_markers_of_this_one(self, desk: TransactionDesk) -> None:
        desk.end(desk.begin(T0), commit=True)
        desk.settle()
        assert desk.add((1_000, 1), T0) == [ErrorCode.CONCURRENT_TRANSACTIONS]
        assert desk.init() == [ErrorCode.CONCURRENT_TRANSACTIONS]
        desk.sink.let_go()
        added = desk.add((1_000, 1), T0)
        desk.settle()
        assert added == [ErrorCode.NONE]
        assert [t.state for t in desk.stored() if isinstance(t, Transaction)] == [
            State.EMPTY,
            State.ONGOING,
            State.PREPARE_COMMIT,
            State.COMPLETE_COMMIT,
            State.ONGOING,
        ]

    def test_a_transaction_without_partitions_needs_no_markers(self, desk: TransactionDesk) -> None:
        given = desk.init()
        desk.settle()
        ended = desk.end(given[0], commit=False)
        desk.settle()
        assert ended == [(1_000, 1)]
        assert desk.sink.sent == []
        assert state_of(desk) is State.COMPLETE_ABORT

    def test_who_comes_in_between_has_the_open_transaction_aborted_and_asks_again(self, desk: TransactionDesk) -> None:
        zombie = desk.begin(T0)
        first = desk.init()
        desk.settle()
        assert first == [ErrorCode.CONCURRENT_TRANSACTIONS]
        assert desk.sink.sent == [EndMarker(1_000, 1, 0, is_commit=False, transaction_version=2)]
        desk.sink.let_go()
        second = desk.init()
        desk.settle()
        assert second == [(1_000, 2)]
        assert desk.end(zombie, commit=True) == [ErrorCode.PRODUCER_FENCED]
        assert desk.add(zombie, T1) == [ErrorCode.PRODUCER_FENCED]

    def test_what_cannot_be_stored_is_not_decided(self, desk: TransactionDesk) -> None:
        producer = desk.begin(T0)
        desk.partition(TRANSACTIONS_TOPIC).state.isr = ()
        desk.partition(TRANSACTIONS_TOPIC).state.reconfigure(durable=True, min_insync_replicas=3)
        assert desk.end(producer, commit=True) == [ErrorCode.COORDINATOR_NOT_AVAILABLE]
        assert desk.sink.sent == []


class TestMarkers:
    @pytest.mark.parametrize(
        "code",
        [ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.NOT_ENOUGH_REPLICAS, ErrorCode.REQUEST_TIMED_OUT],
    )
    def test_one_that_was_not_written_is_sent_again(self, desk: TransactionDesk, code: ErrorCode) -> None:
        desk.end(desk.begin(T0, T1), commit=True)
        desk.settle()
        for _ in range(3):
            [held] = desk.sink.held
            desk.sink.held.clear()
            held.done({T0: ErrorCode.NONE, **{where: code for where in held.partitions if where == T1}})
            assert state_of(desk) is State.PREPARE_COMMIT
            desk.time.advance_ms(100)
            assert [one.partitions for one in desk.sink.held] == [(T1,)]
        desk.sink.let_go()
        assert state_of(desk) is State.COMPLETE_COMMIT

    def test_a_description_shows_the_partitions_that_are_left(self, desk: TransactionDesk) -> None:
        desk.end(desk.begin(T0, T1), commit=True)
        desk.settle()
        [held] = desk.sink.held
        held.done({T0: ErrorCode.NONE, T1: ErrorCode.NOT_LEADER_OR_FOLLOWER})
        found = desk.describe()
        assert isinstance(found, Transaction)
        assert found.partitions == {T1}

    def test_a_partition_of_a_deleted_topic_needs_none(self, desk: TransactionDesk) -> None:
        producer = desk.begin(T0)
        desk.hide_topic(topic_image("t").topic_id)
        desk.end(producer, commit=False)
        desk.settle()
        assert desk.sink.sent == []
        assert state_of(desk) is State.COMPLETE_ABORT

    def test_one_without_a_leader_gets_its_marker_when_it_has_one(self, desk: TransactionDesk) -> None:
        producer = desk.begin(T0)
        desk.show_topics(topic_image("t", 3, leader=-1, leader_epoch=1))
        desk.end(producer, commit=True)
        desk.settle()
        assert desk.sink.held == []
        desk.show_topics(topic_image("t", 3, leader_epoch=2))
        assert desk.sink.let_go() == 1
        assert state_of(desk) is State.COMPLETE_COMMIT

    @pytest.mark.parametrize("code", [ErrorCode.INVALID_PRODUCER_EPOCH, ErrorCode.TRANSACTION_COORDINATOR_FENCED])
    def test_a_coordinator_that_was_replaced_sends_no_more(self, desk: TransactionDesk, code: ErrorCode) -> None:
        desk.end(desk.begin(T0, T1), commit=True)
        desk.settle()
        desk.sink.let_go(code)
        desk.time.advance_ms(SCAN_MS)
        assert len(desk.sink.sent) == 1
        assert state_of(desk) is State.PREPARE_COMMIT


class TestTerms:
    def test_a_new_term_goes_on_where_the_last_one_was(self, desk: TransactionDesk) -> None:
        desk.end(desk.begin(T0, T1), commit=True)
        desk.settle()
        desk.sink.held.clear()
        desk.lead(1)
        assert desk.init() == [ErrorCode.COORDINATOR_LOAD_IN_PROGRESS]
        desk.blocking.run_all()
        desk.settle()
        [held] = desk.sink.held
        assert held.marker == EndMarker(1_000, 1, 1, is_commit=True, transaction_version=2)
        assert set(held.partitions) == {T0, T1}
        held.answer()
        assert state_of(desk) is State.COMPLETE_COMMIT

    def test_answers_to_the_markers_of_an_earlier_term_count_for_nothing(self, desk: TransactionDesk) -> None:
        desk.end(desk.begin(T0), commit=True)
        desk.settle()
        [late] = desk.sink.held
        desk.lead(1)
        desk.blocking.run_all()
        late.answer()
        assert state_of(desk) is State.PREPARE_COMMIT
        assert desk.sink.held[-1].marker.coordinator_epoch == 1

    def test_who_does_not_lead_is_no_coordinator(self, desk: TransactionDesk) -> None:
        producer = desk.begin(T0)
        desk.end(producer, commit=True)
        desk.settle()
        desk.lead(1, leader=2)
        assert desk.end(producer, commit=True) == [ErrorCode.NOT_COORDINATOR]
        desk.sink.let_go(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        desk.time.advance_ms(SCAN_MS)
        assert desk.sink.held == [], "the next coordinator sends them"

    def test_an_open_transaction_goes_on_in_a_new_term(self, desk: TransactionDesk) -> None:
        producer = desk.begin(T0)
        desk.lead(1)
        desk.blocking.run_all()
        added = desk.add(producer, T1)
        ended = desk.end(producer, commit=True)
        desk.settle()
        assert (added, ended) == ([ErrorCode.NONE], [(1_000, 1)])
        assert set(desk.sink.held[0].partitions) == {T0, T1}

    def test_a_damaged_record_spoils_its_own_id_only(self, desk: TransactionDesk) -> None:
        desk.begin(T0, name="good")
        desk.write_raw("bad", status=99)
        desk.lead(1)
        desk.blocking.run_all()
        assert state_of(desk, "good") is State.ONGOING
        assert desk.describe("bad") is ErrorCode.TRANSACTIONAL_ID_NOT_FOUND


class TestTime:
    def test_a_transaction_that_ran_out_of_time_is_aborted_and_its_producer_fenced(self, desk: TransactionDesk) -> None:
        producer = desk.begin(T0)
        desk.time.advance_ms(TIMEOUT_MS)
        desk.settle()
        assert desk.sink.sent == []
        desk.time.advance_ms(SCAN_MS)
        desk.settle()
        assert desk.sink.sent == [EndMarker(1_000, 1, 0, is_commit=False, transaction_version=2)]
        desk.sink.let_go()
        assert state_of(desk) is State.COMPLETE_ABORT
        assert desk.end(producer, commit=True) == [ErrorCode.INVALID_TXN_STATE]
        assert desk.add(producer, T1) == [ErrorCode.PRODUCER_FENCED]

    def test_also_when_it_began_in_an_earlier_term(self, desk: TransactionDesk) -> None:
        desk.begin(T0)
        desk.lead(1)
        desk.blocking.run_all()
        desk.time.advance_ms(TIMEOUT_MS + SCAN_MS)
        desk.settle()
        assert desk.sink.sent == [EndMarker(1_000, 1, 1, is_commit=False, transaction_version=2)]

    def test_a_transactional_id_is_forgotten_when_nobody_used_it_for_long(self, desk: TransactionDesk) -> None:
        desk.begin(T0, name="used")
        given = desk.init("idle")
        desk.settle()
        desk.time.advance_ms(WEEK_MS + HOUR_MS)
        desk.settle()
        assert desk.describe("idle") is ErrorCode.TRANSACTIONAL_ID_NOT_FOUND
        assert desk.stored()[-1] == "idle"
        assert desk.end(given[0], commit=False, name="idle") == [ErrorCode.INVALID_PRODUCER_ID_MAPPING]
        desk.lead(1)
        desk.blocking.run_all()
        assert desk.describe("idle") is ErrorCode.TRANSACTIONAL_ID_NOT_FOUND
