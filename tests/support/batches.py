"""Batches made by hand and by other implementations, as second opinions on ours."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any

from crc32c import crc32c

Row = tuple[int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]
"""timestamp, key, value, headers"""


def varint(value: int) -> bytes:
    rest = (value << 1) ^ (value >> 63)
    out = bytearray()
    while rest > 127:
        out.append(rest & 127 | 128)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def record_bytes(
    delta: int, value: bytes | None = b"v", *, key: bytes | None = None, timestamp_delta: int = 0
) -> bytes:
    body = b"\x00" + varint(timestamp_delta) + varint(delta)
    for part in (key, value):
        body += varint(-1) if part is None else varint(len(part)) + part
    body += b"\x00"
    return varint(len(body)) + body


def batch_bytes(
    body: bytes, count: int, *, attributes: int = 0, base_offset: int = 0, last_delta: int | None = None
) -> bytes:
    """A batch around `body` with a right CRC, whatever is in it."""
    last_delta = count - 1 if last_delta is None else last_delta
    checked = struct.pack(">hiqqqhii", attributes, last_delta, 1000, 2000, -1, -1, -1, count) + body
    return struct.pack(">qiibI", base_offset, len(checked) + 9, 0, 2, crc32c(checked)) + checked


def kafka_python_batch(codec: int, rows: Sequence[Row]) -> bytes:
    from kafka.record.default_records import DefaultRecordBatchBuilder

    return _built(DefaultRecordBatchBuilder(2, codec, False, -1, -1, -1, 1 << 26), rows)


def aiokafka_batch(codec: int, rows: Sequence[Row]) -> bytes:
    from aiokafka.record.default_records import DefaultRecordBatchBuilder

    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=codec,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 26,
    )
    return _built(builder, rows)


def _built(builder: Any, rows: Sequence[Row]) -> bytes:
    for delta, (timestamp, key, value, headers) in enumerate(rows):
        builder.append(delta, timestamp, key, value, headers)
    return bytes(builder.build())


def read_by_kafka_python(batch: bytes) -> list[Row]:
    from kafka.record.default_records import DefaultRecordBatch

    return _rows(DefaultRecordBatch(batch))


def read_by_aiokafka(batch: bytes) -> list[Row]:
    from aiokafka.record.default_records import DefaultRecordBatch

    return _rows(DefaultRecordBatch(batch))


def _rows(batch: Any) -> list[Row]:
    assert batch.validate_crc()
    records: Iterable[Any] = batch
    return [(record.timestamp, record.key, record.value, list(record.headers)) for record in records]
