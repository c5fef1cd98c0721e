"""Runs of records of one shape, read by columns instead of one by one.

Rules: many topics hold records whose lengths do not change from one to the next. Byte i of each record of such a
run is a slice of the data with the record's size as its step, so a run is recognised by a few such slices and cut
up by one `struct`; that takes a third of the time. What is not certainly a run is left to the reader that goes
record by record: a run is a shortcut, never another meaning, and never an error.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import lru_cache
from itertools import repeat
from typing import Any, Final, NamedTuple

from pybroker_protocol.errors import ProtocolError
from pybroker_protocol.records.varint import OFFSETS, ONE_BYTE, decode_varint

__all__ = ["RUN_RECORDS_MIN", "read_run"]

RUN_RECORDS_MIN: Final = 16
_OFFSET_FIRST_BYTES: Final = bytes(varint[0] for varint in OFFSETS)
_OFFSET_SECOND_BYTES: Final = bytes(64) + bytes(varint[1] for varint in OFFSETS[64:])
_ONE_BYTE_OFFSETS: Final = 64


class _Shape(NamedTuple):
    """How a record without headers lies: where its parts start, and how long they are (-1 for null)."""

    size: int
    timestamp_at: int
    timestamp_delta: int
    offset_at: int
    offset_delta: int
    key_at: int
    key_bytes: int
    value_at: int
    value_bytes: int


def read_run(
    data: bytes,
    start: int,
    count: int,
    record_type: Any,
    source: Any,
    base_offset: int,
    base_timestamp: int,
    is_append_time: bool,
) -> tuple[list[Any], int] | None:
    """Up to `count` records from `start` on and the position after them; None when there is no run of them."""
    try:
        shape = _shape_at(data, start)
    except (IndexError, ProtocolError):
        return None  # for the other reader to complain about
    if shape is None:
        return None
    first = shape.offset_delta
    deltas_end = _ONE_BYTE_OFFSETS if first < _ONE_BYTE_OFFSETS else len(OFFSETS)
    count = min(count, deltas_end - first, (len(data) - start) // shape.size)
    if count < RUN_RECORDS_MIN:
        return None
    stop = start + count * shape.size
    if not _is_run(data, start, stop, count, shape):
        return None
    timestamps: Iterable[int] = repeat(base_timestamp)
    if not is_append_time:
        column = data[start + shape.timestamp_at : stop : shape.size]
        if shape.offset_at - shape.timestamp_at == 1:
            timestamps = [base_timestamp + ONE_BYTE[byte] for byte in column]
        else:
            timestamps = repeat(base_timestamp + shape.timestamp_delta)
    keys, values = _payloads(memoryview(data)[start:stop], shape)
    offsets = range(base_offset + first, base_offset + first + count)
    make: Any = tuple.__new__
    rows = zip(repeat(source), offsets, timestamps, keys, values, repeat(b""))
    return list(map(make, repeat(record_type), rows)), stop


def _shape_at(data: bytes, start: int) -> _Shape | None:
    length, position = decode_varint(data, start)
    size = position - start + length
    timestamp_at = position + 1 - start
    timestamp_delta, position = decode_varint(data, position + 1, 64)
    offset_at = position - start
    offset_delta, position = decode_varint(data, position)
    if not 0 <= offset_delta < len(OFFSETS) or position - start - offset_at != len(OFFSETS[offset_delta]):
        return None
    key_bytes, position = decode_varint(data, position)
    key_at = position - start
    value_bytes, position = decode_varint(data, position + max(key_bytes, 0))
    value_at = position - start
    fills_record = value_at + max(value_bytes, 0) + 1 == size
    if key_bytes < -1 or value_bytes < -1 or not fills_record or data[start + size - 1]:
        return None
    return _Shape(
        size, timestamp_at, timestamp_delta, offset_at, offset_delta, key_at, key_bytes, value_at, value_bytes
    )


def _is_run(data: bytes, start: int, stop: int, count: int, shape: _Shape) -> bool:
    """Whether all `count` records have the shape, so that reading each of them would give what the run gives."""
    size = shape.size
    offset_width = len(OFFSETS[shape.offset_delta])
    key_length_at = shape.offset_at + offset_width
    value_length_at = shape.key_at + max(shape.key_bytes, 0)
    constant = [
        *range(shape.timestamp_at - 1),
        *range(key_length_at, shape.key_at),
        *range(value_length_at, shape.value_at),
        size - 1,
    ]
    if shape.offset_at - shape.timestamp_at > 1:
        constant.extend(range(shape.timestamp_at, shape.offset_at))
    elif max(data[start + shape.timestamp_at : stop : size]) > 127:
        return False
    for at in constant:
        column = data[start + at : stop : size]
        if column.count(column[0]) != count:
            return False
    first = shape.offset_delta
    at = start + shape.offset_at
    if data[at:stop:size] != _OFFSET_FIRST_BYTES[first : first + count]:
        return False
    return offset_width == 1 or data[at + 1 : stop : size] == _OFFSET_SECOND_BYTES[first : first + count]


def _payloads(run: memoryview, shape: _Shape) -> tuple[Iterable[bytes | None], Iterable[bytes | None]]:
    nothing: Iterable[None] = repeat(None)
    cut = _cutter(shape.key_at, shape.key_bytes, shape.value_at, shape.value_bytes).iter_unpack(run)
    if shape.key_bytes < 0:
        return nothing, (nothing if shape.value_bytes < 0 else [value for (value,) in cut])
    if shape.value_bytes < 0:
        return [key for (key,) in cut], nothing
    keys, values = zip(*cut, strict=True)
    return keys, values


@lru_cache(maxsize=256)
def _cutter(key_at: int, key_bytes: int, value_at: int, value_bytes: int) -> struct.Struct:
    """Takes key and value, where they are not null, out of each record of a run."""
    key = f"{key_bytes}s" if key_bytes >= 0 else ""
    value = f"{value_bytes}s" if value_bytes >= 0 else ""
    return struct.Struct(f"{key_at}x{key}{value_at - key_at - max(key_bytes, 0)}x{value}1x")
