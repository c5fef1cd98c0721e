"""What a flush or a checkpoint of one log has to do off the event loop, gathered on it.

Rules of this file: a ticket is made on the event loop, `sync` runs in any thread and touches files only, and the log
takes the result over on the event loop again (`PartitionLog.finish_flush`, `finish_checkpoint`). A ticket is good for
what was in the log when it was made; appends go on meanwhile. `sync` raises OSError, and is never tried again then.

Order matters in a checkpoint: data, then indexes, then snapshot and epochs. Only when all of them are on the device may
the recovery point be written down: recovery believes what lies below it without reading it.
"""

from __future__ import annotations

from collections.abc import Sequence

from pybroker_server.log.checkpoints import LEADER_EPOCHS, PARTITION_METADATA
from pybroker_server.log.files import SNAPSHOT_SUFFIX, parse_segment_file, segment_file
from pybroker_server.log.position import LogPosition
from pybroker_server.log.segment import Segment
from pybroker_server.runtime.ports import Disk

Snapshot = tuple[int, bytes]
"""(offset, bytes of the producer snapshot as of it)."""


class FlushTicket:
    """Gets the data of some segments onto the device, up to `end`."""

    __slots__ = ("_directory", "_disk", "_is_new", "_segments", "_syncs_directory", "end", "files_made")

    def __init__(
        self,
        disk: Disk,
        directory: str,
        segments: Sequence[Segment],
        end: LogPosition,
        *,
        files_made: int,
        syncs_directory: bool,
        is_new: bool,
    ) -> None:
        self._disk = disk
        self._directory = directory
        self._segments = segments
        self._syncs_directory = syncs_directory
        self._is_new = is_new
        self.end = end
        self.files_made = files_made

    def sync(self) -> None:
        """Blocks. Raises OSError."""
        for segment in self._segments:
            try:
                segment.file().sync()
            except (FileNotFoundError, ValueError):
                if not segment.deleted:  # by retention, while this ticket waited
                    raise
        if self._syncs_directory:
            # A file whose directory entry is not on the device is gone after a power cut, synced or not.
            self._disk.sync_dir(self._directory)
        if self._is_new:
            self._sync_new_directory()

    def _sync_new_directory(self) -> None:
        """Whose log this is, and the directory's own entry: nothing is flushed before they are."""
        file = self._disk.open(f"{self._directory}/{PARTITION_METADATA}")
        try:
            file.sync()
        finally:
            file.close()
        self._disk.sync_dir(self._directory.rpartition("/")[0])


class CheckpointTicket:
    """Gets everything that recovery relies on below `end` onto the device."""

    __slots__ = ("_directory", "_disk", "_epochs", "_flush", "_kept_snapshots", "_segments", "_snapshots")

    def __init__(
        self,
        disk: Disk,
        directory: str,
        flush: FlushTicket,
        segments: Sequence[Segment],
        *,
        snapshots: Sequence[Snapshot],
        kept_snapshots: frozenset[int],
        epochs: bytes | None,
    ) -> None:
        self._disk = disk
        self._directory = directory
        self._flush = flush
        self._segments = segments
        self._snapshots = snapshots
        self._kept_snapshots = kept_snapshots
        self._epochs = epochs

    @property
    def flush(self) -> FlushTicket:
        return self._flush

    def sync(self) -> None:
        """Blocks. Raises OSError."""
        self._flush.sync()
        for segment in self._segments:
            for file in segment.index_files():
                try:
                    file.sync()
                finally:
                    file.close()
        # The index files that are new, and the removal of those that are not needed.
        self._disk.sync_dir(self._directory)
        for offset, data in self._snapshots:
            self._disk.write_atomic(f"{self._directory}/{segment_file(offset, SNAPSHOT_SUFFIX)}", data)
        if self._epochs is not None:
            self._disk.write_atomic(f"{self._directory}/{LEADER_EPOCHS}", self._epochs)
        self._remove_old_snapshots()

    def _remove_old_snapshots(self) -> None:
        for name in self._disk.list(self._directory):
            parsed = parse_segment_file(name)
            if parsed is None or parsed[1] != SNAPSHOT_SUFFIX or parsed[0] in self._kept_snapshots:
                continue
            if parsed[0] < self._flush.end.offset:
                self._disk.remove(f"{self._directory}/{name}")
