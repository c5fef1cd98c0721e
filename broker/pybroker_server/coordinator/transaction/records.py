"""A transactional id as it is stored in `__transaction_state`: one record holds all of it, in Kafka's format.

Rules of this file: pure.
"""

from __future__ import annotations

from typing import Final

from pybroker_protocol.messages import TransactionLogKey, TransactionLogValue
from pybroker_server.coordinator.records import CoordinatorRecord, RecordTypes
from pybroker_server.coordinator.transaction.transaction import State, TopicPartition, Transaction

TRANSACTIONS_TOPIC: Final = "__transaction_state"
RECORD_TYPES: Final = RecordTypes(("TransactionLog",))

_WITH_PRODUCER_IDS: Final = 1
"""The version since `transaction.version` 1, with the ids before and after in tagged fields."""


def transaction_record(transaction: Transaction) -> CoordinatorRecord:
    """An empty one has no list of partitions at all, as Kafka writes it."""
    partitions = None
    if transaction.state is not State.EMPTY:
        partitions = [
            TransactionLogValue.PartitionsSchema(topic=topic, partition_ids=indexes)
            for topic, indexes in by_topic(transaction.partitions).items()
        ]
    value = TransactionLogValue(
        producer_id=transaction.producer_id,
        previous_producer_id=transaction.previous_producer_id,
        next_producer_id=transaction.next_producer_id,
        producer_epoch=transaction.producer_epoch,
        transaction_timeout_ms=transaction.timeout_ms,
        transaction_status=transaction.state,
        transaction_partitions=partitions,
        transaction_last_update_timestamp_ms=transaction.last_update_ms,
        transaction_start_timestamp_ms=transaction.start_ms,
        client_transaction_version=transaction.client_version,
    )
    return CoordinatorRecord(_key(transaction.transactional_id), value, _WITH_PRODUCER_IDS)


def transaction_tombstone(transactional_id: str) -> CoordinatorRecord:
    return CoordinatorRecord(_key(transactional_id), None)


def _key(transactional_id: str) -> TransactionLogKey:
    return TransactionLogKey(transactional_id=transactional_id)


def transaction_from(transactional_id: str, value: TransactionLogValue, last_producer_epoch: int) -> Transaction:
    """Raises ValueError for a state that does not exist."""
    return Transaction(
        transactional_id=transactional_id,
        producer_id=value.producer_id,
        previous_producer_id=value.previous_producer_id,
        next_producer_id=value.next_producer_id,
        producer_epoch=value.producer_epoch,
        last_producer_epoch=last_producer_epoch,
        timeout_ms=value.transaction_timeout_ms,
        state=State(value.transaction_status),
        partitions=frozenset(
            (topic.topic, index) for topic in value.transaction_partitions or () for index in topic.partition_ids
        ),
        start_ms=value.transaction_start_timestamp_ms,
        last_update_ms=value.transaction_last_update_timestamp_ms,
        client_version=value.client_transaction_version,
    )


def by_topic(partitions: frozenset[TopicPartition]) -> dict[str, list[int]]:
    """Sorted."""
    found: dict[str, list[int]] = {}
    for topic, index in sorted(partitions):
        found.setdefault(topic, []).append(index)
    return found
