"""What is written in a transaction needs its coordinator's consent, once per partition and transaction (KIP-890).

Rules of this file: nothing is appended here. While the coordinator is asked nothing else of the connection is handled,
so that no later batch overtakes; a produce to partitions that the transaction has reached waits for nobody. Since
version 12 the write itself adds the partition to the transaction; before, the client has added it, and that is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import ProduceRequest, ProduceResponse
from pybroker_protocol.records.batch import BATCH_OVERHEAD, TRANSACTIONAL, parse_batch_header
from pybroker_server.coordinator.transaction.gate import Admission, Consent, TransactionGate, Writer
from pybroker_server.coordinator.transaction.transaction import TopicPartition
from pybroker_server.handlers.request import CloseConnection, Pending, Reply
from pybroker_server.replica.manager import ReplicaManager

_FIRST_ID_VERSION: Final = 13
_FIRST_ADDING_VERSION: Final = 12
_FIRST_ABORTABLE_VERSION: Final = 11

_RETRIED: Final = frozenset(
    {
        ErrorCode.CONCURRENT_TRANSACTIONS,
        ErrorCode.NETWORK_EXCEPTION,
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.NOT_COORDINATOR,
    }
)
"""Told as NOT_ENOUGH_REPLICAS: every client sends the batch again then, and looks for no new leader."""


def writer_of(transactional_id: str, producer_id: int, producer_epoch: int, version: int) -> Writer:
    """`version` is that of Produce."""
    if version >= _FIRST_ADDING_VERSION:
        consent = Consent.ADDED
    else:
        consent = Consent.CHECKED_ABORTABLE if version >= _FIRST_ABORTABLE_VERSION else Consent.CHECKED
    return Writer(transactional_id, producer_id, producer_epoch, consent)


def written_in_transaction(
    replicas: ReplicaManager, version: int, request: ProduceRequest
) -> tuple[dict[TopicPartition, int], set[tuple[int, int]]]:
    """(sequence by partition, producers and their epochs) of the transactional batches for topics that are here."""
    sequences: dict[TopicPartition, int] = {}
    producers: set[tuple[int, int]] = set()
    for topic in request.topic_data:
        by_id = version >= _FIRST_ID_VERSION
        hosted = replicas.topics_by_id.get(topic.topic_id.int) if by_id else replicas.topics.get(topic.name)
        if hosted is None or hosted.is_internal:
            continue
        for data in topic.partition_data:
            records = data.records
            if records is None or len(records) < BATCH_OVERHEAD or data.index not in hosted.partitions:
                continue
            header = parse_batch_header(records)
            if header.attributes & TRANSACTIONAL and header.producer_id >= 0:
                sequences[hosted.name, data.index] = header.base_sequence
                producers.add((header.producer_id, header.producer_epoch))
    return sequences, producers


def when_admitted(
    gate: TransactionGate,
    writer: Writer,
    sequences: Mapping[TopicPartition, int],
    produce: Callable[[Admission], Reply],
) -> Reply:
    """The reply of `produce`, which is called when the coordinator has been asked: now, if it need not be."""
    waiting = _Waiting(produce)
    gate.admit(writer, sequences, waiting.admitted)
    return waiting.start()


class _Waiting:
    """A produce on its way through the gate."""

    __slots__ = ("_pending", "_produce", "_reply")

    def __init__(self, produce: Callable[[Admission], Reply]) -> None:
        self._produce = produce
        self._reply: Reply = None
        self._pending: Pending[Any] | None = None

    def start(self) -> Reply:
        """Raises CloseConnection."""
        if self._reply is None:
            self._pending = Pending()
            self._pending.is_ordered = True
            return self._pending
        if isinstance(self._reply, CloseConnection):
            raise self._reply
        return self._reply

    def admitted(self, admission: Admission) -> None:
        try:
            reply = self._produce(admission)
        except CloseConnection as close:
            reply = close
        pending = self._pending
        if pending is None:
            self._reply = reply
        elif not isinstance(reply, Pending):
            pending.complete(reply)
        elif pending.abandoned:
            reply.abandon()
        else:
            pending.on_abandon = reply.abandon
            reply.attach(pending.complete)


def fill_refusal(result: ProduceResponse.PartitionProduceResponse, code: ErrorCode) -> None:
    """What a partition is told that must not be written."""
    if code in _RETRIED:
        result.error_code = ErrorCode.NOT_ENOUGH_REPLICAS
        result.error_message = f"whether the partition belongs to the transaction could not be asked now: {code.name}"
        return
    result.error_code = code
    if code is ErrorCode.INVALID_TXN_STATE:
        result.error_message = "the partition was not added to the transaction"
