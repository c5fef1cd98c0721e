"""The schedule is fixed before the test: what was not sent in time stays due when it was due."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pybroker_bench.pace import Schedule

SECOND = 1_000_000_000


@settings(deadline=None)
@given(st.floats(1, 200_000), st.lists(st.integers(1, 300_000_000), min_size=1, max_size=20))
def test_whenever_one_looks_as_many_have_become_due_as_the_rate_says(rate: float, steps: list[int]) -> None:
    schedule, now, taken = Schedule(0, rate), 0, 0
    for step in steps:
        now += step
        due = schedule.take(now, 10**9, 1 << 62)
        assert all(time <= now for time in due)
        taken += len(due)
        assert schedule.next_ns > now
        assert abs(taken - rate * now / SECOND) <= 2 * schedule.burst + 1


@pytest.mark.parametrize("rate", [10.0, 999.0, 1_500.0, 100_000.0])
def test_a_stall_moves_nothing(rate: float) -> None:
    steady, stalled = Schedule(0, rate), Schedule(0, rate)
    steadily = [time for now in range(0, SECOND, SECOND // 1000) for time in steady.take(now, 10**6, SECOND)]
    assert stalled.take(SECOND - SECOND // 1000, 10**6, SECOND) == steadily


def test_what_is_taken_in_parts_is_the_same() -> None:
    whole, parts = Schedule(0, 10_000), Schedule(0, 10_000)
    expected = whole.take(SECOND, 10**6, SECOND)
    found = []
    while due := parts.take(SECOND, 7, SECOND):
        found += due
    assert found == expected


def test_nothing_is_due_at_the_end_or_later() -> None:
    assert Schedule(0, 4).take(10 * SECOND, 100, SECOND) == [0, SECOND // 4, SECOND // 2, 3 * SECOND // 4]
