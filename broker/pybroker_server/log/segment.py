"""One segment of a log: a `.log` file of batches and its three indexes.

Rules of this file: knows positions and bytes, not what they mean for the partition. Files open when they are first
needed and close when idle, so that partitions by the thousand cost few descriptors. Index entries are made in memory
with every append and written out together (`write_indexes`): the log can always rebuild them. The event loop appends
and truncates; any thread may read (arrays and files are replaced, never changed under a reader).

Who may trust an index file after a crash: entries below the checkpointed recovery point, because it is written only
after the index files were synced (`flush_tickets.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_server.log.aborted_rebuild import find_aborted
from pybroker_server.log.batch_scan import scan_batches
from pybroker_server.log.files import (
    INDEX_SUFFIXES,
    LOG_SUFFIX,
    SEGMENT_SUFFIXES,
    TIME_INDEX_SUFFIX,
    TRANSACTION_INDEX_SUFFIX,
    segment_file,
)
from pybroker_server.log.log_config import LONG_MAX
from pybroker_server.log.offset_index import ENTRY_BYTES as OFFSET_ENTRY_BYTES
from pybroker_server.log.offset_index import RELATIVE_OFFSET_MAX, IndexCorrupt, OffsetIndex
from pybroker_server.log.time_index import ENTRY_BYTES as TIME_ENTRY_BYTES
from pybroker_server.log.time_index import TimeIndex
from pybroker_server.log.transaction_index import ENTRY_BYTES as TRANSACTION_ENTRY_BYTES
from pybroker_server.log.transaction_index import AbortedTransaction, TransactionIndex
from pybroker_server.runtime.ports import Buffer, Disk, File
from pybroker_server.telemetry.events import get_logger

POSITION_MAX = (1 << 31) - 1
"""Positions are 32-bit in the index; Kafka's limit too."""
NO_TIMESTAMP = -1
_logger = get_logger("pybroker.log")

Indexes = tuple[OffsetIndex, TimeIndex, TransactionIndex]
_AnyIndex = OffsetIndex | TimeIndex | TransactionIndex
_REWRITE = -1
_ENTRY_BYTES = (OFFSET_ENTRY_BYTES, TIME_ENTRY_BYTES, TRANSACTION_ENTRY_BYTES)


class Segment:
    """A segment; the last of a log is active and grows.

    `max_timestamp` is the largest batch timestamp so far, `max_timestamp_offset` the last offset of the first
    batch that has it, `first_timestamp` the first batch's (None: not known or empty), for rolling by time.
    """

    __slots__ = (
        "_bytes_since_entry",
        "_directory",
        "_disk",
        "_ending",
        "_file",
        "_indexes",
        "_prefix",
        "_written",
        "base_offset",
        "deleted",
        "first_timestamp",
        "index_interval_bytes",
        "is_cleaned",
        "is_pinned",
        "max_timestamp",
        "max_timestamp_offset",
        "size",
        "used",
    )

    def __init__(self, disk: Disk, directory: str, base_offset: int, size: int = 0, *, ending: str = "") -> None:
        self._disk = disk
        self._directory = directory
        self._ending = ending
        self._prefix = f"{directory}/{segment_file(base_offset, '')}"
        self._file: File | None = None
        self._indexes: Indexes | None = None
        self._written = [_REWRITE, _REWRITE, _REWRITE]
        """How many entries of each index the files hold; `_REWRITE` when they must be written from nothing."""
        self._bytes_since_entry = 0
        self.base_offset = base_offset
        self.size = size
        self.index_interval_bytes = 4096
        self.first_timestamp: int | None = None
        self.max_timestamp = NO_TIMESTAMP
        self.max_timestamp_offset = base_offset
        self.used = True
        """Set by every use, cleared by `close_if_idle`: a second one without use in between closes."""
        self.deleted = False
        self.is_pinned = False
        """Compaction reads it or puts it in its place: the file stays open and the indexes in memory, because the path
        may lead to another file before the last reader of this one is done."""
        self.is_cleaned = False
        """Compaction made it in this life of the broker: positions in it that are older than it mean nothing."""

    @classmethod
    def create(
        cls, disk: Disk, directory: str, base_offset: int, *, ending: str = "", may_have_leftovers: bool = True
    ) -> Segment:
        """A new, empty segment; its file exists then. `ending` comes after the suffix of each file. Raises OSError."""
        segment = cls(disk, directory, base_offset, ending=ending)
        if may_have_leftovers:
            segment.discard_leftovers()
        segment._file = disk.open(segment.path(LOG_SUFFIX), create=True)
        segment._indexes = (OffsetIndex(base_offset), TimeIndex(base_offset), TransactionIndex())
        return segment

    def path(self, suffix: str) -> str:
        return self._prefix + suffix + self._ending

    # -- appending (event loop)

    def append(self, buffers: Sequence[Buffer], size: int, last_offset: int, max_timestamp: int) -> int:
        """Appends one batch of `size` bytes; returns its position. Raises OSError and is then as before."""
        file = self._file or self.file()
        position = self.size
        at = file.append(buffers)
        assert at == position, f"{file.path} ends at {at}, not at {position}"
        self.note_batch(position, size, last_offset, max_timestamp)
        return position

    def append_bytes(self, buffers: Sequence[Buffer]) -> int:
        """Appends several batches at once; `note_batch` must follow for each, in order."""
        file = self._file or self.file()
        at = file.append(buffers)
        assert at == self.size, f"{file.path} ends at {at}, not at {self.size}"
        return at

    def note_batch(self, position: int, size: int, last_offset: int, max_timestamp: int) -> None:
        """Takes a batch at the end of the file into account: size, timestamps, an index entry now and then."""
        if max_timestamp > self.max_timestamp:
            self.max_timestamp = max_timestamp
            self.max_timestamp_offset = last_offset
        if position == 0:
            self.first_timestamp = max_timestamp
        if self._bytes_since_entry > self.index_interval_bytes:
            indexes = self._indexes or self.indexes()
            indexes[0].append(last_offset, position)
            indexes[1].maybe_append(self.max_timestamp, self.max_timestamp_offset)
            self._bytes_since_entry = 0
        self._bytes_since_entry += size
        self.size = position + size

    def note_aborted(self, aborted: AbortedTransaction) -> None:
        self.indexes()[2].append(aborted)

    def has_room_for(self, last_offset: int, index_bytes_max: int) -> bool:
        """Whether the indexes can take another batch that ends with `last_offset`."""
        offset_index, time_index, _ = self._indexes or self.indexes()
        return (
            last_offset - self.base_offset <= RELATIVE_OFFSET_MAX
            and (len(offset_index) + 1) * OFFSET_ENTRY_BYTES <= index_bytes_max
            # One place is kept for the entry that closes the segment.
            and (len(time_index) + 2) * TIME_ENTRY_BYTES <= index_bytes_max
        )

    def seal(self) -> None:
        """No append follows: the time index gets its last entry and all entries go to the files."""
        self.indexes()[1].maybe_append(self.max_timestamp, self.max_timestamp_offset)
        self.write_indexes()

    # -- reading (any thread)

    def file(self) -> File:
        """The open `.log` file."""
        self.used = True
        file = self._file
        if file is None:
            file = self._disk.open(self.path(LOG_SUFFIX))
            self._file = file
        return file

    @property
    def is_loaded(self) -> bool:
        """Whether a look-up needs no index file to be read first."""
        return self._indexes is not None

    def indexes(self) -> Indexes:
        """The indexes, read from their files when they are not in memory. May wait for the device.

        Damaged ones of a sealed segment are made anew from its batches, aborted transactions from those before it
        too. Raises KafkaError KAFKA_STORAGE_ERROR when segments go away meanwhile: asked again, it knows.
        """
        self.used = True
        indexes = self._indexes
        if indexes is None:
            try:
                indexes = self.load_indexes()
            except IndexCorrupt as error:
                indexes = self._rebuild_indexes(error)
        return indexes

    def _rebuild_indexes(self, why: IndexCorrupt) -> Indexes:
        _logger.warning("index_rebuilt", file=self.path(LOG_SUFFIX), reason=str(why))
        aborted, written = self._aborted_from_file(), _REWRITE
        if aborted is None:
            aborted = self._aborted_from_log()
        else:
            written = len(aborted)
        rebuilt = Segment(self._disk, self._directory, self.base_offset)
        rebuilt.index_interval_bytes = self.index_interval_bytes
        rebuilt.reset_indexes()
        for position, header, _ in scan_batches(self.file(), 0, self.size, whole=False):
            rebuilt.note_batch(position, header.size_bytes, header.last_offset, header.max_timestamp)
        offsets, times, _ = rebuilt.indexes()
        times.maybe_append(rebuilt.max_timestamp, rebuilt.max_timestamp_offset)
        if self.max_timestamp == NO_TIMESTAMP:
            self.max_timestamp, self.max_timestamp_offset = times.last
        self._written = [_REWRITE, _REWRITE, written]
        self._indexes = (offsets, times, aborted)
        return self._indexes

    def _aborted_from_file(self) -> TransactionIndex | None:
        """None when the file is damaged."""
        try:
            return TransactionIndex.from_bytes(self.base_offset, self._read_index(TRANSACTION_INDEX_SUFFIX) or b"")
        except IndexCorrupt:
            return None

    def _aborted_from_log(self) -> TransactionIndex:
        try:
            return TransactionIndex(find_aborted(self._disk, self._directory, self.base_offset, LONG_MAX))
        except FileNotFoundError as error:
            raise KafkaError(
                ErrorCode.KAFKA_STORAGE_ERROR,
                f"{self.path(TRANSACTION_INDEX_SUFFIX)} is damaged and was not made anew: {error}",
            ) from None

    def load_indexes(self) -> Indexes:
        """The indexes as their files have them. Raises IndexCorrupt when one is damaged or missing."""
        data = [self._read_index(suffix) for suffix in INDEX_SUFFIXES]
        if (data[0] is None or data[1] is None) and self.size:
            raise IndexCorrupt("an index file is missing")
        indexes = (
            OffsetIndex.from_bytes(self.base_offset, data[0] or b"", self.size),
            TimeIndex.from_bytes(self.base_offset, data[1] or b""),
            TransactionIndex.from_bytes(self.base_offset, data[2] or b""),
        )
        self._written = [len(index) for index in indexes]
        self._indexes = indexes
        return indexes

    def _read_index(self, suffix: str) -> bytes | None:
        try:
            return self._disk.read_bytes(self.path(suffix))
        except FileNotFoundError:
            return None

    def read_last_timestamp(self, end_offset: int) -> None:
        """Sets `max_timestamp` from the end of the time index file of a sealed segment, without loading it.

        A file that says nothing, or nothing possible (missing, empty, torn, zeros at its end, an offset that is not
        below `end_offset`), leaves it unknown: look-ups by time read the segment then.
        """
        try:
            file = self._disk.open(self.path(TIME_INDEX_SUFFIX))
        except FileNotFoundError:
            return
        size = file.size()
        last = bytearray(TIME_ENTRY_BYTES)
        is_possible = size >= TIME_ENTRY_BYTES and size % TIME_ENTRY_BYTES == 0
        if is_possible and file.read_into(size - TIME_ENTRY_BYTES, memoryview(last)) == TIME_ENTRY_BYTES:
            timestamp, offset = TimeIndex.last_of_bytes(self.base_offset, bytes(last))
            if timestamp > 0 and offset < end_offset:
                self.max_timestamp, self.max_timestamp_offset = timestamp, offset
        file.close()

    def read_first_timestamp(self) -> None:
        """Sets `first_timestamp` from the first batch of a segment that is not empty."""
        for _, header, _ in scan_batches(self.file(), 0, self.size, chunk_bytes=0, whole=False):
            self.first_timestamp = header.max_timestamp
            return

    # -- index files

    def reset_indexes(self, indexes: Indexes | None = None) -> None:
        """Starts rebuilding: from nothing, or from the trusted beginning of what the files held.

        The files are rewritten from there by the next `write_indexes`.
        """
        self._indexes = indexes or (
            OffsetIndex(self.base_offset),
            TimeIndex(self.base_offset),
            TransactionIndex(),
        )
        self._written = [_REWRITE, _REWRITE, _REWRITE]
        self._bytes_since_entry = 0
        self.max_timestamp, self.max_timestamp_offset = self._indexes[1].last
        self.size = self._indexes[0].last_position

    def has_unwritten_entries(self) -> bool:
        indexes = self._indexes
        return indexes is not None and [len(index) for index in indexes] != self._written

    def write_indexes(self) -> None:
        """Puts the entries that are not in the files yet there (page cache only). Raises OSError."""
        if self._indexes is None:
            return
        indexes: tuple[_AnyIndex, ...] = self._indexes
        for number, index in enumerate(indexes):
            if len(index) != self._written[number]:
                self._write_index(number, index)
                self._written[number] = len(index)

    def _write_index(self, number: int, index: _AnyIndex) -> None:
        path = self.path(INDEX_SUFFIXES[number])
        if not len(index) and isinstance(index, TransactionIndex):
            _remove_if_there(self._disk, path)  # most segments have no aborted transaction, and then no file
            return
        written = max(self._written[number], 0)
        file = self._disk.open(path, create=True)
        keep = written * _ENTRY_BYTES[number]
        if file.size() != keep:
            file.truncate(keep)
        if len(index) > written:
            file.append([index.to_bytes(written)])
        file.close()

    def index_files(self) -> Iterator[File]:
        """The index files that exist, opened, for syncing."""
        for suffix in INDEX_SUFFIXES:
            try:
                yield self._disk.open(self.path(suffix))
            except FileNotFoundError:
                continue

    # -- compaction

    def pin(self) -> None:
        """Opens the file and reads the indexes, to be kept until `is_pinned` is taken back."""
        self.is_pinned = True
        self.file()
        self.indexes()

    def sync_all(self) -> None:
        """Gets the file and the index files onto the device. Blocks."""
        self.file().sync()
        for file in self.index_files():
            try:
                file.sync()
            finally:
                file.close()

    def rename_files(self, ending: str, suffixes: Sequence[str] = SEGMENT_SUFFIXES) -> list[str]:
        """Gives the files of these suffixes another ending and returns their paths; what is open stays open.

        `take_ending` must follow when all are renamed. Raises OSError.
        """
        renamed = []
        for suffix in suffixes:
            target = self._prefix + suffix + ending
            try:
                self._disk.rename(self.path(suffix), target)
            except FileNotFoundError:
                if suffix == LOG_SUFFIX:
                    raise
                continue  # most segments have no file of aborted transactions
            renamed.append(target)
        return renamed

    def take_ending(self, ending: str) -> None:
        self._ending = ending

    # -- cutting and closing

    def truncate(self, position: int, end_offset: int) -> None:
        """Cuts the file at `position`, the start of the batch with `end_offset`; synced when it returns.

        The caller finds `max_timestamp` anew if the segment grows again. Raises OSError.
        """
        offset_index, time_index, transaction_index = self.indexes()
        file = self.file()
        file.truncate(position)
        file.sync()
        offset_index.truncate_to_position(position)
        time_index.truncate_to_offset(end_offset)
        transaction_index.truncate_to_offset(end_offset)
        self._written = [_REWRITE, _REWRITE, _REWRITE]
        self.size = position
        self._bytes_since_entry = position - offset_index.last_position
        self.max_timestamp, self.max_timestamp_offset = time_index.last
        if position == 0:
            self.first_timestamp = None

    def remove_files(self) -> None:
        """Removes the files, the `.log` first: what is left without one is removed at the next start."""
        self.deleted = True
        self.close()
        for suffix in (LOG_SUFFIX, *INDEX_SUFFIXES):
            _remove_if_there(self._disk, self.path(suffix))

    def discard_leftovers(self) -> None:
        """Removes index files of an earlier segment of this name."""
        for suffix in INDEX_SUFFIXES:
            _remove_if_there(self._disk, self.path(suffix))

    def close(self) -> None:
        """Lets go of files and indexes; entries not written out are lost (the loader rebuilds them)."""
        file = self._file
        self._file = None
        if file is not None:
            file.close()

    def close_if_idle(self) -> bool:
        """Closes a sealed segment that was not used since the last call."""
        if self.used or self.is_pinned:
            self.used = False
            return False
        if self._file is None and self._indexes is None:
            return False
        assert not self.has_unwritten_entries()
        self._indexes = None
        self.close()
        return True


def _remove_if_there(disk: Disk, path: str) -> None:
    try:
        disk.remove(path)
    except FileNotFoundError:
        pass
