"""One transactional id as its coordinator knows it, and its record in `__transaction_state`.

Rules of this file: values only, never changed in place; the record is Kafka's, so that its tools read the topic and a
coordinator of its own could load it. Which value may follow which is `transitions.py`'s affair.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from pybroker_protocol.codec import encode
from pybroker_protocol.messages import TransactionLogKey, TransactionLogValue

NO_PRODUCER_ID = -1
NO_PRODUCER_EPOCH = -1
NO_TIME = -1
EPOCH_MAX = (1 << 15) - 1
KEY_VERSION = 0
VALUE_VERSION = 1
"""Flexible, with the fields of transaction version 2 (KIP-890)."""

TopicPartition = tuple[str, int]


class TransactionState(IntEnum):
    """As stored; `kafka_name` is what DescribeTransactions and ListTransactions say."""

    EMPTY = 0
    """Made, or its last transaction ended long ago enough to be fenced since: nothing is open."""
    ONGOING = 1
    PREPARE_COMMIT = 2
    """Decided: from here on it will be committed, however often the coordinator dies."""
    PREPARE_ABORT = 3
    COMPLETE_COMMIT = 4
    COMPLETE_ABORT = 5
    DEAD = 6
    PREPARE_EPOCH_FENCE = 7

    @property
    def kafka_name(self) -> str:
        return _NAMES[self]

    @property
    def is_prepared(self) -> bool:
        return self in (TransactionState.PREPARE_COMMIT, TransactionState.PREPARE_ABORT)

    @property
    def is_at_rest(self) -> bool:
        """Nothing is open and nothing is to be done."""
        return self in (TransactionState.EMPTY, TransactionState.COMPLETE_COMMIT, TransactionState.COMPLETE_ABORT)


_NAMES = {
    TransactionState.EMPTY: "Empty",
    TransactionState.ONGOING: "Ongoing",
    TransactionState.PREPARE_COMMIT: "PrepareCommit",
    TransactionState.PREPARE_ABORT: "PrepareAbort",
    TransactionState.COMPLETE_COMMIT: "CompleteCommit",
    TransactionState.COMPLETE_ABORT: "CompleteAbort",
    TransactionState.DEAD: "Dead",
    TransactionState.PREPARE_EPOCH_FENCE: "PrepareEpochFence",
}


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transactional id and its present or last transaction. Times are wall-clock milliseconds."""

    transactional_id: str
    producer_id: int
    producer_epoch: int = NO_PRODUCER_EPOCH
    """-1 until the first InitProducerId; while prepared, the epoch that the markers carry."""
    last_producer_epoch: int = NO_PRODUCER_EPOCH
    """The epoch before the last InitProducerId that named one: its retry gets the same answer. Not stored."""
    previous_producer_id: int = NO_PRODUCER_ID
    """Before the epochs of one ran out; -1 otherwise."""
    next_producer_id: int = NO_PRODUCER_ID
    """The id that a prepared transaction goes on with because its epochs have run out; -1 otherwise."""
    timeout_ms: int = 0
    state: TransactionState = TransactionState.EMPTY
    partitions: frozenset[TopicPartition] = frozenset()
    start_ms: int = NO_TIME
    update_ms: int = NO_TIME
    client_version: int = 0
    """`transaction.version` that the client uses: 2 bumps the epoch with every end."""

    @property
    def is_epoch_exhausted(self) -> bool:
        """One epoch is kept for fencing."""
        return self.producer_epoch >= EPOCH_MAX - 1

    def has_timed_out(self, now_ms: int) -> bool:
        """An open transaction whose producer let its time run out."""
        return self.state is TransactionState.ONGOING and now_ms - self.start_ms > self.timeout_ms


def encode_key(transactional_id: str) -> bytes:
    return _versioned(KEY_VERSION, TransactionLogKey(transactional_id=transactional_id))


def encode_value(transaction: Transaction) -> bytes:
    """The record's value, with its version in front."""
    value = TransactionLogValue(
        producer_id=transaction.producer_id,
        previous_producer_id=transaction.previous_producer_id,
        next_producer_id=transaction.next_producer_id,
        producer_epoch=transaction.producer_epoch,
        transaction_timeout_ms=transaction.timeout_ms,
        transaction_status=transaction.state,
        transaction_partitions=_partitions(transaction),
        transaction_last_update_timestamp_ms=transaction.update_ms,
        transaction_start_timestamp_ms=transaction.start_ms,
        client_transaction_version=transaction.client_version,
    )
    return _versioned(VALUE_VERSION, value)


def _versioned(version: int, message: TransactionLogKey | TransactionLogValue) -> bytes:
    return b"".join([version.to_bytes(2, "big"), *encode(message, version)])


def _partitions(transaction: Transaction) -> list[TransactionLogValue.PartitionsSchema] | None:
    if transaction.state is TransactionState.EMPTY:
        return None
    topics: dict[str, list[int]] = {}
    for topic, partition in sorted(transaction.partitions):
        topics.setdefault(topic, []).append(partition)
    return [
        TransactionLogValue.PartitionsSchema(topic=topic, partition_ids=indexes) for topic, indexes in topics.items()
    ]


def from_record(transactional_id: str, value: TransactionLogValue) -> Transaction:
    """What a stored record says. Raises ValueError for a state that does not exist."""
    return Transaction(
        transactional_id=transactional_id,
        producer_id=value.producer_id,
        producer_epoch=value.producer_epoch,
        previous_producer_id=value.previous_producer_id,
        next_producer_id=value.next_producer_id,
        timeout_ms=value.transaction_timeout_ms,
        state=TransactionState(value.transaction_status),
        partitions=frozenset(
            (entry.topic, index) for entry in value.transaction_partitions or () for index in entry.partition_ids
        ),
        start_ms=value.transaction_start_timestamp_ms,
        update_ms=value.transaction_last_update_timestamp_ms,
        client_version=value.client_transaction_version,
    )
