"""How dirty a log is, where compaction must stop, and which segments become one."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from pybroker_server.log.compaction_pick import GROUP_SEGMENTS_MAX, Dirt, first_dirty_offset, group_segments, measure
from pybroker_server.log.log_config import LogConfig
from pybroker_server.log.segment import Segment

NOW_MS = 1_000_000


def segments(*given: tuple[int, int, int]) -> list[Segment]:
    """(base offset, size, timestamp of all its records)."""
    return [
        cast(Segment, SimpleNamespace(base_offset=base, size=size, max_timestamp=time, first_timestamp=time))
        for base, size, time in given
    ]


LOG = segments((0, 100, 10), (10, 200, 20), (20, 400, 30), (30, 800, 40))


def dirt_of(log: list[Segment] = LOG, *, stable: int = 35, first_dirty: int = 0, **config: Any) -> Dirt:
    return measure(
        log,
        LogConfig(**config),
        first_dirty=first_dirty,
        last_stable_offset=stable,
        now_wall_ms=NOW_MS,
        modified_ms=lambda segment: NOW_MS - 500,
    )


@pytest.mark.parametrize(("cleaned", "expected"), [(None, 5), (4, 5), (5, 5), (50, 50), (100, 100), (101, 5)], ids=str)
def test_a_checkpoint_that_the_log_has_moved_away_from_does_not_count(cleaned: int | None, expected: int) -> None:
    assert first_dirty_offset(cleaned, 5, 100) == expected


@pytest.mark.parametrize(
    ("stable", "end", "dirty"), [(35, 30, 700), (30, 30, 700), (29, 20, 300), (20, 20, 300), (9, 0, 0)]
)
def test_only_whole_segments_below_the_active_one_and_the_last_stable_offset(stable: int, end: int, dirty: int) -> None:
    found = dirt_of(stable=stable)
    assert (found.end_offset, found.dirty_bytes, found.clean_bytes) == (end, dirty, 0)


def test_the_ratio_is_of_bytes_in_segments() -> None:
    found = dirt_of(first_dirty=20)
    assert (found.clean_bytes, found.dirty_bytes) == (300, 400)
    assert found.ratio == pytest.approx(400 / 700)
    assert found.is_due(0.57)
    assert not found.is_due(0.58)
    nothing = dirt_of(first_dirty=30)
    assert (nothing.dirty_bytes, nothing.ratio, nothing.is_due(0.0)) == (0, 0.0, False)


def test_what_is_younger_than_the_lag_stays() -> None:
    assert dirt_of(min_compaction_lag_ms=NOW_MS - 20).end_offset == 20
    assert dirt_of(min_compaction_lag_ms=NOW_MS - 19).end_offset == 10
    assert dirt_of(min_compaction_lag_ms=NOW_MS - 9, first_dirty=0).end_offset == 0
    without_times = segments((0, 100, -1), (10, 100, -1))
    assert dirt_of(without_times, min_compaction_lag_ms=499).end_offset == 10
    assert dirt_of(without_times, min_compaction_lag_ms=501).end_offset == 0


def test_what_is_older_than_the_longest_lag_is_due_however_little_it_is() -> None:
    assert not dirt_of(first_dirty=20, max_compaction_lag_ms=NOW_MS - 30).is_due(0.99)
    found = dirt_of(first_dirty=20, max_compaction_lag_ms=NOW_MS - 31)
    assert found.is_overdue
    assert found.is_due(0.99)
    assert not dirt_of(first_dirty=20, max_compaction_lag_ms=NOW_MS - 31, stable=20).is_due(0.99)


def groups(log: list[Segment], end: int, sizes: dict[int, tuple[int, int]] | None = None, **limits: int) -> list[int]:
    index = {s.base_offset: (0, 0) for s in log} | (sizes or {})
    found = group_segments(
        log,
        index,
        end,
        segment_bytes_max=limits.get("segment_bytes", 1 << 30),
        index_bytes_max=limits.get("index_bytes", 1 << 20),
    )
    assert [segment for group in found for segment in group] == log
    return [len(group) for group in found]


def test_neighbours_become_one_as_far_as_they_fit() -> None:
    assert groups(LOG, 40) == [4]
    assert groups(LOG, 40, segment_bytes=700) == [3, 1]
    assert groups(LOG, 40, segment_bytes=1) == [1, 1, 1, 1]
    assert groups(LOG, 40, {0: (6, 0), 10: (5, 0)}, index_bytes=10) == [1, 3]
    assert groups(LOG, 40, {10: (0, 6), 20: (0, 5)}, index_bytes=10) == [2, 2]
    many = segments(*((number, 1, 0) for number in range(GROUP_SEGMENTS_MAX + 1)))
    assert groups(many, GROUP_SEGMENTS_MAX + 1) == [GROUP_SEGMENTS_MAX, 1]


def test_offsets_in_one_segment_stay_within_32_bits() -> None:
    reach = 2**31 - 1
    assert groups(segments((0, 9, 0), (5, 9, 0)), reach + 1) == [2]
    assert groups(segments((0, 9, 0), (5, 9, 0)), reach + 2) == [1, 1]
    assert groups(segments((0, 9, 0), (5, 0, 0)), reach + 2) == [2], "an empty one costs nothing"
