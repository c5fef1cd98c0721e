"""Reads a segment's log file batch by batch and compares its indexes with it.

Rules of this file: read only, and one batch in memory at a time; what is wrong is a sentence in `problems`, never an
exception, so that a damaged file is shown up to its damage and beyond where that is possible.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pybroker_protocol.errors import ProtocolError
from pybroker_protocol.records.batch import BATCH_OVERHEAD, BatchHeader, parse_batch_header, verify_crc
from pybroker_server.log.files import OFFSET_INDEX_SUFFIX, TIME_INDEX_SUFFIX, TRANSACTION_INDEX_SUFFIX
from pybroker_server.log.offset_index import IndexCorrupt, OffsetIndex
from pybroker_server.log.time_index import TimeIndex
from pybroker_server.log.transaction_index import TransactionIndex

_KNOWN_MAGIC = 2
_LENGTH_MIN = BATCH_OVERHEAD - 12


@dataclass(frozen=True, slots=True)
class BatchRow:
    """One batch: where it lies, its header, its bytes, and whether the checksum holds."""

    position: int
    header: BatchHeader
    data: memoryview
    crc_holds: bool


@dataclass(slots=True)
class SegmentCheck:
    """What was found in one segment. `batches` maps each position to (last offset, max timestamp so far, its own)."""

    base_offset: int
    log_bytes: int = 0
    batches: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def scan(self, file: BinaryIO) -> Iterator[BatchRow]:
        """Every batch in order; afterwards `batches` and `problems` are complete."""
        file.seek(0, 2)
        self.log_bytes = file.tell()
        position, next_offset, timestamp_max = 0, self.base_offset, -1
        while position < self.log_bytes:
            row = self._read(file, position)
            if row is None:
                return
            header = row.header
            if not row.crc_holds:
                self._problem(position, f"the checksum of the batch at offset {header.base_offset} is wrong")
            if header.base_offset < next_offset:
                self._problem(position, f"offset {header.base_offset}, but {next_offset} was due or later")
            timestamp_max = max(timestamp_max, header.max_timestamp)
            self.batches[position] = (header.last_offset, timestamp_max, header.max_timestamp)
            yield row
            next_offset = header.next_offset
            position += header.size_bytes

    def _read(self, file: BinaryIO, position: int) -> BatchRow | None:
        left = self.log_bytes - position
        if left < BATCH_OVERHEAD:
            self._problem(position, f"the last {left} bytes are no whole batch (cut at the next start)")
            return None
        file.seek(position)
        header = parse_batch_header(file.read(BATCH_OVERHEAD))
        if header.magic != _KNOWN_MAGIC or header.batch_length < _LENGTH_MIN:
            found = f"format {header.magic}, length {header.batch_length}"
            self._problem(position, f"no batch ({found}); {left} bytes are not read")
            return None
        if header.size_bytes > left:
            needs = f"the batch at offset {header.base_offset} needs {header.size_bytes} bytes"
            self._problem(position, f"{needs}, {left} are left (cut at the next start)")
            return None
        file.seek(position)
        data = memoryview(file.read(header.size_bytes))
        return BatchRow(position, header, data, verify_crc(data))

    def _problem(self, position: int, text: str) -> None:
        self.problems.append(f"position {position}: {text}")

    def check_offset_index(self, data: bytes) -> OffsetIndex | None:
        """Compares an offset index with the batches that were read."""
        try:
            index = OffsetIndex.from_bytes(self.base_offset, data, self.log_bytes)
        except IndexCorrupt as error:
            self.problems.append(f"offset index: {error}")
            return None
        for last_offset, position in index.entries():
            found = self.batches.get(position)
            if found is None:
                self.problems.append(f"offset index: {last_offset} -> {position}, where no batch begins")
            elif found[0] != last_offset:
                self.problems.append(f"offset index: {last_offset} -> {position}, where a batch ends with {found[0]}")
        return index

    def check_time_index(self, data: bytes) -> TimeIndex | None:
        """Compares a time index with the batches that were read."""
        try:
            index = TimeIndex.from_bytes(self.base_offset, data)
        except IndexCorrupt as error:
            self.problems.append(f"time index: {error}")
            return None
        by_offset = {last: (largest, own) for last, largest, own in self.batches.values()}
        for timestamp, offset in index.entries():
            found = by_offset.get(offset)
            if found is None:
                continue  # Kafka notes the offset of the record itself, which may lie inside of a batch
            if timestamp < found[0]:
                self.problems.append(f"time index: {timestamp} -> {offset}, but {found[0]} came before it")
        return index

    def check_transaction_index(self, data: bytes) -> TransactionIndex | None:
        try:
            return TransactionIndex.from_bytes(self.base_offset, data)
        except IndexCorrupt as error:
            self.problems.append(f"transaction index: {error}")
            return None

    def check_siblings(self, log_path: Path) -> None:
        """Compares the indexes that lie beside a log file."""
        checks = {
            OFFSET_INDEX_SUFFIX: self.check_offset_index,
            TIME_INDEX_SUFFIX: self.check_time_index,
            TRANSACTION_INDEX_SUFFIX: self.check_transaction_index,
        }
        for suffix, check in checks.items():
            path = log_path.with_suffix(suffix)
            if path.exists():
                check(path.read_bytes())


def record_problem(error: ProtocolError, header: BatchHeader) -> str:
    """A batch whose records cannot be read, as a sentence."""
    return f"the records of the batch at offset {header.base_offset} cannot be read: {error}"
