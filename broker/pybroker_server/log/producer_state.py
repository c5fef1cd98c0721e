"""What a partition remembers of its producers: idempotence and open transactions (KIP-98, KIP-360, KIP-890).

Rules of this file: pure state, changed by batches only, in log order; leaders, followers and recovery feed the same
batches through `apply_data` and `apply_marker`, so replicas agree (R14). `check_*` decide before a leader writes
and change nothing. Time comes in as `now_ms` and serves expiry only.

A producer id may have one open transaction; `first_unstable_offset` is the first offset that a read_committed
reader must not see yet: of an open transaction, or of one whose marker the high watermark has not passed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_server.log.verification import Verification, Verifications

BATCHES_REMEMBERED = 5
"""Kafka's number: as many batches as a producer may have in flight."""

NO_EPOCH = -1
NO_SEQUENCE = -1
NO_OFFSET = -1
NO_TIMESTAMP = -1
SERVER_SIDE_VERIFICATION = 2
"""`transaction.version` from which each transaction has an epoch of its own (KIP-890)."""

_SEQUENCE_MAX = (1 << 31) - 1


class BatchRange(NamedTuple):
    """One of the last batches of a producer, enough to answer its retry as the first time."""

    first_sequence: int
    last_sequence: int
    first_offset: int
    last_offset: int
    timestamp: int
    """Largest timestamp of the batch as stored, or the time of the append with LogAppendTime."""


class CompletedTransaction(NamedTuple):
    """What a marker ended. `last_stable_offset` is where readers may go once the marker is replicated."""

    producer_id: int
    first_offset: int
    last_offset: int
    aborted: bool
    last_stable_offset: int


class ProducerEntry:
    """One producer id. Changed by `ProducerState` alone."""

    __slots__ = (
        "batches",
        "coordinator_epoch",
        "epoch",
        "last_active_ms",
        "last_timestamp",
        "producer_id",
        "transaction_first_offset",
    )

    def __init__(self, producer_id: int, epoch: int, now_ms: int) -> None:
        self.producer_id = producer_id
        self.epoch = epoch
        self.coordinator_epoch = -1
        self.last_timestamp = NO_TIMESTAMP
        """Of the last batch or marker, as it says itself."""
        self.last_active_ms = now_ms
        """When this broker last heard of it: what expiry goes by, since record timestamps may say anything."""
        self.transaction_first_offset = NO_OFFSET
        self.batches: deque[BatchRange] = deque(maxlen=BATCHES_REMEMBERED)
        """Oldest first, all of `epoch`."""

    @property
    def last_sequence(self) -> int:
        return self.batches[-1].last_sequence if self.batches else NO_SEQUENCE

    @property
    def identity(self) -> tuple[object, ...]:
        """All that replicas must agree on."""
        return (
            self.producer_id,
            self.epoch,
            self.coordinator_epoch,
            self.last_timestamp,
            self.transaction_first_offset,
            tuple(self.batches),
        )


class ProducerState:
    """The producers of one partition."""

    __slots__ = ("_entries", "_ongoing", "_unreplicated", "first_unstable_offset", "now_ms", "verifications")

    def __init__(self, now_ms: int = 0) -> None:
        self._entries: dict[int, ProducerEntry] = {}
        self._ongoing: dict[int, int] = {}
        """First offset to producer id of open transactions, in the order of their offsets."""
        self._unreplicated: dict[int, int] = {}
        """First offset to marker offset of ended ones whose marker the high watermark has not passed."""
        self.first_unstable_offset: int | None = None
        self.now_ms = now_ms
        """The wall clock as last told, for `last_active_ms`."""
        self.verifications = Verifications()

    # -- asking

    def get(self, producer_id: int) -> ProducerEntry | None:
        return self._entries.get(producer_id)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[ProducerEntry]:
        return iter(self._entries.values())

    @property
    def ongoing_transactions(self) -> dict[int, int]:
        """First offset to producer id, oldest first."""
        return dict(self._ongoing)

    def has_open_transaction(self, producer_id: int, epoch: int) -> bool:
        """Whether something of the producer's transaction is here already, so that more of it may follow."""
        entry = self._entries.get(producer_id)
        return entry is not None and entry.transaction_first_offset != NO_OFFSET and entry.epoch == epoch

    @property
    def first_undecided_offset(self) -> int | None:
        """First offset of the oldest open transaction, whatever is replicated."""
        return next(iter(self._ongoing), None)

    def find_duplicate(
        self, producer_id: int, epoch: int, first_sequence: int, last_sequence: int
    ) -> BatchRange | None:
        """The remembered batch that is exactly this one, if any: the producer sends it again."""
        entry = self._entries.get(producer_id)
        if entry is None or entry.epoch != epoch:
            return None
        for batch in entry.batches:
            if batch.first_sequence == first_sequence and batch.last_sequence == last_sequence:
                return batch
        return None

    def check_data(
        self,
        producer_id: int,
        epoch: int,
        first_sequence: int,
        is_transactional: bool,
        *,
        check_sequence: bool = True,
        verification: Verification | None = None,
    ) -> None:
        """Whether a batch may be appended now. Not for duplicates: ask `find_duplicate` first.

        Raises KafkaError INVALID_PRODUCER_EPOCH, OUT_OF_ORDER_SEQUENCE_NUMBER or INVALID_TXN_STATE, in this
        order. Coordinators write without sequences (`check_sequence=False`). `verification` is the question that is out
        for the producer, if any.
        """
        entry = self._entries.get(producer_id)
        known_epoch = -1 if entry is None else entry.epoch
        if epoch < known_epoch:
            raise KafkaError(
                ErrorCode.INVALID_PRODUCER_EPOCH,
                f"epoch {epoch} of producer {producer_id} is below {known_epoch}, the last one seen",
            )
        if check_sequence and verification is not None and first_sequence > verification.lowest_sequence:
            raise _out_of_order(producer_id, first_sequence, f"{verification.lowest_sequence} waits before it")
        if entry is None:
            if check_sequence and first_sequence and verification is not None and verification.adds:
                raise _out_of_order(producer_id, first_sequence, "it has no state here and must begin with 0")
            return
        if check_sequence:
            self._check_sequence(entry, epoch, first_sequence)
        if entry.transaction_first_offset != NO_OFFSET and not is_transactional:
            raise KafkaError(
                ErrorCode.INVALID_TXN_STATE,
                f"producer {producer_id} has a transaction open since offset {entry.transaction_first_offset}"
                " and wrote outside of it",
            )

    def _check_sequence(self, entry: ProducerEntry, epoch: int, first_sequence: int) -> None:
        if epoch != entry.epoch:
            if first_sequence:
                raise _out_of_order(entry.producer_id, first_sequence, f"epoch {epoch} is new: 0 expected")
            return
        last = entry.last_sequence
        if first_sequence != last + 1 and not (first_sequence == 0 and last == _SEQUENCE_MAX):
            raise _out_of_order(entry.producer_id, first_sequence, f"the last one was {last}")

    def check_marker(self, producer_id: int, epoch: int, coordinator_epoch: int, *, transaction_version: int) -> None:
        """Whether a transaction marker may be appended now.

        Raises KafkaError INVALID_PRODUCER_EPOCH or TRANSACTION_COORDINATOR_FENCED. With version 2 a marker's
        epoch is above that of its transaction; an equal one is the retry of a marker that was written, and
        passes when no transaction is open (KAFKA-19999).
        """
        entry = self._entries.get(producer_id)
        if entry is None:
            return
        retried = epoch == entry.epoch and entry.transaction_first_offset == NO_OFFSET
        lowest = entry.epoch + (transaction_version >= SERVER_SIDE_VERIFICATION and not retried)
        if epoch < lowest:
            raise KafkaError(
                ErrorCode.INVALID_PRODUCER_EPOCH,
                f"marker of producer {producer_id} with epoch {epoch}, at least {lowest} expected",
            )
        if coordinator_epoch < entry.coordinator_epoch:
            raise KafkaError(
                ErrorCode.TRANSACTION_COORDINATOR_FENCED,
                f"marker of producer {producer_id} from coordinator epoch {coordinator_epoch}, "
                f"{entry.coordinator_epoch} is known",
            )

    # -- applying what was written

    def apply_data(
        self,
        producer_id: int,
        epoch: int,
        first_sequence: int,
        last_sequence: int,
        first_offset: int,
        last_offset: int,
        timestamp: int,
        is_transactional: bool,
    ) -> None:
        """A data batch is in the log."""
        if is_transactional:
            self.verifications.forget(producer_id)
        entry = self._entries.get(producer_id)
        if entry is None:
            entry = self._entries[producer_id] = ProducerEntry(producer_id, epoch, self.now_ms)
        elif entry.epoch != epoch:
            entry.batches.clear()
            entry.epoch = epoch
        entry.batches.append(BatchRange(first_sequence, last_sequence, first_offset, last_offset, timestamp))
        entry.last_timestamp = timestamp
        entry.last_active_ms = self.now_ms
        if is_transactional and entry.transaction_first_offset == NO_OFFSET:
            entry.transaction_first_offset = first_offset
            self._ongoing[first_offset] = producer_id
            self._find_first_unstable()

    def apply_marker(
        self, producer_id: int, epoch: int, coordinator_epoch: int, offset: int, timestamp: int, aborted: bool
    ) -> CompletedTransaction | None:
        """A transaction marker is in the log at `offset`; None when it ended a transaction without records."""
        self.verifications.forget_ended(producer_id, epoch)
        entry = self._entries.get(producer_id)
        if entry is None:
            entry = self._entries[producer_id] = ProducerEntry(producer_id, epoch, self.now_ms)
        elif entry.epoch != epoch:
            entry.batches.clear()
            entry.epoch = epoch
        entry.coordinator_epoch = coordinator_epoch
        entry.last_timestamp = timestamp
        entry.last_active_ms = self.now_ms
        first_offset = entry.transaction_first_offset
        if first_offset == NO_OFFSET:
            return None
        entry.transaction_first_offset = NO_OFFSET
        del self._ongoing[first_offset]
        self._unreplicated[first_offset] = offset
        self._find_first_unstable()
        stable = next(iter(self._ongoing), offset + 1)
        return CompletedTransaction(producer_id, first_offset, offset, aborted, stable)

    def on_high_watermark(self, high_watermark: int) -> None:
        """Transactions whose marker lies below the high watermark are settled for readers."""
        if self._unreplicated:
            self._settle_below(high_watermark)

    def on_log_start(self, log_start_offset: int) -> None:
        """Records below are gone; producers are remembered all the same (KIP-360)."""
        if self._unreplicated:
            self._settle_below(log_start_offset)

    def _settle_below(self, offset: int) -> None:
        settled = [first for first, marker in self._unreplicated.items() if marker < offset]
        for first in settled:
            del self._unreplicated[first]
        if settled:
            self._find_first_unstable()

    def remove_expired(self, now_ms: int, expiration_ms: int) -> int:
        """Forgets producers idle for `expiration_ms`, open transactions excepted; how many."""
        self.now_ms = now_ms
        expired = [
            entry.producer_id
            for entry in self._entries.values()
            if entry.transaction_first_offset == NO_OFFSET and now_ms - entry.last_active_ms >= expiration_ms
        ]
        for producer_id in expired:
            del self._entries[producer_id]
        self.verifications.remove_expired(now_ms, expiration_ms)
        return len(expired)

    def clear(self) -> None:
        self._entries.clear()
        self._ongoing.clear()
        self._unreplicated.clear()
        self.verifications.clear()
        self.first_unstable_offset = None

    def load(self, entries: list[ProducerEntry]) -> None:
        """Takes over the entries of a snapshot, in place of all that was known."""
        self.clear()
        self._entries = {entry.producer_id: entry for entry in entries}
        opened = sorted(
            (entry.transaction_first_offset, entry.producer_id)
            for entry in entries
            if entry.transaction_first_offset != NO_OFFSET
        )
        self._ongoing = dict(opened)
        self._find_first_unstable()

    def _find_first_unstable(self) -> None:
        undecided = next(iter(self._ongoing), None)
        unreplicated = min(self._unreplicated, default=None)
        if undecided is None or (unreplicated is not None and unreplicated < undecided):
            self.first_unstable_offset = unreplicated
        else:
            self.first_unstable_offset = undecided


def _out_of_order(producer_id: int, sequence: int, why: str) -> KafkaError:
    return KafkaError(
        ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, f"producer {producer_id} sent sequence {sequence}, but {why}"
    )
