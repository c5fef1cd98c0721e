"""Values that the log hands out: where an offset lies, what an append did, what a read found."""

from __future__ import annotations

from typing import NamedTuple


class LogPosition(NamedTuple):
    """An offset and where it lies: `position` bytes into the segment file of `segment_base_offset`.

    Tuples because one is made for every append and every read, and a tuple costs a third of a frozen dataclass.
    """

    offset: int
    segment_base_offset: int
    position: int


class AppendInfo(NamedTuple):
    """What became of a batch (or, on a follower, of several).

    `log_append_time_ms` is -1 with CreateTime. For a `duplicate` (a producer's retry of one of its last five
    batches) the offsets and the time are those of the first time, and nothing was written.
    """

    base_offset: int
    last_offset: int
    log_append_time_ms: int
    log_start_offset: int
    end: LogPosition
    duplicate: bool


class ReadResult(NamedTuple):
    """Whole batches as they lie on disk, from `start`: a batch boundary at or before the offset asked for.

    `records` is a view of a pooled buffer, which is not used again while any view of it lives. It is empty
    when there is nothing between the offset and the upper bound, or when not even one batch fits.
    """

    records: memoryview
    start: LogPosition
