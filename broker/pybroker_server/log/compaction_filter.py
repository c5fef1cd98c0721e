"""Which records of a log stay when it is compacted, and the batches that are left.

Rules of this file: pure. A batch from which nothing goes is handed back as it is; otherwise it keeps its base offset,
last offset, producer and codec, and its records keep their bytes. What Kafka's log cleaner keeps, this keeps:

- of each key the last record, as far as the offset map reaches; beyond it everything; nothing without a key
- a tombstone until the delete horizon in its batch's header, set by the pass that first keeps it (KIP-534)
- nothing of an aborted transaction; a marker until its transaction's data is gone and its own horizon has passed
- without records: a batch that holds the last sequence of an active producer, and the last one of the section
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from pybroker_protocol.records.batch import (
    BATCH_OVERHEAD,
    CODEC_MASK,
    CONTROL,
    DELETE_HORIZON,
    LOG_APPEND_TIME,
    LOG_OVERHEAD,
    BatchHeader,
    pack_batch_header,
    verify_crc,
    write_crc,
)
from pybroker_protocol.records.compression import Codec, compress, decompress
from pybroker_protocol.records.record import CHUNK_RECORDS, Record, RecordReader
from pybroker_protocol.records.varint import decode_varint, encode_varint
from pybroker_server.log.compaction_map import OffsetMap
from pybroker_server.log.compaction_transactions import TransactionTracker
from pybroker_server.runtime.ports import Buffer

_NO_TIMESTAMP: Final = -1
_INFLATED_BYTES_MIN: Final = 16 * 1024 * 1024
_INFLATED_RATIO_MAX: Final = 100


class CompactionError(Exception):
    """A log cannot be compacted: what lies in it is not what must lie there."""


class ActiveProducer(NamedTuple):
    """What must stay of a producer that is still remembered."""

    last_data_offset: int | None
    """Where its last batch ends; None when its last one was a marker of a new epoch."""
    epoch: int


class BatchFilter:
    """Decides batch by batch, in log order, over one pass from the log's first batch on."""

    def __init__(
        self,
        offsets: OffsetMap,
        transactions: TransactionTracker,
        producers: Mapping[int, ActiveProducer],
        *,
        end_offset: int,
        delete_retention_ms: int,
        now_ms: int,
    ) -> None:
        """`end_offset`: where the section ends that can be compacted."""
        self._offsets = offsets
        self._transactions = transactions
        self._producers = producers
        self._end_offset = end_offset
        self._now_ms = now_ms
        self._new_horizon_ms = now_ms + delete_retention_ms

    def clean(self, header: BatchHeader, batch: memoryview) -> Buffer | None:
        """What is left of a batch: `batch` itself when nothing goes, None when nothing is left.

        Raises CompactionError for a batch whose checksum is wrong: a new one must not cover damage up. Raises
        ProtocolError for records that cannot be read.
        """
        if not verify_crc(batch):
            raise CompactionError(f"the checksum of the batch at offset {header.base_offset} is wrong")
        is_unneeded = self._transactions.on_batch(header, batch)
        if header.attributes & CONTROL:
            return self._clean_control(header, batch, is_unneeded)
        if is_unneeded or not header.record_count:
            return self._without_records(header, batch)
        if header.base_offset > self._offsets.latest_offset:
            return batch
        return self._clean_data(header, batch)

    def _clean_control(self, header: BatchHeader, batch: memoryview, is_unneeded: bool) -> Buffer | None:
        if not is_unneeded:
            return batch
        if not header.record_count:
            return self._without_records(header, batch)
        horizon_ms = _horizon_of(header)
        if horizon_ms is None:
            opened = _open(header, batch)
            return _rebuilt(header, opened, opened.records, self._new_horizon_ms)
        return self._without_records(header, batch) if horizon_ms <= self._now_ms else batch

    def _clean_data(self, header: BatchHeader, batch: memoryview) -> Buffer | None:
        opened = _open(header, batch)
        horizon_ms = _horizon_of(header)
        keeps_tombstones = horizon_ms is None or self._now_ms < horizon_ms
        offsets, latest = self._offsets, self._offsets.latest_offset
        kept = []
        has_tombstones = False
        for record in opened.records:
            _, offset, _, key, value, _ = record
            if offset <= latest:
                if key is None or offset < offsets.get(key) or (value is None and not keeps_tombstones):
                    continue
                has_tombstones = has_tombstones or value is None
            kept.append(record)
        if not kept:
            return self._without_records(header, batch)
        new_horizon_ms = self._new_horizon_ms if has_tombstones and horizon_ms is None else None
        if new_horizon_ms is None and len(kept) == len(opened.records):
            return batch
        return _rebuilt(header, opened, kept, new_horizon_ms)

    def _without_records(self, header: BatchHeader, batch: memoryview) -> Buffer | None:
        """A batch of no records where its header is still needed."""
        if not (self._is_last_of_producer(header) or header.next_offset == self._end_offset):
            return None
        return batch if not header.record_count else _emptied(header)

    def _is_last_of_producer(self, header: BatchHeader) -> bool:
        producer = self._producers.get(header.producer_id) if header.producer_id >= 0 else None
        if producer is None:
            return False
        if producer.last_data_offset is not None:
            return header.last_offset == producer.last_data_offset
        # The marker says the epoch below which the producer is fenced.
        return bool(header.attributes & CONTROL) and header.producer_epoch == producer.epoch


class _Opened(NamedTuple):
    body: bytes
    """The records, not compressed."""
    records: list[Record]


def read_records(header: BatchHeader, batch: memoryview) -> list[Record]:
    """All records of a batch. Raises ProtocolError."""
    return _open(header, batch).records


def _open(header: BatchHeader, batch: memoryview) -> _Opened:
    body = batch[BATCH_OVERHEAD : header.size_bytes]
    if header.attributes & CODEC_MASK:
        limit = max(_INFLATED_BYTES_MIN, _INFLATED_RATIO_MAX * len(body))
        plain = decompress(header.codec, body, max_bytes=limit)
        header = header._replace(
            batch_length=BATCH_OVERHEAD - LOG_OVERHEAD + len(plain), attributes=header.attributes & ~CODEC_MASK
        )
        batch = memoryview(bytes(BATCH_OVERHEAD) + plain)
    else:
        plain = bytes(body)
    reader = RecordReader(batch, header, Record, header, max_bytes=len(plain))
    records: list[Record] = []
    while chunk := reader.read(CHUNK_RECORDS):
        records += chunk
    return _Opened(plain, records)


def _horizon_of(header: BatchHeader) -> int | None:
    return header.base_timestamp if header.attributes & DELETE_HORIZON else None


def _emptied(header: BatchHeader) -> bytearray:
    """The header of a batch alone: offsets, producer and sequence live on in it."""
    return _sealed(
        header._replace(
            attributes=header.attributes & ~(CODEC_MASK | DELETE_HORIZON),
            base_timestamp=_NO_TIMESTAMP,
            record_count=0,
        ),
        b"",
    )


def _rebuilt(header: BatchHeader, opened: _Opened, kept: Sequence[Record], new_horizon_ms: int | None) -> bytearray:
    """The batch with these of its records. A new delete horizon takes the place of the base timestamp."""
    pieces = _pieces(opened.body, header, kept)
    attributes, base_timestamp = header.attributes, header.base_timestamp
    if new_horizon_ms is not None:
        shift_ms = base_timestamp - new_horizon_ms
        pieces = [_shifted(piece, shift_ms) for piece in pieces]
        attributes |= DELETE_HORIZON
        base_timestamp = new_horizon_ms
    body = b"".join(pieces)
    if codec := header.codec:
        body = compress(Codec(codec), body)
    newest = header.max_timestamp
    if not attributes & LOG_APPEND_TIME:
        newest = max(record.timestamp_ms for record in kept)
    return _sealed(
        header._replace(
            attributes=attributes, base_timestamp=base_timestamp, max_timestamp=newest, record_count=len(kept)
        ),
        body,
    )


def _pieces(body: bytes, header: BatchHeader, kept: Sequence[Record]) -> list[bytes]:
    """The bytes of the records that are kept, their lengths included."""
    wanted = iter(kept)
    record = next(wanted, None)
    pieces = []
    position = 0
    while record is not None:
        length, start = decode_varint(body, position)
        end = start + length
        offset_at = decode_varint(body, start + 1, 64)[1]
        if header.base_offset + decode_varint(body, offset_at)[0] == record.offset:
            pieces.append(body[position:end])
            record = next(wanted, None)
        position = end
    return pieces


def _shifted(piece: bytes, shift_ms: int) -> bytes:
    """A record whose timestamp is told from another base."""
    _, start = decode_varint(piece, 0)
    delta_ms, end = decode_varint(piece, start + 1, 64)
    fields = piece[start : start + 1] + encode_varint(delta_ms + shift_ms) + piece[end:]
    return encode_varint(len(fields)) + fields


def _sealed(header: BatchHeader, body: bytes) -> bytearray:
    batch = bytearray(BATCH_OVERHEAD)
    batch += body
    pack_batch_header(header._replace(batch_length=len(batch) - LOG_OVERHEAD), batch)
    write_crc(batch, 0, len(batch))
    return batch
