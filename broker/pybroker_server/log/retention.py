"""Which segments of a log may go: older than retention.ms, more than retention.bytes, below the log start.

Rules of this file: pure. Always the oldest ones, and never one that holds what the high watermark has not passed. The
active segment goes as a whole like any other (the caller rolls first), but an empty one stays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pybroker_server.log.log_config import LogConfig
from pybroker_server.log.segment import Segment

ModifiedMs = Callable[[Segment], int]
"""When a segment's file was written last: its age when its records have no timestamps."""


def count_deletable(
    segments: Sequence[Segment],
    config: LogConfig,
    *,
    log_start_offset: int,
    log_end_offset: int,
    high_watermark: int,
    now_wall_ms: int,
    modified_ms: ModifiedMs,
) -> int:
    """How many of the oldest segments go now."""
    ends = [segment.base_offset for segment in segments[1:]] + [log_end_offset]
    by_policy = config.is_deleted_by_retention
    excess = sum(segment.size for segment in segments) - config.retention_bytes
    limits_size = by_policy and config.retention_bytes >= 0
    limits_time = by_policy and config.retention_ms >= 0
    count = 0
    for segment, end in zip(segments, ends, strict=True):
        is_active = segment is segments[-1]
        if end > high_watermark or (is_active and not segment.size):
            break
        below_start = end <= log_start_offset and not is_active
        too_much = limits_size and excess - segment.size >= 0
        if not (below_start or too_much or (limits_time and _is_old(segment, config, now_wall_ms, modified_ms))):
            break
        excess -= segment.size
        count += 1
    return count


def _is_old(segment: Segment, config: LogConfig, now_wall_ms: int, modified_ms: ModifiedMs) -> bool:
    newest = segment.max_timestamp if segment.max_timestamp >= 0 else modified_ms(segment)
    return now_wall_ms - newest > config.retention_ms
