"""The transactional ids that fall on one partition of `__transaction_state`.

Rules of this file: pure, but for the marker queue it feeds. Every change is a record that is replayed; the markers of
a transaction go out when the record that decides it is committed, never before: a decision that could be lost with its
leader must not be told to anybody. A prepared transaction without a marker job gets one at the next scan.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Final

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.messages import TransactionLogKey, TransactionLogValue
from pybroker_server.config.views import BrokerConfig
from pybroker_server.coordinator.effects import Effects, Reply
from pybroker_server.coordinator.end_marker import EndMarker
from pybroker_server.coordinator.host import Led
from pybroker_server.coordinator.records import CoordinatorRecord
from pybroker_server.coordinator.timeouts import Timeouts
from pybroker_server.coordinator.transaction import transaction as machine
from pybroker_server.coordinator.transaction.listing import Listed, TransactionFilter
from pybroker_server.coordinator.transaction.markers import MarkerJob, MarkerQueue
from pybroker_server.coordinator.transaction.records import (
    transaction_from,
    transaction_record,
    transaction_tombstone,
)
from pybroker_server.coordinator.transaction.transaction import (
    NO_EPOCH,
    NewProducerId,
    ProducerIdAndEpoch,
    State,
    TopicPartition,
    Transaction,
)
from pybroker_server.metadata.image import MetadataImage
from pybroker_server.telemetry.events import get_logger

RETRY_MS: Final = 100
"""After which the completion of a transaction is written anew, when it could not be."""

_GONE: Final = object()

PartitionCodes = Mapping[TopicPartition, ErrorCode]

_log = get_logger("pybroker.transactions")


class TransactionShard:
    """A `CoordinatorState`. Operations are its methods; a refusal is answered with its code."""

    def __init__(self, config: BrokerConfig, led: Led, new_producer_id: NewProducerId, markers: MarkerQueue) -> None:
        self.timeouts = Timeouts()
        self._config = config
        self._led = led
        self._new_producer_id = new_producer_id
        self._markers = markers
        self._transactions: dict[str, Transaction] = {}
        self._ongoing: set[str] = set()
        self._prepared: set[str] = set()
        self._jobs: dict[str, MarkerJob | None] = {}
        """Of prepared transactions; None while their record is not committed."""
        self._last_epochs: dict[str, int] = {}
        """`last_producer_epoch` of what is being written: records have no room for it."""

    # Operations

    def init_producer_id(
        self,
        effects: Effects,
        reply: Reply[ProducerIdAndEpoch | ErrorCode],
        transactional_id: str,
        timeout_ms: int,
        expected: ProducerIdAndEpoch | None,
    ) -> None:
        """InitProducerId. Raises KafkaError."""
        change = machine.init_producer_id(
            self._transactions.get(transactional_id),
            transactional_id,
            timeout_ms,
            expected,
            effects.wall_ms,
            self._new_producer_id,
        )
        self._write(effects, change)
        if change.state is State.EMPTY:
            effects.answer(reply, ProducerIdAndEpoch(change.producer_id, change.producer_epoch))
        else:
            effects.refuse(reply, ErrorCode.CONCURRENT_TRANSACTIONS)

    def add_partitions(
        self,
        effects: Effects,
        reply: Reply[ErrorCode],
        transactional_id: str,
        producer: ProducerIdAndEpoch,
        partitions: Collection[TopicPartition],
        client_version: int,
    ) -> None:
        """AddPartitionsToTxn, AddOffsetsToTxn and a first write. Raises KafkaError."""
        known = self._transactions.get(transactional_id)
        change = machine.add_partitions(known, producer, partitions, client_version, effects.wall_ms)
        if change is not None:
            self._write(effects, change)
        effects.answer(reply, ErrorCode.NONE)

    def verify_partitions(
        self,
        effects: Effects,
        reply: Reply[PartitionCodes],
        transactional_id: str,
        producer: ProducerIdAndEpoch,
        partitions: Collection[TopicPartition],
    ) -> None:
        """AddPartitionsToTxn with `verify_only`. Raises KafkaError."""
        known = self._transactions.get(transactional_id)
        effects.answer(reply, machine.verify_partitions(known, producer, partitions))

    def end(
        self,
        effects: Effects,
        reply: Reply[ProducerIdAndEpoch | ErrorCode],
        transactional_id: str,
        producer: ProducerIdAndEpoch,
        *,
        commit: bool,
        client_version: int,
    ) -> None:
        """EndTxn. Raises KafkaError."""
        ended = machine.end(
            self._transactions.get(transactional_id),
            producer,
            commit=commit,
            client_version=client_version,
            now_ms=effects.wall_ms,
            new_producer_id=self._new_producer_id,
        )
        if ended.change is not None:
            self._write(effects, ended.change)
        effects.answer(reply, ProducerIdAndEpoch(ended.producer_id, ended.producer_epoch))

    def describe(self, effects: Effects, reply: Reply[Transaction | ErrorCode], transactional_id: str) -> None:
        """With the partitions that still wait for their marker. Raises KafkaError TRANSACTIONAL_ID_NOT_FOUND."""
        known = self._transactions.get(transactional_id)
        if known is None:
            raise KafkaError(ErrorCode.TRANSACTIONAL_ID_NOT_FOUND)
        job = self._jobs.get(transactional_id)
        effects.answer(reply, known if job is None else machine.with_partitions(known, job.remaining))

    def listed(self, effects: Effects, reply: Reply[Sequence[Listed] | ErrorCode], wanted: TransactionFilter) -> None:
        """ListTransactions."""
        effects.answer(reply, [Listed.of(t) for t in self._transactions.values() if wanted.takes(t, effects.wall_ms)])

    # Changes

    def _write(self, effects: Effects, change: Transaction) -> None:
        transactional_id = change.transactional_id
        self._last_epochs[transactional_id] = change.last_producer_epoch
        effects.append(transaction_record(change))
        effects.on_failed(lambda code, undone: self._forget_last_epoch(transactional_id))
        if change.is_prepared:
            self._send_when_committed(effects, transactional_id)

    def _forget_last_epoch(self, transactional_id: str) -> None:
        self._last_epochs.pop(transactional_id, None)

    def _send_when_committed(self, effects: Effects, *transactional_ids: str) -> None:
        """Markers go out when all that is written up to now is committed. What fails is left to the next scan."""
        for transactional_id in transactional_ids:
            self._jobs[transactional_id] = None

        def on_committed(code: ErrorCode) -> None:
            for transactional_id in transactional_ids:
                if self._jobs.get(transactional_id, _GONE) is None:
                    del self._jobs[transactional_id]
                    if code is ErrorCode.NONE:
                        self._send(transactional_id)

        effects.answer(Reply(on_committed, lambda code: code), ErrorCode.NONE)

    def _send(self, transactional_id: str) -> None:
        known = self._transactions.get(transactional_id)
        if known is None or not known.is_prepared:
            return
        marker = EndMarker(
            known.producer_id,
            known.producer_epoch,
            self._led.leader_epoch,
            known.state is State.PREPARE_COMMIT,
            known.client_version,
        )
        perform: Callable[[], None] = partial(self._led.perform, partial(self._complete, known=known))
        job = self._jobs[transactional_id] = MarkerJob(transactional_id, marker, known.partitions, perform)
        self._markers.send(job)

    def _complete(self, effects: Effects, known: Transaction) -> None:
        """All markers are written."""
        transactional_id = known.transactional_id
        if self._transactions.get(transactional_id) is not known:
            return
        self._write(effects, machine.complete(known, effects.wall_ms))

        def again(code: ErrorCode, undone: Effects) -> None:
            operation = partial(self._complete, known=known)
            self.timeouts.set(("complete", transactional_id), undone.now_ms + RETRY_MS, operation)

        effects.on_failed(again)

    # Deadlines

    def _arm_scan(self, now_ms: int) -> None:
        interval_ms = self._config.transaction_abort_timed_out_transaction_cleanup_interval_ms
        self.timeouts.set("scan", now_ms + interval_ms, self._scan)

    def _scan(self, effects: Effects) -> None:
        """Aborts what ran out of time, and looks after what is prepared and has nobody who sends its markers."""
        self._arm_scan(effects.now_ms)
        effects.is_atomic = False
        for transactional_id in sorted(self._ongoing):
            known = self._transactions[transactional_id]
            if known.is_timed_out(effects.wall_ms):
                self._abort_timed_out(effects, known)
        forgotten = [name for name in self._prepared if name not in self._jobs]
        if forgotten:
            self._send_when_committed(effects, *forgotten)

    def _abort_timed_out(self, effects: Effects, known: Transaction) -> None:
        try:
            change = machine.fence(known, effects.wall_ms, self._new_producer_id)
        except KafkaError:
            return  # no producer id at hand for its next life: at the next scan
        self._write(effects, change)
        _log.info(
            "transaction_timed_out",
            transactional_id=known.transactional_id,
            producer_id=known.producer_id,
            timeout_ms=known.timeout_ms,
        )

    def _arm_expiry(self, now_ms: int) -> None:
        interval_ms = self._config.transaction_remove_expired_transaction_cleanup_interval_ms
        self.timeouts.set("expiry", now_ms + interval_ms, self._expire)

    def _expire(self, effects: Effects) -> None:
        """Forgets transactional ids that nobody used for `transactional.id.expiration.ms`."""
        self._arm_expiry(effects.now_ms)
        expiration_ms = self._config.transactional_id_expiration_ms
        effects.is_atomic = False
        for transactional_id, known in self._transactions.items():
            if known.is_expired(effects.wall_ms, expiration_ms):
                effects.append(transaction_tombstone(transactional_id))

    # The state

    def replay(self, record: CoordinatorRecord, producer_id: int, producer_epoch: int) -> None:
        """See `CoordinatorState`."""
        del producer_id, producer_epoch  # these records belong to no transaction
        key = record.key
        assert isinstance(key, TransactionLogKey)
        transactional_id = key.transactional_id
        self._ongoing.discard(transactional_id)
        self._prepared.discard(transactional_id)
        if record.value is None:
            self._transactions.pop(transactional_id, None)
            return
        assert isinstance(record.value, TransactionLogValue)
        last_epoch = self._last_epochs.pop(transactional_id, NO_EPOCH)
        try:
            known = transaction_from(transactional_id, record.value, last_epoch)
        except ValueError as error:
            # Of one id; what was known of it before stands, and the others are served.
            _log.error("transaction_record_damaged", transactional_id=transactional_id, error=str(error))
            return
        self._transactions[transactional_id] = known
        if known.state is State.ONGOING:
            self._ongoing.add(transactional_id)
        elif known.is_prepared:
            self._prepared.add(transactional_id)
        else:
            self._jobs.pop(transactional_id, None)

    def replay_marker(self, producer_id: int, producer_epoch: int, *, is_commit: bool) -> None:
        """See `CoordinatorState`. Transactions do not write to their own log."""

    def on_loaded(self, effects: Effects) -> None:
        """See `CoordinatorState`. What was decided before is brought to its end."""
        self._arm_scan(effects.now_ms)
        self._arm_expiry(effects.now_ms)
        if self._prepared:
            self._send_when_committed(effects, *self._prepared)

    def on_unloaded(self) -> None:
        """See `CoordinatorState`. The next coordinator sends the markers that are missing."""
        for job in self._jobs.values():
            if job is not None:
                job.cancel()
        self._jobs.clear()

    def on_image(self, effects: Effects, image: MetadataImage) -> None:
        """See `CoordinatorState`."""

    def on_config(self, config: BrokerConfig) -> None:
        """See `CoordinatorState`."""
        self._config = config
