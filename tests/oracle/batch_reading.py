"""Fetched record batches as plain values, read without the product's batch code; only decompression is shared.

Sizes are left out: a broker that compresses anew may do so with another library. A batch that was stored although
its records cannot be read says so. Bytes become text where they are
text, else hexadecimal.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import crc32c

from pybroker_protocol.errors import ProtocolError
from pybroker_protocol.records.compression import Codec, decompress

_HEADER: Final = struct.Struct(">qiibIhiqqqhii")
_LOG_OVERHEAD: Final = 12
_CRC_END: Final = 21


def read_batches(view: memoryview) -> list[dict[str, Any]]:
    """Every whole batch; what is left at the end is named by its size, since a broker should not send it."""
    batches = []
    position = 0
    while position + _LOG_OVERHEAD <= len(view):
        end = position + _LOG_OVERHEAD + int.from_bytes(view[position + 8 : position + 12], "big")
        if end > len(view):
            break
        batches.append(_read_batch(view[position:end]))
        position = end
    if position < len(view):
        batches.append({"cut_off_bytes": len(view) - position})
    return batches


def _read_batch(view: memoryview) -> dict[str, Any]:
    fields = _HEADER.unpack_from(view)
    base_offset, _, leader_epoch, magic, crc, attributes, last_delta, base_timestamp, max_timestamp = fields[:9]
    producer_id, producer_epoch, base_sequence, count = fields[9:]
    batch: dict[str, Any] = {
        "base_offset": base_offset,
        "partition_leader_epoch": leader_epoch,
        "magic": magic,
        "attributes": attributes,
        "last_offset_delta": last_delta,
        "base_timestamp": base_timestamp,
        "max_timestamp": max_timestamp,
    }
    if producer_id != -1:
        batch |= {"producer_id": producer_id, "producer_epoch": producer_epoch, "base_sequence": base_sequence}
    if crc != crc32c.crc32c(view[_CRC_END:]):
        batch["crc_wrong"] = True
    try:
        batch["records"] = _read_records(_body(view, attributes), count, base_timestamp)
    except (ProtocolError, IndexError, AssertionError):
        batch["records"] = "unreadable"
    return batch


def _body(view: memoryview, attributes: int) -> memoryview:
    if attributes & 7:
        return memoryview(decompress(Codec(attributes & 7), view[_HEADER.size :], max_bytes=1 << 24))
    return view[_HEADER.size :]


def _read_records(view: memoryview, count: int, base_timestamp: int) -> list[dict[str, Any]]:
    records = []
    position = 0
    for _ in range(count):
        length, position = _varint(view, position)
        end = position + length
        timestamp_delta, position = _varint(view, position + 1)
        offset_delta, position = _varint(view, position)
        key, position = _sized(view, position)
        value, position = _sized(view, position)
        header_count, position = _varint(view, position)
        record: dict[str, Any] = {
            "offset_delta": offset_delta,
            "timestamp": base_timestamp + timestamp_delta,
            "key": shown_bytes(key),
            "value": shown_bytes(value),
        }
        headers = []
        for _ in range(header_count):
            name, position = _sized(view, position)
            header_value, position = _sized(view, position)
            headers.append([shown_bytes(name), shown_bytes(header_value)])
        if headers:
            record["headers"] = headers
        records.append(record)
        assert position == end, "a fetched record's length does not fit its fields"
    assert position == len(view), "bytes behind the last record of a fetched batch"
    return records


def shown_bytes(data: bytes | None) -> str | None:
    """Text where it is text; long values by their size and first byte, others in hexadecimal."""
    if data is None:
        return None
    if len(data) > 80:
        return f"<{len(data)} bytes from {data[0]:#04x}>"
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return f"hex:{data.hex()}"
    return text if text.isprintable() else f"hex:{data.hex()}"


def _varint(view: memoryview, position: int) -> tuple[int, int]:
    shift = result = 0
    while True:
        byte = view[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (result >> 1) ^ -(result & 1), position
        shift += 7


def _sized(view: memoryview, position: int) -> tuple[bytes | None, int]:
    length, position = _varint(view, position)
    if length < 0:
        return None, position
    return bytes(view[position : position + length]), position + length
