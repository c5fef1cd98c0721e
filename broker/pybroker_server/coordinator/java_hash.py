"""Which partition of an internal topic keeps a key: Kafka's rule, that every broker and client tool agrees on.

Rules of this file: pure. Java's `String.hashCode` over UTF-16 units, made positive as Kafka's `Utils.abs` does.
"""

from __future__ import annotations

from typing import Final

_BITS: Final = 0xFFFFFFFF
_SIGN: Final = 0x80000000


def java_string_hash(text: str) -> int:
    """`String.hashCode()`: a signed 32-bit number."""
    units = text.encode("utf-16-be", "surrogatepass")
    value = 0
    for at in range(0, len(units), 2):
        value = (31 * value + (units[at] << 8 | units[at + 1])) & _BITS
    return value - (_BITS + 1) if value & _SIGN else value


def partition_for(key: str, partition_count: int) -> int:
    """In `range(partition_count)`."""
    value = java_string_hash(key)
    return 0 if value == -_SIGN else abs(value) % partition_count
