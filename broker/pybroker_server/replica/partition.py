"""One partition on this broker: its replication state joined to its log and to what waits on it.

Rules of this file: the event loop only, and no `await`: everything between reading state and changing it happens in one
call. Decisions come from `PartitionState`, bytes from `PartitionLog`; this file carries what one says to the other, and
turns an advance of the high watermark into the operations that are complete, which it hands to `finish` (the manager
answers them after the current call, so that no handler runs inside another).

Errors leave as `KafkaError`. After a storage error the partition is offline: every call fails with KAFKA_STORAGE_ERROR
until the broker restarts, because what a failed write or flush left on the device is unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn
from uuid import UUID

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_server.log.position import AppendInfo, LogPosition
from pybroker_server.log.validator import AppendOrigin
from pybroker_server.metadata.image import PartitionImage
from pybroker_server.replica.partition_state import InvariantError, IsrChange, PartitionState, Transition
from pybroker_server.replica.purgatory import DelayedOperation, WaitList
from pybroker_server.telemetry.events import get_logger

if TYPE_CHECKING:
    from pybroker_server.log.flusher import Flusher
    from pybroker_server.log.log_config import LogConfig
    from pybroker_server.log.partition_log import PartitionLog
    from pybroker_server.log.verification import Verification

Finish = Callable[[list[DelayedOperation]], None]

_log = get_logger("pybroker.replica")
ACKS_ALL = -1
HIGH_WATERMARK = -1
"""In place of an offset in DeleteRecords: everything up to the high watermark."""


class Partition:
    """`log`, `state` and `waiting` are open to this package and to handlers for reading; changes go through methods."""

    __slots__ = (
        "_clock_ms",
        "_finish",
        "_flush_requested",
        "_flusher",
        "_is_durable",
        "_is_suspended",
        "_stable_position",
        "batches_in",
        "bytes_in",
        "bytes_out",
        "bytes_to_followers",
        "deletions",
        "error",
        "high_watermark_position",
        "index",
        "is_resting",
        "is_throttled_as_follower",
        "is_throttled_as_leader",
        "log",
        "on_isr_change",
        "records_in",
        "state",
        "topic",
        "topic_id",
        "waiting",
    )

    def __init__(
        self,
        log: PartitionLog,
        state: PartitionState,
        waiting: WaitList,
        flusher: Flusher,
        finish: Finish,
        clock_ms: Callable[[], int],
    ) -> None:
        self.topic: str = log.topic
        self.index: int = log.partition
        self.topic_id: UUID = log.topic_id
        self.log = log
        self.state = state
        self.waiting = waiting
        self.deletions: WaitList | None = None
        """Deletions of records that wait for the low watermark; made for the first one."""
        self.error = ErrorCode.NONE
        """Not NONE: deleted, or offline. Every call fails with it."""
        self.high_watermark_position: LogPosition = log.position_of(state.high_watermark)
        """Always that of `state.high_watermark`: the upper bound of reads, to the byte."""
        self._stable_position = self.high_watermark_position
        self.on_isr_change: Callable[[Partition, IsrChange], None] | None = None
        """Who writes ISR changes to the metadata store."""
        self.is_resting = False
        """Its log is being truncated: what the metadata says is taken over afterwards."""
        self.is_throttled_as_leader = False
        self.is_throttled_as_follower = False
        """Whether replication that is not in sync counts for the quotas (`throttle.py`)."""
        self._is_durable = log.config.is_durable
        self._flush_requested = False
        self._is_suspended = False
        self._flusher = flusher
        self._finish = finish
        self._clock_ms = clock_ms
        # For metrics: appended here as leader, and given to consumers (by Fetch).
        self.records_in = 0
        self.batches_in = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.bytes_to_followers = 0

    # Checks

    @property
    def is_serving_leader(self) -> bool:
        return self.error is ErrorCode.NONE and self.state.leader == self.state.local_id

    def check_readable(self, leader_epoch: int = -1) -> None:
        """The same for consumers that may read from any replica (KIP-392): it need not lead."""
        if self.error is not ErrorCode.NONE:
            raise KafkaError(self.error)
        if leader_epoch >= 0 and leader_epoch != self.state.leader_epoch:
            raise KafkaError(self.state.check_leader_epoch(leader_epoch))
        if self.is_resting:
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)  # its files are being cut: others have what is committed

    def check_leader(self, leader_epoch: int = -1) -> None:
        """Raises KafkaError: deleted or offline, not the leader (6), or epochs that do not match (74, 75)."""
        if self.error is not ErrorCode.NONE:
            raise KafkaError(self.error)
        state = self.state
        if leader_epoch >= 0 and leader_epoch != state.leader_epoch:
            raise KafkaError(state.check_leader_epoch(leader_epoch))
        if state.leader != state.local_id:
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)

    # Writing

    def append(
        self,
        records: memoryview,
        acks: int,
        now_ms: int,
        wall_ms: int,
        origin: AppendOrigin = AppendOrigin.CLIENT,
        *,
        transaction_version: int = 0,
        verification: Verification | None = None,
    ) -> AppendInfo:
        """Appends one batch as leader, by default a client's; offset and leader epoch are written into `records`.

        The last two are `PartitionLog.append_as_leader`'s.

        Raises KafkaError, from the log as well (validation, sequences, storage); nothing was appended then.
        """
        state = self.state
        if self.error is not ErrorCode.NONE or state.leader != state.local_id:
            self.check_leader()
        if acks == ACKS_ALL and state.is_below_min_isr:
            raise KafkaError(ErrorCode.NOT_ENOUGH_REPLICAS)
        log = self.log
        try:
            info = log.append_as_leader(
                records,
                state.leader_epoch,
                wall_ms,
                origin=origin,
                transaction_version=transaction_version,
                verification=verification,
            )
        except OSError as error:
            self.go_offline(error)
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR) from error
        if info.duplicate:
            return info
        self.batches_in += 1
        self.bytes_in += len(records)
        self.records_in += info.last_offset - info.base_offset + 1
        if not self._flush_requested and (self._is_durable or self._has_much_unflushed()):
            self._flush_requested = True
            self._flusher.request(log, self._on_flushed)
        try:
            if state.on_local_append(info.end.offset, now_ms):
                self._on_high_watermark()
        except InvariantError as error:
            self._stop_for(error)
        if self.waiting.followers:
            self._finish(self.waiting.on_append(info.end))
        return info

    def begin_verification(
        self, producer_id: int, epoch: int, sequence: int, wall_ms: int, *, adds: bool
    ) -> Verification | None:
        """What the transaction's coordinator must be asked before the producer's next batch is appended, if anything.

        Raises KafkaError when this is not the leader.
        """
        self.check_leader()
        producers = self.log.producer_state
        if producers.has_open_transaction(producer_id, epoch):
            return None
        return producers.verifications.begin(producer_id, epoch, sequence, wall_ms, adds=adds)

    def _has_much_unflushed(self) -> bool:
        """Kafka's flush.messages, for topics that do not flush before they acknowledge."""
        log = self.log
        return log.log_end_offset - log.flushed_offset >= log.config.flush_messages

    def request_flush(self) -> None:
        """Gets everything appended so far onto the device; the high watermark follows."""
        if not self._flush_requested and self.error is ErrorCode.NONE:
            self._flush_requested = True
            self._flusher.request(self.log, self._on_flushed)

    @property
    def waits_for_own_flush(self) -> bool:
        """Whether nothing but a flush here keeps the high watermark below the end of the log."""
        state = self.state
        return (
            self._flush_requested
            and state.high_watermark < self.log.log_end_offset
            and state.leader == state.local_id
            and len(state.isr) == 1
        )

    def when_flushed(self, callback: Callable[[], None]) -> None:
        """Calls back when all that is in the log now is flushed, or cannot be."""
        self._flusher.request(self.log, lambda error: callback())

    def _on_flushed(self, error: BaseException | None) -> None:
        self._flush_requested = False
        if error is not None and (self.error is ErrorCode.NONE or self._is_suspended):
            self.go_offline(error)
        if self.error is not ErrorCode.NONE:
            return
        log = self.log
        if self._is_durable and log.flushed_offset < log.log_end_offset:
            self.request_flush()
        if self.state.on_local_flush(log.flushed_offset, self._clock_ms()):
            self._on_high_watermark()

    def _on_high_watermark(self) -> None:
        """Call after `state.high_watermark` moved."""
        reached = self.state.high_watermark
        log = self.log
        log.producer_state.on_high_watermark(reached)
        position = log.flushed_position if self._is_durable else log.end_position
        self.high_watermark_position = position if position.offset == reached else log.position_of(reached)
        if self.waiting:
            stable = self.last_stable_position()
            done = self.waiting.on_high_watermark(self.high_watermark_position, stable, self.state.produce_outcome())
            if done:
                self._finish(done)

    # Followers, while this broker leads

    def check_follower(self, replica: int, broker_epoch: int, leader_epoch: int) -> None:
        """Whether a fetch of this replica counts. Raises KafkaError."""
        self.check_leader(leader_epoch)
        state = self.state
        if leader_epoch != state.leader_epoch:
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)  # R9: only who knows this leader's epoch counts
        if replica not in state.followers:
            # It knows this epoch, so its metadata is newer than ours: it was added meanwhile.
            raise KafkaError(ErrorCode.UNKNOWN_LEADER_EPOCH)
        if broker_epoch < state.eligible_brokers.get(replica, broker_epoch):
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)  # an earlier life of that broker (KIP-903)

    def on_follower_fetch(
        self, replica: int, broker_epoch: int, fetch_offset: int, log_start_offset: int, now_ms: int
    ) -> None:
        """`check_follower` was called and the fetch does not diverge.

        A follower asks for what follows only when the records before are as durable as the topic wants them
        (`fetcher.py`), so what it asks for says what it has on its device.
        """
        try:
            moved, change = self.state.on_follower_fetch(
                replica,
                broker_epoch=broker_epoch,
                fetch_offset=fetch_offset,
                flushed_end_offset=fetch_offset,
                now_ms=now_ms,
                log_start_offset=log_start_offset,
            )
            self.state.check_invariants()
        except InvariantError as error:
            self._stop_for(error)
        if moved:
            self._on_high_watermark()
        if self.deletions:
            self._finish(self.deletions.on_low_watermark(self.low_watermark))
        if change is not None:
            self.propose(change)

    def propose(self, change: IsrChange) -> None:
        """Has an ISR change written to the metadata store; it counts from now on (R5)."""
        if self.on_isr_change is not None:
            self.state.begin_isr_change(change)
            self.on_isr_change(self, change)

    def on_isr_change_refused(self, change: IsrChange) -> None:
        """It is known not to have been written."""
        self.state.on_isr_change_refused(change)
        self.advance(self._clock_ms())

    def shrink_isr(self, now_ms: int) -> None:
        """Proposes to leave out who has not caught up for too long; for a periodic check."""
        if self.error is ErrorCode.NONE:
            change = self.state.propose_shrink(now_ms)
            if change is not None:
                self.propose(change)

    # Following, while another broker leads

    def append_as_follower(self, records: memoryview, leader_epoch: int, wall_ms: int) -> None:
        """Takes over what the leader of `leader_epoch` sent. Raises KafkaError; the log may hold a part of it then."""
        try:
            self.log.append_as_follower(records, wall_ms, leader_epoch)
        except OSError as error:
            self.go_offline(error)
            raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR) from error

    def on_leader_offsets(self, high_watermark: int, log_start_offset: int) -> None:
        """What the leader said with its answer; call it after the records were appended."""
        log = self.log
        if self.state.on_leader_high_watermark(high_watermark, log.log_end_offset):
            self._on_high_watermark()
        if log_start_offset > log.log_start_offset:
            # Records below the leader's log start are deleted; more than there is here cannot be.
            log.delete_records_before(min(log_start_offset, log.log_end_offset))

    def needs_flush(self) -> bool:
        """Whether the leader must not yet be told of all there is here (R11)."""
        return self._is_durable and self.log.flushed_offset < self.log.log_end_offset

    def replace_log(self, log: PartitionLog) -> None:
        """The log was truncated, which makes it another object."""
        self.log = log
        self._flush_requested = False
        self.state.on_local_truncation(log.log_end_offset, log.flushed_offset, log.log_start_offset)
        self.high_watermark_position = self._stable_position = log.position_of(self.state.high_watermark)

    def delete_records(self, before_offset: int) -> int:
        """Raises the log start (`HIGH_WATERMARK` = all that is committed); returns what the low watermark is to reach.

        Raises KafkaError: POLICY_VIOLATION for topics that are only compacted, OFFSET_OUT_OF_RANGE.
        """
        self.check_leader()
        if not self.log.config.is_deleted_by_retention:
            raise KafkaError(ErrorCode.POLICY_VIOLATION)
        reached = self.state.high_watermark
        wanted = reached if before_offset == HIGH_WATERMARK else before_offset
        if wanted < 0 or wanted > reached:
            raise KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE)
        if wanted > self.log.log_start_offset:
            self.log.delete_records_before(wanted)
            if self.waiting.followers:
                self._finish(self.waiting.hurry_followers())
        return wanted

    @property
    def low_watermark(self) -> int:
        """Below it no living replica has records; -1 while one of them has not said where its log begins."""
        return self.state.low_watermark(self.log.log_start_offset)

    # Reading

    @property
    def high_watermark(self) -> int:
        return self.state.high_watermark

    @property
    def last_stable_offset(self) -> int:
        """Below it every transaction is decided: the first offset of the earliest open one, else the high watermark.

        Of one whose first records were deleted, what is left of it.
        """
        first_unstable = self.log.producer_state.first_unstable_offset
        reached = self.state.high_watermark
        if first_unstable is None or first_unstable > reached:
            return reached
        return max(int(first_unstable), self.log.log_start_offset)

    def last_stable_position(self) -> LogPosition:
        """The position of `last_stable_offset`: the upper bound of read_committed."""
        stable = self.last_stable_offset
        if stable == self.high_watermark_position.offset:
            return self.high_watermark_position
        if self._stable_position.offset != stable:
            self._stable_position = self.log.position_of(stable)
        return self._stable_position

    def diverging_epoch(self, last_fetched_epoch: int, fetch_offset: int) -> tuple[int, int] | None:
        """Where the reader's log and this one part ways: (epoch, end offset), or None when they do not (KIP-595).

        `last_fetched_epoch` is the leader epoch of the reader's last record. Raises KafkaError(OFFSET_OUT_OF_RANGE)
        when this log cannot tell.
        """
        log = self.log
        if last_fetched_epoch == log.latest_epoch and fetch_offset <= log.log_end_offset:
            return None
        epoch, end_offset = log.end_offset_for_epoch(last_fetched_epoch)
        if epoch < 0 or end_offset < 0 or fetch_offset < log.log_start_offset:
            raise KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE)
        if epoch < last_fetched_epoch or end_offset < fetch_offset:
            return epoch, end_offset
        return None

    def end_offset_for_epoch(self, current_leader_epoch: int, epoch: int) -> tuple[int, int]:
        """OffsetForLeaderEpoch: the largest epoch not above `epoch` and its end; (-1, -1) when it is not known."""
        self.check_leader(current_leader_epoch)
        return self.log.end_offset_for_epoch(epoch)

    # Roles and configuration

    def apply(self, registration: PartitionImage, now_ms: int) -> Transition:
        """Takes over what the metadata says; becomes leader or follower of a new epoch when it says so."""
        log = self.log
        transition = self.state.on_registration(
            registration, log_end_offset=log.log_end_offset, flushed_end_offset=log.flushed_offset, now_ms=now_ms
        )
        if transition is Transition.LEADS and registration.leader_epoch > log.latest_epoch:
            # Before anything is served: the epoch's start must be known to whoever asks for it (KIP-279).
            log.assign_epoch_start(registration.leader_epoch)
        if self._is_suspended and not self.state.is_leader:
            self._is_suspended = False
            self.error = ErrorCode.NONE
        if transition in (Transition.LEADS, Transition.FOLLOWS):
            self._fail_all(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        self.state.check_invariants()
        self._settle(now_ms)
        return transition

    def update_config(self, config: LogConfig, now_ms: int) -> None:
        """The topic's configuration changed."""
        self.log.update_config(config)
        self._is_durable = config.is_durable
        self.state.reconfigure(durable=config.is_durable, min_insync_replicas=config.min_insync_replicas)
        self._settle(now_ms)

    def advance(self, now_ms: int) -> None:
        """After a change of state that came from outside (an ISR change, brokers that came or went)."""
        if self.state.advance(now_ms):
            self._on_high_watermark()
        if self.deletions:
            self._finish(self.deletions.on_low_watermark(self.low_watermark))

    def _settle(self, now_ms: int) -> None:
        """After a restart, or when a topic became durable: what lies in the page cache is flushed before it is
        shown.
        """
        self.advance(now_ms)
        if self._is_durable and self.log.flushed_offset < self.log.log_end_offset:
            self.request_flush()

    def go_offline(self, cause: BaseException | None) -> None:
        """The log cannot be trusted to be written any more: everything that waits or comes gets code 56."""
        del cause  # the log reported it; here only the consequence counts
        self.stop(ErrorCode.KAFKA_STORAGE_ERROR)

    def _stop_for(self, violation: InvariantError) -> NoReturn:
        """What must hold does not: going on could lose what was acknowledged."""
        _log.error("invariant_violated", topic=self.topic, partition=self.index, error=str(violation))
        self.stop(ErrorCode.KAFKA_STORAGE_ERROR)
        raise KafkaError(ErrorCode.KAFKA_STORAGE_ERROR) from violation

    def stop(self, error: ErrorCode) -> None:
        """Ends serving: deleted (UNKNOWN_TOPIC_OR_PARTITION), moved away (NOT_LEADER_OR_FOLLOWER) or offline."""
        if self.error is ErrorCode.NONE or self._is_suspended:
            self.error = error
            self._is_suspended = False
        self._fail_all(error)

    def _fail_all(self, error: ErrorCode) -> None:
        self._finish(self.waiting.fail_all(error))
        if self.deletions:
            self._finish(self.deletions.fail_all(error))

    def suspend(self) -> None:
        """This broker may not act as the leader for now, as another may have been elected; `resume` ends it."""
        if not self.is_serving_leader or len(self.state.replicas) == 1:
            return
        self.stop(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        self._is_suspended = True

    def resume(self, now_ms: int) -> None:
        """Serves again, if the metadata still wants it to."""
        if self._is_suspended:
            self._is_suspended = False
            self.error = ErrorCode.NONE
            # A flush may have ended meanwhile, and nobody took notice.
            if self.state.on_local_flush(self.log.flushed_offset, now_ms):
                self._on_high_watermark()
            self._settle(now_ms)
