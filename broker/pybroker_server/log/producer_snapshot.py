"""The `.snapshot` files: producer state as of an offset, so that recovery need not read the log from its start.

Rules of this file: pure; bytes in and out. The format is Kafka's, big endian: int16 version 1, uint32 CRC-32C of
all that follows it, int32 count, then per producer int64 id, int16 epoch, int32 last sequence, int64 last offset,
int32 offset delta, int64 timestamp, int32 coordinator epoch, int64 first offset of the open transaction or -1.

Kafka keeps one batch per producer in it. A producer may have five in flight and repeat any of them after a restart,
so a section of our own follows: the older batches. Kafka's readers check the CRC over it and ignore it; without it
(a snapshot of Kafka's own) only the last batch is known.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from pybroker_protocol.records.crc32c import crc32c
from pybroker_server.log.producer_state import NO_OFFSET, BatchRange, ProducerEntry

_HEAD = struct.Struct(">hI")
_COUNT = struct.Struct(">i")
_ENTRY = struct.Struct(">qhiqiqiq")
_OLDER_MAGIC = b"5bat"
_OLDER = struct.Struct(">qiiqqq")
_VERSION = 1
_SEQUENCE_MASK = (1 << 31) - 1


class SnapshotCorrupt(Exception):
    """A snapshot cannot be used: an older one is taken, and more of the log read."""


def format_snapshot(entries: Iterable[ProducerEntry]) -> bytes:
    parts: list[bytes] = []
    older: list[bytes] = []
    for entry in entries:
        batches = entry.batches
        last = batches[-1] if batches else None
        parts.append(
            _ENTRY.pack(
                entry.producer_id,
                entry.epoch,
                last.last_sequence if last else -1,
                last.last_offset if last else NO_OFFSET,
                last.last_offset - last.first_offset if last else 0,
                entry.last_timestamp,
                entry.coordinator_epoch,
                entry.transaction_first_offset,
            )
        )
        # The last batch is written again too where the fields above cannot say all of it: its own timestamp
        # when a marker followed it, and a first sequence that does not follow from the last (no sequences).
        if last and _from_entry(entry, last.last_sequence, last.last_offset, last) != last:
            older.extend(_OLDER.pack(entry.producer_id, *batch) for batch in batches)
        elif len(batches) > 1:
            older.extend(_OLDER.pack(entry.producer_id, *batch) for batch in list(batches)[:-1])
    body = [_COUNT.pack(len(parts)), *parts]
    if older:
        body += [_OLDER_MAGIC, _COUNT.pack(len(older)), *older]
    data = b"".join(body)
    return _HEAD.pack(_VERSION, crc32c(data)) + data


def _from_entry(entry: ProducerEntry, last_sequence: int, last_offset: int, last: BatchRange) -> BatchRange:
    delta = last.last_offset - last.first_offset
    first_sequence = (last_sequence - delta) & _SEQUENCE_MASK if last_sequence >= 0 else -1
    return BatchRange(first_sequence, last_sequence, last_offset - delta, last_offset, entry.last_timestamp)


def parse_snapshot(data: bytes, now_ms: int, expiration_ms: int) -> list[ProducerEntry]:
    """The producers of a snapshot; raises SnapshotCorrupt.

    How long they were idle is not known beyond their last timestamp, which may say anything: an old one has half
    the expiration time left, so it is neither forgotten in the middle of its work nor kept for ever.
    """
    try:
        version, crc = _HEAD.unpack_from(data)
        if version != _VERSION:
            raise SnapshotCorrupt(f"version {version} is not known")
        if crc32c(memoryview(data)[_HEAD.size :]) != crc:
            raise SnapshotCorrupt("the checksum is wrong")
        count = _COUNT.unpack_from(data, _HEAD.size)[0]
        position = _HEAD.size + _COUNT.size
        entries: dict[int, ProducerEntry] = {}
        for _ in range(count):
            entry = _parse_entry(_ENTRY.unpack_from(data, position))
            entry.last_active_ms = min(max(entry.last_timestamp, now_ms - expiration_ms // 2), now_ms)
            entries[entry.producer_id] = entry
            position += _ENTRY.size
        if data[position : position + len(_OLDER_MAGIC)] == _OLDER_MAGIC:
            _parse_older(data, position + len(_OLDER_MAGIC), entries)
    except struct.error as error:
        raise SnapshotCorrupt(f"it ends early: {error}") from None
    return list(entries.values())


def _parse_entry(fields: tuple[int, ...]) -> ProducerEntry:
    producer_id, epoch, sequence, last_offset, delta, timestamp, coordinator_epoch, first_offset = fields
    entry = ProducerEntry(producer_id, epoch, 0)
    entry.last_timestamp = timestamp
    entry.coordinator_epoch = coordinator_epoch
    entry.transaction_first_offset = first_offset if first_offset >= 0 else NO_OFFSET
    if last_offset >= 0:
        first_sequence = (sequence - delta) & _SEQUENCE_MASK if sequence >= 0 else -1
        entry.batches.append(BatchRange(first_sequence, sequence, last_offset - delta, last_offset, timestamp))
    return entry


def _parse_older(data: bytes, position: int, entries: dict[int, ProducerEntry]) -> None:
    """Puts the older batches before the last one of their producer; a last one given again replaces it."""
    count = _COUNT.unpack_from(data, position)[0]
    position += _COUNT.size
    older: dict[int, list[BatchRange]] = {}
    for _ in range(count):
        producer_id, *fields = _OLDER.unpack_from(data, position)
        older.setdefault(producer_id, []).append(BatchRange(*fields))
        position += _OLDER.size
    for producer_id, batches in older.items():
        entry = entries.get(producer_id)
        if entry is None or not entry.batches:
            continue
        last = entry.batches[-1]
        entry.batches.clear()
        entry.batches.extend(batches)
        if batches[-1].last_offset != last.last_offset:
            entry.batches.append(last)
