"""Feeds a batch of the log into producer state: the same way live, on followers and in recovery (R14).

Rules of this file: pure. The offset is handed in, because a leader's batch does not have its own yet.
"""

from __future__ import annotations

from pybroker_protocol.records.batch import CONTROL, TRANSACTIONAL, BatchHeader
from pybroker_protocol.records.control import ControlType
from pybroker_server.log.batch_scan import read_end_marker
from pybroker_server.log.producer_state import CompletedTransaction, ProducerState


def apply_batch(
    state: ProducerState, batch: memoryview, header: BatchHeader, base_offset: int
) -> CompletedTransaction | None:
    """Takes a batch with a producer id into account; the transaction that it ended, if it is a marker.

    `batch` must be whole for a control batch. Raises ProtocolError for a control batch that is none.
    """
    if header.attributes & CONTROL:
        marker = read_end_marker(batch)
        if marker is None:
            return None
        return state.apply_marker(
            header.producer_id,
            header.producer_epoch,
            marker.coordinator_epoch,
            base_offset,
            header.max_timestamp,
            marker.kind is ControlType.ABORT,
        )
    # Also for a batch that compaction emptied: it is kept for its sequence numbers.
    state.apply_data(
        header.producer_id,
        header.producer_epoch,
        header.base_sequence,
        header.last_sequence,
        base_offset,
        base_offset + header.last_offset_delta,
        header.max_timestamp,
        bool(header.attributes & TRANSACTIONAL),
    )
    return None
