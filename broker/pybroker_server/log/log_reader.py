"""Reading a partition's log: batches from an offset on, and offsets by position or time.

Rules of this file: changes nothing but its cache of positions, so any thread may be in it while the event loop appends.
What a truncation could spoil is read again: `generation` is compared before and after. The usual fetch does no work per
batch: where it begins is known from the last fetch (`_Hints`), where it ends from the upper bound or an index entry.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from pybroker_protocol.errors import ErrorCode, KafkaError, ProtocolError
from pybroker_protocol.records.batch import (
    BATCH_OVERHEAD,
    LOG_APPEND_TIME,
    LOG_OVERHEAD,
    MAGIC,
    BatchHeader,
    parse_batch_header,
)
from pybroker_protocol.records.record import iter_records
from pybroker_server.log.batch_scan import LOOKUP_BYTES, ColdRead, read_batch, scan_batches
from pybroker_server.log.position import LogPosition, ReadResult
from pybroker_server.log.segment import Segment
from pybroker_server.runtime.shared_buffers import SharedBufferPool

if TYPE_CHECKING:
    from pybroker_server.log.transaction_index import AbortedTransaction

_EMPTY = memoryview(b"")
_OFFSET_BYTES = 8
_HINT_SLOTS = 64
_HINT_FACTOR = 0x9E3779B1
_INFLATED_BYTES_MIN = 16 * 1024 * 1024
_INFLATED_RATIO_MAX = 100


class Segments:
    """The segments of a log in order, replaced as a whole by every change: a reader keeps the one it began with."""

    __slots__ = ("all", "bases")

    def __init__(self, segments: tuple[Segment, ...]) -> None:
        assert segments
        self.all = segments
        self.bases = tuple(segment.base_offset for segment in segments)
        assert all(low < high for low, high in zip(self.bases, self.bases[1:], strict=False))

    @property
    def active(self) -> Segment:
        return self.all[-1]

    def number_of(self, offset: int) -> int:
        """Which segment holds `offset`; 0 for an offset before all of them."""
        return max(bisect_right(self.bases, offset) - 1, 0)

    def with_segment(self, segment: Segment) -> Segments:
        return Segments((*self.all, segment))


class LogReader:
    """The reading side of one `PartitionLog`, which keeps `segments`, `log_start_offset` and `end` up to date."""

    __slots__ = ("_hints", "_pool", "end", "generation", "log_start_offset", "segments")

    def __init__(self, segments: Segments, pool: SharedBufferPool, log_start_offset: int, end: LogPosition) -> None:
        self.segments = segments
        self.log_start_offset = log_start_offset
        self.end = end
        self.generation = 0
        """Rises when bytes that could be read are taken away: a truncation, or segments deleted."""
        self._pool = pool
        self._hints: list[tuple[int, Segment, int] | None] = [None] * _HINT_SLOTS
        """(offset, segment, position) of batch boundaries at which a sequential reader is expected next."""

    def forget_positions(self) -> None:
        """After a truncation or deletion: nothing read before holds any more."""
        self.generation += 1
        self._hints = [None] * _HINT_SLOTS

    def remember(self, offset: int, segment: Segment, position: int) -> None:
        self._hints[(offset * _HINT_FACTOR >> 8) % _HINT_SLOTS] = (offset, segment, position)

    # -- batches

    def read(
        self, offset: int, max_bytes: int, upper: LogPosition, *, min_one: bool, nowait: bool
    ) -> ReadResult | None:
        """`PartitionLog.read`."""
        if not self.log_start_offset <= offset <= self.end.offset:
            raise KafkaError(
                ErrorCode.OFFSET_OUT_OF_RANGE,
                f"offset {offset} is not within [{self.log_start_offset}, {self.end.offset}]",
            )
        while True:
            generation = self.generation
            try:
                result = self._read(offset, max_bytes, upper, min_one=min_one, nowait=nowait)
            except ColdRead:
                return None
            except (AssertionError, ValueError, FileNotFoundError):
                # What is wrong with bytes that were being taken away proves nothing.
                if generation == self.generation:
                    raise
                continue
            if generation == self.generation:
                return result

    def _read(self, offset: int, max_bytes: int, upper: LogPosition, *, min_one: bool, nowait: bool) -> ReadResult:
        if offset >= upper.offset:
            self._remember_bound(offset, upper)
            return ReadResult(_EMPTY, LogPosition(offset, upper.segment_base_offset, upper.position))
        segments = self.segments
        number = segments.number_of(offset)
        while True:
            segment = segments.all[number]
            base = segment.base_offset
            # Everything in a cleaned segment was below the bound before it was cleaned; where, is not known any more.
            is_bound = upper.segment_base_offset == base and not segment.is_cleaned
            limit = upper.position if is_bound else segment.size
            position = self._position_in(segment, offset, limit, nowait)
            if position < limit or base >= upper.segment_base_offset:
                break
            number += 1  # the offset lies in a gap at the end of the segment (compaction leaves them)
            if segments.bases[number] >= upper.offset and segments.bases[number] != upper.segment_base_offset:
                limit = position  # the bound's segment was merged into the one before
                break
        if position >= limit:
            return ReadResult(_EMPTY, LogPosition(offset, base, position))
        end = self._end_of_read(segment, position, limit, max_bytes, nowait)
        if end is None:
            return self._read_few(segment, position, limit, max_bytes, min_one, nowait)
        # The first bytes of what follows say at which offset the reader will come back.
        ahead = _OFFSET_BYTES if end < limit else 0
        view = self._read_bytes(segment, position, end - position + ahead, nowait)
        if ahead:
            self.remember(int.from_bytes(view[-_OFFSET_BYTES:], "big"), segment, end)
            view = view[:-_OFFSET_BYTES]
        elif is_bound:
            self._remember_bound(upper.offset, upper)
        first = int.from_bytes(view[:_OFFSET_BYTES], "big")
        # Compaction leaves gaps: it may come after the offset.
        bound = upper.offset if is_bound else self.end.offset
        assert base <= first < bound, f"{segment.path('.log')}: offset {first} at {position}, read for {offset}"
        return ReadResult(view, LogPosition(first, base, position))

    def _remember_bound(self, offset: int, upper: LogPosition) -> None:
        """A reader at the upper bound comes back for what follows it."""
        if offset == upper.offset:
            segments = self.segments
            segment = segments.all[segments.number_of(upper.segment_base_offset)]
            if segment.base_offset == upper.segment_base_offset and not segment.is_cleaned:
                self.remember(offset, segment, upper.position)

    def _position_in(self, segment: Segment, offset: int, limit: int, nowait: bool) -> int:
        """Where the batch with `offset` (or the first after it) begins in `segment`; `limit` when there is none."""
        if offset <= segment.base_offset:
            return 0
        hint = self._hints[(offset * _HINT_FACTOR >> 8) % _HINT_SLOTS]
        if hint is not None and hint[0] == offset and hint[1] is segment:
            return hint[2]
        if nowait and not segment.is_loaded:
            raise ColdRead
        start = segment.indexes()[0].position_before(offset)
        for position, header, _ in scan_batches(
            segment.file(), start, limit, chunk_bytes=LOOKUP_BYTES, whole=False, nowait=nowait
        ):
            if header.base_offset + header.last_offset_delta >= offset:
                return position
        return limit

    def _end_of_read(self, segment: Segment, position: int, limit: int, max_bytes: int, nowait: bool) -> int | None:
        """The batch boundary at which a read of `max_bytes` ends; None when only the batches can say."""
        wanted = position + max_bytes
        if wanted >= limit:
            return limit
        if nowait and not segment.is_loaded:
            raise ColdRead
        end = segment.indexes()[0].boundary_at_or_before(wanted)
        return end if end > position else None

    def _read_few(
        self, segment: Segment, position: int, limit: int, max_bytes: int, min_one: bool, nowait: bool
    ) -> ReadResult:
        """A read so small that no index entry lies within it: batches are counted one by one."""
        first = self._read_bytes(segment, position, max(min(max_bytes, limit - position), BATCH_OVERHEAD), nowait)
        header = parse_batch_header(first)
        assert header.magic == MAGIC, f"{segment.path('.log')}: no batch at {position}"
        start = LogPosition(header.base_offset, segment.base_offset, position)
        if header.size_bytes > max_bytes:
            if not min_one:
                return ReadResult(_EMPTY, start)
            view = self._read_bytes(segment, position, header.size_bytes, nowait)
            self.remember(header.next_offset, segment, position + header.size_bytes)
            return ReadResult(view, start)
        end = 0
        while len(first) - end >= BATCH_OVERHEAD:
            header = parse_batch_header(first, end)
            if end + header.size_bytes > len(first):
                break
            end += header.size_bytes
            next_offset = header.next_offset
        self.remember(next_offset, segment, position + end)
        return ReadResult(first[:end], start)

    def _read_bytes(self, segment: Segment, position: int, size: int, nowait: bool) -> memoryview:
        """Exactly `size` bytes in a pooled buffer. The view returned is its only owner."""
        buffer = self._pool.acquire(size)
        view = memoryview(buffer)[:size]
        try:
            got = segment.file().read_into(position, view, nowait=nowait)
        finally:
            # From here on nobody writes into it. It is lent again when no view of it is left.
            self._pool.release(buffer)
        if got < 0:
            raise ColdRead
        assert got == size, f"{segment.path('.log')}: {got} bytes at {position}, {size} expected"
        return view

    # -- positions and times

    def position_of(self, offset: int) -> LogPosition:
        """`PartitionLog.position_of`."""
        if offset == self.end.offset:
            return self.end
        segments = self.segments
        number = segments.number_of(offset)
        segment = segments.all[number]
        position = self._position_in(segment, offset, segment.size, nowait=False)
        if position == segment.size and number + 1 < len(segments.all):
            return LogPosition(offset, segments.bases[number + 1], 0)
        return LogPosition(offset, segment.base_offset, position)

    def offset_for_timestamp(self, timestamp: int, upper_offset: int) -> tuple[int, int] | None:
        """`PartitionLog.offset_for_timestamp`."""
        for segment in self.segments.all:
            if segment.base_offset >= upper_offset:
                return None
            if 0 <= segment.max_timestamp < timestamp:
                continue
            found = self._first_at_or_after(segment, timestamp, upper_offset)
            if found is not None:
                return found
        return None

    def _first_at_or_after(self, segment: Segment, timestamp: int, upper_offset: int) -> tuple[int, int] | None:
        offset_index, time_index, _ = segment.indexes()
        start = offset_index.position_before(time_index.offset_before(timestamp))
        for position, header, _ in scan_batches(segment.file(), start, segment.size, whole=False):
            if header.base_offset >= upper_offset:
                return None
            if header.max_timestamp < timestamp or header.next_offset <= self.log_start_offset:
                continue
            for record_time, offset in self._record_times(segment, position, header):
                if record_time >= timestamp and offset >= self.log_start_offset:
                    return (record_time, offset) if offset < upper_offset else None
        return None

    def max_timestamp_record(self, upper_offset: int) -> tuple[int, int] | None:
        """`PartitionLog.max_timestamp_record`."""
        best: tuple[int, int] | None = None
        for segment in self.segments.all:
            if segment.base_offset >= upper_offset:
                break
            if best is not None and 0 <= segment.max_timestamp <= best[0]:
                continue
            found = self._largest_in(segment, upper_offset, best[0] if best else -1)
            best = found or best
        return best

    def _largest_in(self, segment: Segment, upper_offset: int, above: int) -> tuple[int, int] | None:
        """The first record with the largest timestamp above `above` in a segment.

        Deleted records count as long as their segment is there, as in Kafka.

        A batch whose header names the segment's largest timestamp ends the search, if its records keep that
        promise; the index leads there at once when all of the segment is below the bound.
        """
        best: tuple[int, int] | None = None
        start = 0
        is_known = segment.max_timestamp >= 0 and segment.max_timestamp_offset < upper_offset
        if is_known and segment.base_offset >= self.log_start_offset:
            start = segment.indexes()[0].position_before(segment.max_timestamp_offset)
            if start and self._is_after_batch(segment, start, segment.max_timestamp_offset):
                start = 0
        for position, header, _ in scan_batches(segment.file(), start, segment.size, whole=False):
            if header.base_offset >= upper_offset:
                break
            if header.max_timestamp <= max(above, best[0] if best else -1):
                continue
            for record_time, offset in self._record_times(segment, position, header):
                if offset < upper_offset and record_time > max(above, best[0] if best else -1):
                    best = (record_time, offset)
            if best is not None and best[0] >= segment.max_timestamp >= 0:
                break
        return best

    def _is_after_batch(self, segment: Segment, position: int, last_offset: int) -> bool:
        for _, header, _ in scan_batches(segment.file(), position, segment.size, chunk_bytes=0, whole=False):
            return header.base_offset > last_offset
        return True

    def _record_times(self, segment: Segment, position: int, header: BatchHeader) -> list[tuple[int, int]]:
        """(timestamp, offset) of every record of a batch."""
        has_all = header.record_count == header.last_offset_delta + 1  # compaction took none
        if header.attributes & LOG_APPEND_TIME and has_all:
            return [(header.max_timestamp, offset) for offset in range(header.base_offset, header.next_offset)]
        batch = read_batch(segment.file(), position, header)
        limit = max(_INFLATED_BYTES_MIN, _INFLATED_RATIO_MAX * (header.batch_length + LOG_OVERHEAD))
        try:
            return [(record.timestamp, record.offset) for record in iter_records(batch, max_bytes=limit)]
        except ProtocolError as error:
            raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"{segment.path('.log')} at {position}: {error}") from None

    def aborted_transactions(self, from_offset: int, upper_offset: int) -> list[AbortedTransaction]:
        """`PartitionLog.aborted_transactions`, whole entries."""
        found: list[AbortedTransaction] = []
        segments = self.segments
        for segment in segments.all[segments.number_of(from_offset) :]:
            entries, complete = segment.indexes()[2].overlapping(from_offset, upper_offset)
            found += entries
            if complete:
                break
        return found
