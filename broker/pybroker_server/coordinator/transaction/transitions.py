"""Which state of a transactional id follows which: the rules of Kafka's transaction coordinator (KIP-98, 360, 890).

Rules of this file: pure; (transaction, request, now) in, the next value out, or KafkaError with the code for the client
and nothing changed. Errors are given in
the newest code; a handler answers old versions with the code that they know.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_server.coordinator.transaction.state import (
    EPOCH_MAX,
    NO_PRODUCER_EPOCH,
    NO_PRODUCER_ID,
    NO_TIME,
    TopicPartition,
    Transaction,
    TransactionState,
)

EPOCH_BUMP_VERSION = 2
"""`transaction.version` from which each end of a transaction bumps the epoch (KIP-890)."""

_DECIDED = {
    True: (TransactionState.PREPARE_COMMIT, TransactionState.COMPLETE_COMMIT),
    False: (TransactionState.PREPARE_ABORT, TransactionState.COMPLETE_ABORT),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an operation leads to.

    `written` is the value to append (None: all is as it should be); the client is told `producer_id` and
    `producer_epoch` once it is committed.
    """

    written: Transaction | None
    producer_id: int
    producer_epoch: int


# -- InitProducerId


def check_init(known: Transaction, producer_id: int, producer_epoch: int) -> None:
    """Whether this client may take over the id now. Raises KafkaError PRODUCER_FENCED or CONCURRENT_TRANSACTIONS.

    An open transaction is no error here: see `fence`.
    """
    if producer_id != NO_PRODUCER_ID and known.producer_epoch != NO_PRODUCER_EPOCH:
        retries_rotation = producer_id == known.previous_producer_id and producer_epoch >= EPOCH_MAX - 1
        if producer_id != known.producer_id and not retries_rotation:
            raise KafkaError(
                ErrorCode.PRODUCER_FENCED,
                f"producer id {producer_id} is not {known.producer_id}, that of {known.transactional_id}",
            )
    if known.state.is_prepared:
        raise KafkaError(ErrorCode.CONCURRENT_TRANSACTIONS, "the last transaction is still being ended")


def init(
    known: Transaction,
    producer_id: int,
    producer_epoch: int,
    timeout_ms: int,
    now_ms: int,
    new_producer_id: int = NO_PRODUCER_ID,
) -> Outcome:
    """A producer takes over an id at rest. `new_producer_id` is needed when `known.is_epoch_exhausted`.

    Raises KafkaError PRODUCER_FENCED for an epoch that is neither the present one nor the one before.
    """
    expects = producer_id != NO_PRODUCER_ID
    fresh = replace(
        known,
        state=TransactionState.EMPTY,
        partitions=frozenset(),
        timeout_ms=timeout_ms,
        start_ms=NO_TIME,
        update_ms=now_ms,
        next_producer_id=NO_PRODUCER_ID,
    )
    if known.is_epoch_exhausted and (not expects or producer_epoch == known.producer_epoch):
        assert new_producer_id != NO_PRODUCER_ID
        written = replace(
            fresh,
            producer_id=new_producer_id,
            producer_epoch=0,
            last_producer_epoch=known.producer_epoch if expects else NO_PRODUCER_EPOCH,
            previous_producer_id=known.producer_id,
        )
    else:
        epoch, last_epoch = _next_epoch(known, producer_epoch if expects else None)
        written = replace(fresh, producer_epoch=epoch, last_producer_epoch=last_epoch)
    return Outcome(written, written.producer_id, written.producer_epoch)


def _next_epoch(known: Transaction, expected_epoch: int | None) -> tuple[int, int]:
    """(epoch, the one before it) for a producer that says it had `expected_epoch` (KIP-360)."""
    if expected_epoch is None:
        return known.producer_epoch + 1, NO_PRODUCER_EPOCH
    if known.producer_epoch == NO_PRODUCER_EPOCH or expected_epoch == known.producer_epoch:
        return known.producer_epoch + 1, known.producer_epoch
    if expected_epoch == known.last_producer_epoch:
        return known.producer_epoch, known.last_producer_epoch
    raise KafkaError(
        ErrorCode.PRODUCER_FENCED,
        f"epoch {expected_epoch} of {known.transactional_id} is out of date, {known.producer_epoch} is in use",
    )


def fence(known: Transaction, now_ms: int, new_producer_id: int = NO_PRODUCER_ID) -> Transaction:
    """Ends an open transaction over its producer's head: aborted, and its epoch is of no use any more.

    By a new InitProducerId, or because it took too long. With transaction version 2 the end itself bumps the epoch.
    """
    assert known.state is TransactionState.ONGOING
    if known.client_version < EPOCH_BUMP_VERSION:
        known = replace(known, producer_epoch=known.producer_epoch + 1, last_producer_epoch=NO_PRODUCER_EPOCH)
    return _prepare(known, TransactionState.PREPARE_ABORT, known.client_version, now_ms, new_producer_id)


# -- within a transaction


def check_producer(known: Transaction, producer_id: int, producer_epoch: int) -> None:
    """Raises KafkaError INVALID_PRODUCER_ID_MAPPING or PRODUCER_FENCED."""
    if producer_id != known.producer_id:
        raise KafkaError(
            ErrorCode.INVALID_PRODUCER_ID_MAPPING,
            f"{known.transactional_id} has producer id {known.producer_id}, not {producer_id}",
        )
    if producer_epoch != known.producer_epoch:
        raise KafkaError(
            ErrorCode.PRODUCER_FENCED,
            f"epoch {producer_epoch} of {known.transactional_id} is not {known.producer_epoch}, the present one",
        )


def add_partitions(
    known: Transaction,
    producer_id: int,
    producer_epoch: int,
    partitions: frozenset[TopicPartition],
    now_ms: int,
    client_version: int,
) -> Transaction | None:
    """The first write to partitions opens a transaction or widens the open one; None when it has them already.

    Raises KafkaError INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED or CONCURRENT_TRANSACTIONS.
    """
    check_producer(known, producer_id, producer_epoch)
    if known.state.is_prepared:
        raise KafkaError(ErrorCode.CONCURRENT_TRANSACTIONS, "the last transaction is still being ended")
    if known.state is TransactionState.ONGOING:
        if partitions <= known.partitions:
            return None
        return replace(known, partitions=known.partitions | partitions, update_ms=now_ms, client_version=client_version)
    return replace(
        known,
        state=TransactionState.ONGOING,
        partitions=partitions,
        start_ms=now_ms,
        update_ms=now_ms,
        client_version=client_version,
    )


def check_partition(known: Transaction, producer_id: int, producer_epoch: int, partition: TopicPartition) -> None:
    """Whether a write belongs to the open transaction (KIP-890, part 1).

    Raises KafkaError as `add_partitions` does, and TRANSACTION_ABORTABLE when the partition was not added.
    """
    check_producer(known, producer_id, producer_epoch)
    if known.state.is_prepared:
        raise KafkaError(ErrorCode.CONCURRENT_TRANSACTIONS, "the transaction is being ended")
    if known.state is not TransactionState.ONGOING or partition not in known.partitions:
        raise KafkaError(
            ErrorCode.TRANSACTION_ABORTABLE,
            f"{partition[0]}-{partition[1]} is not part of an open transaction of {known.transactional_id}",
        )


# -- the end


def end(
    known: Transaction,
    producer_id: int,
    producer_epoch: int,
    *,
    commits: bool,
    client_version: int,
    now_ms: int,
    new_producer_id: int = NO_PRODUCER_ID,
) -> Outcome:
    """EndTxn: decides the transaction, or answers its retry.

    `new_producer_id` is needed when the epochs are used up and the client's version bumps them. Raises KafkaError
    INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED, CONCURRENT_TRANSACTIONS (being ended that way: ask again) or
    INVALID_TXN_STATE.
    """
    bumps = client_version >= EPOCH_BUMP_VERSION
    is_retry = bumps and _is_retried_end(known, producer_id, producer_epoch)
    if not is_retry:
        check_producer(known, producer_id, producer_epoch)
        if bumps and known.state.is_prepared:
            raise KafkaError(
                ErrorCode.PRODUCER_FENCED, f"epoch {producer_epoch} of {known.transactional_id} has no transaction yet"
            )
    elif known.state in (TransactionState.EMPTY, TransactionState.ONGOING):
        raise KafkaError(
            ErrorCode.PRODUCER_FENCED,
            f"epoch {producer_epoch} of {known.transactional_id} is out of date, {known.producer_epoch} is in use",
        )
    prepared, complete = _DECIDED[commits]
    state = known.state
    if state is TransactionState.ONGOING:
        written = _prepare(known, prepared, client_version, now_ms, new_producer_id)
        return _ended(written)
    if state is prepared:
        raise KafkaError(ErrorCode.CONCURRENT_TRANSACTIONS, "the transaction is still being ended")
    if state is complete and (is_retry or not bumps):
        return Outcome(None, known.producer_id, known.producer_epoch)
    if bumps and not is_retry and not commits and state.is_at_rest:
        # An abort without a write in between: allowed, and it fences what of the last transaction is under way.
        opened = replace(known, partitions=frozenset(), start_ms=now_ms)
        return _ended(_prepare(opened, prepared, client_version, now_ms, new_producer_id))
    raise KafkaError(
        ErrorCode.INVALID_TXN_STATE,
        f"{known.transactional_id} is {state.kafka_name}: nothing to {'commit' if commits else 'abort'}",
    )


def _is_retried_end(known: Transaction, producer_id: int, producer_epoch: int) -> bool:
    """Whether the client ends the transaction before the last bump: its answer was lost."""
    if producer_id == known.producer_id:
        return producer_epoch + 1 == known.producer_epoch
    return producer_id == known.previous_producer_id and producer_epoch == EPOCH_MAX - 1 and known.producer_epoch == 0


def _prepare(
    known: Transaction, state: TransactionState, client_version: int, now_ms: int, new_producer_id: int
) -> Transaction:
    epoch, last_epoch, next_id = known.producer_epoch, known.last_producer_epoch, NO_PRODUCER_ID
    if client_version >= EPOCH_BUMP_VERSION:
        if known.is_epoch_exhausted:
            assert new_producer_id != NO_PRODUCER_ID
            next_id = new_producer_id
        epoch, last_epoch = epoch + 1, epoch
    return replace(
        known,
        state=state,
        producer_epoch=epoch,
        last_producer_epoch=last_epoch,
        next_producer_id=next_id,
        update_ms=now_ms,
        client_version=client_version,
    )


def _ended(prepared: Transaction) -> Outcome:
    """What the client goes on with: with version 2 already the id and epoch of its next transaction."""
    if prepared.next_producer_id != NO_PRODUCER_ID:
        return Outcome(prepared, prepared.next_producer_id, 0)
    return Outcome(prepared, prepared.producer_id, prepared.producer_epoch)


def complete(prepared: Transaction, now_ms: int) -> Transaction:
    """All markers are written."""
    assert prepared.state.is_prepared
    done = replace(
        prepared,
        state=_COMPLETED[prepared.state],
        partitions=frozenset(),
        update_ms=now_ms,
    )
    if prepared.next_producer_id == NO_PRODUCER_ID:
        return done
    return replace(
        done,
        producer_id=prepared.next_producer_id,
        producer_epoch=0,
        previous_producer_id=prepared.producer_id,
        next_producer_id=NO_PRODUCER_ID,
    )


_COMPLETED = {
    TransactionState.PREPARE_COMMIT: TransactionState.COMPLETE_COMMIT,
    TransactionState.PREPARE_ABORT: TransactionState.COMPLETE_ABORT,
}
