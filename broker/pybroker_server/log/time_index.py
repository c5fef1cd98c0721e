"""The time index of one segment: largest timestamp so far to offset, sparse, in memory.

Rules of this file: pure; `segment.py` reads and writes the bytes. The file is Kafka's: entries of a big-endian
int64 timestamp and an int32 relative offset, meaning "no batch up to here has a larger timestamp, and the batch
that has this one ends with this offset". Timestamps rise strictly, offsets do not fall. Replaced, never shortened
in place, as in `offset_index.py`.
"""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right

from pybroker_server.log.offset_index import IndexCorrupt

ENTRY_BYTES = 12
NO_TIMESTAMP = -1
_ENTRY = struct.Struct(">qI")


class TimeIndex:
    """Entries (timestamp in ms, relative last offset of the batch that has it)."""

    __slots__ = ("_arrays", "base_offset")

    def __init__(self, base_offset: int) -> None:
        self.base_offset = base_offset
        self._arrays = (array("q"), array("I"))
        """Timestamps, and relative offsets. An offset is appended first, so every timestamp has one."""

    def __len__(self) -> int:
        return len(self._arrays[0])

    @classmethod
    def from_bytes(cls, base_offset: int, data: bytes) -> TimeIndex:
        """Reads the file's bytes; entries of zeros at the end (a file that Kafka had reserved) are none.

        Raises IndexCorrupt when the size is odd or entries do not rise.
        """
        if len(data) % ENTRY_BYTES:
            raise IndexCorrupt(f"{len(data)} bytes are no whole number of entries of {ENTRY_BYTES}")
        timestamps, offsets = array("q"), array("I")
        for timestamp, offset in _ENTRY.iter_unpack(data):
            if timestamps and timestamp <= timestamps[-1]:
                if timestamp or offset:
                    raise IndexCorrupt("timestamps do not rise")
                continue
            if offsets and offset < offsets[-1]:
                raise IndexCorrupt("offsets fall")
            timestamps.append(timestamp)
            offsets.append(offset)
        if len(timestamps) == 1 and not timestamps[0] and not offsets[0] and len(data) > ENTRY_BYTES:
            timestamps, offsets = array("q"), array("I")
        index = cls(base_offset)
        index._arrays = (timestamps, offsets)
        return index

    @staticmethod
    def last_of_bytes(base_offset: int, data: bytes) -> tuple[int, int]:
        """(timestamp, offset) of the entry that the last bytes of a file are; (-1, base offset) for none."""
        if len(data) < ENTRY_BYTES:
            return NO_TIMESTAMP, base_offset
        timestamp, offset = _ENTRY.unpack_from(data, len(data) - ENTRY_BYTES)
        return timestamp, base_offset + offset

    def to_bytes(self, first: int = 0) -> bytes:
        """The entries from number `first` on, as they lie in the file."""
        timestamps, offsets = self._arrays
        return b"".join(map(_ENTRY.pack, timestamps[first:], offsets[first:]))

    def maybe_append(self, timestamp: int, offset: int) -> None:
        """Notes the largest timestamp so far, unless the last entry already says it."""
        timestamps, offsets = self._arrays
        if timestamp <= (timestamps[-1] if timestamps else NO_TIMESTAMP):
            return
        relative = offset - self.base_offset
        assert relative >= (offsets[-1] if offsets else 0)
        offsets.append(relative)
        timestamps.append(timestamp)

    def offset_before(self, timestamp: int) -> int:
        """An offset at or before the first batch that has a timestamp >= `timestamp` (base offset at least).

        It is that of the last entry below `timestamp`: up to there every batch is older.
        """
        timestamps, offsets = self._arrays
        found = bisect_right(timestamps, timestamp - 1)
        return self.base_offset + (offsets[found - 1] if found else 0)

    @property
    def last(self) -> tuple[int, int]:
        """(timestamp, offset) of the last entry; (-1, base offset) when there is none."""
        timestamps, offsets = self._arrays
        if not timestamps:
            return NO_TIMESTAMP, self.base_offset
        return timestamps[-1], self.base_offset + offsets[-1]

    def entries(self) -> list[tuple[int, int]]:
        """(timestamp, offset) of every entry."""
        return [(time, self.base_offset + offset) for time, offset in zip(*self._arrays, strict=True)]

    def truncate_to_offset(self, offset: int) -> None:
        """Drops every entry whose batch ends at `offset` or after it."""
        timestamps, offsets = self._arrays
        count = len(offsets)
        while count and offsets[count - 1] >= offset - self.base_offset:
            count -= 1
        self._arrays = (timestamps[:count], offsets[:count])
