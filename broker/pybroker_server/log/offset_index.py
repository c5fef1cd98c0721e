"""The offset index of one segment: offset to position in the file, sparse, in memory.

Rules of this file: pure; `segment.py` reads and writes the bytes. The file is Kafka's: entries of two big-endian
int32, the last offset of a batch relative to the segment's base offset, and the position at which that batch
begins. Both rise from entry to entry; no position is 0, so zeros at the end are no entries. The two arrays are
only appended to or replaced together, so a reader in another thread that holds them sees a consistent past.
"""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_left, bisect_right

ENTRY_BYTES = 8
RELATIVE_OFFSET_MAX = (1 << 31) - 1
_SWAPPED = sys.byteorder == "little"
assert array("I").itemsize == 4, "index entries are 32-bit words"


class IndexCorrupt(Exception):
    """An index file cannot be one: it is rebuilt from the log."""


class OffsetIndex:
    """Entries (relative last offset, position); `base_offset` is the segment's."""

    __slots__ = ("_arrays", "base_offset")

    def __init__(self, base_offset: int) -> None:
        self.base_offset = base_offset
        self._arrays = (array("I"), array("I"))
        """Relative offsets, and positions. A position is appended first, so every offset has one."""

    def __len__(self) -> int:
        return len(self._arrays[0])

    @classmethod
    def from_bytes(cls, base_offset: int, data: bytes, log_bytes: int) -> OffsetIndex:
        """Reads the file's bytes; zeros at the end (a file that Kafka had reserved) are no entries.

        Raises IndexCorrupt when the size is odd, entries do not rise, or one points past `log_bytes`.
        """
        if len(data) % ENTRY_BYTES:
            raise IndexCorrupt(f"{len(data)} bytes are no whole number of entries of {ENTRY_BYTES}")
        words = array("I", data)
        if _SWAPPED:
            words.byteswap()
        offsets, positions = words[0::2], words[1::2]
        if positions and positions[-1] == 0:
            count = positions.index(0)
            if any(words[2 * count :]):
                raise IndexCorrupt("entries follow an empty one")
            offsets, positions = offsets[:count], positions[:count]
        if not (_rises(offsets) and _rises(positions)):
            raise IndexCorrupt("entries do not rise")
        if positions and (positions[0] == 0 or positions[-1] >= log_bytes):
            raise IndexCorrupt(f"entries reach from {positions[0]} to {positions[-1]} of {log_bytes} bytes")
        index = cls(base_offset)
        index._arrays = (offsets, positions)
        return index

    def to_bytes(self, first: int = 0) -> bytes:
        """The entries from number `first` on, as they lie in the file."""
        offsets, positions = self._arrays
        words = array("I", bytes(ENTRY_BYTES * (len(offsets) - first)))
        words[0::2] = offsets[first:]
        words[1::2] = positions[first:]
        if _SWAPPED:
            words.byteswap()
        return words.tobytes()

    def append(self, last_offset: int, position: int) -> None:
        """Notes that the batch ending with `last_offset` begins at `position`."""
        offsets, positions = self._arrays
        relative = last_offset - self.base_offset
        assert 0 <= relative <= RELATIVE_OFFSET_MAX
        assert position > (positions[-1] if positions else 0)
        assert not offsets or relative > offsets[-1]
        positions.append(position)
        offsets.append(relative)

    def position_before(self, offset: int) -> int:
        """The start of the last indexed batch that ends at or before `offset`; 0 when none does."""
        offsets, positions = self._arrays
        found = bisect_right(offsets, offset - self.base_offset)
        return positions[found - 1] if found else 0

    def boundary_at_or_before(self, position: int) -> int:
        """The largest indexed batch boundary that is not after `position`; 0 when none is."""
        positions = self._arrays[1]
        found = bisect_right(positions, position)
        return positions[found - 1] if found else 0

    @property
    def last_position(self) -> int:
        """The start of the last indexed batch; 0 when there is none."""
        positions = self._arrays[1]
        return positions[-1] if positions else 0

    def entries(self) -> list[tuple[int, int]]:
        """(last offset, position) of every entry."""
        return [(self.base_offset + offset, position) for offset, position in zip(*self._arrays, strict=True)]

    def truncate_to_offset(self, offset: int) -> None:
        """Drops every entry whose batch ends at `offset` or after it."""
        offsets, positions = self._arrays
        count = bisect_left(offsets, offset - self.base_offset)
        self._arrays = (offsets[:count], positions[:count])

    def truncate_to_position(self, position: int) -> None:
        """Drops every entry whose batch begins at `position` or after it."""
        offsets, positions = self._arrays
        count = bisect_left(positions, position)
        self._arrays = (offsets[:count], positions[:count])


def _rises(values: array[int]) -> bool:
    return all(map(int.__lt__, values, values[1:]))
