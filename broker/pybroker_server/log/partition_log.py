"""One partition's log on disk: segments, indexes, producer state and leader epochs as one thing.

Rules of this file: the event loop alone changes a log, with calls that reach no further than the page cache; `read` and
the look-ups may run in any thread. What must wait for a device is a ticket (`flush_tickets.py`) or says that it blocks.
After an OSError from an append nothing of that batch counts: the caller takes the log out of service.

`flushed_offset`: what a power cut cannot take back. `recovery_point`: below it recovery reads nothing, because indexes,
producer snapshot and epochs of all that are on the device too. recovery_point <= flushed_offset <= log_end_offset.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from pybroker_protocol.errors import ErrorCode, KafkaError, ProtocolError
from pybroker_protocol.records.batch import (
    BatchHeader,
    iter_batches,
    patch_offset_and_epoch,
    verify_crc,
)
from pybroker_server.log.flush_tickets import CheckpointTicket, FlushTicket, Snapshot
from pybroker_server.log.leader_epochs import LeaderEpochs
from pybroker_server.log.log_config import LogConfig
from pybroker_server.log.log_reader import LogReader, Segments
from pybroker_server.log.position import AppendInfo, LogPosition, ReadResult
from pybroker_server.log.producer_check import check_producer
from pybroker_server.log.producer_replay import apply_batch
from pybroker_server.log.producer_snapshot import format_snapshot
from pybroker_server.log.producer_state import ProducerState
from pybroker_server.log.segment import POSITION_MAX, Segment
from pybroker_server.log.transaction_index import AbortedTransaction
from pybroker_server.log.validator import AppendOrigin, check_batch, prepare_records
from pybroker_server.log.verification import Verification
from pybroker_server.runtime.ports import Disk
from pybroker_server.runtime.shared_buffers import SharedBufferPool

_NO_TIME = -1
LEADER_EPOCH_MAX = (1 << 31) - 1


@dataclass(slots=True)
class LoadedLog:
    """What `loader.py` found in a partition's directory."""

    topic: str
    partition: int
    topic_id: UUID
    directory: str
    segments: tuple[Segment, ...]
    log_start_offset: int
    log_end_offset: int
    recovery_point: int
    flushed_offset: int
    """The end when everything found is on the device."""
    epochs: LeaderEpochs
    producer_state: ProducerState
    opened_ms: int
    """Wall clock: the age of an active segment whose records have no timestamps."""
    has_unsynced_files: bool
    """Segment files were made whose directory entries may not be on the device."""
    is_new: bool = False
    """Made just now: not even its directory is on the device."""


class PartitionLog:
    """See the head of this file. `topic_id` is zero for the partition of a topic that was made without one."""

    __slots__ = (
        "_disk",
        "_epochs",
        "_epochs_written",
        "_files_made",
        "_files_synced",
        "_flushed_position",
        "_is_new",
        "_opened_ms",
        "_reader",
        "_roll_after_ms",
        "_snapshots",
        "config",
        "directory",
        "flushed_offset",
        "is_swapping",
        "log_end_offset",
        "partition",
        "producer_state",
        "recovery_point",
        "topic",
        "topic_id",
    )

    def __init__(self, loaded: LoadedLog, config: LogConfig, disk: Disk, pool: SharedBufferPool) -> None:
        self.topic = loaded.topic
        self.partition = loaded.partition
        self.topic_id = loaded.topic_id
        self.directory = loaded.directory
        self.log_end_offset = loaded.log_end_offset
        self.producer_state = loaded.producer_state
        self.recovery_point = loaded.recovery_point
        self.flushed_offset = loaded.flushed_offset
        self.is_swapping = False
        """Compaction puts a segment in the place of others right now: none of them may be dropped."""
        self._disk = disk
        self._epochs = loaded.epochs
        self._epochs_written = -1
        """`changes` of the epochs as the file has them; -1: not known."""
        self._is_new = loaded.is_new
        self._files_made = 1
        self._files_synced = 0 if loaded.has_unsynced_files else 1
        """Segment files made, and those of them whose directory entries are on the device."""
        self._opened_ms = loaded.opened_ms
        self._snapshots: list[Snapshot] = []
        """Taken when segments were rolled; the next checkpoint writes them."""
        active = loaded.segments[-1]
        end = LogPosition(loaded.log_end_offset, active.base_offset, active.size)
        self._reader = LogReader(Segments(loaded.segments), pool, loaded.log_start_offset, end)
        self._flushed_position = end
        if self.flushed_offset != self.log_end_offset:
            self._flushed_position = self.position_of(self.flushed_offset)
        self.update_config(config)

    # -- what it knows

    @property
    def log_start_offset(self) -> int:
        return self._reader.log_start_offset

    @property
    def end_position(self) -> LogPosition:
        return self._reader.end

    @property
    def flushed_position(self) -> LogPosition:
        """Where `flushed_offset` lies."""
        return self._flushed_position

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Oldest first; the last one grows."""
        return self._reader.segments.all

    @property
    def size_bytes(self) -> int:
        return sum(segment.size for segment in self._reader.segments.all)

    @property
    def is_dirty(self) -> bool:
        """Whether a checkpoint has anything to do."""
        return (
            self.recovery_point != self.log_end_offset
            or self._files_made != self._files_synced
            or self._epochs_written != self._epochs.changes
            or bool(self._snapshots)
        )

    def update_config(self, config: LogConfig) -> None:
        """Takes effect with the next append or tick."""
        self.config = config
        self._roll_after_ms = max(config.roll_ms - self._jitter_ms(config), 1)
        self._reader.segments.active.index_interval_bytes = config.index_interval_bytes

    def _jitter_ms(self, config: LogConfig) -> int:
        """Spreads rolls by time over `segment.jitter.ms`: by name, so that every start agrees."""
        if not config.segment_jitter_ms:
            return 0
        spread = min(config.segment_jitter_ms, config.roll_ms)
        return (self.topic_id.int + self.partition * 0x9E3779B1) % spread

    # -- leader epochs

    @property
    def latest_epoch(self) -> int:
        return self._epochs.latest

    def assign_epoch_start(self, epoch: int) -> None:
        """A new leader's epoch begins at the end of the log (KIP-279)."""
        self._epochs.assign(epoch, self.log_end_offset)

    def end_offset_for_epoch(self, epoch: int) -> tuple[int, int]:
        """`LeaderEpochs.end_offset_for`."""
        return self._epochs.end_offset_for(epoch, self.log_end_offset)

    def epoch_of_offset(self, offset: int) -> int:
        return self._epochs.epoch_of_offset(offset)

    # -- appending

    def append_as_leader(
        self,
        records: memoryview,
        leader_epoch: int,
        now_wall_ms: int,
        *,
        origin: AppendOrigin = AppendOrigin.CLIENT,
        transaction_version: int = 0,
        verification: Verification | None = None,
    ) -> AppendInfo:
        """Appends the one batch in `records`, writing offset and epoch into it (it must be writable).

        `transaction_version` is that of a marker; `verification` the coordinator's consent to the first batch of a
        transaction.

        A batch that is one of its producer's last five is answered with where it went then. Raises KafkaError with
        the code for the client, with `record_errors` where single records are to blame, and OSError; nothing was
        appended then.
        """
        config = self.config
        header = check_batch(records, config, origin)
        state = self.producer_state
        if header.producer_id >= 0:
            known = check_producer(
                state,
                records,
                header,
                origin,
                transaction_version=transaction_version,
                verification=verification,
                must_be_verified=config.transaction_partition_verification_enable,
            )
            if known is not None:
                start, end = self._reader.log_start_offset, self._reader.end
                return AppendInfo(known.first_offset, known.last_offset, known.timestamp, start, end, True)
        records, header, append_time = prepare_records(records, header, config, now_wall_ms)
        size = header.size_bytes
        if size > config.segment_bytes:
            raise KafkaError(
                ErrorCode.RECORD_LIST_TOO_LARGE, f"a batch of {size} bytes, segment.bytes is {config.segment_bytes}"
            )
        base = self.log_end_offset
        last = base + header.last_offset_delta
        segment = self._segment_for(size, last, header.max_timestamp, now_wall_ms)
        patch_offset_and_epoch(records, 0, base, leader_epoch)
        segment.append((records[:size],), size, last, header.max_timestamp)
        end = LogPosition(last + 1, segment.base_offset, segment.size)
        self.log_end_offset = last + 1
        self._reader.end = end
        if leader_epoch > self._epochs.latest:
            self._epochs.assign(leader_epoch, base)
        if header.producer_id >= 0:
            state.now_ms = now_wall_ms
            self._apply_producer(records[:size], header, base, segment)
        return AppendInfo(base, last, append_time, self._reader.log_start_offset, end, False)

    def append_as_follower(
        self, records: memoryview, now_wall_ms: int, leader_epoch: int = LEADER_EPOCH_MAX
    ) -> AppendInfo:
        """Appends whole batches as the leader has them, offsets and epochs included, up to those of a later leader than
        that of `leader_epoch`: it may have changed its mind about them since (KAFKA-18723).

        Raises KafkaError CORRUPT_MESSAGE (a checksum is wrong, or offsets or epochs go back (R2): nothing of that batch
        and what follows was appended) and OSError.
        """
        first = self.log_end_offset
        try:
            for position, header in iter_batches(records):
                epoch = header.partition_leader_epoch
                if epoch > leader_epoch:
                    break
                is_in_order = header.base_offset >= self.log_end_offset and epoch >= self._epochs.latest
                if not is_in_order or not verify_crc(records, position):
                    raise KafkaError(
                        ErrorCode.CORRUPT_MESSAGE,
                        f"{self.directory}: batch at offset {header.base_offset} of epoch {epoch} from the leader is"
                        f" damaged or out of order, {self.log_end_offset} expected after epoch {self._epochs.latest}",
                    )
                self._append_replicated(records[position : position + header.size_bytes], header, now_wall_ms)
        except ProtocolError as error:
            raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"{self.directory}: {error}") from None
        reader = self._reader
        return AppendInfo(first, self.log_end_offset - 1, _NO_TIME, reader.log_start_offset, reader.end, False)

    def _append_replicated(self, batch: memoryview, header: BatchHeader, now_wall_ms: int) -> None:
        size, last = len(batch), header.last_offset
        segment = self._segment_for(size, last, header.max_timestamp, now_wall_ms)
        segment.append((batch,), size, last, header.max_timestamp)
        self.log_end_offset = last + 1
        self._reader.end = LogPosition(last + 1, segment.base_offset, segment.size)
        if header.partition_leader_epoch > self._epochs.latest:
            self._epochs.assign(header.partition_leader_epoch, header.base_offset)
        if header.producer_id >= 0:
            self.producer_state.now_ms = now_wall_ms
            self._apply_producer(batch, header, header.base_offset, segment)

    def _apply_producer(self, batch: memoryview, header: BatchHeader, base_offset: int, segment: Segment) -> None:
        completed = apply_batch(self.producer_state, batch, header, base_offset)
        if completed is not None and completed.aborted:
            segment.note_aborted(
                AbortedTransaction(
                    completed.producer_id, completed.first_offset, completed.last_offset, completed.last_stable_offset
                )
            )

    # -- segments

    def _segment_for(self, size: int, last_offset: int, timestamp: int, now_wall_ms: int) -> Segment:
        """The segment for a batch of `size` bytes: the active one, or a new one when it must be rolled.

        By time a segment is rolled by the records' own clock, as far as they have one (Kafka's rule): a log that is
        written again is cut where it was cut first.
        """
        active = self._reader.segments.active
        config = self.config
        if active.size:
            if active.size + size > min(config.segment_bytes, POSITION_MAX):
                return self.roll(now_wall_ms)
            first = active.first_timestamp
            if first is None or first < 0 or timestamp < 0:
                waited = now_wall_ms - self._opened_ms
            else:
                waited = timestamp - first
            if waited > self._roll_after_ms:
                return self.roll(now_wall_ms)
        if not active.has_room_for(last_offset, config.segment_index_bytes):
            return self.roll(now_wall_ms)
        return active

    def roll(self, now_wall_ms: int) -> Segment:
        """Begins a new segment at the end of the log and returns it; an empty one stays. Raises OSError."""
        reader = self._reader
        active = reader.segments.active
        if not active.size and active.base_offset == self.log_end_offset:
            return active
        active.seal()
        segment = Segment.create(self._disk, self.directory, self.log_end_offset)
        segment.index_interval_bytes = self.config.index_interval_bytes
        self._files_made += 1
        self._opened_ms = now_wall_ms
        self._snapshots.append((self.log_end_offset, format_snapshot(self.producer_state)))
        if active.size:
            reader.segments = reader.segments.with_segment(segment)
        else:
            # An empty segment that begins below the end: the offsets between were given to nobody's records.
            reader.segments = Segments((*reader.segments.all[:-1], segment))
            active.remove_files()
        reader.end = LogPosition(self.log_end_offset, segment.base_offset, 0)
        if self.flushed_offset == self.log_end_offset:
            self._flushed_position = reader.end
        return segment

    def drop_segments(self, count: int) -> tuple[Segment, ...]:
        """Takes the oldest `count` segments out of the log, which then starts behind them, and returns them.

        Their files are still there: removing them blocks, and is the caller's. The active segment stays.
        """
        reader = self._reader
        all_segments = reader.segments.all
        assert 0 < count < len(all_segments), f"{count} of {len(all_segments)} segments"
        reader.segments = Segments(all_segments[count:])
        self._raise_log_start(max(reader.log_start_offset, reader.segments.bases[0]))
        reader.forget_positions()
        return all_segments[:count]

    def replace_segments(self, old: tuple[Segment, ...], new: Segment | None) -> None:
        """Puts a cleaned segment in the place of those it was made from (compaction). They are not the active one.

        Who reads in the old ones goes on with the files that they keep open.
        """
        reader = self._reader
        gone = frozenset(old)
        kept = [segment for segment in reader.segments.all if segment not in gone]
        merged = sorted([*kept, *([new] if new is not None else [])], key=lambda segment: segment.base_offset)
        reader.segments = Segments(tuple(merged))
        reader.forget_positions()

    def delete_records_before(self, offset: int) -> None:
        """Raises the log start offset (KIP-107); retention removes the segments below it.

        Durable once the log start offsets are checkpointed. Raises KafkaError OFFSET_OUT_OF_RANGE past the end.
        """
        if offset > self.log_end_offset:
            raise KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE, f"{offset} is past the end, {self.log_end_offset}")
        self._raise_log_start(offset)

    def _raise_log_start(self, offset: int) -> None:
        if offset > self._reader.log_start_offset:
            self._reader.log_start_offset = offset
            self._epochs.truncate_from_start(offset)
            self.producer_state.on_log_start(offset)

    # -- reading

    def read(
        self, offset: int, max_bytes: int, upper: LogPosition, *, min_one: bool, nowait: bool
    ) -> ReadResult | None:
        """Batches from the one with `offset` up to `upper`, at most `max_bytes` of them.

        With `min_one` at least one batch, however large. With `nowait`, None when the bytes are not in memory: the
        caller asks again without it, off the event loop. Raises KafkaError OFFSET_OUT_OF_RANGE and OSError.
        """
        return self._reader.read(offset, max_bytes, upper, min_one=min_one, nowait=nowait)

    def position_of(self, offset: int) -> LogPosition:
        """Where `offset` lies, or the first record after it. May wait for the device."""
        return self._reader.position_of(offset)

    def offset_for_timestamp(self, timestamp: int, upper_offset: int) -> tuple[int, int] | None:
        """(timestamp, offset) of the first record below `upper_offset` that is not older than `timestamp`. Blocks."""
        return self._reader.offset_for_timestamp(timestamp, upper_offset)

    def max_timestamp_record(self, upper_offset: int) -> tuple[int, int] | None:
        """(timestamp, offset) of the first record with the largest timestamp below `upper_offset`. Blocks."""
        return self._reader.max_timestamp_record(upper_offset)

    def aborted_transactions(self, from_offset: int, upper_offset: int) -> list[tuple[int, int]]:
        """(producer id, first offset) of the aborted transactions with records in the range (KIP-98)."""
        if not self._reader.segments.all:
            return []
        found = self._reader.aborted_transactions(from_offset, upper_offset)
        return [(entry.producer_id, entry.first_offset) for entry in found]

    def aborted_entries(self, from_offset: int, upper_offset: int) -> list[AbortedTransaction]:
        """The same as they lie in the transaction indexes. May wait for the device."""
        return self._reader.aborted_transactions(from_offset, upper_offset)

    # -- onto the device

    def start_flush(self) -> FlushTicket | None:
        """What must be synced for all that was appended so far; None when all of it is on the device."""
        if self.flushed_offset == self.log_end_offset and self._files_made == self._files_synced:
            return None
        return self._flush_ticket()

    def _flush_ticket(self) -> FlushTicket:
        segments = self._reader.segments
        return FlushTicket(
            self._disk,
            self.directory,
            segments.all[segments.number_of(self._flushed_position.offset) :],
            self._reader.end,
            files_made=self._files_made,
            syncs_directory=self._files_made != self._files_synced,
            is_new=self._is_new,
        )

    def finish_flush(self, ticket: FlushTicket) -> None:
        """After `ticket.sync` returned: what it covered is flushed."""
        self._is_new = False
        self._files_synced = max(self._files_synced, ticket.files_made)
        if ticket.end.offset > self.flushed_offset:
            self.flushed_offset = ticket.end.offset
            self._flushed_position = ticket.end

    def checkpoint_ticket(self) -> CheckpointTicket:
        """What must be written for recovery to begin at the present end. Raises OSError."""
        segments = self._reader.segments
        # A segment that ends at the recovery point may have been sealed since, which changes its time index.
        dirty = segments.all[segments.number_of(self.recovery_point - 1) :]
        for segment in dirty:
            segment.write_indexes()
        flush = self._flush_ticket()
        snapshots = [*self._snapshots, (self.log_end_offset, format_snapshot(self.producer_state))]
        self._snapshots = []
        changes = self._epochs.changes
        epochs = None if changes == self._epochs_written else self._epochs.to_bytes()
        self._epochs_written = changes
        return CheckpointTicket(
            self._disk,
            self.directory,
            flush,
            dirty,
            snapshots=snapshots,
            kept_snapshots=frozenset((*segments.bases, self.log_end_offset)),
            epochs=epochs,
        )

    def finish_checkpoint(self, ticket: CheckpointTicket) -> None:
        """After `ticket.sync` returned; the recovery point may be written down from now on."""
        self.finish_flush(ticket.flush)
        end = ticket.flush.end.offset
        if self.recovery_point < end <= self.flushed_offset:
            self.recovery_point = end

    def close_idle_files(self) -> None:
        """Closes files and lets go of indexes of sealed segments that nobody read since the last call."""
        for segment in self._reader.segments.all[:-1]:
            if not segment.has_unwritten_entries():
                segment.close_if_idle()

    def close(self) -> None:
        """Lets go of all files. What was not checkpointed is recovered at the next start."""
        for segment in self._reader.segments.all:
            segment.close()
