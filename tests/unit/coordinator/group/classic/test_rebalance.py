"""Generations of a classic group: who is waited for, for how long, and who is left behind."""

from __future__ import annotations

from tests.support.group_desk import GroupDesk

from pybroker_protocol.errors import ErrorCode


def test_the_first_member_leads_and_gets_everybodys_metadata() -> None:
    desk = GroupDesk()
    joined = desk.join(protocols={"range": b"one"})
    desk.advance(0)
    response = joined.response
    assert (response.generation_id, response.leader, response.protocol_name) == (1, response.member_id, "range")
    assert [(m.member_id, m.metadata) for m in response.members] == [(response.member_id, b"one")]


class TestInitialDelay:
    def test_an_empty_group_waits_for_more_members(self) -> None:
        desk = GroupDesk({"group.initial.rebalance.delay.ms": "3000"})
        first = desk.join()
        desk.advance(2_999)
        assert first.is_waiting
        desk.advance(1)
        assert first.response.generation_id == 1

    def test_each_newcomer_extends_it_up_to_the_rebalance_timeout(self) -> None:
        desk = GroupDesk({"group.initial.rebalance.delay.ms": "3000"})
        answers = [desk.join(rebalance_timeout_ms=8_000)]
        for _ in range(4):
            desk.advance(1_900)
            answers.append(desk.join(rebalance_timeout_ms=8_000))
        assert all(answer.is_waiting for answer in answers)
        desk.advance(8_000 - 4 * 1_900)
        assert {answer.response.generation_id for answer in answers} == {1}
        assert sum(len(answer.response.members) for answer in answers) == 5, "the leader alone sees all five"

    def test_a_group_with_members_does_not_wait(self) -> None:
        desk = GroupDesk({"group.initial.rebalance.delay.ms": "3000"})
        first = desk.join()
        desk.advance(3_000)
        member = first.response.member_id
        desk.sync(member, 1, {member: b""})
        second, again = desk.join(), desk.join(member)
        assert second.response.generation_id == again.response.generation_id == 2


class TestRebalance:
    def test_members_learn_of_it_by_their_heartbeat_and_come_back(self) -> None:
        desk = GroupDesk()
        first = desk.stable()
        second = desk.join()
        assert second.is_waiting
        assert desk.heartbeat(first, 1) is ErrorCode.REBALANCE_IN_PROGRESS
        again = desk.join(first)
        assert again.response.generation_id == second.response.generation_id == 2
        assert again.response.leader == first, "who led goes on leading"

    def test_who_does_not_come_back_in_time_is_out(self) -> None:
        desk = GroupDesk()
        gone = desk.stable(rebalance_timeout_ms=20_000, session_timeout_ms=60_000)
        other = desk.join(rebalance_timeout_ms=20_000)
        desk.advance(19_999)
        assert other.is_waiting
        desk.advance(1)
        assert other.response.leader == other.response.member_id
        assert desk.heartbeat(gone, 2) is ErrorCode.UNKNOWN_MEMBER_ID

    def test_a_static_member_is_left_to_its_session(self) -> None:
        desk = GroupDesk()
        absent = desk.stable(version=5, group_instance_id="i", session_timeout_ms=60_000, rebalance_timeout_ms=20_000)
        other = desk.join(rebalance_timeout_ms=20_000)
        desk.advance(20_000)
        assert other.response.generation_id == 2
        assert absent in desk.group.members

    def test_only_absent_static_members_make_it_wait_for_their_sessions(self) -> None:
        desk = GroupDesk()
        absent = desk.stable(version=5, group_instance_id="i", session_timeout_ms=50_000, rebalance_timeout_ms=20_000)
        desk.join(session_timeout_ms=6_000, rebalance_timeout_ms=20_000)
        [other] = set(desk.group.members) - {absent}
        desk.leave(other)
        desk.advance(20_000)
        assert desk.group.state_name == "PreparingRebalance"
        desk.advance(50_000)
        assert desk.group.state_name == "Empty"

    def test_a_leader_that_does_not_come_back_is_replaced(self) -> None:
        desk = GroupDesk()
        leader = desk.stable(rebalance_timeout_ms=20_000, session_timeout_ms=60_000)
        follower = desk.join(rebalance_timeout_ms=20_000)
        desk.advance(20_000)
        assert follower.response.leader == follower.response.member_id != leader

    def test_when_the_last_member_leaves_the_group_is_empty_in_the_next_generation(self) -> None:
        desk = GroupDesk()
        desk.leave(desk.stable())
        assert (desk.group.state_name, desk.group.generation_id, desk.group.protocol_name) == ("Empty", 2, None)


class TestSync:
    def test_followers_wait_for_the_leader(self) -> None:
        desk = GroupDesk()
        leader = desk.stable()
        joined = desk.join()
        desk.join(leader)
        follower = joined.response.member_id
        waiting = desk.sync(follower, 2)
        assert waiting.is_waiting
        led = desk.sync(leader, 2, {leader: b"1", follower: b"2"})
        assert (led.response.assignment, waiting.response.assignment) == (b"1", b"2")
        assert desk.sync(follower, 2).response.assignment == b"2", "a lost answer can be asked for again"

    def test_a_leader_that_never_assigns_is_removed_and_the_others_rebalance(self) -> None:
        desk = GroupDesk()
        leader = desk.stable(rebalance_timeout_ms=20_000, session_timeout_ms=60_000)
        joined = desk.join(rebalance_timeout_ms=20_000, session_timeout_ms=60_000)
        desk.join(leader, rebalance_timeout_ms=20_000, session_timeout_ms=60_000)
        follower = joined.response.member_id
        waiting = desk.sync(follower, 2)
        desk.advance(20_000)
        assert waiting.response.error_code == ErrorCode.REBALANCE_IN_PROGRESS
        assert desk.heartbeat(leader, 2) is ErrorCode.UNKNOWN_MEMBER_ID
        assert desk.join(follower).response.leader == follower

    def test_an_assignment_that_cannot_be_stored_is_told_to_nobody(self) -> None:
        desk = GroupDesk()
        joined = desk.join()
        desk.advance(0)
        member = joined.response.member_id
        desk.fails_with = ErrorCode.COORDINATOR_NOT_AVAILABLE
        refused = desk.sync(member, 1, {member: b"mine"})
        assert refused.response is ErrorCode.COORDINATOR_NOT_AVAILABLE
        assert desk.heartbeat(member, 1) is ErrorCode.REBALANCE_IN_PROGRESS
        assert desk.join(member).response.generation_id == 2


class TestSessions:
    def test_a_silent_member_is_removed_and_the_others_rebalance(self) -> None:
        desk = GroupDesk()
        silent = desk.stable(session_timeout_ms=10_000)
        desk.advance(9_999)
        assert desk.heartbeat(silent, 1) is ErrorCode.NONE
        desk.advance(9_999)
        assert desk.group.state_name == "Stable"
        desk.advance(1)
        assert desk.group.state_name == "Empty"

    def test_an_offset_commit_is_a_sign_of_life(self) -> None:
        desk = GroupDesk()
        member = desk.stable(session_timeout_ms=10_000)
        desk.advance(9_999)
        assert desk.commit(5, member_id=member, epoch=1) is ErrorCode.NONE
        desk.advance(9_999)
        assert desk.group.state_name == "Stable"

    def test_who_waits_for_the_others_needs_no_heartbeat(self) -> None:
        desk = GroupDesk()
        first = desk.stable(session_timeout_ms=60_000, rebalance_timeout_ms=50_000)
        second = desk.join(session_timeout_ms=6_000, rebalance_timeout_ms=50_000)
        desk.advance(30_000)
        assert second.is_waiting
        desk.join(first, session_timeout_ms=60_000, rebalance_timeout_ms=50_000)
        assert second.response.generation_id == 2

    def test_a_newcomer_that_waits_for_five_minutes_has_given_up(self) -> None:
        desk = GroupDesk()
        holdout = desk.stable(session_timeout_ms=400_000, rebalance_timeout_ms=400_000)
        newcomer = desk.join(rebalance_timeout_ms=400_000)
        desk.advance(300_000)
        assert newcomer.response.error_code == ErrorCode.UNKNOWN_MEMBER_ID
        assert list(desk.group.members) == [holdout]

    def test_an_id_that_nobody_comes_back_with_is_forgotten(self) -> None:
        desk = GroupDesk()
        pending = desk.join(version=4, session_timeout_ms=10_000).response
        assert pending.error_code == ErrorCode.MEMBER_ID_REQUIRED
        desk.advance(10_000)
        assert desk.join(pending.member_id, version=4).response.error_code == ErrorCode.UNKNOWN_MEMBER_ID

    def test_a_pending_member_is_waited_for(self) -> None:
        desk = GroupDesk()
        member = desk.stable(session_timeout_ms=30_000)
        pending = desk.join(version=4, session_timeout_ms=10_000).response.member_id
        again = desk.join(member, protocols={"range": b"changed"})
        assert again.is_waiting, "somebody is about to join"
        desk.advance(10_000)
        assert again.response.generation_id == 2
        assert pending not in desk.group.members


class TestLimits:
    def test_a_full_group_takes_nobody_in_but_its_own(self) -> None:
        desk = GroupDesk({"group.max.size": "1"})
        member = desk.stable()
        assert desk.join().response.error_code == ErrorCode.GROUP_MAX_SIZE_REACHED
        assert desk.join(member).response.error_code == ErrorCode.NONE

    def test_generations_start_over_after_the_largest(self) -> None:
        desk = GroupDesk()
        member = desk.stable()
        desk.group.generation_id = 0x7FFFFFFF
        assert desk.join(member).response.generation_id == 1


class TestRestart:
    def test_members_and_assignments_come_back(self) -> None:
        desk = GroupDesk()
        member = desk.stable(protocols={"range": b"\x00\x01\x00\x00\x00\x01\x00\x01t\xff\xff\xff\xff"})
        desk.restart()
        assert (desk.group.state_name, desk.group.generation_id, desk.group.leader_id) == ("Stable", 1, member)
        assert desk.sync(member, 1).response.assignment == b"mine"
        assert desk.heartbeat(member, 1) is ErrorCode.NONE
        assert desk.group.is_subscribed_to("t")

    def test_sessions_begin_anew(self) -> None:
        desk = GroupDesk()
        desk.stable(session_timeout_ms=10_000)
        desk.advance(9_000)
        desk.restart()
        desk.advance(9_999)
        assert desk.group.state_name == "Stable"
        desk.advance(1)
        assert desk.group.state_name == "Empty"

    def test_who_waits_is_sent_away(self) -> None:
        desk = GroupDesk()
        desk.stable()
        waiting = desk.join()
        desk.restart()
        assert waiting.response is ErrorCode.NOT_COORDINATOR

    def test_a_group_above_a_new_limit_rebalances(self) -> None:
        desk = GroupDesk()
        first = desk.stable()
        second = desk.join()
        desk.join(first)
        desk.sync(first, 2, {first: b"1", second.response.member_id: b"2"})
        desk.config = GroupDesk({"group.max.size": "1"}).config
        desk.restart()
        assert desk.heartbeat(first, 2) is ErrorCode.REBALANCE_IN_PROGRESS


class TestFailedAppends:
    def test_a_group_whose_record_was_not_written_is_not_there(self) -> None:
        desk = GroupDesk()
        desk.fails_with = ErrorCode.COORDINATOR_NOT_AVAILABLE
        answer = desk.join()
        assert answer.response is ErrorCode.COORDINATOR_NOT_AVAILABLE
        assert desk.shard.context.groups == {}
        desk.advance(600_000)

    def test_a_static_member_keeps_its_id_when_the_new_one_was_not_written(self) -> None:
        desk = GroupDesk()
        member = desk.stable(version=5, group_instance_id="i")
        desk.fails_with = ErrorCode.NOT_COORDINATOR
        assert desk.join(version=5, group_instance_id="i").response is ErrorCode.NOT_COORDINATOR
        assert desk.heartbeat(member, 1) is ErrorCode.NONE
