"""Which segments may go."""

from pathlib import Path

import pytest
from tests.support.partition_logs import NOW_MS, new_log, put

from pybroker_server.log.log_config import COMPACT, LogConfig
from pybroker_server.log.partition_log import PartitionLog
from pybroker_server.log.retention import count_deletable


@pytest.fixture
def log(tmp_path: Path) -> PartitionLog:
    """Four segments of one batch each, written at 0, 100, 200 and 300 ms; all of the same size."""
    made = new_log(tmp_path, LogConfig())
    for number in range(4):
        made.roll(NOW_MS)
        put(made, timestamp=NOW_MS + 100 * number)
    assert len(made.segments) == 4
    return made


def deletable(log: PartitionLog, *, now_ms: int = NOW_MS, high_watermark: int = 4, **changes: object) -> int:
    config = LogConfig(**{"retention_ms": -1, **changes})  # type: ignore[arg-type]
    return count_deletable(
        log.segments,
        config,
        log_start_offset=log.log_start_offset,
        log_end_offset=log.log_end_offset,
        high_watermark=high_watermark,
        now_wall_ms=now_ms,
        modified_ms=lambda _: NOW_MS + 1000,
    )


def test_without_limits_everything_stays(log: PartitionLog) -> None:
    assert deletable(log, now_ms=NOW_MS + 10**9) == 0


@pytest.mark.parametrize(("after_ms", "count"), [(50, 0), (51, 1), (150, 1), (151, 2), (351, 4)])
def test_a_segment_goes_when_its_newest_record_is_older_than_retention_ms(
    log: PartitionLog, after_ms: int, count: int
) -> None:
    assert deletable(log, retention_ms=50, now_ms=NOW_MS + after_ms) == count


@pytest.mark.parametrize(("segments", "count"), [(0, 4), (1, 3), (3, 1), (4, 0), (5, 0)])
def test_segments_go_as_long_as_what_is_left_is_no_less_than_retention_bytes(
    log: PartitionLog, segments: int, count: int
) -> None:
    size = log.segments[0].size
    assert deletable(log, retention_bytes=segments * size) == count
    if segments:
        assert deletable(log, retention_bytes=segments * size + 1) == max(count - 1, 0)


@pytest.mark.parametrize("high_watermark", range(5))
def test_nothing_goes_that_the_high_watermark_has_not_passed(log: PartitionLog, high_watermark: int) -> None:
    assert deletable(log, retention_ms=0, now_ms=NOW_MS + 10**6, high_watermark=high_watermark) == high_watermark


def test_a_young_segment_keeps_the_older_ones_behind_it(tmp_path: Path) -> None:
    log = new_log(tmp_path, LogConfig())
    for time in (500, 0, 0):
        log.roll(NOW_MS)
        put(log, timestamp=NOW_MS + time)
    assert deletable(log, retention_ms=50, now_ms=NOW_MS + 100, high_watermark=3) == 0


def test_segments_below_the_log_start_go_whatever_the_limits_but_never_the_active_one(log: PartitionLog) -> None:
    log.delete_records_before(2)
    assert deletable(log) == 2
    log.delete_records_before(4)
    assert deletable(log) == 3
    assert deletable(log, cleanup_policy=frozenset({COMPACT})) == 3


def test_a_topic_that_is_only_compacted_has_no_limits(log: PartitionLog) -> None:
    limits = {"retention_ms": 0, "retention_bytes": 0, "now_ms": NOW_MS + 10**6}
    assert deletable(log, cleanup_policy=frozenset({COMPACT}), **limits) == 0
    assert deletable(log, cleanup_policy=frozenset({COMPACT, "delete"}), **limits) == 4


def test_an_empty_active_segment_stays(log: PartitionLog) -> None:
    log.roll(NOW_MS)
    assert deletable(log, retention_ms=0, now_ms=NOW_MS + 10**6) == 4


def test_records_without_timestamps_are_as_old_as_their_file(tmp_path: Path) -> None:
    log = new_log(tmp_path, LogConfig())
    put(log, timestamp=-1)
    assert deletable(log, retention_ms=50, now_ms=NOW_MS + 1050, high_watermark=1) == 0
    assert deletable(log, retention_ms=50, now_ms=NOW_MS + 1051, high_watermark=1) == 1
