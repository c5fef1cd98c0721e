"""The host of coordinators: loading, running, answering when it is safe, and letting go."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.one_broker import OneBroker, topic_image

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.messages import OffsetCommitKey, OffsetCommitValue
from pybroker_server.coordinator.effects import Effects, Reply
from pybroker_server.coordinator.group.shard import GroupShard
from pybroker_server.coordinator.records import CoordinatorRecord

TOPIC = "__consumer_offsets"
GROUP = "g"
CODES = {
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.KAFKA_STORAGE_ERROR: ErrorCode.NOT_COORDINATOR,
    ErrorCode.NOT_LEADER_OR_FOLLOWER: ErrorCode.NOT_COORDINATOR,
}


def commit(offset: int, partition: int = 0) -> CoordinatorRecord:
    key = OffsetCommitKey(group=GROUP, topic="t", partition=partition)
    return CoordinatorRecord(key, OffsetCommitValue(offset=offset, metadata=""), 4)


class Desk:
    """A broker that leads the one partition of the offsets topic."""

    def __init__(self, *, settings: dict[str, str] | None = None, before: OneBroker | None = None) -> None:
        self.broker = OneBroker(settings, logs=before.logs if before is not None else None)
        self.lead(0)

    def lead(self, epoch: int, leader: int = 1) -> None:
        self.broker.show_topics(topic_image(TOPIC, leader=leader, leader_epoch=epoch, partition_epoch=epoch))

    def load(self) -> None:
        while self.broker.blocking.submitted:
            self.broker.blocking.run_all()
        self.broker.settle()

    def ask(self, *records: CoordinatorRecord, atomic: bool = True, answer: Any = "done") -> list[Any]:
        given: list[Any] = []

        def run(shard: GroupShard, effects: Effects, reply: Reply[Any]) -> None:
            effects.is_atomic = atomic
            for record in records:
                effects.append(record)
            effects.answer(reply, answer)

        self.broker.groups.run(GROUP, run, Reply(given.append, lambda code: code))
        return given

    def offset(self, partition: int = 0) -> int | None:
        found: list[Any] = []

        def run(shard: GroupShard, effects: Effects, reply: Reply[Any]) -> None:
            found.append(shard.offsets.store.of(GROUP).get(("t", partition)))

        self.broker.groups.run(GROUP, run, Reply(found.append, lambda code: code))
        return None if found[0] is None else found[0].offset

    @property
    def log(self) -> Any:
        return self.broker.log(TOPIC)


@pytest.fixture
def desk() -> Desk:
    return Desk()


class TestAnswers:
    def test_they_come_when_the_records_are_committed(self, desk: Desk) -> None:
        given = desk.ask(commit(5))
        assert given == []
        assert desk.offset() == 5, "the state is ahead of the high watermark"
        desk.broker.flush()
        assert given == ["done"]

    def test_one_without_records_waits_for_what_it_may_have_seen(self, desk: Desk) -> None:
        desk.ask(commit(5))
        looked = desk.ask()
        assert looked == []
        desk.broker.flush()
        assert looked == ["done"]
        assert desk.ask() == ["done"], "nothing is uncommitted any more"

    def test_one_that_waits_too_long_is_not_available(self, desk: Desk) -> None:
        given = desk.ask(commit(5))
        desk.broker.time.advance_ms(5_000)
        assert given == [ErrorCode.COORDINATOR_NOT_AVAILABLE]

    def test_an_operation_that_refuses_is_answered_at_once_and_writes_nothing(self, desk: Desk) -> None:
        given: list[Any] = []

        def run(shard: GroupShard, effects: Effects, reply: Reply[Any]) -> None:
            effects.append(commit(5))
            raise KafkaError(ErrorCode.ILLEGAL_GENERATION)

        desk.broker.groups.run(GROUP, run, Reply(given.append, lambda code: code))
        assert given == [ErrorCode.ILLEGAL_GENERATION]
        assert desk.log.log_end_offset == 0


class TestAppends:
    def test_the_records_of_an_operation_are_one_batch(self, desk: Desk) -> None:
        desk.ask(commit(5), commit(6, 1))
        assert desk.log.log_end_offset == 2
        assert (desk.offset(0), desk.offset(1)) == (5, 6)

    def test_many_records_that_need_not_be_together_are_several(self) -> None:
        desk = Desk(settings={"message.max.bytes": "1000"})
        records = [commit(offset, offset) for offset in range(100)]
        refused = desk.ask(*records)
        assert refused == [ErrorCode.UNKNOWN_SERVER_ERROR]
        assert desk.log.log_end_offset == 0
        given = desk.ask(*records, atomic=False)
        desk.broker.flush()
        assert given == ["done"]
        assert [desk.offset(index) for index in range(100)] == list(range(100))

    def test_a_disk_that_fails_ends_this_coordinator(self, desk: Desk) -> None:
        desk.log.failure = OSError("disk full")
        assert desk.ask(commit(5)) == [ErrorCode.NOT_COORDINATOR]
        assert desk.ask(commit(6)) == [ErrorCode.NOT_COORDINATOR]

    def test_a_failed_operation_is_undone(self, desk: Desk) -> None:
        undone: list[ErrorCode] = []
        given: list[Any] = []

        def run(shard: GroupShard, effects: Effects, reply: Reply[Any]) -> None:
            effects.append(commit(5))
            effects.on_failed(lambda code, _: undone.append(code))
            effects.answer(reply, "done")

        desk.log.failure = OSError("disk full")
        desk.broker.groups.run(GROUP, run, Reply(given.append, lambda code: code))
        assert (given, undone) == ([ErrorCode.NOT_COORDINATOR], [ErrorCode.NOT_COORDINATOR])


class TestLeadership:
    def test_without_the_topic_nobody_coordinates(self) -> None:
        given: list[Any] = []
        broker = OneBroker()
        broker.groups.run(GROUP, lambda *_: None, Reply(given.append, lambda code: code))
        assert given == [ErrorCode.NOT_COORDINATOR]
        assert broker.groups.partition_of(GROUP) is None

    def test_the_state_comes_back_from_the_log(self, desk: Desk) -> None:
        for offset in range(20):
            desk.ask(commit(offset))
        desk.broker.flush()
        after = Desk(before=desk.broker)
        assert after.ask() == [ErrorCode.COORDINATOR_LOAD_IN_PROGRESS]
        after.load()
        assert after.ask() == ["done"]
        assert after.offset() == 19

    def test_what_was_not_committed_is_loaded_and_waited_for(self, desk: Desk) -> None:
        desk.ask(commit(5))
        after = Desk(before=desk.broker)
        after.load()
        given = after.ask()
        assert given == []
        after.broker.flush()
        assert given == ["done"]

    def test_who_waits_when_the_leader_changes_is_sent_away(self, desk: Desk) -> None:
        given = desk.ask(commit(5))
        desk.lead(1, leader=2)
        desk.broker.settle()
        assert given == [ErrorCode.NOT_COORDINATOR]
        assert desk.ask() == [ErrorCode.NOT_COORDINATOR]

    def test_a_new_epoch_loads_anew(self, desk: Desk) -> None:
        desk.ask(commit(5))
        desk.broker.flush()
        desk.lead(1)
        assert desk.ask() == [ErrorCode.COORDINATOR_LOAD_IN_PROGRESS]
        desk.load()
        assert desk.offset() == 5

    def test_a_load_that_is_overtaken_changes_nothing(self, desk: Desk) -> None:
        desk.ask(commit(5))
        desk.broker.flush()
        desk.lead(1)
        desk.lead(2)
        desk.load()
        assert (desk.ask(), desk.offset()) == (["done"], 5)

    def test_a_log_that_cannot_be_read_takes_the_partition_offline(self, desk: Desk) -> None:
        desk.ask(commit(5))
        desk.broker.flush()
        desk.lead(1)
        desk.log.failure = OSError("unreadable")
        desk.load()
        assert desk.ask() == [ErrorCode.NOT_COORDINATOR]

    def test_damaged_records_are_skipped(self, desk: Desk) -> None:
        desk.broker.append(b"no key", topic=TOPIC)
        desk.ask(commit(5))
        desk.broker.flush()
        desk.lead(1)
        desk.load()
        assert desk.offset() == 5

    def test_a_stopped_host_answers_nobody(self, desk: Desk) -> None:
        desk.broker.groups.stop()
        assert desk.ask() == [ErrorCode.NOT_COORDINATOR]


def test_deadlines_come_up_by_themselves(desk: Desk) -> None:
    seen: list[int] = []

    def run(shard: GroupShard, effects: Effects, reply: Reply[Any]) -> None:
        shard.timeouts.set("x", effects.now_ms + 500, lambda later: seen.append(later.now_ms - effects.now_ms))

    desk.broker.groups.run(GROUP, run, Reply(lambda _: None, lambda code: code))
    desk.broker.time.advance_ms(499)
    assert seen == []
    desk.broker.time.advance_ms(1)
    assert seen == [500]
