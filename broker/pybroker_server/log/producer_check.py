"""May this batch of a producer follow what is in the log? Asked by leaders before they append.

Rules of this file: pure; nothing is changed. Kafka's checks in Kafka's order: a marker's epochs, a batch sent again,
the coordinator's consent, the producer's epoch, its sequence.
"""

from __future__ import annotations

from pybroker_protocol.records.batch import CONTROL, TRANSACTIONAL, BatchHeader
from pybroker_server.log.batch_scan import read_end_marker
from pybroker_server.log.producer_state import BatchRange, ProducerState
from pybroker_server.log.validator import AppendOrigin
from pybroker_server.log.verification import Verification


def check_producer(
    state: ProducerState,
    records: memoryview,
    header: BatchHeader,
    origin: AppendOrigin,
    *,
    transaction_version: int,
    verification: Verification | None,
    must_be_verified: bool,
) -> BatchRange | None:
    """Where the batch went the first time, if it is sent again. Raises KafkaError for one that may not follow.

    `transaction_version` is that of a marker. The first batch of a transaction needs `verification`, which is what
    `Verifications.begin` gave and the coordinator then confirmed, unless nothing `must_be_verified`.
    """
    if header.attributes & CONTROL:
        marker = read_end_marker(records)
        if marker is not None:
            state.check_marker(
                header.producer_id,
                header.producer_epoch,
                marker.coordinator_epoch,
                transaction_version=transaction_version,
            )
        return None
    producer_id, epoch = header.producer_id, header.producer_epoch
    is_clients = origin is AppendOrigin.CLIENT
    if is_clients:
        known = state.find_duplicate(producer_id, epoch, header.base_sequence, header.last_sequence)
        if known is not None:
            return known
    is_transactional = bool(header.attributes & TRANSACTIONAL)
    if is_transactional and must_be_verified and not state.has_open_transaction(producer_id, epoch):
        state.verifications.check(producer_id, verification)
    state.check_data(
        producer_id,
        epoch,
        header.base_sequence,
        is_transactional,
        check_sequence=is_clients,
        verification=state.verifications.get(producer_id),
    )
    return None
