"""Ranges behave as the sets of numbers that they stand for."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pybroker_bench.ranges import Ranges

PAIRS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).map(sorted), max_size=12)


def _as_set(pairs: list[list[int]]) -> set[int]:
    return {number for first, end in pairs for number in range(first, end)}


@settings(deadline=None)
@given(PAIRS)
def test_added_ranges_are_a_set_and_adding_says_what_was_known(pairs: list[list[int]]) -> None:
    ranges, known = Ranges(), set[int]()
    for first, end in pairs:
        new = set(range(first, end))
        assert ranges.add(first, end) == len(new & known)
        known |= new
    assert _as_set(ranges.to_json()) == known
    assert len(ranges) == len(known)
    assert all((number in ranges) == (number in known) for number in range(-1, 62))


@settings(deadline=None)
@given(PAIRS)
def test_ranges_are_kept_as_few_as_they_can_be(pairs: list[list[int]]) -> None:
    kept = Ranges(pairs).to_json()
    assert all(kept[i][1] < kept[i + 1][0] for i in range(len(kept) - 1))


@settings(deadline=None)
@given(PAIRS, PAIRS)
def test_without_is_the_difference(mine: list[list[int]], other: list[list[int]]) -> None:
    assert _as_set(Ranges(mine).without(Ranges(other)).to_json()) == _as_set(mine) - _as_set(other)


@settings(deadline=None)
@given(PAIRS, PAIRS)
def test_update_is_the_union_and_says_how_many_were_in_both(mine: list[list[int]], other: list[list[int]]) -> None:
    ranges = Ranges(mine)
    assert ranges.update(Ranges(other)) == len(_as_set(mine) & _as_set(other))
    assert _as_set(ranges.to_json()) == _as_set(mine) | _as_set(other)
