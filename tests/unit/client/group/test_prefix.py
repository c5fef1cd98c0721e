"""What is finished of a partition whose records are worked on side by side."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pybroker.group.prefix import Prefix
from pybroker.group.settings import Position


def test_nothing_is_finished_past_the_first_that_is_not() -> None:
    prefix = Prefix(leader_epoch=3)
    first, second, third = (prefix.add(offset, 4) for offset in (10, 11, 15))
    assert prefix.position(16) == Position(10, 3)
    prefix.finish(second)
    assert prefix.position(16) == Position(10, 3)
    prefix.finish(first)
    assert prefix.position(16) == Position(15, 4)
    prefix.finish(third)
    assert (prefix.position(20), prefix.position(None), len(prefix)) == (Position(20, 4), None, 0)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 3), min_size=1, max_size=40), st.randoms(use_true_random=False))
def test_the_position_never_goes_back_and_never_passes_what_is_unfinished(gaps: list[int], order: object) -> None:
    prefix = Prefix()
    offsets = [sum(gaps[: index + 1]) for index in range(len(gaps))]
    entries = [prefix.add(offset, 0) for offset in offsets]
    end = offsets[-1] + 1
    unfinished = set(offsets)
    last = -1
    shuffled = list(entries)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    for entry in shuffled:
        prefix.finish(entry)
        unfinished.discard(entry.offset)
        position = prefix.position(end)
        assert position is not None
        assert position.offset == min(unfinished, default=end)
        assert position.offset >= last
        last = position.offset


def test_what_lies_in_front_of_something_begun_fills_a_gap() -> None:
    prefix = Prefix()
    first, second, third = (prefix.add(offset, 0) for offset in range(3))
    assert not prefix.has_gap
    prefix.begin(second)
    assert prefix.has_gap
    assert [prefix.fills_gap(entry) for entry in (first, second, third)] == [True, True, False]
    prefix.finish(second)
    assert prefix.has_gap
    prefix.finish(first)
    assert not prefix.has_gap
