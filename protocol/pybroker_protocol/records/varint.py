"""Zigzag varints, the numbers inside records, with tables for the small ones.

Rules: a table serves what nearly every record holds (one byte: -64 to 63; two: to 8191); a function serves the
rest. A varint of more bytes than its type can fill is a `ProtocolError`; one cut short by the end of the data is
an `IndexError`, which the readers of records turn into a `ProtocolError` once for all their reads.
"""

from __future__ import annotations

from typing import Final

from pybroker_protocol.errors import ProtocolError

__all__ = ["OFFSETS", "ONE_BYTE", "decode_varint", "encode_varint"]


def encode_varint(value: int) -> bytes:
    """`value` (int64) in zigzag: 1 to 10 bytes, small magnitudes short."""
    rest = (value << 1) ^ (value >> 63)
    if rest < 128:
        return rest.to_bytes(1, "big")
    out = bytearray()
    while rest > 127:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def decode_varint(data: bytes, position: int, bits: int = 32) -> tuple[int, int]:
    """The number at `position` and the position after it. `bits` is 32 or 64."""
    value = 0
    for shift in range(0, bits, 7):
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 128:
            if value >> bits:
                break
            return (value >> 1) ^ -(value & 1), position
    raise ProtocolError(f"a varint in a record has more than {bits} bits")


ONE_BYTE: Final = tuple((byte >> 1) ^ -(byte & 1) for byte in range(128))
"""The number that a varint of one byte stands for, by that byte."""

OFFSETS: Final = tuple(encode_varint(delta) for delta in range(8192))
"""The varint of an offset delta, for the deltas that take one byte (to 63) or two."""
