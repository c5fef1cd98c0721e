"""Consumer groups over time: sessions, revocations, intervals, patterns, and restarts."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.group_desk import GroupDesk
from tests.support.one_broker import topic_id_of

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.messages import ConsumerGroupHeartbeatRequest

_Owned = ConsumerGroupHeartbeatRequest.TopicPartitions
JOIN: dict[str, Any] = {"rebalance_timeout_ms": 30_000, "subscribed_topic_names": ["t"], "topic_partitions": []}


@pytest.fixture
def desk() -> GroupDesk:
    desk = GroupDesk()
    desk.show_topics(t=4)
    return desk


def partitions(response: Any) -> list[int] | None:
    if response.assignment is None:
        return None
    return [index for topic in response.assignment.topic_partitions for index in topic.partitions]


def owned(*indexes: int) -> list[_Owned]:
    return [_Owned(topic_id=topic_id_of("t"), partitions=list(indexes))]


class TestAssignments:
    def test_the_first_member_has_everything_at_once(self, desk: GroupDesk) -> None:
        answer = desk.beat("a", 0, **JOIN)
        assert (answer.member_epoch, partitions(answer)) == (2, [0, 1, 2, 3])
        assert desk.group.state_name == "Stable"

    def test_a_group_that_keeps_changing_is_assigned_once_per_interval(self, desk: GroupDesk) -> None:
        desk.beat("a", 0, **JOIN)
        late = desk.beat("b", 0, **JOIN)
        assert (late.member_epoch, partitions(late), desk.group.state_name) == (2, [], "Assigning")
        desk.advance(1_000)
        assert desk.beat("b", 2).member_epoch == 3
        assert desk.group.state_name == "Reconciling"

    def test_partitions_are_handed_over_when_they_were_given_up(self, desk: GroupDesk) -> None:
        desk.beat("a", 0, **JOIN)
        desk.advance(1_000)
        assert partitions(desk.beat("b", 0, **JOIN)) == []
        told = desk.beat("a", 2, topic_partitions=owned(0, 1, 2, 3))
        assert (told.member_epoch, len(partitions(told) or [])) == (2, 2)
        assert partitions(desk.beat("b", 3)) is None, "a has not said that it let go"
        kept = partitions(told) or []
        assert desk.beat("a", 2, topic_partitions=owned(*kept)).member_epoch == 3
        gained = partitions(desk.beat("b", 3)) or []
        assert sorted(kept + gained) == [0, 1, 2, 3]
        assert desk.group.state_name == "Stable"

    def test_new_partitions_are_found_with_the_next_heartbeat(self, desk: GroupDesk) -> None:
        desk.beat("a", 0, **JOIN)
        desk.advance(1_000)
        desk.show_topics(t=6)
        answer = desk.beat("a", 2)
        assert (answer.member_epoch, partitions(answer)) == (3, [0, 1, 2, 3, 4, 5])

    def test_range_gives_neighbours(self) -> None:
        desk = GroupDesk()
        desk.show_topics(t=5, u=5)
        join = {**JOIN, "subscribed_topic_names": ["t", "u"], "server_assignor": "range"}
        desk.beat("a", 0, **join)
        desk.advance(1_000)
        desk.beat("b", 0, **join)
        target = {name: dict(desk.group.target_of(name)) for name in "ab"}
        for topic in "tu":
            assert target["a"][topic_id_of(topic)] == {0, 1, 2}
            assert target["b"][topic_id_of(topic)] == {3, 4}


class TestSessions:
    def test_a_silent_member_is_removed(self, desk: GroupDesk) -> None:
        desk.beat("a", 0, **JOIN)
        desk.advance(44_999)
        assert not isinstance(desk.beat("a", 2), KafkaError)
        desk.advance(45_000)
        assert desk.beat("a", 2).code is ErrorCode.UNKNOWN_MEMBER_ID
        assert desk.group.state_name == "Empty"

    def test_sessions_begin_anew_after_a_restart(self, desk: GroupDesk) -> None:
        desk.beat("a", 0, **JOIN)
        desk.advance(40_000)
        desk.restart()
        desk.advance(44_999)
        assert not isinstance(desk.beat("a", 2), KafkaError)

    @pytest.mark.parametrize("restarts", [False, True])
    def test_who_does_not_give_up_in_time_is_removed(self, desk: GroupDesk, *, restarts: bool) -> None:
        desk.beat("a", 0, **JOIN)
        desk.advance(1_000)
        desk.beat("b", 0, **JOIN)
        desk.beat("a", 2, topic_partitions=owned(0, 1, 2, 3))
        if restarts:
            desk.restart()
        for _ in range(6):
            desk.advance(5_000)
            last = desk.beat("a", 2, topic_partitions=owned(0, 1, 2, 3))
        assert last.code is ErrorCode.UNKNOWN_MEMBER_ID
        assert partitions(desk.beat("b", 3)) == [0, 1, 2, 3]


class TestLostAnswers:
    def test_the_epoch_before_is_taken_from_who_owns_no_more_than_it_has(self, desk: GroupDesk) -> None:
        desk.beat("a", 0, **JOIN)
        desk.advance(1_000)
        desk.show_topics(t=5)
        assert desk.beat("a", 2, topic_partitions=owned(0, 1, 2, 3)).member_epoch == 3
        again = desk.beat("a", 2, topic_partitions=owned(0, 1, 2, 3))
        assert again.member_epoch == 3

    def test_otherwise_it_is_fenced(self, desk: GroupDesk) -> None:
        desk.beat("a", 0, **JOIN)
        desk.advance(1_000)
        desk.show_topics(t=5)
        desk.beat("a", 2)
        for claimed in (None, owned(7)):
            assert desk.beat("a", 2, topic_partitions=claimed).code is ErrorCode.FENCED_MEMBER_EPOCH


class TestPatterns:
    def test_topics_that_match_are_assigned(self, desk: GroupDesk) -> None:
        desk.show_topics(orders=2, t=1)
        answer = desk.beat("a", 0, rebalance_timeout_ms=1, subscribed_topic_regex="ord.*", topic_partitions=[])
        assert partitions(answer) == [0, 1]
        assert desk.group.is_subscribed_to("orders")
        assert not desk.group.is_subscribed_to("t")

    def test_new_topics_are_found_after_a_while(self, desk: GroupDesk) -> None:
        desk.show_topics(orders=1)
        desk.beat("a", 0, rebalance_timeout_ms=1, subscribed_topic_regex="ord.*", topic_partitions=[])
        desk.show_topics(orders=1, orders2=1)
        desk.advance(5_000)
        assert partitions(desk.beat("a", 2)) is None
        desk.advance(5_000)
        assert len(partitions(desk.beat("a", 2)) or []) == 2

    def test_a_hostile_pattern_is_no_more_work_than_another(self, desk: GroupDesk) -> None:
        desk.show_topics(**{"a" * 249: 1})
        answer = desk.beat("a", 0, rebalance_timeout_ms=1, subscribed_topic_regex="(a*)*b", topic_partitions=[])
        assert partitions(answer) == []
        huge = desk.beat(
            "b", 0, rebalance_timeout_ms=1, subscribed_topic_regex="((a{1000}){1000}){1000}", topic_partitions=[]
        )
        assert huge.code is ErrorCode.INVALID_REGULAR_EXPRESSION

    def test_it_goes_with_its_last_member(self, desk: GroupDesk) -> None:
        desk.beat("a", 0, rebalance_timeout_ms=1, subscribed_topic_regex="t", topic_partitions=[])
        assert list(desk.group.regexes) == ["t"]
        desk.beat("a", -1)
        assert desk.group.regexes == {}


class TestRestart:
    def test_everything_comes_back_from_the_log(self, desk: GroupDesk) -> None:
        desk.beat("a", 0, instance_id="i", rack_id="r", server_assignor="range", **JOIN)
        desk.beat("b", 0, rebalance_timeout_ms=5, subscribed_topic_regex="t", topic_partitions=[])
        before = vars(desk.group) | {"is_stale": None}
        desk.restart()
        assert vars(desk.group) | {"is_stale": None} == before

    def test_a_group_that_was_deleted_stays_so(self, desk: GroupDesk) -> None:
        desk.beat("a", 0, **JOIN)
        desk.beat("a", -1)
        desk.ask(lambda shard, effects, reply: shard.catalogue.delete(effects, reply, "g"))
        desk.restart()
        assert desk.shard.context.groups == {}


class TestCommits:
    """A commit that was under way while the epoch moved on counts for what the member has kept (KIP-1251)."""

    def test_of_a_partition_that_it_kept(self, desk: GroupDesk) -> None:
        desk.beat("a", 0, **JOIN)
        desk.advance(1_000)
        desk.show_topics(t=5)
        assert desk.beat("a", 2).member_epoch == 3
        check = desk.group.check_commit
        check("a", None, 2, 9, in_txn=False, partitions=[(topic_id_of("t"), 0)])
        for partition in (4, 9):
            with pytest.raises(KafkaError, match="epoch"):
                check("a", None, 2, 9, in_txn=False, partitions=[(topic_id_of("t"), partition)])


def test_static_members_of_the_limit_are_let_back_in() -> None:
    desk = GroupDesk({"group.consumer.max.size": "1"})
    desk.show_topics(t=2)
    desk.beat("a", 0, instance_id="i", **JOIN)
    assert desk.beat("b", 0, **JOIN).code is ErrorCode.GROUP_MAX_SIZE_REACHED
    desk.beat("a", -2, instance_id="i")
    back = desk.beat("c", 0, instance_id="i", **JOIN)
    assert (back.member_epoch, partitions(back)) == (2, [0, 1])
