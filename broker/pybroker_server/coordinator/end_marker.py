"""The end of a producer's transaction in a partition: the control batch that its coordinator has written there.

Rules of this file: the event loop only. Whoever appends a marker waits for the high watermark before it says so.
"""

from __future__ import annotations

from typing import NamedTuple

from pybroker_protocol.records.control import ControlType, build_end_transaction_marker
from pybroker_server.log.validator import AppendOrigin
from pybroker_server.replica.partition import ACKS_ALL, Partition


class EndMarker(NamedTuple):
    producer_id: int
    producer_epoch: int
    coordinator_epoch: int
    """Of the transaction coordinator's term: a partition takes no marker of an earlier one."""
    is_commit: bool
    transaction_version: int
    """From 2 on the marker's epoch is above that of what it ends (KIP-890)."""


def append_marker(partition: Partition, marker: EndMarker, now_ms: int, wall_ms: int) -> int:
    """Appends it as leader; the offset that the high watermark must reach. Raises KafkaError."""
    batch = build_end_transaction_marker(
        ControlType.COMMIT if marker.is_commit else ControlType.ABORT,
        timestamp=wall_ms,
        producer_id=marker.producer_id,
        producer_epoch=marker.producer_epoch,
        coordinator_epoch=marker.coordinator_epoch,
    )
    info = partition.append(
        memoryview(batch),
        ACKS_ALL,
        now_ms,
        wall_ms,
        origin=AppendOrigin.MARKER,
        transaction_version=marker.transaction_version,
    )
    return info.last_offset + 1
