"""Opens a partition's log: makes a new one, or finds out what of an old one is whole.

Rules of this file: blocks, so it runs in a thread; writes nothing but what repairs need. After a clean shutdown only
the end of the last segment is looked at. After any other end everything above the recovery point is read with its
checksums, and the log is cut at the first batch that is not whole; below it nothing is read (`partition_log.py` says
what the recovery point promises). Producer state comes from the newest snapshot that can be trusted and the batches
after it.
"""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from pybroker_protocol.errors import ProtocolError
from pybroker_protocol.records.batch import CONTROL, BatchHeader, verify_crc
from pybroker_server.log.aborted_rebuild import find_aborted
from pybroker_server.log.batch_scan import read_batch, scan_batches
from pybroker_server.log.checkpoints import (
    LEADER_EPOCHS,
    PARTITION_METADATA,
    CheckpointCorrupt,
    format_partition_metadata,
    parse_partition_metadata,
)
from pybroker_server.log.compaction_swap import finish_swaps
from pybroker_server.log.files import (
    INDEX_SUFFIXES,
    LOG_SUFFIX,
    OFFSET_INDEX_SUFFIX,
    SNAPSHOT_SUFFIX,
    TIME_INDEX_SUFFIX,
    TRANSIENT_SUFFIXES,
    parse_segment_file,
    segment_file,
)
from pybroker_server.log.leader_epochs import LeaderEpochs
from pybroker_server.log.log_config import LONG_MAX, LogConfig
from pybroker_server.log.offset_index import RELATIVE_OFFSET_MAX, IndexCorrupt
from pybroker_server.log.partition_log import LoadedLog, PartitionLog
from pybroker_server.log.producer_replay import apply_batch
from pybroker_server.log.producer_snapshot import SnapshotCorrupt, parse_snapshot
from pybroker_server.log.producer_state import ProducerState
from pybroker_server.log.segment import Indexes, Segment
from pybroker_server.log.transaction_index import AbortedTransaction
from pybroker_server.runtime.ports import Disk
from pybroker_server.runtime.shared_buffers import SharedBufferPool
from pybroker_server.telemetry.events import get_logger

NO_TOPIC_ID = UUID(int=0)
_FROM_THE_START = -1
_logger = get_logger("pybroker.log")


def create_log(
    disk: Disk,
    pool: SharedBufferPool,
    directory: str,
    topic: str,
    partition: int,
    topic_id: UUID,
    config: LogConfig,
    *,
    now_wall_ms: int = 0,
) -> PartitionLog:
    """A new log in a new directory, in the page cache only: its first flush makes all of it durable.

    Raises OSError.
    """
    is_fresh = disk.make_dirs(directory)
    file = disk.open(f"{directory}/{PARTITION_METADATA}", create=True)
    if not is_fresh:
        file.truncate(0)
    file.append([format_partition_metadata(topic_id)])
    file.close()
    loaded = LoadedLog(
        topic=topic,
        partition=partition,
        topic_id=topic_id,
        directory=directory,
        segments=(Segment.create(disk, directory, 0, may_have_leftovers=not is_fresh),),
        log_start_offset=0,
        log_end_offset=0,
        recovery_point=0,
        flushed_offset=0,
        epochs=LeaderEpochs(),
        producer_state=ProducerState(now_wall_ms),
        opened_ms=now_wall_ms,
        has_unsynced_files=True,
        is_new=True,
    )
    return PartitionLog(loaded, config, disk, pool)


def load_log(
    disk: Disk,
    pool: SharedBufferPool,
    directory: str,
    topic: str,
    partition: int,
    config: LogConfig,
    *,
    was_clean: bool,
    recovery_point: int,
    log_start_offset: int,
    now_wall_ms: int,
) -> PartitionLog:
    """The log in `directory`; `recovery_point` and `log_start_offset` are as checkpointed, 0 when they are not known.

    The topic id is zero when the directory does not tell whose it is (nothing of such a log was ever flushed).
    Raises OSError.
    """
    loader = _Loader(disk, directory, config, now_wall_ms, trusted_below=LONG_MAX if was_clean else recovery_point)
    loader.load(log_start_offset)
    end = loader.end_offset
    known = end if was_clean else min(recovery_point, end)
    loaded = LoadedLog(
        topic=topic,
        partition=partition,
        topic_id=_topic_id(disk, directory),
        directory=directory,
        segments=tuple(loader.segments),
        log_start_offset=loader.log_start_offset,
        log_end_offset=end,
        recovery_point=max(known, loader.log_start_offset),
        flushed_offset=max(known, loader.log_start_offset),
        epochs=loader.epochs,
        producer_state=loader.state,
        opened_ms=now_wall_ms,
        has_unsynced_files=loader.made_files,
    )
    log = PartitionLog(loaded, config, disk, pool)
    log.close()  # files open again when they are needed
    return log


def _topic_id(disk: Disk, directory: str) -> UUID:
    try:
        return parse_partition_metadata(disk.read_bytes(f"{directory}/{PARTITION_METADATA}"))
    except (FileNotFoundError, CheckpointCorrupt):
        return NO_TOPIC_ID


class _Loader:
    """One directory being read. `segments`, `epochs`, `state` and the offsets are the result."""

    def __init__(self, disk: Disk, directory: str, config: LogConfig, now_ms: int, *, trusted_below: int) -> None:
        self._disk = disk
        self._directory = directory
        self._config = config
        self._now_ms = now_ms
        self._trusted_below = trusted_below
        self._replay_from = _FROM_THE_START
        """Offset from which batches change the producer state: that of the snapshot loaded."""
        self._scan_from = _FROM_THE_START
        """Offset from which batches are looked at, for producers or epochs."""
        self._names: frozenset[str] = frozenset()
        self.segments: list[Segment] = []
        self.epochs = LeaderEpochs()
        self.state = ProducerState(now_ms)
        self.log_start_offset = 0
        self.end_offset = 0
        self.made_files = False

    def load(self, log_start_offset: int) -> None:
        bases = self._clear_up()
        self._read_epochs(is_empty=not bases)
        self._read_snapshot(bases)
        self.end_offset = bases[0] if bases else 0
        for number, base in enumerate(bases):
            if not self._open_segment(base, bases[number + 1 :]):
                break
        first = self.segments[0].base_offset if self.segments else 0
        self.log_start_offset = max(log_start_offset, first)
        if not self.segments or self.log_start_offset > self.end_offset:
            self._start_anew()
        # One beyond: an epoch may begin at the end, with no record yet. Only after a clean shutdown is that known.
        self.epochs.truncate_from_end(self.end_offset + (self._trusted_below == LONG_MAX))
        self.epochs.truncate_from_start(self.log_start_offset)
        self._remove_snapshots_past_the_end()

    # -- files

    def _clear_up(self) -> list[int]:
        """Removes what an interrupted change left over; the base offsets of the segments."""
        finish_swaps(self._disk, self._directory)
        names = set(self._disk.list(self._directory))
        for name in [name for name in names if name.endswith(TRANSIENT_SUFFIXES)]:
            self._remove(name)
            names.remove(name)
        parsed = {name: found for name in names if (found := parse_segment_file(name))}
        bases = sorted(base for base, suffix in parsed.values() if suffix == LOG_SUFFIX)
        for name, (base, suffix) in parsed.items():
            if suffix in INDEX_SUFFIXES and base not in bases:
                self._remove(name)
                names.remove(name)
        self._names = frozenset(names)
        return bases

    def _remove(self, name: str) -> None:
        try:
            self._disk.remove(f"{self._directory}/{name}")
        except FileNotFoundError:
            pass

    def _remove_from(self, bases: Iterable[int], why: str) -> None:
        for base in bases:
            _logger.warning("log_segment_removed", directory=self._directory, base_offset=base, reason=why)
            Segment(self._disk, self._directory, base).remove_files()

    def _start_anew(self) -> None:
        """Nothing is left, or all of it lies below the log start: an empty segment at the log start."""
        if self.segments:
            self._remove_from(
                [segment.base_offset for segment in self.segments],
                f"the log starts at {self.log_start_offset}, after its end {self.end_offset}",
            )
        self.segments = [Segment.create(self._disk, self._directory, self.log_start_offset)]
        self.made_files = True
        self.end_offset = self.log_start_offset
        self.epochs.clear()
        self.state.clear()

    # -- small files

    def _read_epochs(self, *, is_empty: bool) -> None:
        try:
            self.epochs = LeaderEpochs.from_bytes(self._disk.read_bytes(f"{self._directory}/{LEADER_EPOCHS}"))
        except (FileNotFoundError, CheckpointCorrupt) as error:
            if not is_empty and self._trusted_below:
                _logger.warning("leader_epochs_rebuilt", directory=self._directory, reason=str(error))
            self._scan_from = _FROM_THE_START
            return
        # What lies above the recovery point is found again in the batches; the file may speak of batches that are gone.
        self.epochs.truncate_from_end(self._trusted_below)
        self._scan_from = LONG_MAX

    def _read_snapshot(self, bases: list[int]) -> None:
        """Takes the newest usable producer snapshot below the trusted offset, or at the first segment.

        Retention took what lies before that, and not before the snapshot was on the device: nothing else tells of it.
        """
        trusted_below = max(self._trusted_below, bases[0] if bases else 0)
        offsets = sorted(offset for offset in self._snapshot_offsets() if offset <= trusted_below)
        for offset in reversed(offsets):
            name = segment_file(offset, SNAPSHOT_SUFFIX)
            try:
                data = self._disk.read_bytes(f"{self._directory}/{name}")
                entries = parse_snapshot(data, self._now_ms, self._config.producer_id_expiration_ms)
            except SnapshotCorrupt as error:
                _logger.warning("producer_snapshot_ignored", directory=self._directory, file=name, reason=str(error))
                self._remove(name)
                continue
            self.state.load(entries)
            self._replay_from = offset
            break
        self._scan_from = min(self._scan_from, self._replay_from)

    def _snapshot_offsets(self) -> list[int]:
        parsed = (parse_segment_file(name) for name in self._names)
        return [found[0] for found in parsed if found and found[1] == SNAPSHOT_SUFFIX]

    def _remove_snapshots_past_the_end(self) -> None:
        for offset in self._snapshot_offsets():
            if offset > self.end_offset:
                self._remove(segment_file(offset, SNAPSHOT_SUFFIX))

    # -- segments

    def _open_segment(self, base: int, later: list[int]) -> bool:
        """Opens one segment; False when the log ends in it and the `later` ones were removed."""
        next_base = later[0] if later else None
        path = f"{self._directory}/{segment_file(base, LOG_SUFFIX)}"
        segment = Segment(self._disk, self._directory, base, self._disk.file_size(path))
        segment.index_interval_bytes = self._config.index_interval_bytes
        self.segments.append(segment)
        if next_base is not None and next_base <= self._trusted_below and self._has_index_files(base):
            if next_base > self._scan_from:
                self._replay(segment)
            segment.close()
            segment.read_last_timestamp(next_base)
            self.end_offset = next_base
            return True
        file_size = segment.size
        self._recover(segment, base + RELATIVE_OFFSET_MAX + 1 if next_base is None else next_base)
        is_whole = segment.size == file_size
        goes_on = is_whole or next_base is None or self.end_offset == next_base
        if not goes_on:
            # Before the cut and newest first: whoever dies in between must find a torn tail, not a hole.
            self._remove_from(reversed(later), f"the log ends at {self.end_offset}")
            self._disk.sync_dir(self._directory)
        if not is_whole:
            self._cut(segment, file_size)
        if next_base is None or not goes_on:
            return goes_on
        segment.seal()
        if next_base <= self._trusted_below:
            # The next start believes these index files, and no checkpoint will sync them.
            segment.sync_all()
            self._disk.sync_dir(self._directory)
        return True

    def _has_index_files(self, base: int) -> bool:
        return all(segment_file(base, suffix) in self._names for suffix in (OFFSET_INDEX_SUFFIX, TIME_INDEX_SUFFIX))

    def _replay(self, segment: Segment) -> None:
        """Reads the headers of a segment that is known to be whole, for producers and epochs."""
        for position, header, _ in scan_batches(segment.file(), 0, segment.size, whole=False):
            if header.next_offset > self._scan_from:
                self._note_state(segment, position, header, indexes_aborted=False)

    def _recover(self, segment: Segment, below: int) -> None:
        """Reads a segment from the last batch that is indexed and trusted up to the first that is not whole.

        Leaves `segment` with indexes in memory and the size up to there. A batch with offsets from `below` on is not
        whole either: the checksum does not cover where it lies.
        """
        file = segment.file()
        trusted = self._trusted_indexes(segment)
        if trusted is not None and self._scan_from < self._trusted_below:
            self._replay_before(segment, trusted)
        segment.reset_indexes(trusted)
        if trusted is None and segment.base_offset < self._replay_from:
            # The snapshot knows how these transactions ended, not which of them were aborted.
            for entry in find_aborted(self._disk, self._directory, segment.base_offset, self._replay_from):
                segment.note_aborted(entry)
        self.end_offset = max(self.end_offset, segment.base_offset)
        start = segment.size
        for position, header, batch in scan_batches(file, start, file.size()):
            if header.next_offset > below or not self._is_whole(header, batch):
                break
            segment.note_batch(position, header.size_bytes, header.last_offset, header.max_timestamp)
            if header.next_offset > self._scan_from:
                is_indexed = trusted is not None and header.next_offset <= self._trusted_below
                self._note_state(segment, position, header, indexes_aborted=not is_indexed)
            self.end_offset = header.next_offset
        if segment.first_timestamp is None and segment.size:
            segment.read_first_timestamp()

    def _trusted_indexes(self, segment: Segment) -> Indexes | None:
        """The indexes of what lies below the trusted offset; None when there is nothing to trust."""
        if segment.base_offset >= self._trusted_below or not self._has_index_files(segment.base_offset):
            return None
        try:
            indexes = segment.load_indexes()
        except IndexCorrupt as error:
            path = segment.path(LOG_SUFFIX)
            _logger.warning("index_rebuilt", file=path, reason=str(error))
            return None
        for index in indexes:
            index.truncate_to_offset(self._trusted_below)
        return indexes

    def _replay_before(self, segment: Segment, trusted: Indexes) -> None:
        """Producers and epochs of the batches before the point from which the segment is recovered."""
        for position, header, _ in scan_batches(segment.file(), 0, trusted[0].last_position, whole=False):
            if header.next_offset > self._scan_from:
                self._note_state(segment, position, header, indexes_aborted=False)

    def _is_whole(self, header: BatchHeader, batch: memoryview) -> bool:
        if header.base_offset < self.end_offset or header.last_offset_delta < 0:
            return False
        return header.next_offset <= self._trusted_below or verify_crc(batch)

    def _note_state(self, segment: Segment, position: int, header: BatchHeader, *, indexes_aborted: bool) -> None:
        if header.partition_leader_epoch > self.epochs.latest:
            self.epochs.assign(header.partition_leader_epoch, header.base_offset)
        if header.producer_id < 0 or header.base_offset < self._replay_from:
            return
        batch = read_batch(segment.file(), position, header) if header.attributes & CONTROL else memoryview(b"")
        try:
            completed = apply_batch(self.state, batch, header, header.base_offset)
        except ProtocolError as error:
            _logger.error("control_batch_unreadable", file=segment.path(LOG_SUFFIX), at=position, reason=str(error))
            return
        if completed is not None and completed.aborted and indexes_aborted:
            segment.note_aborted(
                AbortedTransaction(
                    completed.producer_id, completed.first_offset, completed.last_offset, completed.last_stable_offset
                )
            )

    def _cut(self, segment: Segment, file_size: int) -> None:
        """Takes away what follows the last whole batch, at once and for good: nobody may find it again."""
        facts = {
            "file": segment.path(LOG_SUFFIX),
            "end_offset": self.end_offset,
            "cut_bytes": file_size - segment.size,
        }
        if self.end_offset < self._trusted_below < LONG_MAX:
            _logger.error("log_tail_cut", known_flushed_below=self._trusted_below, **facts)
        else:
            _logger.warning("log_tail_cut", **facts)
        file = segment.file()
        file.truncate(segment.size)
        file.sync()
