"""Any history of producers, terms, lost power and late markers keeps the promises of transactions.

Producers of both transaction versions share a transactional id on one coordinator, whose log is flushed, cut back to
what was flushed, or taken over in a new term, at any moment; markers are answered late, badly or never.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.support.transaction_desk import Held, TransactionDesk

from pybroker_protocol.errors import ErrorCode
from pybroker_server.coordinator.end_marker import EndMarker
from pybroker_server.coordinator.transaction.records import TRANSACTIONS_TOPIC
from pybroker_server.coordinator.transaction.transaction import (
    ProducerIdAndEpoch,
    State,
    TopicPartition,
    Transaction,
)

PARTITIONS = [("t", index) for index in range(3)]
TRANSIENT = [ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.REQUEST_TIMED_OUT, ErrorCode.NOT_ENOUGH_REPLICAS]
TIMEOUT_MS = 30_000


@dataclass
class Producer:
    """A client: what it was given, and what it put into its transaction and was told is part of it."""

    version: int
    given: ProducerIdAndEpoch | None = None
    added: set[TopicPartition] = field(default_factory=set)


@dataclass
class Asked:
    """A request that may be answered later."""

    answer: list[Any]
    producer: Producer
    sent: ProducerIdAndEpoch | None
    what: str
    newest: tuple[int, int]
    """The newest id and epoch that anybody had been given when it was sent."""
    partitions: frozenset[TopicPartition] = frozenset()
    commit: bool = False


class Histories(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.desk = TransactionDesk({"transaction.abort.timed.out.transaction.cleanup.interval.ms": "5000"})
        self.term = 0
        self.producers = [Producer(2), Producer(2), Producer(0)]
        self.asked: list[Asked] = []
        self.newest = (-1, -1)
        self.promised: dict[ProducerIdAndEpoch, tuple[bool, frozenset[TopicPartition]]] = {}
        """By the epoch of the marker: what EndTxn said yes to."""
        self.written: dict[ProducerIdAndEpoch, dict[TopicPartition, bool]] = {}
        self.seen_terms: dict[ProducerIdAndEpoch, int] = {}
        self.checked = 0

    # -- producers

    @rule(who=st.integers(0, 2), says_what_it_has=st.booleans())
    def init(self, who: int, says_what_it_has: bool) -> None:
        producer = self.producers[who]
        expected = producer.given if says_what_it_has else None
        answer = self.desk.init(expected=expected, timeout_ms=TIMEOUT_MS)
        self.asked.append(Asked(answer, producer, expected, "init", self.newest))

    @rule(who=st.integers(0, 2), partition=st.sampled_from(PARTITIONS))
    def add(self, who: int, partition: TopicPartition) -> None:
        producer = self.producers[who]
        if producer.given is not None:
            answer = self.desk.add(producer.given, partition, version=producer.version)
            self.asked.append(Asked(answer, producer, producer.given, "add", self.newest, frozenset((partition,))))

    @rule(who=st.integers(0, 2), commit=st.booleans())
    def end(self, who: int, commit: bool) -> None:
        producer = self.producers[who]
        if producer.given is not None:
            answer = self.desk.end(producer.given, commit=commit, version=producer.version)
            added = frozenset(producer.added)
            self.asked.append(Asked(answer, producer, producer.given, "end", self.newest, added, commit))

    # -- the world

    @rule()
    def flush(self) -> None:
        self.desk.settle()

    @rule(seconds=st.sampled_from([1, 5, 31]))
    def time_passes(self, seconds: int) -> None:
        self.desk.time.advance_ms(seconds * 1_000)

    @rule()
    def a_new_term_begins(self) -> None:
        self.term += 1
        self.desk.lead(self.term)
        self.desk.blocking.run_all()

    @rule()
    def power_is_lost(self) -> None:
        """What was not flushed is gone; a new term begins on what is left."""
        self.answers_arrive()
        self.term += 1
        log: Any = self.desk.partition(TRANSACTIONS_TOPIC).log
        self.desk.lead(self.term, leader=2)
        self.desk.time.advance_ms(0)
        log.cut_back_to(log.flushed_offset)
        self.term += 1
        self.desk.lead(self.term)
        self.desk.blocking.run_all()
        for asked in self.asked:
            assert asked.answer, "a coordinator that lost its partition left nobody without an answer"

    @rule(which=st.integers(0, 5), code=st.sampled_from([None, None, *TRANSIENT]))
    def markers_are_answered(self, which: int, code: ErrorCode | None) -> None:
        held = self.desk.sink.held
        if held:
            one = held.pop(which % len(held))
            if code is None:
                self._write(one)
            one.answer(code or ErrorCode.NONE)

    @rule()
    def markers_are_written_and_nobody_hears_of_it(self) -> None:
        held, self.desk.sink.held = self.desk.sink.held, []
        for one in held:
            self._write(one)
            one.answer(ErrorCode.REQUEST_TIMED_OUT)

    def _write(self, held: Held) -> None:
        who = ProducerIdAndEpoch(held.marker.producer_id, held.marker.producer_epoch)
        for partition in held.partitions:
            decision = self.written.setdefault(who, {}).setdefault(partition, held.marker.is_commit)
            assert decision is held.marker.is_commit, f"{who} is committed and aborted in {partition}"

    # -- promises

    @invariant()
    def answers_arrive(self) -> None:
        left = []
        for asked in self.asked:
            if not asked.answer:
                left.append(asked)
                continue
            [answer] = asked.answer
            if asked.what == "init":
                self._on_init(asked, answer)
            elif asked.what == "add":
                self._on_add(asked, answer)
            else:
                self._on_end(asked, answer)
        self.asked = left

    def _on_init(self, asked: Asked, answer: Any) -> None:
        if not isinstance(answer, ProducerIdAndEpoch):
            assert answer in (
                ErrorCode.CONCURRENT_TRANSACTIONS,
                ErrorCode.PRODUCER_FENCED,
                ErrorCode.NOT_COORDINATOR,
                ErrorCode.COORDINATOR_NOT_AVAILABLE,
                ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
            ), answer
            return
        is_retry = asked.sent is not None and answer.epoch == asked.sent.epoch + 1
        assert answer > self.newest or (is_retry and answer == self.newest), f"{answer} after {self.newest}"
        self.newest = max(answer, self.newest)
        asked.producer.given = answer
        asked.producer.added.clear()

    def _on_add(self, asked: Asked, answer: ErrorCode) -> None:
        if answer is not ErrorCode.NONE:
            return
        assert asked.sent is not None
        assert asked.sent >= asked.newest, f"{asked.sent} is fenced by {asked.newest} and added partitions"
        if asked.producer.given == asked.sent:
            asked.producer.added |= asked.partitions

    def _on_end(self, asked: Asked, answer: Any) -> None:
        producer, sent = asked.producer, asked.sent
        assert sent is not None
        if isinstance(answer, ErrorCode):
            return
        marked = answer if producer.version == 2 else sent
        if asked.partitions:
            before = self.promised.setdefault(marked, (asked.commit, asked.partitions))
            if producer.version == 2:
                assert before[0] is asked.commit, f"{marked} was promised both ways"
            elif before[0] is not asked.commit or not before[1] >= asked.partitions:
                # Without an epoch of its own, the end of the next transaction; its partitions get a marker too.
                self.promised[marked] = (asked.commit, asked.partitions)
        if producer.given == sent:
            producer.added.clear()
            if producer.version == 2:
                assert answer >= self.newest
                self.newest = max(self.newest, answer)
                producer.given = answer

    @invariant()
    def markers_follow_decisions_that_are_safe(self) -> None:
        sent = self.desk.sink.sent
        fresh, self.checked = sent[self.checked :], len(sent)
        if not fresh:
            return
        safe = [t for t in self.desk.stored(committed=True) if isinstance(t, Transaction)]
        for marker in fresh:
            self._check_marker(marker, safe)

    def _check_marker(self, marker: EndMarker, safe: list[Transaction]) -> None:
        state = State.PREPARE_COMMIT if marker.is_commit else State.PREPARE_ABORT
        who = ProducerIdAndEpoch(marker.producer_id, marker.producer_epoch)
        assert any((t.state, t.producer_id, t.producer_epoch) == (state, *who) for t in safe), marker
        assert marker.coordinator_epoch >= self.seen_terms.get(who, 0)
        self.seen_terms[who] = marker.coordinator_epoch

    def teardown(self) -> None:
        """All is well again: every transaction comes to its end, as was promised, and is remembered."""
        desk = self.desk
        for _ in range(20):
            desk.settle()
            for one in desk.sink.held:
                self._write(one)
            desk.sink.let_go()
            desk.time.advance_ms(5_000)
        desk.settle()
        self.answers_arrive()
        assert self.asked == []
        found = desk.describe()
        if isinstance(found, Transaction):
            assert not found.is_prepared
            assert found.state is not State.ONGOING
        for who, (commit, partitions) in self.promised.items():
            marks = self.written.get(who, {})
            for partition in partitions:
                assert marks.get(partition) is commit, f"{who}: {partition} should say commit={commit}"
        desk.lead(self.term + 1)
        desk.blocking.run_all()
        again = desk.describe()
        assert _stored(again) == _stored(found)


def _stored(found: Transaction | ErrorCode) -> Any:
    if isinstance(found, ErrorCode):
        return found
    return (found.producer_id, found.producer_epoch, found.previous_producer_id, found.state, found.start_ms)


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
