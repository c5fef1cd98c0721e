"""CRC-32C (Castagnoli), the checksum of record batches.

The work is done by the `crc32c` package: it uses the processor's instruction where there is one and reads any
buffer without a copy.
"""

from __future__ import annotations

from crc32c import crc32c as _crc32c

from pybroker_protocol.records import Buffer

__all__ = ["crc32c"]


def crc32c(data: Buffer, value: int = 0) -> int:
    """The checksum of `data`, continued from `value`, the checksum of the bytes before it."""
    return _crc32c(data, value)
