"""One directory of `log.dirs`: whose it is, how its last life ended, and its checkpoint files.

Rules of this file: blocks; runs in threads, or before the broker serves. A directory that failed once is offline until
the broker is started again: nothing on it is trusted any more. Files and formats are Kafka's (`checkpoints.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from pybroker_server.log.checkpoints import (
    CLEAN_SHUTDOWN,
    CLEANED_OFFSETS,
    HIGH_WATERMARKS,
    LOCK,
    LOG_START_OFFSETS,
    META_PROPERTIES,
    RECOVERY_POINTS,
    CheckpointCorrupt,
    MetaProperties,
    TopicPartition,
    format_clean_shutdown,
    format_offsets,
    parse_offsets,
)
from pybroker_server.log.files import is_deleted_directory, parse_partition_directory
from pybroker_server.runtime.ports import Disk
from pybroker_server.telemetry.events import get_logger

_logger = get_logger("pybroker.log")


class DirectoryError(Exception):
    """The directory cannot be used; text and hint are for the user."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class LogDirectory:
    """`path` is absolute. `claim` comes first, `read_checkpoints` before logs are loaded."""

    __slots__ = ("_disk", "_written", "identity", "is_online", "log_count", "path", "was_clean")

    def __init__(self, disk: Disk, path: str) -> None:
        self._disk = disk
        self._written: dict[str, bytes] = {}
        """What the checkpoint files hold: an unchanged one is not written again."""
        self.path = path
        self.is_online = True
        self.log_count = 0
        """Logs in it; kept by the log manager."""
        self.was_clean = False
        """Whether the last life of the directory ended with everything flushed and written down."""
        self.identity: MetaProperties | None = None

    def claim(self) -> None:
        """Makes the directory if need be, locks it, and reads whose it is. Raises DirectoryError and OSError."""
        self._make()
        try:
            self._disk.lock(self._file(LOCK))
        except BlockingIOError:
            raise DirectoryError(
                f"{self.path} is in use by another broker",
                hint="stop that one, or give this one a directory of its own: --log-dirs PATH",
            ) from None
        try:
            self.identity = MetaProperties.from_bytes(self._disk.read_bytes(self._file(META_PROPERTIES)))
        except FileNotFoundError:
            return
        except CheckpointCorrupt as error:
            raise DirectoryError(
                f"{self._file(META_PROPERTIES)} cannot be read: {error}",
                hint="restore the file; it says which cluster and node the data belongs to",
            ) from None

    def _make(self) -> None:
        """What a directory holds lasts no longer than the entry that leads to it: each new one is synced."""
        missing: list[str] = []
        path = self.path
        while path and not self._disk.exists(path):
            missing.append(path)
            path = path.rpartition("/")[0]
        self._disk.make_dirs(self.path)
        for made in reversed(missing):
            self._disk.sync_dir(made.rpartition("/")[0] or "/")

    def write_identity(self, cluster_id: str, node_id: int, directory_id: UUID) -> None:
        """Writes down whose the directory is, once."""
        if self.identity is None:
            self.identity = MetaProperties(cluster_id, node_id, directory_id)
            self._disk.write_atomic(self._file(META_PROPERTIES), self.identity.to_bytes())

    # -- the end of a life

    def take_clean_mark(self) -> None:
        """Sets `was_clean` and removes the mark for good: from here on every end is a crash until told otherwise."""
        path = self._file(CLEAN_SHUTDOWN)
        self.was_clean = self._disk.exists(path)
        if self.was_clean:
            self._disk.remove(path)
            self._disk.sync_dir(self.path)

    def write_clean_mark(self, broker_epoch: int) -> None:
        """The very last thing of a clean shutdown."""
        self._disk.write_atomic(self._file(CLEAN_SHUTDOWN), format_clean_shutdown(broker_epoch))

    # -- checkpoints

    def read_recovery_points(self) -> dict[TopicPartition, int]:
        return self._read(RECOVERY_POINTS)

    def read_high_watermarks(self) -> dict[TopicPartition, int]:
        return self._read(HIGH_WATERMARKS)

    def read_log_starts(self) -> dict[TopicPartition, int]:
        return self._read(LOG_START_OFFSETS)

    def read_cleaned_offsets(self) -> dict[TopicPartition, int]:
        return self._read(CLEANED_OFFSETS)

    def write_recovery_points(self, offsets: Mapping[TopicPartition, int]) -> None:
        self._write(RECOVERY_POINTS, offsets)

    def write_high_watermarks(self, offsets: Mapping[TopicPartition, int]) -> None:
        self._write(HIGH_WATERMARKS, offsets)

    def write_log_starts(self, offsets: Mapping[TopicPartition, int]) -> None:
        self._write(LOG_START_OFFSETS, offsets)

    def write_cleaned_offsets(self, offsets: Mapping[TopicPartition, int]) -> None:
        self._write(CLEANED_OFFSETS, offsets)

    def _read(self, name: str) -> dict[TopicPartition, int]:
        try:
            return parse_offsets(self._disk.read_bytes(self._file(name)))
        except FileNotFoundError:
            return {}
        except CheckpointCorrupt as error:
            _logger.warning("checkpoint_ignored", file=self._file(name), reason=str(error))
            return {}

    def _write(self, name: str, offsets: Mapping[TopicPartition, int]) -> None:
        data = format_offsets(offsets)
        if self._written.get(name) != data:
            self._disk.write_atomic(self._file(name), data)
            self._written[name] = data

    # -- partitions

    def partitions(self) -> dict[TopicPartition, str]:
        """The partitions' directories by topic and partition."""
        found: dict[TopicPartition, str] = {}
        for name in self._disk.list(self.path):
            path = self._file(name)
            parsed = parse_partition_directory(name)
            if parsed is not None and self._disk.is_dir(path):
                found[parsed] = path
        return found

    def deleted_partitions(self) -> list[str]:
        """Directories whose partition was deleted, and that still wait for their removal."""
        return [self._file(name) for name in self._disk.list(self.path) if is_deleted_directory(name)]

    def _file(self, name: str) -> str:
        return f"{self.path}/{name}"
