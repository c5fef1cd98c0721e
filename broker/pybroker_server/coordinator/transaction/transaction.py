"""The state machine of one transactional id (KIP-98, KIP-360, KIP-890): what a request may change, and into what.

Rules of this file: pure. A `Transaction` is a value; each function gives the one that is to be written, or raises
KafkaError with the code for clients of today (PRODUCER_FENCED is put into older words by the handlers). `now_ms` is the
wall clock, which is what the records hold.

    EMPTY ──add──▶ ONGOING ──end──▶ PREPARE_COMMIT ──markers──▶ COMPLETE_COMMIT ──add──▶ ONGOING ...
                      └──end, fence──▶ PREPARE_ABORT ──markers──▶ COMPLETE_ABORT ──add──▶ ONGOING ...

From EMPTY and both COMPLETE states, InitProducerId leads to EMPTY with the next epoch. A prepared transaction is
decided: nothing but its completion leads out of it, and everybody else is told CONCURRENT_TRANSACTIONS. Epochs only
grow under a producer id; before they end, a new id with epoch 0 takes over. With transaction version 2 every end has an
epoch of its own, so that a late write of a transaction can never be taken for one of the next.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final, NamedTuple

from pybroker_protocol.errors import ErrorCode, KafkaError

TopicPartition = tuple[str, int]
NewProducerId = Callable[[], int]
"""Raises KafkaError COORDINATOR_LOAD_IN_PROGRESS while there is none at hand."""

NO_PRODUCER_ID: Final = -1
NO_EPOCH: Final = -1
NO_TIME: Final = -1
EPOCH_MAX: Final = (1 << 15) - 1
LAST_USED_EPOCH: Final = EPOCH_MAX - 1
"""The last that a client is given: one more is kept to fence it."""
EPOCH_PER_TRANSACTION: Final = 2
"""`transaction.version` from which each transaction has an epoch of its own."""


class State(IntEnum):
    """As stored in `transaction_status`. Kafka's DEAD and PREPARE_EPOCH_FENCE are never stored."""

    EMPTY = 0
    ONGOING = 1
    PREPARE_COMMIT = 2
    PREPARE_ABORT = 3
    COMPLETE_COMMIT = 4
    COMPLETE_ABORT = 5
    DEAD = 6
    PREPARE_EPOCH_FENCE = 7

    @property
    def label(self) -> str:
        """Kafka's name: `PrepareCommit`."""
        return self.name.title().replace("_", "")


STATES_BY_LABEL: Final = {state.label: state for state in State}
_PREPARED: Final = frozenset((State.PREPARE_COMMIT, State.PREPARE_ABORT))
_AT_REST: Final = frozenset((State.EMPTY, State.COMPLETE_COMMIT, State.COMPLETE_ABORT))


class ProducerIdAndEpoch(NamedTuple):
    producer_id: int
    epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """What is known under a transactional id. All of it is stored, `last_producer_epoch` excepted."""

    transactional_id: str
    producer_id: int
    previous_producer_id: int = NO_PRODUCER_ID
    """The id before the last change: another one only right after ids changed."""
    next_producer_id: int = NO_PRODUCER_ID
    """Prepared, and epochs have come to their end: the id that takes over with the completion."""
    producer_epoch: int
    last_producer_epoch: int = NO_EPOCH
    """The epoch that the producer came with when it was given the present one: it may ask again. Forgotten when the
    coordinator moves, and when somebody else took over the transactional id."""
    timeout_ms: int
    state: State
    partitions: frozenset[TopicPartition] = frozenset()
    start_ms: int = NO_TIME
    last_update_ms: int
    client_version: int = 0

    @property
    def is_prepared(self) -> bool:
        """Decided, and its markers on their way."""
        return self.state in _PREPARED

    @property
    def is_epoch_exhausted(self) -> bool:
        return self.producer_epoch >= LAST_USED_EPOCH

    def is_timed_out(self, now_ms: int) -> bool:
        return self.state is State.ONGOING and self.start_ms + self.timeout_ms < now_ms

    def is_expired(self, now_ms: int, expiration_ms: int) -> bool:
        """Whether it may be forgotten: nothing open, nothing asked for so long."""
        return self.state in _AT_REST and self.last_update_ms + expiration_ms <= now_ms


class Ended(NamedTuple):
    """What EndTxn comes to: the change to be written, if any, and the producer id and epoch of the next transaction."""

    change: Transaction | None
    producer_id: int
    producer_epoch: int


def init_producer_id(
    known: Transaction | None,
    transactional_id: str,
    timeout_ms: int,
    expected: ProducerIdAndEpoch | None,
    now_ms: int,
    new_producer_id: NewProducerId,
) -> Transaction:
    """InitProducerId: EMPTY with the epoch for the caller; or PREPARE_ABORT, upon which it must ask again.

    `expected` is what a producer says it has (KIP-360). Raises CONCURRENT_TRANSACTIONS, PRODUCER_FENCED.
    """
    if known is None:
        producer_id = new_producer_id()
        return Transaction(
            transactional_id=transactional_id,
            producer_id=producer_id,
            previous_producer_id=producer_id,
            producer_epoch=0,
            timeout_ms=timeout_ms,
            state=State.EMPTY,
            last_update_ms=now_ms,
        )
    if known.is_prepared:
        raise KafkaError(ErrorCode.CONCURRENT_TRANSACTIONS)
    if expected is not None and not _is_own_id(known, expected):
        raise KafkaError(ErrorCode.PRODUCER_FENCED)
    if known.state is State.ONGOING:
        return fence(known, now_ms, new_producer_id)
    producer_id = known.producer_id
    if known.is_epoch_exhausted and (expected is None or expected.epoch == known.producer_epoch):
        producer_id, epoch = new_producer_id(), 0
        last_epoch = NO_EPOCH if expected is None else known.producer_epoch
    else:
        epoch, last_epoch = _next_epoch(known, expected)
    return replace(
        known,
        producer_id=producer_id,
        previous_producer_id=known.producer_id,
        producer_epoch=epoch,
        last_producer_epoch=last_epoch,
        timeout_ms=timeout_ms,
        state=State.EMPTY,
        partitions=frozenset(),
        start_ms=NO_TIME,
        last_update_ms=now_ms,
    )


def _is_own_id(known: Transaction, expected: ProducerIdAndEpoch) -> bool:
    """The id in force; or the one before it, from a producer that did not hear of the change."""
    if expected.producer_id == known.producer_id:
        return True
    return expected.producer_id == known.previous_producer_id and expected.epoch >= LAST_USED_EPOCH


def _next_epoch(known: Transaction, expected: ProducerIdAndEpoch | None) -> tuple[int, int]:
    """(epoch, last epoch). A repeated request is given the same epoch again."""
    if expected is None:
        return known.producer_epoch + 1, NO_EPOCH
    if expected.epoch == known.producer_epoch and not known.is_epoch_exhausted:
        return known.producer_epoch + 1, known.producer_epoch
    if expected.epoch == known.last_producer_epoch:
        return known.producer_epoch, known.last_producer_epoch
    raise KafkaError(ErrorCode.PRODUCER_FENCED)


def add_partitions(
    known: Transaction | None,
    producer: ProducerIdAndEpoch,
    partitions: Collection[TopicPartition],
    client_version: int,
    now_ms: int,
) -> Transaction | None:
    """AddPartitionsToTxn and AddOffsetsToTxn; None when all are part of it already.

    Raises INVALID_PRODUCER_ID_MAPPING, CONCURRENT_TRANSACTIONS, PRODUCER_FENCED.
    """
    if known is None:
        raise KafkaError(ErrorCode.INVALID_PRODUCER_ID_MAPPING)
    if known.is_prepared:
        # Before the id and the epoch: version 2 told the client its next ones when the end was decided.
        raise KafkaError(ErrorCode.CONCURRENT_TRANSACTIONS)
    _check_producer(known, producer)
    is_open = known.state is State.ONGOING
    if is_open and known.partitions.issuperset(partitions):
        return None
    return replace(
        known,
        previous_producer_id=known.producer_id,
        state=State.ONGOING,
        partitions=known.partitions.union(partitions),
        start_ms=known.start_ms if is_open else now_ms,
        last_update_ms=now_ms,
        client_version=client_version,
    )


def verify_partitions(
    known: Transaction | None, producer: ProducerIdAndEpoch, partitions: Collection[TopicPartition]
) -> dict[TopicPartition, ErrorCode]:
    """Whether the partitions are part of the open transaction: each NONE or TRANSACTION_ABORTABLE.

    Raises INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED, CONCURRENT_TRANSACTIONS.
    """
    if known is None:
        raise KafkaError(ErrorCode.INVALID_PRODUCER_ID_MAPPING)
    _check_producer(known, producer)
    if known.is_prepared:
        raise KafkaError(ErrorCode.CONCURRENT_TRANSACTIONS)
    return {
        partition: ErrorCode.NONE if partition in known.partitions else ErrorCode.TRANSACTION_ABORTABLE
        for partition in partitions
    }


def _check_producer(known: Transaction, producer: ProducerIdAndEpoch) -> None:
    if known.producer_id != producer.producer_id:
        raise KafkaError(ErrorCode.INVALID_PRODUCER_ID_MAPPING)
    if known.producer_epoch != producer.epoch:
        raise KafkaError(ErrorCode.PRODUCER_FENCED)


def end(
    known: Transaction | None,
    producer: ProducerIdAndEpoch,
    *,
    commit: bool,
    client_version: int,
    now_ms: int,
    new_producer_id: NewProducerId,
) -> Ended:
    """EndTxn. Raises INVALID_PRODUCER_ID_MAPPING, PRODUCER_FENCED, CONCURRENT_TRANSACTIONS, INVALID_TXN_STATE."""
    if known is None:
        raise KafkaError(ErrorCode.INVALID_PRODUCER_ID_MAPPING)
    if client_version < EPOCH_PER_TRANSACTION:
        return _end_v1(known, producer, commit=commit, now_ms=now_ms)
    retries_over_ids = (
        known.previous_producer_id == producer.producer_id
        and producer.epoch == LAST_USED_EPOCH
        and known.producer_epoch == 0
    )
    is_retry = known.producer_epoch == producer.epoch + 1 or retries_over_ids
    if known.producer_id != producer.producer_id and not retries_over_ids:
        raise KafkaError(ErrorCode.INVALID_PRODUCER_ID_MAPPING)
    is_current = producer.epoch == known.producer_epoch
    match known.state:
        case State.PREPARE_COMMIT | State.PREPARE_ABORT:
            # The epoch in force is that of a client which was told of this end and already wants the next: it has to
            # wait for the markers. Kafka says that it is fenced, which a client takes for final.
            is_valid = is_current or known.producer_epoch == producer.epoch + 1
        case State.COMPLETE_COMMIT | State.COMPLETE_ABORT:
            is_valid = is_retry or is_current
        case _:
            is_valid = is_current
    if not is_valid:
        raise KafkaError(ErrorCode.PRODUCER_FENCED)
    if known.is_prepared:
        raise KafkaError(ErrorCode.CONCURRENT_TRANSACTIONS)
    if known.state is not State.ONGOING:
        if is_retry:
            _check_same_end(known, commit=commit)
            return Ended(None, known.producer_id, known.producer_epoch)
        if commit:
            raise KafkaError(ErrorCode.INVALID_TXN_STATE)
    change = _prepared_v2(known, commit=commit, now_ms=now_ms, new_producer_id=new_producer_id)
    following = complete(change, now_ms)
    return Ended(change, following.producer_id, following.producer_epoch)


def _end_v1(known: Transaction, producer: ProducerIdAndEpoch, *, commit: bool, now_ms: int) -> Ended:
    """Without a new epoch: the end of a transaction cannot be told from that of the one before."""
    _check_producer(known, producer)
    if known.is_prepared:
        raise KafkaError(ErrorCode.CONCURRENT_TRANSACTIONS)
    if known.state is State.EMPTY:
        raise KafkaError(ErrorCode.INVALID_TXN_STATE)
    if known.state is not State.ONGOING:
        _check_same_end(known, commit=commit)
        return Ended(None, NO_PRODUCER_ID, NO_EPOCH)
    return Ended(_prepared(known, commit=commit, now_ms=now_ms, client_version=0), NO_PRODUCER_ID, NO_EPOCH)


def _check_same_end(known: Transaction, *, commit: bool) -> None:
    if commit is not (known.state is State.COMPLETE_COMMIT):
        raise KafkaError(ErrorCode.INVALID_TXN_STATE)


def _prepared(known: Transaction, *, commit: bool, now_ms: int, client_version: int) -> Transaction:
    return replace(
        known,
        previous_producer_id=known.producer_id,
        next_producer_id=NO_PRODUCER_ID,
        state=State.PREPARE_COMMIT if commit else State.PREPARE_ABORT,
        last_update_ms=now_ms,
        client_version=client_version,
    )


def _prepared_v2(known: Transaction, *, commit: bool, now_ms: int, new_producer_id: NewProducerId) -> Transaction:
    """With the epoch of its own that an end has: the one after that of what it ends."""
    return replace(
        _prepared(known, commit=commit, now_ms=now_ms, client_version=EPOCH_PER_TRANSACTION),
        producer_epoch=min(known.producer_epoch + 1, EPOCH_MAX),
        last_producer_epoch=known.producer_epoch,
        next_producer_id=new_producer_id() if known.is_epoch_exhausted else NO_PRODUCER_ID,
        start_ms=known.start_ms if known.state is State.ONGOING else now_ms,
    )


def fence(known: Transaction, now_ms: int, new_producer_id: NewProducerId) -> Transaction:
    """Aborts an open transaction without its producer: PREPARE_ABORT, with an epoch that its writes do not have.

    Of the producer's own abort, with the epoch it has, this is no different: it learns the next epoch by it.
    """
    assert known.state is State.ONGOING, known
    return _prepared_v2(known, commit=False, now_ms=now_ms, new_producer_id=new_producer_id)


def complete(known: Transaction, now_ms: int) -> Transaction:
    """All markers are written: COMPLETE_COMMIT or COMPLETE_ABORT."""
    assert known.is_prepared, known
    changes_id = known.client_version >= EPOCH_PER_TRANSACTION and known.next_producer_id != NO_PRODUCER_ID
    return replace(
        known,
        producer_id=known.next_producer_id if changes_id else known.producer_id,
        previous_producer_id=known.producer_id,
        next_producer_id=NO_PRODUCER_ID,
        producer_epoch=0 if changes_id else known.producer_epoch,
        state=State.COMPLETE_COMMIT if known.state is State.PREPARE_COMMIT else State.COMPLETE_ABORT,
        partitions=frozenset(),
        last_update_ms=now_ms,
    )


def with_partitions(known: Transaction, partitions: Collection[TopicPartition]) -> Transaction:
    """As it is to be shown while only these partitions wait for their marker."""
    return replace(known, partitions=frozenset(partitions))
