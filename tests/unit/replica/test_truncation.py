"""Where a follower cuts: two logs asked again and again agree at last, and nothing that both have goes (KIP-279)."""

from hypothesis import given
from hypothesis import strategies as st

from pybroker_server.log.leader_epochs import LeaderEpochs
from pybroker_server.replica.truncation import cut_offset


class Replica:
    """A log of epochs only: `history` says in which epoch each offset was written."""

    def __init__(self, history: list[int]) -> None:
        self.history = history
        self.epochs = LeaderEpochs()
        for offset, epoch in enumerate(history):
            if epoch != self.epochs.latest:
                self.epochs.assign(epoch, offset)

    @property
    def log_end_offset(self) -> int:
        return len(self.history)

    def end_offset_for_epoch(self, epoch: int) -> tuple[int, int]:
        return self.epochs.end_offset_for(epoch, self.log_end_offset)

    def cut(self, offset: int) -> None:
        del self.history[offset:]
        self.epochs.truncate_from_end(offset)


def agree(leader: Replica, follower: Replica) -> int:
    """Asks as a follower's fetch does, and cuts, until the leader does not object; how often it had to."""
    for asked in range(50):
        epoch, offset = follower.epochs.latest, follower.log_end_offset
        if epoch < 0:
            return asked
        leaders_epoch, leaders_end = leader.end_offset_for_epoch(epoch)
        assert leaders_epoch >= 0, "such a leader answers that the offset is out of range"
        if leaders_epoch == epoch and leaders_end >= offset:
            return asked
        cut = cut_offset(follower, leaders_epoch, leaders_end)
        before = (follower.log_end_offset, follower.epochs.latest)
        follower.cut(cut)
        assert (follower.log_end_offset, follower.epochs.latest) != before, "it would ask the same for ever"
    raise AssertionError("they do not agree")


@given(
    common=st.lists(st.integers(0, 3), max_size=10).map(sorted),
    leaders=st.lists(st.sampled_from([4, 6, 8, 9]), max_size=10).map(sorted),
    followers=st.lists(st.sampled_from([5, 7]), max_size=10).map(sorted),
)
def test_what_both_have_stays_and_what_only_the_follower_has_goes(
    common: list[int], leaders: list[int], followers: list[int]
) -> None:
    leader = Replica([*common, *leaders, 10])
    follower = Replica([*common, *followers])
    shared = len(common)
    agree(leader, follower)
    assert follower.history == leader.history[: follower.log_end_offset]
    assert follower.log_end_offset == shared


def test_an_epoch_without_records_that_nobody_else_heard_of_is_forgotten() -> None:
    leader, follower = Replica([1, 1, 3]), Replica([1, 1])
    follower.epochs.assign(2, 2)
    assert agree(leader, follower) == 1
    assert (follower.log_end_offset, follower.epochs.latest) == (2, 1)


def test_two_quick_changes_of_the_leader_need_two_questions() -> None:
    leader, follower = Replica([1, 1, 2, 2, 5]), Replica([1, 1, 3, 3, 4])
    assert agree(leader, follower) >= 1
    assert follower.history == [1, 1]
