"""Reads the segments of a log and writes the ones that take their place, a slice of work at a time.

Rules of this file: runs in threads, one slice after the other, and touches nothing that the event loop changes: sealed
segments, and files of its own that end in `.cleaned`. A generator says after each piece how many
bytes went through, so that the caller can pause, throttle and give up between slices. Everything read is checked; what
is not as it must be is a CompactionError, and then nothing has happened to the log.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Final, Generic, TypeVar

from pybroker_protocol.records.batch import CONTROL, BatchHeader, parse_batch_header
from pybroker_server.log.batch_scan import scan_batches
from pybroker_server.log.compaction_filter import BatchFilter, CompactionError, read_records
from pybroker_server.log.compaction_map import OffsetMap
from pybroker_server.log.compaction_transactions import TransactionTracker
from pybroker_server.log.files import CLEANED_SUFFIX, LOG_SUFFIX
from pybroker_server.log.segment import POSITION_MAX, Segment
from pybroker_server.log.transaction_index import AbortedTransaction
from pybroker_server.runtime.ports import Buffer, Disk

T = TypeVar("T")

SLICE_BYTES: Final = 1024 * 1024
_PIECE_BYTES: Final = 128 * 1024
_READ_BYTES: Final = 256 * 1024


class Sliced(Generic[T]):
    """Work that is done a slice at a time, by whichever thread."""

    def __init__(self, work: Generator[int, None, T], slice_bytes: int = SLICE_BYTES) -> None:
        self._work = work
        self._slice_bytes = slice_bytes
        self._result: list[T] = []

    def advance(self) -> int:
        """Goes on for one slice; how many bytes went through. `is_done` then says whether it was the last one."""
        done = 0
        try:
            while done < self._slice_bytes:
                done += next(self._work)
        except StopIteration as end:
            self._result.append(end.value)
        return done

    def close(self) -> None:
        """Gives up: lets go of what the work holds."""
        self._work.close()

    @property
    def is_done(self) -> bool:
        return bool(self._result)

    @property
    def result(self) -> T:
        return self._result[0]


def fill_map(
    disk: Disk,
    offsets: OffsetMap,
    segments: Sequence[Segment],
    aborted: Sequence[AbortedTransaction],
    *,
    first_dirty: int,
    end_offset: int,
) -> Generator[int, None, None]:
    """Notes the last offset of every key from `first_dirty` to `end_offset`, or until the map is full.

    `segments` are those of this section, the last one ending at `end_offset`. Data of aborted transactions counts
    for nothing. Yields bytes read.
    """
    transactions = TransactionTracker(aborted)
    ends = [*(segment.base_offset for segment in segments[1:]), end_offset]
    for segment, end in zip(segments, ends, strict=True):
        read = 0
        for header, batch in _batches(disk, segment):
            is_data = not transactions.on_batch(header, batch) and not header.attributes & CONTROL
            if header.last_offset >= first_dirty:
                if is_data and header.record_count and not offsets.add(read_records(header, batch), first_dirty):
                    return
                offsets.reach(header.last_offset)
            read += header.size_bytes
            if read >= _PIECE_BYTES:
                yield read
                read = 0
        offsets.reach(end - 1)  # the offsets up to the next segment were given to nobody's records
        yield read


def rewrite(
    disk: Disk,
    directory: str,
    group: Sequence[Segment],
    batch_filter: BatchFilter,
    transactions: TransactionTracker,
    *,
    index_interval_bytes: int,
) -> Generator[int, None, Segment | None]:
    """What is left of a group of segments, as one; None when it would be the segment that is there already.

    The new segment's files are on the device when it returns, their names end in `.cleaned`. Yields bytes read and
    written together.
    """
    writer = _Writer(disk, directory, group[0].base_offset, index_interval_bytes)
    is_finished = False
    try:
        is_changed = yield from _copy(disk, group, writer, batch_filter, transactions)
        if len(group) == 1 and not is_changed:
            return None
        writer.finish()
        disk.sync_dir(directory)
        is_finished = True
        return writer.segment
    finally:
        if not is_finished:
            writer.segment.remove_files()


def _copy(
    disk: Disk,
    group: Sequence[Segment],
    writer: _Writer,
    batch_filter: BatchFilter,
    transactions: TransactionTracker,
) -> Generator[int, None, bool]:
    """Whether anything is different from before."""
    is_changed = False
    moved = aborted = 0
    for segment in group:
        for header, batch in _batches(disk, segment):
            left = batch_filter.clean(header, batch)
            is_changed = is_changed or left is not batch
            if left is not None:
                writer.append(left)
                moved += len(left)
            if transactions.kept_abort is not None:
                writer.segment.note_aborted(transactions.kept_abort)
                aborted += 1
            moved += header.size_bytes
            if moved >= _PIECE_BYTES:
                writer.write_out()
                yield moved
                moved = 0
    yield moved
    return is_changed or aborted != sum(len(segment.indexes()[2]) for segment in group)


def _batches(disk: Disk, segment: Segment) -> Generator[tuple[BatchHeader, memoryview], None, None]:
    """Every batch of a sealed segment; CompactionError when they do not fill it or their offsets do not rise."""
    reached = 0
    next_offset = segment.base_offset
    file = disk.open(segment.path(LOG_SUFFIX))  # its own: the segment closes its file when nobody else reads it
    try:
        for position, header, batch in scan_batches(file, 0, segment.size, chunk_bytes=_READ_BYTES):
            if header.base_offset < next_offset or header.last_offset_delta < 0:
                raise CompactionError(f"{file.path}: offset {header.base_offset} follows {next_offset - 1}")
            reached = position + header.size_bytes
            next_offset = header.next_offset
            yield header, batch
    finally:
        file.close()
    if reached != segment.size:
        raise CompactionError(f"{file.path}: no batch at {reached} of {segment.size} bytes")


class _Writer:
    """Puts batches into a new segment, many with one call to the system."""

    def __init__(self, disk: Disk, directory: str, base_offset: int, index_interval_bytes: int) -> None:
        self.segment = Segment.create(disk, directory, base_offset, ending=CLEANED_SUFFIX)
        self.segment.index_interval_bytes = index_interval_bytes
        self.segment.is_pinned = True
        self._buffer = bytearray()
        self._size = 0

    def append(self, batch: Buffer) -> None:
        if self._size + len(batch) > POSITION_MAX:
            raise CompactionError(f"{self.segment.path('.log')} would be larger than {POSITION_MAX} bytes")
        # A view of the scan's buffer is only good until the next batch.
        self._buffer += batch
        self._size += len(batch)

    def write_out(self) -> None:
        buffer, self._buffer = self._buffer, bytearray()
        if not buffer:
            return
        position = self.segment.append_bytes((buffer,))
        at = 0
        while at < len(buffer):
            header = parse_batch_header(buffer, at)
            self.segment.note_batch(position + at, header.size_bytes, header.last_offset, header.max_timestamp)
            at += header.size_bytes

    def finish(self) -> None:
        self.write_out()
        self.segment.seal()
        self.segment.sync_all()
        self.segment.is_cleaned = True
