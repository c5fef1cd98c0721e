"""What a consumer reads and what of it is in the application's hands.

Rules: partitions take turns. What was handed out is in hand until the application asks for the next; only then is it
finished, and `finished` says up to where that is, for each partition. A partition is removed in two steps: `hold` gives
out no more of it, `remove` forgets it; between them `until_idle` waits for what is in hand.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import Protocol

from pybroker.fetcher import Fetcher
from pybroker.group.settings import Position
from pybroker.metadata import TopicPartition
from pybroker.partition_reader import PartitionReader, Start
from pybroker.record import Record

__all__ = ["OneAtATime", "Reading", "Work"]


class Work(Protocol):
    """How the application works through what it is given."""

    def finished(self, reader: PartitionReader) -> Position | None:
        """Where to go on from so that nothing unfinished is left out; None while that is not known."""

    def is_busy(self, partitions: Collection[TopicPartition]) -> bool:
        """Whether something of these is in hand."""

    def progress(self) -> object:
        """Something that changes whenever the application makes progress; None while it has nothing to do."""

    def removed(self, reader: PartitionReader) -> None:
        """The partition belongs to others now."""


class OneAtATime:
    """The application holds one record, or one list of them, at a time."""

    def __init__(self, on_put_down: Callable[[], None]) -> None:
        self._on_put_down = on_put_down
        self._reader: PartitionReader | None = None
        self._records: list[Record] = []
        self._is_single = False
        self._generation = 0
        self._epoch_before = -1
        self._done_at = -1
        self._is_abandoned = False
        self._holder: asyncio.Task[object] | None = None

    def take_up(self, reader: PartitionReader, records: list[Record], *, is_single: bool) -> None:
        """`is_single`: of the records, only the one before `reader.pending_at` is in hand."""
        self._reader, self._records, self._is_single = reader, records, is_single
        self._generation = reader.generation
        self._epoch_before, reader.read_epoch = reader.read_epoch, records[0].leader_epoch
        self._done_at = -1
        self._is_abandoned = False
        self._holder = asyncio.current_task()

    def put_down(self) -> None:
        """The application asks for the next: it has finished what it had."""
        if self._reader is not None:
            self._reader, self._records, self._holder = None, [], None
            self._on_put_down()

    def mark_done(self) -> None:
        """The application says that it has finished what it has, before it asks for the next."""
        if self._reader is not None:
            self._done_at = self._reader.pending_at

    def let_be(self) -> None:
        """The application will not finish what it has."""
        self._is_abandoned = True
        self._on_put_down()

    @property
    def is_held_by_another(self) -> bool:
        """Whether another task, which still runs, has something in hand."""
        return self._holder is not None and self._holder is not asyncio.current_task() and not self._holder.done()

    def finished(self, reader: PartitionReader) -> Position | None:
        is_in_hand = reader is self._reader and reader.generation == self._generation
        if is_in_hand and self._done_at != reader.pending_at:
            at = max(reader.pending_at - 1, 0) if self._is_single else 0
            return Position(self._records[at].offset, self._epoch_before if at == 0 else reader.read_epoch)
        position = reader.position
        return None if position is None else Position(position, reader.read_epoch)

    def is_busy(self, partitions: Collection[TopicPartition]) -> bool:
        return not self._is_abandoned and self._reader is not None and self._reader.tp in partitions

    def progress(self) -> object:
        return None if self._reader is None else (self._records[0].offset, self._reader.tp, self._reader.pending_at)

    def removed(self, reader: PartitionReader) -> None:
        if reader is self._reader:
            self._reader, self._records, self._holder = None, [], None


class Reading:
    """The readers of a consumer and their turns. `more` is set when there may be something new to read."""

    def __init__(self, fetcher: Fetcher, more: asyncio.Event) -> None:
        self.fetcher = fetcher
        self.one_at_a_time = OneAtATime(self.on_progress)
        self.work: Work = self.one_at_a_time
        self._more = more
        self._turns: deque[PartitionReader] = deque()
        self._held: set[TopicPartition] = set()
        self._waiters: list[asyncio.Future[None]] = []

    def add(self, tp: TopicPartition, start: Start, *, is_held: bool = False) -> PartitionReader:
        reader = self.fetcher.readers[tp] = PartitionReader(tp, start)
        self._turns.append(reader)
        if is_held:
            self._held.add(tp)
        return reader

    def hold(self, partitions: Iterable[TopicPartition]) -> None:
        """Give out nothing more of these: what is decoded already included."""
        for tp in partitions:
            reader = self.fetcher.readers.get(tp)
            if reader is not None:
                self._held.add(tp)
                reader.is_paused = True

    def release(self, partitions: Iterable[TopicPartition]) -> None:
        """Give out what comes of partitions that were added held."""
        self._held.difference_update(partitions)
        self.fetcher.wake()
        self._more.set()

    def remove(self, partitions: Iterable[TopicPartition]) -> None:
        for tp in partitions:
            reader = self.fetcher.readers.pop(tp, None)
            self.fetcher.failures.pop(tp, None)
            self._held.discard(tp)
            if reader is not None:
                reader.is_paused = True  # who is in the middle of its records stops there
                self._turns.remove(reader)
                self.work.removed(reader)

    def next(self, count: int) -> tuple[PartitionReader, list[Record]] | None:
        """The next records, of the partition whose turn it is; None when there are none now."""
        for _ in range(len(self._turns)):
            reader = self._turns[0]
            self._turns.rotate(-1)
            records = self.read(reader, count)
            if records:
                return reader, records
        return None

    def is_leaving(self, tp: TopicPartition) -> bool:
        """Whether it is being given up."""
        return tp in self._held

    def read(self, reader: PartitionReader, count: int) -> list[Record]:
        if reader.is_paused or reader.tp in self._held:
            return []
        if reader.pending_at < len(reader.pending):
            records = reader.pending[reader.pending_at : reader.pending_at + count]
            reader.pending_at += len(records)
            return records
        while reader.buffered:
            records = reader.buffered[0].read(count)
            if records:
                return records
            reader.drop_front()
            self.fetcher.wake()
        return []

    def give_back(self, reader: PartitionReader, records: list[Record]) -> None:
        """These come next again."""
        reader.pending, reader.pending_at = [*records, *reader.pending[reader.pending_at :]], 0

    # What is finished.

    def finished(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, Position]:
        """Where each of these may go on, as far as that is known."""
        found: dict[TopicPartition, Position] = {}
        for tp in partitions:
            reader = self.fetcher.readers.get(tp)
            position = None if reader is None else self.work.finished(reader)
            if position is not None:
                found[tp] = position
        return found

    async def until_idle(self, partitions: Collection[TopicPartition], time_limit: float) -> bool:
        """Wait until nothing of these is in hand; whether that came to be within `time_limit` seconds."""
        try:
            async with asyncio.timeout(time_limit):
                while self.work.is_busy(partitions):
                    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    self._waiters.append(waiter)
                    await waiter
        except TimeoutError:
            return False
        return True

    def on_progress(self) -> None:
        """Something was finished, or is not in hand any more."""
        if not self._waiters:
            return
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
