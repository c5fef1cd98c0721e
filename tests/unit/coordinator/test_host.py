"""The host of coordinator state: who is answered what and when, and what happens when the log refuses."""

from __future__ import annotations

import errno
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from tests.support.ledger import TOPIC, Ledger, LedgerBroker, entry
from tests.support.one_broker import topic_image

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.records.batch import iter_batches
from pybroker_protocol.records.record import iter_records
from pybroker_server.config.views import broker_config
from pybroker_server.coordinator.effects import Effects, Reply


@pytest.fixture
def broker() -> LedgerBroker:
    """Coordinates one partition."""
    made = LedgerBroker()
    made.show_topics(topic_image(TOPIC))
    return made


def batches(broker: LedgerBroker) -> list[list[bytes | None]]:
    """The keys' names of every batch in the log."""
    log = broker.log(TOPIC)
    data = memoryview(bytes(log.read(0, 1 << 30, log.end_position, min_one=True, nowait=False).records))
    return [
        [record.raw_value for record in iter_records(data[at : at + header.size_bytes], max_bytes=1 << 24)]
        for at, header in iter_batches(data)
    ]


class TestWhoIsAsked:
    def test_without_the_topic_nobody_coordinates(self) -> None:
        broker = LedgerBroker()
        assert broker.host.partition_of("a") is None
        given: list[Any] = []
        broker.host.run("a", lambda *_: None, Reply(given.append, lambda code: code))
        assert given == [ErrorCode.NOT_COORDINATOR]
        assert broker.look() == [ErrorCode.NOT_COORDINATOR]

    def test_a_key_belongs_to_the_partition_of_its_hash(self) -> None:
        broker = LedgerBroker()
        broker.show_topics(topic_image(TOPIC, 50))
        assert broker.host.partition_of("my-group") == 12
        assert broker.host.partitions == list(range(50))
        given: list[Any] = []

        def write(ledger: Ledger, effects: Effects, reply: Reply[Any]) -> None:
            effects.append(entry("my-group", 3))
            effects.answer(reply, "done")

        broker.host.run("my-group", write, Reply(given.append, lambda code: code))
        broker.flush()
        assert given == ["done"]
        assert broker.look(12) == [{"my-group": 3}]
        assert broker.look(11) == [{}]

    def test_partitions_that_others_lead_are_not_coordinated_here(self) -> None:
        broker = LedgerBroker()
        broker.show_topics(topic_image(TOPIC, replicas=(1, 2), leader=2))
        assert broker.host.partitions == []
        assert broker.look() == [ErrorCode.NOT_COORDINATOR]


class TestAnswers:
    def test_what_is_written_counts_at_once_and_is_answered_when_it_is_safe(self, broker: LedgerBroker) -> None:
        answer = broker.put(("a", 1))
        assert broker.ledger.numbers == {"a": 1}
        assert answer == []
        broker.flush()
        assert answer == ["done"]

    def test_who_reads_what_is_not_safe_waits_for_it_too(self, broker: LedgerBroker) -> None:
        broker.put(("a", 1))
        seen = broker.look()
        assert seen == []
        broker.flush()
        assert seen == [{"a": 1}]
        assert broker.look() == [{"a": 1}], "with nothing to wait for, the answer comes at once"

    def test_they_come_in_the_order_of_the_questions(self, broker: LedgerBroker) -> None:
        order: list[str] = []

        def question(name: str, *, writes: bool) -> None:
            def run(ledger: Ledger, effects: Effects, reply: Reply[str]) -> None:
                if writes:
                    effects.append(entry(name, 1))
                effects.answer(reply, name)

            broker.host.run_at(0, run, Reply(order.append, lambda code: str(code)))

        question("a", writes=True)
        question("b", writes=False)
        question("c", writes=True)
        broker.flush()
        assert order == ["a", "b", "c"]

    def test_a_question_may_be_answered_by_a_later_one(self, broker: LedgerBroker) -> None:
        """As a JoinGroup waits for the other members."""
        kept: list[Reply[Any]] = []
        first = broker.ask(lambda ledger, effects, reply: kept.append(reply))

        def answer_both(ledger: Ledger, effects: Effects, reply: Reply[Any]) -> None:
            effects.answer(kept.pop(), "late")
            effects.refuse(reply, ErrorCode.REBALANCE_IN_PROGRESS)

        second = broker.ask(answer_both)
        assert (first, second) == ([], [ErrorCode.REBALANCE_IN_PROGRESS])
        broker.settle()
        assert first == ["late"]

    def test_a_question_that_is_refused_writes_nothing(self, broker: LedgerBroker) -> None:
        def refuse(ledger: Ledger, effects: Effects, reply: Reply[Any]) -> None:
            effects.append(entry("a", 1))
            ledger.timeouts.set("alarm", effects.now_ms + 10, lambda later: ledger.events.append("alarm"))
            raise KafkaError(ErrorCode.ILLEGAL_GENERATION)

        assert broker.ask(refuse) == [ErrorCode.ILLEGAL_GENERATION]
        assert (broker.ledger.numbers, broker.log(TOPIC).log_end_offset) == ({}, 0)
        broker.time.advance_ms(10)
        assert broker.ledger.events[-1] == "alarm", "its deadlines stand all the same"

    def test_what_is_not_committed_in_time_is_an_error_worth_another_try(self) -> None:
        broker = LedgerBroker({"offsets.commit.timeout.ms": "700"})
        broker.show_topics(topic_image(TOPIC))
        answer = broker.put(("a", 1))
        broker.time.advance_ms(699)
        assert answer == []
        broker.time.advance_ms(1)
        assert answer == [ErrorCode.COORDINATOR_NOT_AVAILABLE]
        broker.flush()
        assert answer == [ErrorCode.COORDINATOR_NOT_AVAILABLE]

    def test_in_page_cache_mode_nobody_waits(self) -> None:
        broker = LedgerBroker({"durability": "page-cache"})
        broker.show_topics(topic_image(TOPIC))
        assert broker.put(("a", 1)) == ["done"]


class TestRecords:
    def test_those_of_one_operation_are_one_batch(self, broker: LedgerBroker) -> None:
        broker.put(("a", 1), ("b", 2), ("a", None))
        assert [len(batch) for batch in batches(broker)] == [3]
        assert broker.ledger.numbers == {"b": 2}

    def test_one_that_the_state_is_already_is_written_only(self, broker: LedgerBroker) -> None:
        broker.ask(lambda ledger, effects, reply: effects.append(entry("a", 1), replay=False))
        assert broker.log(TOPIC).log_end_offset == 1
        assert broker.ledger.numbers == {}

    def test_they_bear_the_time_and_the_epoch_of_the_leader(self) -> None:
        broker = LedgerBroker()
        broker.show_topics(topic_image(TOPIC, leader_epoch=7))
        broker.put(("a", 1))
        log = broker.log(TOPIC)
        data = log.read(0, 1 << 20, log.end_position, min_one=True, nowait=False).records
        [(_, header)] = iter_batches(data)
        assert (header.partition_leader_epoch, header.max_timestamp) == (7, broker.time.wall_ms())

    def test_in_a_transaction_the_batch_is_the_producers(self, broker: LedgerBroker) -> None:
        def write(ledger: Ledger, effects: Effects, reply: Reply[Any]) -> None:
            effects.in_transaction(40, 3)
            effects.append(entry("a", 1))
            effects.answer(reply, "done")

        answer = broker.ask(write)
        broker.flush()
        assert answer == ["done"]
        assert (broker.ledger.numbers, list(broker.ledger.open)) == ({}, [40])
        log = broker.log(TOPIC)
        data = log.read(0, 1 << 20, log.end_position, min_one=True, nowait=False).records
        [(_, header)] = iter_batches(data)
        assert (header.producer_id, header.producer_epoch, header.base_sequence) == (40, 3, -1)
        assert header.is_transactional

    @pytest.mark.parametrize(("is_atomic", "expected"), [(True, [10]), (False, [4, 4, 2])])
    def test_many_are_split_if_they_may_be(self, *, is_atomic: bool, expected: list[int]) -> None:
        broker = LedgerBroker()
        limit = "1000" if not is_atomic else "10000"
        broker.show_topics(topic_image(TOPIC, configs={"max.message.bytes": limit}))

        def write(ledger: Ledger, effects: Effects, reply: Reply[Any]) -> None:
            effects.is_atomic = is_atomic
            for number in range(10):
                effects.append(entry(f"a{number}", number, "x" * 130))
            effects.answer(reply, "done")

        answer = broker.ask(write)
        broker.flush()
        assert answer == ["done"]
        assert [len(batch) for batch in batches(broker)] == expected
        assert broker.ledger.numbers == {f"a{number}": number for number in range(10)}


class TestRefusedByTheLog:
    def write(self, broker: LedgerBroker, *, note: str = "", name: str = "a") -> tuple[list[Any], list[Any]]:
        """What the operation's answer is, and what its undoing was told."""
        undone: list[Any] = []

        def run(ledger: Ledger, effects: Effects, reply: Reply[Any]) -> None:
            effects.append(entry(name, 1, note))
            effects.on_failed(lambda code, undoing: undone.append(code))
            effects.answer(reply, "done")

        return broker.ask(run), undone

    def test_a_failing_disk_means_another_coordinator(self, broker: LedgerBroker) -> None:
        broker.log(TOPIC).failure = OSError(errno.EIO, "Input/output error")
        assert self.write(broker) == ([ErrorCode.NOT_COORDINATOR],) * 2
        assert broker.ledger.numbers == {}
        assert broker.look() == [ErrorCode.NOT_COORDINATOR], "nothing is known of a partition that is offline"
        assert broker.ledger.events[-1] == "unloaded"

    def test_a_flush_that_fails_means_the_same(self, broker: LedgerBroker) -> None:
        answer = broker.put(("a", 1))
        broker.flush(OSError(errno.EIO, "Input/output error"))
        assert answer == [ErrorCode.NOT_COORDINATOR]
        assert broker.host.partitions == [0]
        assert broker.look() == [ErrorCode.NOT_COORDINATOR]
        assert broker.host.partitions == []

    def test_too_few_replicas_are_not_available(self) -> None:
        broker = LedgerBroker()
        image = topic_image(TOPIC, replicas=(1, 2), configs={"min.insync.replicas": "2"})
        alone = tuple(replace(partition, isr=(1,)) for partition in image.partitions)
        broker.show_topics(replace(image, partitions=alone))
        assert self.write(broker) == ([ErrorCode.COORDINATOR_NOT_AVAILABLE],) * 2
        assert broker.ledger.numbers == {}
        assert broker.look() == [{}]

    def test_more_than_fits_a_batch_fails(self) -> None:
        broker = LedgerBroker()
        broker.show_topics(topic_image(TOPIC, configs={"max.message.bytes": "1000"}))
        assert self.write(broker, note="x" * 2000) == ([ErrorCode.UNKNOWN_SERVER_ERROR],) * 2
        assert broker.ledger.numbers == {}
        assert broker.put(("a", 1)) == []

    def test_what_the_format_has_no_room_for_fails(self, broker: LedgerBroker) -> None:
        assert self.write(broker, name="x" * 40_000) == ([ErrorCode.UNKNOWN_SERVER_ERROR],) * 2
        assert broker.log(TOPIC).log_end_offset == 0

    def test_whoever_undoes_may_answer_others_and_set_deadlines(self, broker: LedgerBroker) -> None:
        waiting: list[Reply[Any]] = []
        other = broker.ask(lambda ledger, effects, reply: waiting.append(reply))

        def run(ledger: Ledger, effects: Effects, reply: Reply[Any]) -> None:
            def undo(code: ErrorCode, undone: Effects) -> None:
                undone.refuse(waiting.pop(), code)
                ledger.timeouts.set("alarm", undone.now_ms + 10, lambda later: ledger.events.append("alarm"))

            effects.append(entry("a" * 40_000, 1))
            effects.on_failed(undo)
            effects.answer(reply, "done")

        assert broker.ask(run) == [ErrorCode.UNKNOWN_SERVER_ERROR]
        assert other == [ErrorCode.UNKNOWN_SERVER_ERROR]
        broker.time.advance_ms(10)
        assert broker.ledger.events[-1] == "alarm"


class TestLeadership:
    def test_a_new_epoch_begins_anew_from_the_log(self, broker: LedgerBroker) -> None:
        broker.put(("a", 1))
        broker.flush()
        answer = broker.put(("b", 2))
        broker.show_topics(topic_image(TOPIC, leader_epoch=1, partition_epoch=1))
        broker.settle()
        assert answer == [ErrorCode.NOT_COORDINATOR], "it may be lost, as far as this coordinator can tell"
        assert broker.look() == [ErrorCode.COORDINATOR_LOAD_IN_PROGRESS]
        broker.load()
        assert len(broker.ledgers) == 2
        assert broker.ledgers[0].events == ["config", "image", "loaded", "unloaded"]
        assert broker.ledger.numbers == {"a": 1, "b": 2}

    def test_another_epoch_of_the_partition_alone_changes_nothing(self, broker: LedgerBroker) -> None:
        broker.show_topics(topic_image(TOPIC, partition_epoch=1))
        assert len(broker.ledgers) == 1
        assert broker.look() == [{}]

    def test_whoever_leads_no_more_forgets(self, broker: LedgerBroker) -> None:
        waiting = broker.put(("a", 1))
        broker.show_topics(topic_image(TOPIC, replicas=(1, 2), leader=2, leader_epoch=1, partition_epoch=1))
        broker.settle()
        assert waiting == [ErrorCode.NOT_COORDINATOR]
        assert broker.look() == [ErrorCode.NOT_COORDINATOR]
        assert (broker.host.partitions, broker.ledger.events[-1]) == ([], "unloaded")

    def test_a_deleted_topic_is_forgotten(self, broker: LedgerBroker) -> None:
        broker.hide_topic(topic_image(TOPIC).topic_id)
        assert (broker.host.partitions, broker.ledger.events[-1]) == ([], "unloaded")
        broker.show_topics(topic_image(TOPIC))
        assert broker.look() == [{}]
        assert len(broker.ledgers) == 2

    def test_the_end_of_the_broker_is_the_end_of_the_state(self, broker: LedgerBroker) -> None:
        broker.host.stop()
        assert broker.look() == [ErrorCode.NOT_COORDINATOR]
        assert broker.ledger.events[-1] == "unloaded"

    def test_it_is_told_of_topics_and_settings(self, broker: LedgerBroker) -> None:
        assert broker.ledger.events == ["config", "image", "loaded"]
        broker.show_topics(topic_image("other"))
        assert "other" in broker.ledger.image.topics_by_name
        broker.show(brokers=MappingProxyType({}))
        assert broker.ledger.events == ["config", "image", "loaded", "image"], "brokers are no topics"
        config = broker_config({"group.max.size": "5"})
        broker.host.on_config(config)
        assert broker.ledger.config is config


class TestDeadlines:
    def at(self, broker: LedgerBroker, delay_ms: int, name: str) -> None:
        """Writes `name` when the time has come."""

        def run(ledger: Ledger, effects: Effects, reply: Reply[Any]) -> None:
            def write(later: Effects) -> None:
                later.append(entry(name, later.now_ms))

            ledger.timeouts.set(name, effects.now_ms + delay_ms, write)

        broker.ask(run)

    def test_an_operation_runs_when_its_time_has_come(self, broker: LedgerBroker) -> None:
        start = broker.time.monotonic_ms()
        for delay_ms, name in ((30, "c"), (10, "a"), (20, "b")):
            self.at(broker, delay_ms, name)
        for after_ms, known in ((9, ""), (10, "a"), (19, "a"), (25, "ab"), (30, "abc")):
            broker.time.advance_ms(start + after_ms - broker.time.monotonic_ms())
            assert "".join(sorted(broker.ledger.numbers)) == known
        assert broker.log(TOPIC).log_end_offset == 3

    def test_one_that_moves_to_later_or_earlier_runs_then(self, broker: LedgerBroker) -> None:
        start = broker.time.monotonic_ms()
        self.at(broker, 10, "a")
        self.at(broker, 50, "a")
        self.at(broker, 90, "b")
        self.at(broker, 40, "b")
        broker.time.advance_ms(100)
        assert broker.ledger.numbers == {"a": start + 50, "b": start + 40}

    def test_none_runs_after_the_state_is_gone(self, broker: LedgerBroker) -> None:
        self.at(broker, 10, "a")
        broker.host.stop()
        broker.time.advance_ms(100)
        assert broker.log(TOPIC).log_end_offset == 0

    def test_a_partition_that_went_offline_is_let_go(self, broker: LedgerBroker) -> None:
        self.at(broker, 10, "a")
        broker.partition(TOPIC).go_offline(None)
        broker.time.advance_ms(10)
        assert broker.ledger.events[-1] == "unloaded"
        assert broker.ledger.numbers == {}
