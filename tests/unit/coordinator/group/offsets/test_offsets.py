"""Committed offsets over time: retention, deletion, transactions and restarts."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from uuid import UUID

import pytest
from tests.support.group_desk import WALL_MS, ZERO, GroupDesk
from tests.support.one_broker import topic_image

from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import OffsetCommitKey, OffsetCommitValue
from pybroker_server.coordinator.group.coordinator import RECORD_TYPES
from pybroker_server.coordinator.group.offsets.commit import Commit, OffsetToCommit, TransactionalCommit
from pybroker_server.coordinator.group.offsets.records import offset_record
from pybroker_server.coordinator.group.offsets.store import CommittedOffset

MINUTE_MS = 60_000
RETENTION = {"offsets.retention.minutes": "10", "offsets.retention.check.interval.ms": "1000"}
SUBSCRIBED = {"range": b"\x00\x01\x00\x00\x00\x01\x00\x01t\xff\xff\xff\xff"}


def a_desk() -> GroupDesk:
    desk = GroupDesk(RETENTION)
    desk.perform(desk.shard.on_loaded)
    return desk


def test_offsets_and_their_group_come_back_after_a_restart() -> None:
    desk = GroupDesk()
    desk.commit(5)
    desk.commit(7, partition=1)
    desk.commit(6)
    desk.restart()
    assert (desk.committed(0), desk.committed(1)) == (6, 7)
    assert (desk.group.state_name, desk.group.protocol_type) == ("Empty", "")


def test_offsets_that_could_not_be_stored_are_not_there() -> None:
    desk = GroupDesk()
    desk.commit(5)
    desk.fails_with = ErrorCode.COORDINATOR_NOT_AVAILABLE
    assert desk.commit(6) is ErrorCode.COORDINATOR_NOT_AVAILABLE
    assert desk.committed() == 5


class TestRetention:
    def test_offsets_without_a_group_expire_by_their_commit_and_the_group_with_them(self) -> None:
        desk = a_desk()
        desk.commit(5)
        desk.advance(10 * MINUTE_MS - 1)
        assert desk.committed() == 5
        desk.advance(1_000)
        assert desk.committed() is None
        assert desk.shard.context.groups == {}
        desk.restart()
        assert desk.shard.context.groups == {}

    def test_a_commit_begins_it_anew(self) -> None:
        desk = a_desk()
        desk.commit(5)
        desk.advance(6 * MINUTE_MS)
        desk.commit(5)
        desk.advance(6 * MINUTE_MS)
        assert desk.committed() == 5

    def test_a_group_in_use_keeps_what_it_subscribes_to(self) -> None:
        desk = a_desk()
        member = desk.stable(protocols=SUBSCRIBED, session_timeout_ms=30 * MINUTE_MS)
        desk.commit(5, member_id=member, epoch=1)
        desk.advance(20 * MINUTE_MS)
        assert desk.committed() == 5

    def test_what_it_does_not_subscribe_to_any_more_expires(self) -> None:
        desk = a_desk()
        other = {"range": b"\x00\x01\x00\x00\x00\x01\x00\x01u\xff\xff\xff\xff"}
        member = desk.stable(protocols=other, session_timeout_ms=30 * MINUTE_MS)
        desk.commit(5, member_id=member, epoch=1)
        desk.advance(11 * MINUTE_MS)
        assert desk.committed() is None
        assert desk.group.state_name == "Stable"

    def test_an_empty_group_counts_from_when_it_became_empty(self) -> None:
        desk = a_desk()
        member = desk.stable(protocols=SUBSCRIBED, session_timeout_ms=30 * MINUTE_MS)
        desk.commit(5, member_id=member, epoch=1)
        desk.advance(9 * MINUTE_MS)
        desk.leave(member)
        desk.advance(9 * MINUTE_MS)
        assert desk.committed() == 5
        desk.advance(2 * MINUTE_MS)
        assert desk.committed() is None

    @pytest.mark.parametrize(("asked_ms", "after_ms", "left"), [(5_000, 4_000, 5), (5_000, 7_000, None)])
    def test_old_clients_choose_their_own(self, asked_ms: int, after_ms: int, left: int | None) -> None:
        desk = a_desk()
        commit = Commit("g", "", None, -1, 4, asked_ms, [OffsetToCommit(("t", 0), 5, -1, "", ZERO)])
        desk.ask(lambda shard, effects, reply: shard.offsets.commit(effects, reply, commit))
        desk.restart()
        desk.advance(after_ms)
        assert desk.committed() == left


class TestTransactions:
    """What a producer commits in its transaction counts when the marker says so (KIP-447)."""

    PRODUCER = 7

    def pending(self, desk: GroupDesk, offset: int) -> None:
        committed = CommittedOffset(offset, -1, "", WALL_MS)
        desk.shard.replay(offset_record("g", ("t", 0), committed), self.PRODUCER, 0)

    def fetched(self, desk: GroupDesk, *, stable: bool) -> tuple[int | None, ErrorCode]:
        [found] = desk.shard.offsets.fetch("g", [("t", 0)], member_id=None, member_epoch=-1, require_stable=stable)
        return (None if found.committed is None else found.committed.offset), found.error

    def test_until_then_readers_that_want_to_know_are_told_to_wait(self) -> None:
        desk = GroupDesk()
        desk.commit(5)
        self.pending(desk, 9)
        assert self.fetched(desk, stable=False) == (5, ErrorCode.NONE)
        assert self.fetched(desk, stable=True) == (None, ErrorCode.UNSTABLE_OFFSET_COMMIT)

    def test_a_commit_makes_them_count(self) -> None:
        desk = GroupDesk()
        self.pending(desk, 9)
        desk.shard.replay_marker(self.PRODUCER, 0, is_commit=True)
        assert self.fetched(desk, stable=True) == (9, ErrorCode.NONE)

    def test_an_abort_forgets_them(self) -> None:
        desk = GroupDesk()
        desk.commit(5)
        self.pending(desk, 9)
        desk.shard.replay_marker(self.PRODUCER, 0, is_commit=False)
        assert self.fetched(desk, stable=True) == (5, ErrorCode.NONE)

    def test_what_was_committed_later_is_not_overwritten(self) -> None:
        desk = GroupDesk()
        self.pending(desk, 9)
        desk.commit(12)
        desk.shard.replay_marker(self.PRODUCER, 0, is_commit=True)
        assert self.fetched(desk, stable=True) == (12, ErrorCode.NONE)

    def test_they_are_written_as_the_producers_and_survive_a_restart_undecided(self) -> None:
        desk = GroupDesk()
        wanted = [OffsetToCommit(("t", 0), 9, -1, "", UUID(int=5))]
        commit = TransactionalCommit("g", "", None, -1, 5, self.PRODUCER, 3, wanted)
        answer = desk.ask(
            lambda shard, effects, reply: shard.offsets.commit_in_transaction(effects, reply, commit, None)
        )
        assert answer.response == [ErrorCode.NONE]
        [(key, value, producer_id, epoch)] = desk.log
        assert (producer_id, epoch) == (self.PRODUCER, 3)
        record = RECORD_TYPES.decode(key, value)
        assert record is not None
        assert isinstance(record.value, OffsetCommitValue)
        assert record.value.topic_id == ZERO
        desk.restart()
        assert self.fetched(desk, stable=True) == (None, ErrorCode.UNSTABLE_OFFSET_COMMIT)
        desk.shard.replay_marker(self.PRODUCER, 3, is_commit=True)
        assert self.fetched(desk, stable=True) == (9, ErrorCode.NONE)

    def test_they_do_not_expire(self) -> None:
        desk = a_desk()
        self.pending(desk, 9)
        desk.advance(20 * MINUTE_MS)
        assert "g" in desk.shard.context.groups


class TestDeletion:
    def test_a_deleted_topic_takes_its_offsets_along(self) -> None:
        desk = GroupDesk()
        topic = topic_image("t")
        image = replace(desk.image, topics_by_id=MappingProxyType({topic.topic_id: topic}))
        desk.perform(lambda effects: desk.shard.on_image(effects, image))
        desk.commit(5)
        desk.perform(lambda effects: desk.shard.on_image(effects, desk.image))
        assert desk.committed() is None
        key, value, *_ = desk.log[-1]
        record = RECORD_TYPES.decode(key, value)
        assert record is not None
        assert isinstance(record.key, OffsetCommitKey)
        assert record.value is None

    def test_a_deleted_group_is_gone_with_its_offsets(self) -> None:
        desk = GroupDesk()
        desk.commit(5)
        deleted = desk.ask(lambda shard, effects, reply: shard.catalogue.delete(effects, reply, "g"))
        assert deleted.response is ErrorCode.NONE
        desk.restart()
        assert desk.shard.context.groups == {}
        assert desk.committed() is None
