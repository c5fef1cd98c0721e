"""Record batches for the catalogue: well formed by default, and wrong in any one place when asked.

This writes the bytes itself instead of using the product's builder, so that a fault there cannot hide behind the same
fault here. Format: KIP-98 (v2 batches), the older message sets of magic 0 and 1 for what a modern broker refuses.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import cramjam
import crc32c

Resolve = Callable[[Any], Any]
"""Turns placeholders into values; see `runner.py`."""

CODEC_IDS: Final = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
TRANSACTIONAL: Final = 0x10
CONTROL: Final = 0x20
LOG_APPEND_TIME: Final = 0x08
_HEADER: Final = struct.Struct(">qiibIhiqqqhii")


@dataclass(frozen=True)
class Rec:
    """One record. `at` is added to the batch's base timestamp. The last two lie about the record's own fields."""

    value: bytes | None = b"v"
    key: bytes | None = None
    headers: tuple[tuple[bytes | None, bytes | None], ...] = ()
    at: int = 0
    offset_delta: int | None = None
    length: int | None = None


@dataclass(frozen=True)
class Batch:
    """A v2 batch. `header` overwrites fields of the 61-byte header by name, before the CRC where it is covered.

    `framing` is for snappy: "xerial" as Java writes it, or "raw" as librdkafka does. `body` replaces the records'
    bytes (after compression); `bad_crc` spoils the checksum; `cut` takes bytes off the end; `tail` adds them.
    """

    records: Sequence[Rec] = (Rec(),)
    codec: str = "none"
    timestamp: Any = 1_000
    attributes: int = 0
    producer_id: Any = -1
    epoch: Any = -1
    sequence: int = -1
    header: Mapping[str, Any] = field(default_factory=dict)
    framing: str = "xerial"
    body: bytes | None = None
    bad_crc: bool = False
    cut: int = 0
    tail: bytes = b""

    def encode(self, resolve: Resolve) -> bytes:
        base_timestamp = resolve(self.timestamp)
        records = b"".join(_record(record, index) for index, record in enumerate(self.records))
        body = compress(self.codec, records, self.framing) if self.body is None else self.body
        fields: dict[str, Any] = {
            "base_offset": 0,
            "batch_length": _HEADER.size - 12 + len(body),
            "leader_epoch": -1,
            "magic": 2,
            "crc": 0,
            "attributes": self.attributes | CODEC_IDS[self.codec],
            "last_offset_delta": len(self.records) - 1,
            "base_timestamp": base_timestamp,
            "max_timestamp": base_timestamp + max((record.at for record in self.records), default=0),
            "producer_id": resolve(self.producer_id),
            "producer_epoch": resolve(self.epoch),
            "base_sequence": self.sequence,
            "record_count": len(self.records),
        }
        fields |= {name: resolve(value) for name, value in self.header.items()}
        covered = _HEADER.pack(*fields.values())[21:] + body
        fields["crc"] = crc32c.crc32c(covered) ^ (1 if self.bad_crc else 0)
        encoded = _HEADER.pack(*fields.values()) + body
        return encoded[: len(encoded) - self.cut] + self.tail


@dataclass(frozen=True)
class Joined:
    """Several batches in one records field."""

    batches: Sequence[Batch]

    def encode(self, resolve: Resolve) -> bytes:
        return b"".join(batch.encode(resolve) for batch in self.batches)


@dataclass(frozen=True)
class OldMessage:
    """One uncompressed message of magic 0 or 1."""

    magic: int
    value: bytes = b"v"

    def encode(self, resolve: Resolve) -> bytes:
        stamp = struct.pack(">q", resolve(1_000)) if self.magic == 1 else b""
        covered = struct.pack(">bb", self.magic, 0) + stamp + struct.pack(">ii", -1, len(self.value)) + self.value
        message = struct.pack(">I", zlib.crc32(covered)) + covered
        return struct.pack(">qi", 0, len(message)) + message


@dataclass(frozen=True)
class Plain:
    """Bytes that are no batch."""

    data: bytes

    def encode(self, resolve: Resolve) -> bytes:
        return bytes(resolve(self.data))


@dataclass(frozen=True)
class Null:
    """No records field at all: null on the wire."""

    def encode(self, _resolve: Resolve) -> None:
        return None


def compress(codec: str, data: bytes, framing: str) -> bytes:
    if codec == "gzip":
        return gzip.compress(data, mtime=0)
    if codec == "zstd":
        return bytes(cramjam.zstd.compress(data))
    if codec == "snappy":
        raw = bytes(cramjam.snappy.compress_raw(data))
        xerial = b"\x82SNAPPY\x00" + struct.pack(">iii", 1, 1, len(raw)) + raw
        return raw if framing == "raw" else xerial
    if codec == "lz4":
        return _lz4_frame(data)
    return data


def _lz4_frame(data: bytes) -> bytes:
    """An LZ4 frame with one stored, independent block: every reader accepts it. Header checksum by hand."""
    descriptor = b"\x60\x40"
    checksum = bytes([(_xxh32(descriptor) >> 8) & 0xFF])
    block = struct.pack("<I", len(data) | 0x80000000) + data
    return b"\x04\x22\x4d\x18" + descriptor + checksum + block + b"\0\0\0\0"


def _xxh32(data: bytes) -> int:
    """xxHash-32, seed 0, for inputs below 4 bytes, which is all that a frame descriptor needs here."""
    mask = 0xFFFFFFFF
    prime1, prime2, prime3, prime5 = 2654435761, 2246822519, 3266489917, 374761393
    value = (prime5 + len(data)) & mask
    for byte in data:
        value = (value + byte * prime5) & mask
        value = (((value << 11) | (value >> 21)) * prime1) & mask
    value = ((value ^ (value >> 15)) * prime2) & mask
    value = ((value ^ (value >> 13)) * prime3) & mask
    return value ^ (value >> 16)


def varint(value: int) -> bytes:
    """A zigzag varint of at most 64 bits."""
    rest = ((value << 1) ^ (value >> 63)) & 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while rest >= 0x80:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def _sized(data: bytes | None) -> bytes:
    return varint(-1) if data is None else varint(len(data)) + data


def _record(record: Rec, index: int) -> bytes:
    offset_delta = index if record.offset_delta is None else record.offset_delta
    headers = b"".join(_sized(name) + _sized(value) for name, value in record.headers)
    body = (
        b"\0"
        + varint(record.at)
        + varint(offset_delta)
        + _sized(record.key)
        + _sized(record.value)
        + varint(len(record.headers))
        + headers
    )
    return varint(len(body) if record.length is None else record.length) + body
