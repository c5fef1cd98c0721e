"""Builds record batches: for producers, for coordinators, for tests.

Rules: records go in one by one (`append`) or many at a time (`extend_values`, where the loops run in C), and
nothing is copied until `build` joins the pieces once. Producer id, epoch and sequence belong to the moment of
sending, so they are given to `build`, or changed later by `stamp_producer` when a producer gets a new epoch.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain, repeat
from typing import Final

from pybroker_protocol.records.batch import (
    BATCH_OVERHEAD,
    CONTROL,
    LOG_OVERHEAD,
    MAGIC,
    TRANSACTIONAL,
    BatchHeader,
    pack_batch_header,
    write_crc,
)
from pybroker_protocol.records.compression import Codec, compress
from pybroker_protocol.records.varint import OFFSETS, encode_varint

__all__ = ["RECORD_OVERHEAD_MAX", "RecordBatchBuilder", "header_bytes", "stamp_producer"]

Headers = Iterable[tuple[str, bytes | None]]

RECORD_OVERHEAD_MAX: Final = 21
"""What a record adds to key, value and headers at most: 5 + 1 + 10 + 5 of varints, before the payload's lengths."""

_PRODUCER: Final = struct.Struct(">qhi")
_PRODUCER_AT: Final = 43
_HEADER_SPACE: Final = bytes(BATCH_OVERHEAD)
_NO_HEADERS: Final = b"\x00"
_NULL: Final = b"\x01"
_TABLE_LENGTHS_MAX: Final = 16384
_UNIFORM_RECORDS_MIN: Final = 16
_ONE_BYTE_OFFSETS: Final = 64
_LENGTHS: Final = tuple(encode_varint(length) for length in range(2048))


class _Heads(dict[int, bytes]):
    """Value length to how a record of it starts: its own length, attributes, and no distance in time.

    The record is at the base timestamp and has neither key nor headers; its offset delta of `offset_width` bytes
    follows. Lengths beyond the table's bound are worked out each time.
    """

    def __init__(self, offset_width: int) -> None:
        self._offset_width = offset_width

    def __missing__(self, value_bytes: int) -> bytes:
        length = 2 + self._offset_width + 1 + len(encode_varint(value_bytes)) + value_bytes + 1
        head = encode_varint(length) + b"\x00\x00"
        if len(self) < _TABLE_LENGTHS_MAX:
            self[value_bytes] = head
        return head


class _Tails(dict[int, bytes]):
    """Value length to what stands between offset delta and value: a null key and that length."""

    def __missing__(self, value_bytes: int) -> bytes:
        tail = _NULL + encode_varint(value_bytes)
        if len(self) < _TABLE_LENGTHS_MAX:
            self[value_bytes] = tail
        return tail


_HEADS: Final = {1: _Heads(1), 2: _Heads(2)}
_TAILS: Final = _Tails()


@lru_cache(maxsize=4)
def _starts(value_bytes: int) -> tuple[bytes, ...]:
    """All that precedes a value of this length, by offset delta; so that values of one length are just joined."""
    tail = _TAILS[value_bytes]
    return tuple(_HEADS[len(offset)][value_bytes] + offset + tail for offset in OFFSETS)


def header_bytes(headers: Headers) -> bytes:
    """The headers of a record as they stand in it, their count first."""
    parts: list[bytes] = []
    count = 0
    for key, value in headers:
        wire = key.encode()
        parts.append(encode_varint(len(wire)))
        parts.append(wire)
        if value is None:
            parts.append(_NULL)
        else:
            parts.append(encode_varint(len(value)))
            parts.append(value)
        count += 1
    return encode_varint(count) + b"".join(parts)


class RecordBatchBuilder:
    """One batch in the making. After `build` it is spent."""

    __slots__ = (
        "_base_timestamp",
        "_body_bytes",
        "_codec",
        "_count",
        "_is_control",
        "_is_transactional",
        "_level",
        "_max_timestamp",
        "_parts",
        "_producer",
    )

    def __init__(
        self,
        *,
        codec: Codec = Codec.NONE,
        level: int | None = None,
        producer_id: int = -1,
        producer_epoch: int = -1,
        base_sequence: int = -1,
        is_transactional: bool = False,
        is_control: bool = False,
    ) -> None:
        self._codec = codec
        self._level = level
        self._producer = (producer_id, producer_epoch, base_sequence)
        self._is_transactional = is_transactional
        self._is_control = is_control
        self._parts: list[bytes] = [_HEADER_SPACE]
        self._body_bytes = 0
        self._count = 0
        self._base_timestamp = -1
        self._max_timestamp = -1

    @property
    def record_count(self) -> int:
        return self._count

    @property
    def size_bytes_estimate(self) -> int:
        """The size of the batch before compression: exact without it, an upper bound for sane data with it."""
        return BATCH_OVERHEAD + self._body_bytes

    @property
    def max_timestamp(self) -> int:
        return self._max_timestamp

    def append(self, timestamp: int, key: bytes | None, value: bytes | None, headers: Headers | None = None) -> int:
        """Add a record (timestamp in ms since 1970) and return its offset delta."""
        delta = self._count
        if delta:
            timestamp_delta = timestamp - self._base_timestamp
            if timestamp > self._max_timestamp:
                self._max_timestamp = timestamp
        else:
            timestamp_delta = 0
            self._base_timestamp = self._max_timestamp = timestamp
        offset = OFFSETS[delta] if delta < 8192 else encode_varint(delta)
        if timestamp_delta == 0:
            head = b"\x00\x00" + offset
        else:
            head = b"\x00" + encode_varint(timestamp_delta) + offset
        if key is None:
            head += _NULL
            payload_bytes = 0
        else:
            payload_bytes = len(key)
            head += _LENGTHS[payload_bytes] if payload_bytes < 2048 else encode_varint(payload_bytes)
            head += key
        if value is None:
            tail = _NULL
            value = b""
        else:
            payload_bytes = len(value)
            tail = _LENGTHS[payload_bytes] if payload_bytes < 2048 else encode_varint(payload_bytes)
        end = header_bytes(headers) if headers else _NO_HEADERS
        length = len(head) + len(tail) + len(value) + len(end)
        size = _LENGTHS[length] if length < 2048 else encode_varint(length)
        self._parts += (size, head, tail, value, end)
        self._body_bytes += length + len(size)
        self._count = delta + 1
        return delta

    def extend_values(self, timestamp: int, values: Sequence[bytes]) -> None:
        """Add a record without key and headers for each value, all of one timestamp. Far faster than `append`."""
        count = len(values)
        first = self._count
        if not count:
            return
        if (first and timestamp != self._base_timestamp) or first + count > len(OFFSETS):
            for value in values:
                self.append(timestamp, None, value)
            return
        if not first:
            self._base_timestamp = self._max_timestamp = timestamp
        lengths = list(map(len, values))
        if count >= _UNIFORM_RECORDS_MIN and lengths.count(lengths[0]) == count:
            starts = _starts(lengths[0])[first : first + count]
            self._parts.extend(chain.from_iterable(zip(starts, values, repeat(_NO_HEADERS))))
            overhead = sum(map(len, starts))
        else:
            short = max(0, min(count, _ONE_BYTE_OFFSETS - first))
            heads = [*map(_HEADS[1].__getitem__, lengths[:short]), *map(_HEADS[2].__getitem__, lengths[short:])]
            tails = [*map(_TAILS.__getitem__, lengths)]
            offsets = OFFSETS[first : first + count]
            pieces = zip(heads, offsets, tails, values, repeat(_NO_HEADERS))
            self._parts.extend(chain.from_iterable(pieces))
            overhead = sum(map(len, chain(heads, offsets, tails)))
        self._body_bytes += overhead + sum(lengths) + count
        self._count = first + count

    def build(
        self, *, producer_id: int | None = None, producer_epoch: int | None = None, base_sequence: int | None = None
    ) -> bytearray:
        """The finished batch, base offset 0 and leader epoch -1, with its CRC.

        The producer's three numbers replace those given at construction.
        """
        if not self._count:
            raise ValueError("a batch needs at least one record")
        parts, self._parts = self._parts, []
        if self._codec is Codec.NONE:
            batch = bytearray().join(parts)
        else:
            batch = bytearray(_HEADER_SPACE)
            batch += compress(self._codec, b"".join(parts[1:]), self._level)
        first_id, first_epoch, first_sequence = self._producer
        header = BatchHeader(
            base_offset=0,
            batch_length=len(batch) - LOG_OVERHEAD,
            partition_leader_epoch=-1,
            magic=MAGIC,
            crc=0,
            attributes=self._codec
            | (TRANSACTIONAL if self._is_transactional else 0)
            | (CONTROL if self._is_control else 0),
            last_offset_delta=self._count - 1,
            base_timestamp=self._base_timestamp,
            max_timestamp=self._max_timestamp,
            producer_id=first_id if producer_id is None else producer_id,
            producer_epoch=first_epoch if producer_epoch is None else producer_epoch,
            base_sequence=first_sequence if base_sequence is None else base_sequence,
            record_count=self._count,
        )
        pack_batch_header(header, batch)
        write_crc(batch, 0, len(batch))
        return batch


def stamp_producer(batch: bytearray | memoryview, producer_id: int, producer_epoch: int, base_sequence: int) -> None:
    """Give a finished batch another producer id, epoch and sequence, and the CRC that follows."""
    _PRODUCER.pack_into(batch, _PRODUCER_AT, producer_id, producer_epoch, base_sequence)
    write_crc(batch, 0, len(batch))
