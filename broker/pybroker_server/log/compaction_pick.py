"""Which part of a log may be compacted, how much of it is dirty, and which segments become one.

Rules of this file: pure. Kafka's rules, in whole segments: never the active one, never what the last stable offset (and
with it the high watermark) has not passed, never what is younger than `min.compaction.lag.ms`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pybroker_server.log.log_config import LONG_MAX, LogConfig
from pybroker_server.log.offset_index import RELATIVE_OFFSET_MAX
from pybroker_server.log.segment import Segment

ModifiedMs = Callable[[Segment], int]
"""When a segment's file was written last: its age when its records have no timestamps."""

GROUP_SEGMENTS_MAX = 128
"""As many files stay open until the segments are replaced; a later pass merges what this one left apart."""


@dataclass(frozen=True, slots=True)
class Dirt:
    """What there is to compact in a log. Offsets; sizes in bytes of segments."""

    first_dirty_offset: int
    """All before it was compacted."""
    end_offset: int
    """The base of the first segment that may not be compacted; not below `first_dirty_offset` when there is dirt."""
    clean_bytes: int
    dirty_bytes: int
    is_overdue: bool
    """A dirty segment is older than `max.compaction.lag.ms` (KIP-354)."""

    @property
    def ratio(self) -> float:
        total = self.clean_bytes + self.dirty_bytes
        return self.dirty_bytes / total if total else 0.0

    def is_due(self, min_ratio: float) -> bool:
        return self.dirty_bytes > 0 and (self.is_overdue or self.ratio > min_ratio)


def first_dirty_offset(cleaned_offset: int | None, log_start_offset: int, log_end_offset: int) -> int:
    """The checkpointed offset, unless the log has moved away from under it."""
    if cleaned_offset is None or not log_start_offset <= cleaned_offset <= log_end_offset:
        return log_start_offset
    return cleaned_offset


def measure(
    segments: Sequence[Segment],
    config: LogConfig,
    *,
    first_dirty: int,
    last_stable_offset: int,
    now_wall_ms: int,
    modified_ms: ModifiedMs,
) -> Dirt:
    """The dirt of a log. Its sealed segments know their `first_timestamp` when `max.compaction.lag.ms` is limited."""
    *sealed, active = segments
    ends = [segment.base_offset for segment in segments[1:]]
    barrier = min(last_stable_offset, active.base_offset)
    dirty = [segment for segment, end in zip(sealed, ends, strict=True) if end > first_dirty]
    if config.min_compaction_lag_ms > 0:
        newest_ms = now_wall_ms - config.min_compaction_lag_ms
        for segment in dirty:
            if (segment.max_timestamp if segment.max_timestamp >= 0 else modified_ms(segment)) > newest_ms:
                barrier = min(barrier, segment.base_offset)
                break
    end = max((base for base in ends if base <= barrier), default=segments[0].base_offset)
    return Dirt(
        first_dirty,
        end,
        clean_bytes=sum(segment.size for segment in sealed if segment.base_offset < first_dirty),
        dirty_bytes=sum(segment.size for segment in dirty if segment.base_offset < end),
        is_overdue=_is_overdue(dirty, config, now_wall_ms),
    )


def _is_overdue(dirty: Sequence[Segment], config: LogConfig, now_wall_ms: int) -> bool:
    if config.max_compaction_lag_ms >= LONG_MAX:
        return False
    known = [segment.first_timestamp for segment in dirty if segment.first_timestamp is not None]
    earliest = min((timestamp for timestamp in known if timestamp > 0), default=LONG_MAX)
    return earliest < now_wall_ms - config.max_compaction_lag_ms


def group_segments(
    segments: Sequence[Segment],
    index_bytes: Mapping[int, tuple[int, int]],
    end_offset: int,
    *,
    segment_bytes_max: int,
    index_bytes_max: int,
) -> list[tuple[Segment, ...]]:
    """Neighbours that fit into one segment together: by size, by the size of each index, by the span of offsets.

    `index_bytes`: sizes of offset index and time index by base offset. `end_offset`: where the last segment ends.
    """
    groups: list[tuple[Segment, ...]] = []
    group: list[Segment] = []
    size = offset_index = time_index = 0
    ends = [*(segment.base_offset for segment in segments[1:]), end_offset]
    for segment, end in zip(segments, ends, strict=True):
        more_offsets, more_times = index_bytes[segment.base_offset]
        fits = group and (
            size + segment.size <= segment_bytes_max
            and offset_index + more_offsets <= index_bytes_max
            and time_index + more_times <= index_bytes_max
            and len(group) < GROUP_SEGMENTS_MAX
            # An empty one costs no offset: else one would be left over for every 2**31 offsets.
            and (segment.size == 0 or end - 1 - group[0].base_offset <= RELATIVE_OFFSET_MAX)
        )
        if group and not fits:
            groups.append(tuple(group))
            group, size, offset_index, time_index = [], 0, 0, 0
        group.append(segment)
        size += segment.size
        offset_index += more_offsets
        time_index += more_times
    if group:
        groups.append(tuple(group))
    return groups
