"""Reads the log of an internal topic's partition back into coordinator records.

Rules of this file: no state of the event loop is touched, so `read_step` may run in a thread. A batch is taken whole.
What cannot be decoded is damage of that one record: it is counted and skipped, as everything else of the partition's
groups or transactions must not be lost with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pybroker_protocol.errors import ProtocolError
from pybroker_protocol.records.batch import CONTROL, TRANSACTIONAL, BatchHeader, iter_batches
from pybroker_protocol.records.control import ControlType
from pybroker_protocol.records.record import iter_records
from pybroker_server.coordinator.records import CoordinatorRecord, RecordTypes
from pybroker_server.log.batch_scan import read_end_marker
from pybroker_server.log.partition_log import PartitionLog
from pybroker_server.log.position import LogPosition

_INFLATED_BYTES_MAX = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Marker:
    """The end of a producer's transaction."""

    is_commit: bool


@dataclass(frozen=True, slots=True)
class Loaded:
    """One record or marker as it lies in the log. `producer_id` is -1 outside transactions."""

    producer_id: int
    producer_epoch: int
    entry: CoordinatorRecord | Marker


@dataclass(slots=True)
class LoadStep:
    entries: list[Loaded] = field(default_factory=list)
    next_offset: int = 0
    damaged: int = 0
    """Records that could not be decoded."""


def read_step(log: PartitionLog, types: RecordTypes, offset: int, max_bytes: int, upper: LogPosition) -> LoadStep:
    """What lies from `offset` on, about `max_bytes` of it; `next_offset` is where to go on. Blocks.

    Raises KafkaError OFFSET_OUT_OF_RANGE when the log begins later by now, and OSError.
    """
    result = log.read(offset, max_bytes, upper, min_one=True, nowait=False)
    assert result is not None
    step = LoadStep(next_offset=upper.offset if not len(result.records) else offset)
    for position, header in iter_batches(result.records):
        if header.last_offset >= offset:
            _read_batch(result.records[position : position + header.size_bytes], header, types, step, offset)
            step.next_offset = header.last_offset + 1
    return step


def _read_batch(batch: memoryview, header: BatchHeader, types: RecordTypes, step: LoadStep, offset: int) -> None:
    is_in_transaction = bool(header.attributes & TRANSACTIONAL)
    producer_id = header.producer_id if is_in_transaction else -1
    producer_epoch = header.producer_epoch if is_in_transaction else -1
    try:
        if header.attributes & CONTROL:
            marker = read_end_marker(batch)
            if marker is not None:
                is_commit = marker.kind is ControlType.COMMIT
                step.entries.append(Loaded(header.producer_id, header.producer_epoch, Marker(is_commit)))
            return
        for record in iter_records(batch, max_bytes=_INFLATED_BYTES_MAX):
            if record.offset < offset:
                continue
            try:
                decoded = types.decode(record.raw_key, record.raw_value)
            except ProtocolError:
                step.damaged += 1
                continue
            if decoded is not None:
                step.entries.append(Loaded(producer_id, producer_epoch, decoded))
    except ProtocolError:
        step.damaged += 1
