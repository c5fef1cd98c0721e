"""The last offset of every key in a section of a log: what decides which records a compaction keeps.

Rules of this file: pure. Memory is bounded by an honest estimate of what a table entry costs here, so that
`log.cleaner.dedupe.buffer.size` means bytes of this process, as it does in Kafka. Long keys are kept as a digest of
128 bits that nobody can make collide (Kafka's MD5 can be).
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Final

from pybroker_protocol.records.record import RecordFields

NO_OFFSET: Final = -1
_OWN_BYTES_MAX: Final = 32
"""Keys up to this length stand for themselves: they are not larger than a digest's number."""
_DIGEST_BYTES: Final = 16
_ENTRY_BYTES: Final = 112
"""A place in the table while it is being enlarged, at worst, and the offset."""
_KEY_BYTES: Final = 33 + 15
"""What a `bytes` of no length takes, and what the allocator rounds up."""
_DIGEST_COST: Final = _ENTRY_BYTES + 48


class OffsetMap:
    """Key to last offset, up to a number of bytes; at least one key fits, so that every pass makes progress."""

    __slots__ = ("_budget_bytes", "_offsets", "_used_bytes", "latest_offset")

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._used_bytes = 0
        self._offsets: dict[bytes | int, int] = {}
        self.latest_offset = NO_OFFSET
        """Up to here the map knows everything; nothing may be concluded about what comes after it."""

    def __len__(self) -> int:
        return len(self._offsets)

    def add(self, records: Iterable[RecordFields], from_offset: int) -> bool:
        """Takes the records from `from_offset` on, in their order; False when one with a new key had no room.

        Then that record and what follows it are left out, and `latest_offset` is that of the last one taken.
        """
        offsets = self._offsets
        for _, offset, _, key, _, _ in records:
            if key is None or offset < from_offset:
                continue
            place: bytes | int = key if len(key) <= _OWN_BYTES_MAX else _digest(key)
            if place not in offsets:
                cost = _DIGEST_COST if len(key) > _OWN_BYTES_MAX else _ENTRY_BYTES + _KEY_BYTES + len(key)
                if offsets and self._used_bytes + cost > self._budget_bytes:
                    return False
                self._used_bytes += cost
            offsets[place] = offset
            self.latest_offset = offset
        return True

    def reach(self, offset: int) -> None:
        """All up to `offset` was taken, whether it had a key or not."""
        self.latest_offset = max(self.latest_offset, offset)

    def get(self, key: bytes) -> int:
        """The last offset of a key; -1 when the section has none."""
        return self._offsets.get(key if len(key) <= _OWN_BYTES_MAX else _digest(key), NO_OFFSET)


def _digest(key: bytes) -> int:
    """A number, so that no short key can be taken for it."""
    return int.from_bytes(blake2b(key, digest_size=_DIGEST_BYTES).digest(), "big")
