"""One partition that a consumer reads: where it is, what was fetched for it, whether it may be fetched. Pure.

Rules: `position` is the offset of the next record that the application gets, `fetch_offset` that of the next one to ask
a broker for; between them lies what is buffered. An answer to a question that a seek has overtaken is dropped.
"""

from __future__ import annotations

from collections import deque
from datetime import datetime
from typing import Final, Literal

from pybroker.fetched import Fetched
from pybroker.metadata import TopicPartition
from pybroker.record import Record

__all__ = ["PartitionReader", "Start", "timestamp_of"]

Start = Literal["earliest", "latest"] | int | datetime
"""An offset (from the end when negative), a time, or an end of the partition."""

EARLIEST: Final = -2
LATEST: Final = -1


class PartitionReader:
    """Times in seconds of any steady clock."""

    __slots__ = (
        "buffered",
        "buffered_bytes",
        "fetch_offset",
        "generation",
        "high_watermark",
        "is_asking",
        "is_fetching",
        "is_paused",
        "last_epoch",
        "log_start_offset",
        "not_before",
        "pending",
        "pending_at",
        "read_epoch",
        "start",
        "tp",
    )

    def __init__(self, tp: TopicPartition, start: Start) -> None:
        self.tp = tp
        self.start: Start | None = start
        """Where to begin, until that is known as an offset."""
        self.fetch_offset = -1
        self.buffered: deque[Fetched] = deque()
        self.buffered_bytes = 0
        self.pending: list[Record] = []
        self.pending_at = 0
        """Records that were decoded, and how many of them the application got."""
        self.last_epoch = -1
        self.read_epoch = -1
        """The leader epoch of the last record that the application got."""
        self.high_watermark = -1
        self.log_start_offset = -1
        self.generation = 0
        """Rises with every seek."""
        self.is_fetching = False
        self.is_asking = False
        self.is_paused = False
        self.not_before = 0.0
        if isinstance(start, int) and start >= 0:
            self._go_to(start)

    @property
    def position(self) -> int | None:
        """The offset of the next record, None while it is not known."""
        if self.start is not None:
            return None
        if self.pending_at < len(self.pending):
            return self.pending[self.pending_at].offset
        return self.buffered[0].position if self.buffered else self.fetch_offset

    @property
    def lag(self) -> int | None:
        """How many records are left, as of the last answer; None when nothing is known yet."""
        position = self.position
        return None if position is None or self.high_watermark < 0 else max(self.high_watermark - position, 0)

    def seek(self, start: Start) -> None:
        """Forget what is buffered and begin there."""
        self.generation += 1
        self.buffered.clear()
        self.buffered_bytes = 0
        self.pending, self.pending_at = [], 0
        self.last_epoch = -1
        self.is_asking = False
        self.start = start
        if isinstance(start, int) and start >= 0:
            self._go_to(start)

    def await_offset(self) -> None:
        """Neither fetch nor ask for anything until `found`, or `seek`: somebody else finds out where to begin."""
        self.is_asking = True

    def found_committed(self, offset: int, leader_epoch: int) -> None:
        """Begin at a committed offset; the record before it was of this leader epoch (-1: not told)."""
        self.last_epoch = self.read_epoch = leader_epoch
        self.found(offset)

    def found(self, offset: int) -> None:
        """What `start` means as an offset."""
        self.is_asking = False
        self._go_to(offset)

    def _go_to(self, offset: int) -> None:
        self.start = None
        self.fetch_offset = offset

    def take(self, fetched: Fetched) -> None:
        self.buffered.append(fetched)
        self.buffered_bytes += fetched.size_bytes
        self.fetch_offset = fetched.next_offset
        self.last_epoch = fetched.last_epoch

    def drop_front(self) -> None:
        """The oldest of what was fetched has been read."""
        self.buffered_bytes -= self.buffered.popleft().size_bytes

    def may_fetch(self, now: float, buffer_bytes: int) -> bool:
        return (
            self.start is None
            and not self.is_fetching
            and not self.is_paused
            and self.buffered_bytes < buffer_bytes
            and now >= self.not_before
        )


def timestamp_of(start: Start) -> int:
    """`start` in terms of ListOffsets: a special or a time in ms; for an offset that of the end, to count from.

    Raises ValueError for what is no start.
    """
    if start == "earliest":
        return EARLIEST
    if isinstance(start, datetime):
        if start.tzinfo is None:
            raise ValueError(f"start={start} has no time zone: datetime.now(UTC) has one")
        return round(start.timestamp() * 1000)
    if start == "latest" or isinstance(start, int):
        return LATEST
    raise ValueError(f"start={start!r}: it can be 'earliest', 'latest', an offset, or a datetime with a time zone")
