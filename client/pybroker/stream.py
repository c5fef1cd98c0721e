"""Handlers side by side: as many as asked for, in the order asked for, and only what is finished is committed.

Rules: a lane is what must stay in order (a key, or a partition); one handler at a time works on it, and lanes take
turns. At most `max_pending` records are taken from the consumer and not finished, which bounds memory and how much
comes again after a crash. When a partition leaves, what was taken and not begun is left to its next owner, except what
lies in front of something that was begun: that is finished first, so that nothing comes again. A handler that fails for
good and has no dead-letter topic ends the stream; its record is not finished, so it comes again.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Hashable
from types import TracebackType
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, get_args

from pybroker.dead_letters import DeadLetters, Retry
from pybroker.errors import Closed
from pybroker.group.prefix import Entry, Prefix
from pybroker.group.settings import Position
from pybroker.metadata import TopicPartition
from pybroker.partition_reader import PartitionReader
from pybroker.reading import Reading
from pybroker.record import Record
from pybroker.tasks import TaskOwner

if TYPE_CHECKING:
    from pybroker.consumer import Consumer

__all__ = ["Handler", "Order", "Stream"]

log = logging.getLogger("pybroker.consumer")

Order = Literal["key", "partition", "none"]
Handler = Callable[[Record], Awaitable[None]]
_ONCE: Final = Retry(attempts=1)
_PENDING_PER_HANDLER: Final = 8


class _Job(NamedTuple):
    record: Record
    reader: PartitionReader
    generation: int
    prefix: Prefix
    entry: Entry


class Stream:
    """Made by `Consumer.stream`: `async with consumer.stream(concurrency=32) as stream: await stream.run(handler)`."""

    def __init__(
        self,
        consumer: Consumer,
        *,
        concurrency: int,
        order: Order,
        max_pending: int | None,
        retry: Retry | None,
        dead_letter: str | None,
        group: str | None,
    ) -> None:
        if concurrency < 1:
            raise ValueError(f"concurrency={concurrency}: at least one")
        if order not in get_args(Order):
            raise ValueError(f"order={order!r}: it can be 'key', 'partition' or 'none'")
        self._consumer = consumer
        self._concurrency = concurrency
        self._order = order
        self._max_pending = max_pending if max_pending is not None else concurrency * _PENDING_PER_HANDLER
        if self._max_pending < concurrency:
            raise ValueError(f"max_pending={max_pending}: at least as many as concurrency ({concurrency})")
        self._retry = retry or _ONCE
        self._dead_letters = DeadLetters(consumer.client, dead_letter, group) if dead_letter is not None else None
        self._reading: Reading | None = None
        self._prefixes: dict[PartitionReader, tuple[int, Prefix]] = {}
        self._lanes: dict[Hashable, deque[_Job]] = {}
        self._ready: deque[Hashable] = deque()
        self._pending = 0
        self._running: dict[int, _Job] = {}
        """What handlers work on now, the longest first."""
        self._resting: dict[Prefix, int] = {}
        """How many records of a partition wait for another attempt."""
        self._numbers = 0
        self._has_work = asyncio.Event()
        self._has_room = asyncio.Event()
        self._stopping = asyncio.Event()
        self._failure: BaseException | None = None
        self._tasks = TaskOwner("stream", self._on_failure)

    async def __aenter__(self) -> Stream:
        self._reading = self._consumer.lend_to(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._tasks.close()
            if self._dead_letters is not None:
                await self._dead_letters.close()
        finally:
            reading, self._reading = self._reading, None
            self._running.clear()
            if reading is not None:
                self._give_back(reading)

    def _give_back(self, reading: Reading) -> None:
        """The consumer goes on alone, in each partition with the first record that is not finished."""
        for reader, (generation, prefix) in self._prefixes.items():
            position = prefix.position(None)
            if position is not None and reader.generation == generation:
                reader.seek(position.offset)
                reader.read_epoch = position.leader_epoch
        self._prefixes.clear()
        reading.work = reading.one_at_a_time
        reading.on_progress()
        reading.fetcher.wake()

    async def run(self, handler: Handler) -> None:
        """Have every record handled, until `stop`. Raises what a handler failed with for good, or the consumer.

        When it raises, or is cancelled, handlers that are under way are cancelled too: their records come again.
        """
        if self._reading is None:
            raise Closed("the stream is not open: use it in `async with consumer.stream(...) as stream:`")
        workers = [self._tasks.spawn(f"handler {number}", self._work(handler)) for number in range(self._concurrency)]
        try:
            await self._feed()
            while self._pending and self._failure is None:
                await self._wait(self._has_room)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.wait(workers)
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Take no more records; `run` returns when those that were taken are finished."""
        self._stopping.set()
        self._has_room.set()
        self._consumer.wake()

    @property
    def pending(self) -> int:
        """How many records are taken and not finished."""
        return self._pending

    # Feeding.

    async def _feed(self) -> None:
        while not self._stopping.is_set() and self._failure is None:
            if self._pending > self._max_pending * 3 // 4:  # a few at a time are cheaper than one at a time
                await self._wait(self._has_room)
                continue
            count = self._max_pending - self._pending
            found = await self._consumer.next_for_stream(count, lambda: self._stopping.is_set() or self._failure)
            if found is not None:
                self._take(*found)

    def _take(self, reader: PartitionReader, records: list[Record]) -> None:
        generation, prefix = self._prefixes.get(reader, (-1, None))
        if prefix is None or generation != reader.generation:
            prefix = Prefix(reader.read_epoch)
            self._prefixes[reader] = reader.generation, prefix
        reader.read_epoch = records[-1].leader_epoch
        for record in records:
            job = _Job(record, reader, reader.generation, prefix, prefix.add(record.offset, record.leader_epoch))
            lane = self._lane_of(record)
            jobs = self._lanes.get(lane)
            if jobs is None:
                self._lanes[lane] = deque((job,))
                self._ready.append(lane)
            else:
                jobs.append(job)
        self._pending += len(records)
        self._has_work.set()

    def _lane_of(self, record: Record) -> Hashable:
        if self._order == "partition":
            return record.topic_partition
        if self._order == "key" and record.raw_key is not None:
            return record.topic_partition, record.raw_key
        return record.topic_partition, record.offset, None

    # Handling.

    async def _work(self, handler: Handler) -> None:
        while True:
            while not self._ready:
                self._has_work.clear()
                await self._has_work.wait()
            lane = self._ready.popleft()
            jobs = self._lanes[lane]
            job = jobs.popleft()
            try:
                if self._is_ours(job) and await self._handle(handler, job):
                    job.prefix.finish(job.entry)
            finally:
                if jobs:
                    self._ready.append(lane)
                    self._has_work.set()
                else:
                    del self._lanes[lane]
                self._pending -= 1
                self._has_room.set()
                if self._reading is not None:
                    self._reading.on_progress()

    async def _handle(self, handler: Handler, job: _Job) -> bool:
        """Whether the record is finished: handled, or buried."""
        attempt = 0
        while True:
            attempt += 1
            failure = await self._attempt(handler, job)
            if failure is None:
                return True
            delay = self._retry.delay(attempt, failure, random.random())
            if delay is None:
                await self._bury(job.record, failure, attempt)
                return True
            log.info("%r failed (attempt %d), trying again in %.2g s: %r", job.record, attempt, delay, failure)
            await self._rest(job.prefix, delay)
            if not self._is_ours(job):
                return False  # its partition left meanwhile, and its next owner begins with it

    async def _attempt(self, handler: Handler, job: _Job) -> Exception | None:
        """What the handler failed with."""
        number = self._numbers = self._numbers + 1
        self._running[number] = job
        job.prefix.begin(job.entry)
        try:
            await handler(job.record)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise  # the stream ends
            return RuntimeError("the handler was cancelled by something within it")
        except Exception as error:  # noqa: BLE001 - whatever the application's handler failed with
            return error
        finally:
            self._running.pop(number, None)
            if self._reading is not None:
                self._reading.on_progress()
        return None

    async def _rest(self, prefix: Prefix, seconds: float) -> None:
        self._resting[prefix] = self._resting.get(prefix, 0) + 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self._resting[prefix] -= 1
            if not self._resting[prefix]:
                del self._resting[prefix]

    async def _bury(self, record: Record, error: Exception, attempts: int) -> None:
        if self._dead_letters is None:
            raise error
        await self._dead_letters.send(record, error, attempts)
        log.warning("%r failed %d times and is in %s now: %r", record, attempts, self._dead_letters.topic, error)

    def _is_ours(self, job: _Job) -> bool:
        """Whether the partition is still read here, and from where this record was taken."""
        reading = self._reading
        assert reading is not None
        return (
            job.reader.generation == job.generation
            and reading.fetcher.readers.get(job.reader.tp) is job.reader
            and (not reading.is_leaving(job.reader.tp) or self._is_worth_finishing(job))
        )

    def _is_worth_finishing(self, job: _Job) -> bool:
        """Though its partition leaves: unless a record of it waits for another attempt, which nobody waits for."""
        return job.prefix.fills_gap(job.entry) and job.prefix not in self._resting

    async def _wait(self, event: asyncio.Event) -> None:
        event.clear()
        await event.wait()

    def _on_failure(self, failure: BaseException) -> None:
        self._failure = failure
        self._has_room.set()
        self._consumer.wake()

    # What the consumer asks (see `reading.Work`).

    def finished(self, reader: PartitionReader) -> Position | None:
        generation, prefix = self._prefixes.get(reader, (-1, None))
        if prefix is None or generation != reader.generation:
            position = reader.position
            return None if position is None else Position(position, reader.read_epoch)
        return prefix.position(reader.position)

    def is_busy(self, partitions: Collection[TopicPartition]) -> bool:
        if any(job.reader.tp in partitions for job in self._running.values()):
            return True
        return any(
            reader.tp in partitions and prefix.has_gap and prefix not in self._resting
            for reader, (_, prefix) in self._prefixes.items()
        )

    def progress(self) -> object:
        return next(iter(self._running), None)

    def removed(self, reader: PartitionReader) -> None:
        self._prefixes.pop(reader, None)
