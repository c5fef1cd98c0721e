"""The aborted transactions of one segment: what a read_committed reader must leave out (KIP-98).

Rules of this file: pure; `segment.py` reads and writes the bytes. The file is Kafka's: entries of 34 bytes, big
endian: int16 version 0, int64 producer id, int64 first offset, int64 last offset (the marker's), int64 last stable
offset when the marker was written. An entry lies in the segment of its marker; last offsets rise.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import NamedTuple

from pybroker_server.log.offset_index import IndexCorrupt

_ENTRY = struct.Struct(">hqqqq")
ENTRY_BYTES = _ENTRY.size
_VERSION = 0


class AbortedTransaction(NamedTuple):
    """One aborted transaction; `last_offset` is that of its abort marker."""

    producer_id: int
    first_offset: int
    last_offset: int
    last_stable_offset: int


class TransactionIndex:
    """Entries in the order of their markers."""

    __slots__ = ("_entries",)

    def __init__(self, entries: Iterable[AbortedTransaction] = ()) -> None:
        self._entries = tuple(entries)

    def __len__(self) -> int:
        return len(self._entries)

    @classmethod
    def from_bytes(cls, base_offset: int, data: bytes) -> TransactionIndex:
        """Reads the file's bytes; raises IndexCorrupt for anything that cannot be such a file."""
        if len(data) % ENTRY_BYTES:
            raise IndexCorrupt(f"{len(data)} bytes are no whole number of entries of {ENTRY_BYTES}")
        entries = []
        marker_before = base_offset - 1
        for version, *fields in _ENTRY.iter_unpack(data):
            entry = AbortedTransaction(*fields)
            if version != _VERSION or not marker_before < entry.last_offset or entry.producer_id < 0:
                raise IndexCorrupt(f"not an aborted transaction after {marker_before}: {entry}")
            marker_before = entry.last_offset
            entries.append(entry)
        return cls(entries)

    def to_bytes(self, first: int = 0) -> bytes:
        """The entries from number `first` on, as they lie in the file."""
        return b"".join(_ENTRY.pack(_VERSION, *entry) for entry in self._entries[first:])

    def append(self, entry: AbortedTransaction) -> None:
        assert not self._entries or entry.last_offset > self._entries[-1].last_offset
        self._entries = (*self._entries, entry)

    def truncate_to_offset(self, offset: int) -> None:
        """Drops the transactions whose marker lies at `offset` or after it."""
        self._entries = tuple(entry for entry in self._entries if entry.last_offset < offset)

    def overlapping(self, from_offset: int, upper_offset: int) -> tuple[list[AbortedTransaction], bool]:
        """Aborted transactions with records in [from_offset, upper_offset).

        The flag says whether later segments need not be asked: an entry was reached before which every
        transaction that could overlap had ended (its last stable offset is not below the upper bound).
        """
        found = []
        for entry in self._entries:
            if entry.last_offset >= from_offset and entry.first_offset < upper_offset:
                found.append(entry)
            if entry.last_stable_offset >= upper_offset:
                return found, True
        return found, False

    @property
    def entries(self) -> tuple[AbortedTransaction, ...]:
        return self._entries
