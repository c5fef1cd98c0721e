"""How far a partition is finished when its records are worked on side by side: the contiguous prefix. Pure.

Rules: records are added in their order, begun and finished in any. `position` is where to go on so that nothing
unfinished is left behind: the first unfinished record. It never goes back. While there is a gap, unfinished records in
front of one that was begun, what lies behind the gap would come again.
"""

from __future__ import annotations

from collections import deque

from pybroker.group.settings import Position

__all__ = ["Entry", "Prefix"]


class Entry:
    """A record under way."""

    __slots__ = ("is_finished", "leader_epoch", "offset")

    def __init__(self, offset: int, leader_epoch: int) -> None:
        self.offset = offset
        self.leader_epoch = leader_epoch
        self.is_finished = False


class Prefix:
    """Of one partition. `leader_epoch` is that of the last record before the first one added."""

    __slots__ = ("_begun_to", "_entries", "_leader_epoch")

    def __init__(self, leader_epoch: int = -1) -> None:
        self._begun_to = -1
        self._entries: deque[Entry] = deque()
        self._leader_epoch = leader_epoch

    def __len__(self) -> int:
        """How many records are kept: from the first unfinished one on."""
        return len(self._entries)

    def add(self, offset: int, leader_epoch: int) -> Entry:
        entry = Entry(offset, leader_epoch)
        self._entries.append(entry)
        return entry

    def begin(self, entry: Entry) -> None:
        self._begun_to = max(self._begun_to, entry.offset)

    def fills_gap(self, entry: Entry) -> bool:
        """Whether something behind it was begun, or itself."""
        return entry.offset <= self._begun_to

    @property
    def has_gap(self) -> bool:
        return bool(self._entries) and self.fills_gap(self._entries[0])

    def finish(self, entry: Entry) -> None:
        entry.is_finished = True
        entries = self._entries
        while entries and entries[0].is_finished:
            self._leader_epoch = entries.popleft().leader_epoch

    def position(self, end: int | None) -> Position | None:
        """`end` is where reading goes on after all that was added; None while nobody knows."""
        if self._entries:
            return Position(self._entries[0].offset, self._leader_epoch)
        return None if end is None else Position(end, self._leader_epoch)
