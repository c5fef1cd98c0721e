"""The high watermark rule, ISR changes and role changes, as decisions without any log."""

from __future__ import annotations

import pytest

from pybroker_protocol.errors import ErrorCode
from pybroker_server.metadata.image import PartitionImage
from pybroker_server.replica.partition_state import InvariantError, IsrChange, PartitionState, Transition

LAG_MS = 30_000


def registration(
    leader: int = 1,
    replicas: tuple[int, ...] = (1,),
    isr: tuple[int, ...] | None = None,
    leader_epoch: int = 5,
    partition_epoch: int = 10,
) -> PartitionImage:
    return PartitionImage(
        index=0,
        replicas=replicas,
        isr=replicas if isr is None else isr,
        leader=leader,
        leader_epoch=leader_epoch,
        partition_epoch=partition_epoch,
    )


def leading(
    replicas: tuple[int, ...] = (1,),
    isr: tuple[int, ...] | None = None,
    *,
    durable: bool = True,
    min_isr: int = 1,
    end: int = 0,
    flushed: int | None = None,
    high_watermark: int = 0,
    now_ms: int = 1_000,
) -> PartitionState:
    state = PartitionState(
        1, high_watermark=high_watermark, durable=durable, min_insync_replicas=min_isr, replica_lag_ms=LAG_MS
    )
    state.eligible_brokers = {replica: 100 + replica for replica in replicas}
    result = state.on_registration(
        registration(replicas=replicas, isr=isr),
        log_end_offset=end,
        flushed_end_offset=end if flushed is None else flushed,
        now_ms=now_ms,
    )
    assert result is Transition.LEADS
    state.advance(now_ms)
    state.check_invariants()
    return state


def fetch(state: PartitionState, replica: int, offset: int, now_ms: int, flushed: int | None = None) -> bool:
    moved, change = state.on_follower_fetch(
        replica,
        broker_epoch=100 + replica,
        fetch_offset=offset,
        flushed_end_offset=offset if flushed is None else flushed,
        now_ms=now_ms,
    )
    assert change is None
    state.check_invariants()
    return moved


class TestAlone:
    def test_durable_high_watermark_follows_the_flush_and_not_the_append(self) -> None:
        state = leading()
        assert not state.on_local_append(10, 1_000)
        assert state.high_watermark == 0
        assert state.on_local_flush(7, 1_000)
        assert state.high_watermark == 7
        assert not state.on_local_flush(7, 1_000)
        assert state.on_local_flush(10, 1_001)
        assert state.high_watermark == 10

    def test_page_cache_high_watermark_follows_the_append(self) -> None:
        state = leading(durable=False)
        assert state.on_local_append(10, 1_000)
        assert state.high_watermark == 10
        assert not state.on_local_flush(10, 1_000)

    def test_changing_durability_takes_effect_with_the_next_advance(self) -> None:
        state = leading()
        state.on_local_append(10, 1_000)
        state.reconfigure(durable=False, min_insync_replicas=1)
        assert state.advance(1_000)
        assert state.high_watermark == 10
        state.reconfigure(durable=True, min_insync_replicas=1)
        state.on_local_append(12, 1_000)
        assert not state.advance(1_000)
        assert state.high_watermark == 10, "it never goes back within a leadership"

    def test_minimum_isr_is_capped_by_the_number_of_replicas(self) -> None:
        state = leading(min_isr=3)
        assert state.effective_min_isr == 1
        assert not state.is_below_min_isr

    def test_a_flush_reported_late_does_not_go_back(self) -> None:
        state = leading()
        state.on_local_append(10, 1_000)
        state.on_local_flush(10, 1_000)
        state.on_local_flush(4, 1_000)
        assert state.durable_end_offset == 10


class TestFollowers:
    def test_high_watermark_is_the_smallest_flushed_end_over_the_isr(self) -> None:
        state = leading(replicas=(1, 2, 3))
        state.on_local_append(10, 1_000)
        state.on_local_flush(10, 1_000)
        assert state.high_watermark == 0, "followers have not reported"
        assert not fetch(state, 2, 10, 1_001)
        assert fetch(state, 3, 10, 1_002, flushed=6)
        assert state.high_watermark == 6
        assert fetch(state, 3, 10, 1_003)
        assert state.high_watermark == 10

    def test_page_cache_mode_counts_the_end_and_not_the_flush(self) -> None:
        state = leading(replicas=(1, 2), durable=False)
        state.on_local_append(10, 1_000)
        assert fetch(state, 2, 10, 1_001, flushed=0)
        assert state.high_watermark == 10

    def test_a_replica_outside_the_isr_does_not_count_unless_it_is_level(self) -> None:
        state = leading(replicas=(1, 2), isr=(1,), end=10)
        assert state.high_watermark == 10
        fetch(state, 2, 3, 1_001)
        state.on_local_append(12, 1_002)
        assert state.on_local_flush(12, 1_002)
        assert state.high_watermark == 12

    def test_a_caught_up_replica_outside_the_isr_holds_the_high_watermark_back(self) -> None:
        state = leading(replicas=(1, 2), isr=(1,), end=10)
        moved, change = state.on_follower_fetch(
            2, broker_epoch=102, fetch_offset=10, flushed_end_offset=10, now_ms=1_001
        )
        assert change is not None
        assert not moved
        state.on_local_append(20, 1_002)
        assert not state.on_local_flush(20, 1_002)
        state.eligible_brokers = {1: 101}
        assert state.advance(1_003), "a fenced broker is not waited for (KIP-841)"
        assert state.high_watermark == 20

    def test_not_advanced_below_the_minimum_isr(self) -> None:
        state = leading(replicas=(1, 2, 3), isr=(1,), min_isr=2)
        state.on_local_append(10, 1_000)
        assert not state.on_local_flush(10, 1_000)
        assert state.high_watermark == 0
        assert state.is_below_min_isr
        assert state.produce_outcome() is ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND

    def test_fetch_of_a_replica_that_is_not_assigned_is_refused(self) -> None:
        state = leading(replicas=(1, 2))
        with pytest.raises(KeyError):
            state.on_follower_fetch(7, broker_epoch=107, fetch_offset=0, flushed_end_offset=0, now_ms=1_000)


class TestIsrChanges:
    def expansion(self, state: PartitionState, offset: int, epoch: int = 102) -> IsrChange | None:
        return state.on_follower_fetch(
            2, broker_epoch=epoch, fetch_offset=offset, flushed_end_offset=offset, now_ms=2_000
        )[1]

    def test_expansion_is_proposed_with_the_broker_epochs_of_the_fetches(self) -> None:
        state = leading(replicas=(1, 2), isr=(1,), end=10)
        assert self.expansion(state, 10) == IsrChange((1, 2), 5, 10, ((2, 102),), is_expansion=True)

    def test_no_expansion_below_the_high_watermark(self) -> None:
        state = leading(replicas=(1, 2), isr=(1,), end=10)
        assert self.expansion(state, 9) is None

    def test_no_expansion_below_the_start_of_the_leader_epoch(self) -> None:
        state = leading(replicas=(1, 2), isr=(1,), end=10, flushed=4, high_watermark=4)
        assert state.leader_epoch_start_offset == 10
        assert self.expansion(state, 8) is None
        assert self.expansion(state, 10) is not None

    @pytest.mark.parametrize("eligible", [{}, {2: 103}], ids=["fenced", "other registration"])
    def test_no_expansion_for_a_broker_that_is_not_the_registered_one(self, eligible: dict[int, int]) -> None:
        state = leading(replicas=(1, 2), isr=(1,), end=10)
        state.eligible_brokers = eligible
        assert self.expansion(state, 10) is None

    def test_what_was_not_flushed_does_not_join_a_durable_isr(self) -> None:
        state = leading(replicas=(1, 2), isr=(1,), end=10)
        _, change = state.on_follower_fetch(2, broker_epoch=102, fetch_offset=10, flushed_end_offset=9, now_ms=2_000)
        assert change is None

    def test_a_joining_replica_counts_at_once_and_one_change_is_in_flight(self) -> None:
        state = leading(replicas=(1, 2), isr=(1,), end=10)
        change = self.expansion(state, 10)
        assert change is not None
        state.begin_isr_change(change)
        assert state.maximal_isr == {1, 2}
        assert state.isr == (1,)
        state.on_local_append(12, 40_000_000)
        assert not state.on_local_flush(12, 40_000_000)
        assert self.expansion(state, 12) is None
        with pytest.raises(InvariantError, match="R5"):
            state.begin_isr_change(change)
        state.check_invariants()

    def test_refused_change_falls_back_to_the_committed_isr(self) -> None:
        state = leading(replicas=(1, 2), isr=(1,), end=10)
        change = self.expansion(state, 10)
        assert change is not None
        state.begin_isr_change(change)
        state.on_local_append(12, 2_000)
        state.on_local_flush(12, 2_000)
        state.on_isr_change_refused(change)
        state.eligible_brokers = {}
        assert state.maximal_isr == {1}
        assert state.advance(2_001)
        assert state.high_watermark == 12

    def test_shrink_names_members_behind_for_too_long(self) -> None:
        state = leading(replicas=(1, 2, 3), now_ms=1_000)
        state.on_local_append(10, 1_000)
        fetch(state, 2, 10, 20_000)
        assert state.propose_shrink(31_000) is None
        assert state.propose_shrink(31_001) == IsrChange((1, 2), 5, 10, ((2, 102),), is_expansion=False)

    def test_a_member_at_the_log_end_is_never_shrunk(self) -> None:
        state = leading(replicas=(1, 2), end=10)
        fetch(state, 2, 10, 1_500)
        assert state.propose_shrink(10_000_000) is None

    def test_a_member_one_fetch_behind_a_busy_leader_is_not_lagging(self) -> None:
        state = leading(replicas=(1, 2))
        end = 0
        for now_ms in range(1_000, 100_000, 10_000):
            fetch(state, 2, end, now_ms)
            end += 100
            state.on_local_append(end, now_ms)
            assert state.propose_shrink(now_ms) is None

    def test_a_pending_shrink_still_counts_the_leaving_member(self) -> None:
        state = leading(replicas=(1, 2))
        state.on_local_append(10, 1_000)
        state.on_local_flush(10, 1_000)
        change = state.propose_shrink(100_000)
        assert change is not None
        state.begin_isr_change(change)
        assert not state.advance(100_000)
        assert state.maximal_isr == {1, 2}
        applied = registration(replicas=(1, 2), isr=(1,), partition_epoch=11)
        state.on_registration(applied, log_end_offset=10, flushed_end_offset=10, now_ms=100_001)
        assert state.pending_change is None
        assert state.advance(100_001)
        assert state.high_watermark == 10


class TestRoles:
    def test_older_partition_epochs_are_ignored_and_equal_ones_are_not(self) -> None:
        state = leading()
        old = registration(partition_epoch=9, replicas=(1, 2))
        assert state.on_registration(old, log_end_offset=0, flushed_end_offset=0, now_ms=0) is Transition.STALE
        assert state.replicas == (1,)
        same = registration(partition_epoch=10)
        assert state.on_registration(same, log_end_offset=0, flushed_end_offset=0, now_ms=0) is Transition.UNCHANGED

    def test_two_leaders_of_one_epoch_stop_the_partition(self) -> None:
        state = leading(replicas=(1, 2))
        other = registration(leader=2, replicas=(1, 2), partition_epoch=11)
        with pytest.raises(InvariantError, match="R1"):
            state.on_registration(other, log_end_offset=0, flushed_end_offset=0, now_ms=0)

    def test_losing_the_leadership_drops_what_only_a_leader_keeps(self) -> None:
        state = leading(replicas=(1, 2), end=10)
        lost = registration(leader=2, replicas=(1, 2), leader_epoch=6, partition_epoch=11)
        assert state.on_registration(lost, log_end_offset=10, flushed_end_offset=10, now_ms=0) is Transition.FOLLOWS
        assert not state.followers
        assert not state.on_local_append(11, 0)
        state.check_invariants()

    def test_a_new_leadership_starts_where_the_log_ends_and_waits_for_followers(self) -> None:
        state = leading(replicas=(1, 2), end=10, high_watermark=4)
        assert state.leader_epoch_start_offset == 10
        assert not state.has_caught_up_with_epoch
        assert fetch(state, 2, 10, 1_001)
        assert state.has_caught_up_with_epoch
        again = registration(replicas=(1, 2), leader_epoch=6, partition_epoch=12)
        state.on_local_append(15, 1_002)
        assert state.on_registration(again, log_end_offset=15, flushed_end_offset=15, now_ms=1_003) is Transition.LEADS
        assert state.leader_epoch_start_offset == 15
        assert not state.advance(1_003), "what followers told the previous leadership is forgotten"

    def test_an_isr_change_keeps_what_is_known_of_followers(self) -> None:
        state = leading(replicas=(1, 2, 3), isr=(1, 2))
        state.on_local_append(10, 1_000)
        fetch(state, 2, 10, 1_001)
        grown = registration(replicas=(1, 2, 3), isr=(1, 2), partition_epoch=11)
        state.on_registration(grown, log_end_offset=10, flushed_end_offset=10, now_ms=1_002)
        assert state.followers[2].log_end_offset == 10

    def test_follower_takes_over_what_it_holds_of_the_leaders_high_watermark(self) -> None:
        state = PartitionState(1, high_watermark=0)
        followed = registration(leader=2, replicas=(1, 2))
        assert state.on_registration(followed, log_end_offset=5, flushed_end_offset=5, now_ms=0) is Transition.FOLLOWS
        assert state.on_leader_high_watermark(8, log_end_offset=5)
        assert state.high_watermark == 5
        assert not state.on_leader_high_watermark(3, log_end_offset=5)
        state.on_local_truncation(4, 5)
        assert state.high_watermark == 4
        state.check_invariants()

    def test_a_leader_never_truncates(self) -> None:
        with pytest.raises(InvariantError, match="R6"):
            leading(end=10).on_local_truncation(4, 4)

    @pytest.mark.parametrize(
        ("asked", "expected"),
        [
            (-1, ErrorCode.NONE),
            (5, ErrorCode.NONE),
            (4, ErrorCode.FENCED_LEADER_EPOCH),
            (6, ErrorCode.UNKNOWN_LEADER_EPOCH),
        ],
    )
    def test_leader_epoch_of_a_request(self, asked: int, expected: ErrorCode) -> None:
        assert leading().check_leader_epoch(asked) is expected


class TestInvariants:
    def test_a_leader_outside_its_own_isr(self) -> None:
        state = leading(replicas=(1, 2))
        bad = registration(replicas=(1, 2), isr=(2,), partition_epoch=11)
        state.on_registration(bad, log_end_offset=0, flushed_end_offset=0, now_ms=0)
        with pytest.raises(InvariantError, match="R4"):
            state.check_invariants()

    def test_a_high_watermark_past_the_log_end(self) -> None:
        state = leading(end=10)
        state.high_watermark = 11
        with pytest.raises(InvariantError, match="R7"):
            state.check_invariants()

    def test_a_flush_past_the_log_end(self) -> None:
        state = leading(end=10)
        with pytest.raises(InvariantError, match="R7"):
            state.on_local_flush(11, 0)
        with pytest.raises(InvariantError, match="R11"):
            state.check_invariants()


def test_metadata_that_says_nothing_new_leaves_an_isr_change_in_flight_as_it_is() -> None:
    state = leading((1, 2), (1,), end=10)
    _, change = state.on_follower_fetch(2, broker_epoch=102, fetch_offset=10, flushed_end_offset=10, now_ms=1_000)
    assert change is not None
    state.begin_isr_change(change)
    again = registration(replicas=(1, 2), isr=(1,))
    state.on_registration(again, log_end_offset=10, flushed_end_offset=10, now_ms=1_000)
    assert state.pending_change is change
    assert state.maximal_isr == {1, 2}, "R5: the store may hold it already"


def test_a_member_that_has_lost_what_is_committed_is_left_out_at_once() -> None:
    state = leading((1, 2), end=10)
    fetch(state, 2, 10, 1_000)
    assert state.high_watermark == 10
    _, change = state.on_follower_fetch(2, broker_epoch=103, fetch_offset=0, flushed_end_offset=0, now_ms=1_001)
    assert change == IsrChange((1,), 5, 10, (), is_expansion=False)
    assert state.high_watermark == 10
