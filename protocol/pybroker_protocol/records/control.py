"""Control records: the marks that brokers write into partitions among the records of clients.

Rules: the key says what the mark is (version i16, type i16), the value carries its data; a batch of control
records holds exactly one. Clients skip them, except that the marks of transactions tell readers of committed data
where an aborted one ends (KIP-98). LEADER_CHANGE and the others belong to Raft logs and are only recognised.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final, NamedTuple

from pybroker_protocol.errors import ProtocolError
from pybroker_protocol.records import Buffer
from pybroker_protocol.records.builder import RecordBatchBuilder
from pybroker_protocol.records.record import RecordFields, iter_records

__all__ = [
    "ControlType",
    "EndTransactionMarker",
    "build_end_transaction_marker",
    "control_type",
    "read_control_batch",
    "read_marker",
]

_KEY: Final = struct.Struct(">hh")
_MARKER: Final = struct.Struct(">hi")
_CONTROL_BYTES_MAX: Final = 1024


class ControlType(IntEnum):
    """The types of control records of Kafka 4.3."""

    ABORT = 0
    COMMIT = 1
    LEADER_CHANGE = 2
    SNAPSHOT_HEADER = 3
    SNAPSHOT_FOOTER = 4
    KRAFT_VERSION = 5
    KRAFT_VOTERS = 6
    UNKNOWN = -1


_KNOWN: Final = {int(kind): kind for kind in ControlType}


class EndTransactionMarker(NamedTuple):
    """The end of a producer's transaction in one partition."""

    kind: ControlType
    coordinator_epoch: int


def control_type(record: RecordFields) -> ControlType:
    """What kind of mark a control record is; UNKNOWN for types of the future. Raises `ProtocolError`."""
    if record.raw_key is None or len(record.raw_key) < _KEY.size:
        raise ProtocolError("a control record has no type")
    return _KNOWN.get(_KEY.unpack_from(record.raw_key)[1], ControlType.UNKNOWN)


def read_marker(record: RecordFields) -> EndTransactionMarker:
    """The marker in a control record of type ABORT or COMMIT. Raises `ProtocolError` when it is none."""
    kind = control_type(record)
    if kind not in (ControlType.ABORT, ControlType.COMMIT):
        raise ProtocolError(f"a control record of type {kind.name} does not end a transaction")
    if record.raw_value is None or len(record.raw_value) < _MARKER.size:
        raise ProtocolError("a transaction marker is cut short")
    return EndTransactionMarker(kind, _MARKER.unpack_from(record.raw_value)[1])


def read_control_batch(batch_view: Buffer) -> RecordFields:
    """The one record of a control batch. Raises `ProtocolError` when there is not exactly one."""
    records = list(iter_records(batch_view, max_bytes=_CONTROL_BYTES_MAX))
    if len(records) != 1:
        raise ProtocolError(f"a control batch of {len(records)} records")
    return records[0]


def build_end_transaction_marker(
    kind: ControlType, *, timestamp: int, producer_id: int, producer_epoch: int, coordinator_epoch: int
) -> bytearray:
    """The control batch that commits or aborts what `producer_id` wrote to a partition in its transaction."""
    assert kind in (ControlType.ABORT, ControlType.COMMIT), kind
    builder = RecordBatchBuilder(
        producer_id=producer_id, producer_epoch=producer_epoch, is_transactional=True, is_control=True
    )
    builder.append(timestamp, _KEY.pack(0, kind), _MARKER.pack(0, coordinator_epoch))
    return builder.build()
