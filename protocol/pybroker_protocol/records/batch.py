"""The 61 bytes in front of a record batch, read and patched in place (record format v2, KIP-98, KIP-482).

Rules: nothing here looks behind the header, so cost does not depend on the number of records. Base offset and
partition leader epoch lie before the checksummed range and are patched freely; everything from the
attributes on is covered, so changing it costs a new CRC. Positions are byte offsets into the caller's
view; no byte is copied.

    base offset i64, length i32, leader epoch i32, magic i8, crc u32 (from here on covered by it:)
    attributes i16, last offset delta i32, base timestamp i64, max timestamp i64, producer id i64, producer
    epoch i16, base sequence i32, record count i32
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

from pybroker_protocol.errors import ProtocolError
from pybroker_protocol.records import Buffer
from pybroker_protocol.records.crc32c import crc32c

__all__ = [
    "BATCH_OVERHEAD",
    "BatchHeader",
    "TimestampType",
    "iter_batches",
    "pack_batch_header",
    "parse_batch_header",
    "patch_log_append_time",
    "patch_offset_and_epoch",
    "verify_crc",
]

_HEADER = struct.Struct(">qiibIhiqqqhii")
_OFFSET = struct.Struct(">q")
_INT32 = struct.Struct(">i")
_UINT32 = struct.Struct(">I")
_INT16 = struct.Struct(">h")

BATCH_OVERHEAD = _HEADER.size  # 61
LOG_OVERHEAD = 12  # base offset and length: what the length field does not count
_LENGTH_MIN = BATCH_OVERHEAD - LOG_OVERHEAD
MAGIC = 2

_EPOCH_AT = 12
_CRC_AT = 17
_CHECKED_AT = 21  # attributes: the first byte that the CRC covers
_MAX_TIMESTAMP_AT = 35

CODEC_MASK = 0x07
LOG_APPEND_TIME = 0x08
TRANSACTIONAL = 0x10
CONTROL = 0x20
DELETE_HORIZON = 0x40

_SEQUENCE_MAX = 0x7FFFFFFF


class TimestampType(IntEnum):
    """What the timestamps of a batch mean."""

    CREATE_TIME = 0
    LOG_APPEND_TIME = 1


class BatchHeader(NamedTuple):
    """The fields of a batch header, as they are on the wire, and what follows from them."""

    base_offset: int
    batch_length: int
    partition_leader_epoch: int
    magic: int
    crc: int
    attributes: int
    last_offset_delta: int
    base_timestamp: int
    max_timestamp: int
    producer_id: int
    producer_epoch: int
    base_sequence: int
    record_count: int

    @property
    def size_bytes(self) -> int:
        """The whole batch, header included."""
        return self.batch_length + LOG_OVERHEAD

    @property
    def last_offset(self) -> int:
        return self.base_offset + self.last_offset_delta

    @property
    def next_offset(self) -> int:
        return self.base_offset + self.last_offset_delta + 1

    @property
    def codec(self) -> int:
        """The codec bits: a `Codec`, or 5 to 7 which no reader knows."""
        return self.attributes & CODEC_MASK

    @property
    def timestamp_type(self) -> TimestampType:
        return TimestampType.LOG_APPEND_TIME if self.attributes & LOG_APPEND_TIME else TimestampType.CREATE_TIME

    @property
    def is_transactional(self) -> bool:
        return self.attributes & TRANSACTIONAL != 0

    @property
    def is_control(self) -> bool:
        return self.attributes & CONTROL != 0

    @property
    def has_delete_horizon(self) -> bool:
        """Whether the base timestamp is really the time after which tombstones may go (KIP-534)."""
        return self.attributes & DELETE_HORIZON != 0

    @property
    def has_producer_id(self) -> bool:
        return self.producer_id >= 0

    @property
    def last_sequence(self) -> int:
        """The sequence of the last record, -1 without a producer; wraps from 2**31 - 1 to 0 (KIP-98)."""
        if self.base_sequence < 0:
            return -1
        return (self.base_sequence + self.last_offset_delta) & _SEQUENCE_MAX


def parse_batch_header(view: Buffer, position: int = 0) -> BatchHeader:
    """The header at `position`, as it stands; `ProtocolError` when its 61 bytes are not all there."""
    try:
        return tuple.__new__(BatchHeader, _HEADER.unpack_from(view, position))
    except struct.error:
        raise ProtocolError(f"a batch header needs {BATCH_OVERHEAD} bytes, {len(view) - position} are left") from None


def iter_batches(view: Buffer, position: int = 0) -> Iterator[tuple[int, BatchHeader]]:
    """Every whole batch from `position` on, with its position.

    A batch cut off at the end ends the iteration (a fetch may cut one off). Raises `ProtocolError` at a
    header that cannot be one: a magic other than 2, or a length below the header's own.
    """
    end = len(view)
    unpack = _HEADER.unpack_from
    while end - position >= BATCH_OVERHEAD:
        header = tuple.__new__(BatchHeader, unpack(view, position))
        if header[3] != MAGIC:
            raise ProtocolError(f"batch of format {header[3]}; only format {MAGIC} is known")
        if header[1] < _LENGTH_MIN:
            raise ProtocolError(f"batch length {header[1]} is below the least, {_LENGTH_MIN}")
        after = position + header[1] + LOG_OVERHEAD
        if after > end:
            return
        yield position, header
        position = after


def verify_crc(view: Buffer, position: int = 0) -> bool:
    """Whether the checksum of the batch at `position` is right; False when the batch is not all there."""
    if len(view) - position < BATCH_OVERHEAD:
        return False
    end = position + LOG_OVERHEAD + _INT32.unpack_from(view, position + 8)[0]
    if end > len(view) or end < position + BATCH_OVERHEAD:
        return False
    stored: int = _UINT32.unpack_from(view, position + _CRC_AT)[0]
    return crc32c(memoryview(view)[position + _CHECKED_AT : end]) == stored


def patch_offset_and_epoch(view: bytearray | memoryview, position: int, base_offset: int, leader_epoch: int) -> None:
    """Give the batch at `position` its place in the log. Both fields lie outside the CRC."""
    _OFFSET.pack_into(view, position, base_offset)
    _INT32.pack_into(view, position + _EPOCH_AT, leader_epoch)


def patch_log_append_time(view: bytearray | memoryview, position: int, timestamp_ms: int) -> None:
    """Stamp the batch with the broker's time: attribute bit, max timestamp, and the new CRC that they cost.

    Per-record timestamps stay as they are: readers take the max timestamp of such a batch for every record.
    """
    patch_max_timestamp(view, position, timestamp_ms, TimestampType.LOG_APPEND_TIME)


def patch_max_timestamp(
    view: bytearray | memoryview, position: int, timestamp_ms: int, timestamp_type: TimestampType
) -> None:
    """Set max timestamp and timestamp type of the batch at `position`, and its CRC anew."""
    header = parse_batch_header(view, position)
    attributes = header.attributes & ~LOG_APPEND_TIME
    if timestamp_type is TimestampType.LOG_APPEND_TIME:
        attributes |= LOG_APPEND_TIME
    _INT16.pack_into(view, position + _CHECKED_AT, attributes)
    _OFFSET.pack_into(view, position + _MAX_TIMESTAMP_AT, timestamp_ms)
    write_crc(view, position, header.size_bytes)


def write_crc(view: bytearray | memoryview, position: int, size_bytes: int) -> None:
    """Compute and store the checksum of the batch of `size_bytes` at `position`."""
    checked = memoryview(view)[position + _CHECKED_AT : position + size_bytes]
    _UINT32.pack_into(view, position + _CRC_AT, crc32c(checked))


def pack_batch_header(header: BatchHeader, view: bytearray | memoryview, position: int = 0) -> None:
    """Write every field of `header` at `position`, the CRC as given."""
    _HEADER.pack_into(view, position, *header)
