"""The histogram gives back what it was given, to within a bucket, and adds up."""

from __future__ import annotations

import json
import math

from hypothesis import given, settings
from hypothesis import strategies as st

from pybroker_bench.histogram import SUB_BUCKET_BITS, VALUE_MAX, Histogram, bucket_of, highest_of

VALUES = st.lists(st.integers(0, VALUE_MAX), min_size=1, max_size=200)


def _filled(values: list[int]) -> Histogram:
    histogram = Histogram()
    histogram.record_all(values)
    return histogram


@settings(deadline=None)
@given(st.integers(0, VALUE_MAX))
def test_a_bucket_holds_its_value_and_is_no_wider_than_promised(value: int) -> None:
    bucket = bucket_of(value)
    highest = highest_of(bucket)
    lowest = highest_of(bucket - 1) + 1 if bucket else 0
    assert lowest <= value <= highest
    assert highest - lowest <= value / (1 << SUB_BUCKET_BITS)


@settings(deadline=None)
@given(VALUES, st.sampled_from([50.0, 90.0, 99.0, 99.9, 99.99, 100.0]))
def test_a_percentile_is_that_of_the_sorted_values_to_within_a_bucket(values: list[int], percent: float) -> None:
    rank = max(1, math.ceil(len(values) * round(percent * 1000) / 100_000))
    exact = sorted(values)[rank - 1]
    assert bucket_of(_filled(values).percentile(percent)) == bucket_of(exact)


@settings(deadline=None)
@given(VALUES, VALUES)
def test_two_histograms_added_up_are_one_of_all_values(first: list[int], second: list[int]) -> None:
    added = _filled(first)
    added.add(_filled(second))
    assert added.to_json() == _filled(first + second).to_json()
    assert (added.count, added.max, added.min) == (len(first + second), max(first + second), min(first + second))


@settings(deadline=None)
@given(VALUES)
def test_a_histogram_survives_being_written_and_read(values: list[int]) -> None:
    histogram = _filled(values)
    again = Histogram.from_json(json.loads(json.dumps(histogram.to_json())))
    assert again.summary_ms() == histogram.summary_ms()


@settings(deadline=None)
@given(st.integers(0, VALUE_MAX), st.integers(1, 1000))
def test_recording_a_value_many_times_at_once_is_recording_it_that_often(value: int, times: int) -> None:
    at_once = Histogram()
    at_once.record(value, times)
    assert at_once.to_json() == _filled([value] * times).to_json()


def test_what_is_out_of_range_is_counted_at_the_ends_and_the_largest_stays_true() -> None:
    histogram = _filled([-5, VALUE_MAX * 8])
    assert histogram.count == 2
    assert histogram.percentile(50) == 0
    assert histogram.max == VALUE_MAX * 8


def test_an_empty_histogram_has_figures_too() -> None:
    assert set(Histogram().summary_ms().values()) == {0}
