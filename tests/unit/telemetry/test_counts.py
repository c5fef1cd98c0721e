"""Histograms over plain arrays, counts of errors, and the lag of the event loop."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from tests.support.manual_time import ManualTime

from pybroker_server.telemetry.counts import BOUNDS_S, Durations, ErrorCounts
from pybroker_server.telemetry.loop_lag import INTERVAL_MS, LoopLag


@given(st.lists(st.integers(0, 2**50)))
def test_each_duration_lies_below_the_bounds_that_are_above_it(durations_us: list[int]) -> None:
    seen = Durations()
    for duration in durations_us:
        seen.add(duration)
    expected = [sum(duration < round(bound * 1_000_000) for duration in durations_us) for bound in BOUNDS_S]
    assert seen.cumulative() == [*expected, len(durations_us)]
    assert seen.count == len(durations_us)
    assert seen.total_us == sum(durations_us)


def test_bounds_are_powers_of_two_microseconds() -> None:
    assert BOUNDS_S[0] == 0.000064
    assert BOUNDS_S[-1] == 33.554432
    assert all(second == 2 * first for first, second in pairwise(BOUNDS_S))


def test_merged_durations_are_the_sum_and_leave_the_parts_alone() -> None:
    first, second = Durations(), Durations()
    first.add(100)
    second.add(3_000_000)
    whole = Durations.merged([first, second])
    assert (whole.count, whole.total_s) == (2, 3.0001)
    whole.add(1)
    assert (first.count, second.count) == (1, 1)


def test_errors_are_counted_by_api_and_code() -> None:
    errors = ErrorCounts()
    for api_key, code in [(1, 3), (0, 6), (1, 3)]:
        errors.add(api_key, code)
    assert list(errors) == [(0, 6, 1), (1, 3, 2)]


class LateTimers(ManualTime):
    """Fires everything this much too late."""

    late_us = 0

    def monotonic_us(self) -> int:
        return super().monotonic_us() + self.late_us


def test_a_late_event_loop_shows_as_a_sample_of_that_size() -> None:
    time = LateTimers()
    lag = LoopLag(time, time)
    lag.start()
    time.late_us = 250_000
    time.advance_ms(INTERVAL_MS)
    assert lag.durations.total_us == 250_000
    time.advance_ms(3 * INTERVAL_MS)
    assert (lag.durations.count, lag.durations.total_us) == (4, 250_000)
    lag.stop()
    time.advance_ms(3 * INTERVAL_MS)
    assert lag.durations.count == 4
