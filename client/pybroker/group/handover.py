"""Moves partitions between the group and the consumer, in the order that loses nothing.

Rules: giving up means: hand out no more, wait for what is in hand, tell the application, commit what is finished, and
only then let go. How long it may take is bounded, because others wait: what is still in hand then will be processed
again by its next owner. Taking on means: tell the application, which may seek, find what is committed, read from there.
Partitions that were lost are dropped at once and nothing is committed, since others own them already.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import random
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Final

from pybroker.errors import KafkaError, NotAssigned, NotFound, Retriable
from pybroker.group.committed import CommittedOffsets
from pybroker.group.settings import Assigned, GroupEvent, GroupSettings, Lost, Revoked
from pybroker.metadata import TopicPartition
from pybroker.partition_reader import PartitionReader, Start
from pybroker.reading import Reading
from pybroker.retry import Backoff
from pybroker.tasks import TaskOwner

__all__ = ["Events", "Handover"]

log = logging.getLogger("pybroker.consumer")

_EVENTS_KEPT: Final = 1000
_COMMIT_TIME_LIMIT: Final = 10.0
COMMITTED_ONLY: Final = "committed"
StartInGroup = Start | str
"""`Start`, or "committed": what was never committed is an error."""


class Events:
    """What happens to the membership: told to `on_event`, and kept for those who iterate."""

    def __init__(self, settings: GroupSettings) -> None:
        self._on_event = settings.on_event
        self._logs: list[deque[GroupEvent]] = []
        self._news = asyncio.Event()
        self.is_closed = False

    async def tell(self, event: GroupEvent) -> None:
        for each in self._logs:
            each.append(event)
        self._news.set()
        if self._on_event is not None:
            answer = self._on_event(event)
            if inspect.isawaitable(answer):
                await answer

    async def listen(self) -> AsyncIterator[GroupEvent]:
        """Everything from now on, until the consumer is closed; who lags by more than a thousand misses some."""
        mine: deque[GroupEvent] = deque(maxlen=_EVENTS_KEPT)
        self._logs.append(mine)
        try:
            while True:
                while mine:
                    yield mine.popleft()
                if self.is_closed:
                    return
                self._news.clear()
                await self._news.wait()
        finally:
            self._logs.remove(mine)

    def close(self) -> None:
        self.is_closed = True
        self._news.set()


class Handover:
    """`owned` is what the consumer has of the group now."""

    def __init__(
        self,
        settings: GroupSettings,
        reading: Reading,
        committed: CommittedOffsets,
        events: Events,
        tasks: TaskOwner,
        start: Callable[[TopicPartition], StartInGroup],
    ) -> None:
        self.owned: set[TopicPartition] = set()
        self.is_closing = False
        """Nothing is taken on any more."""
        self._settings = settings
        self._reading = reading
        self._committed = committed
        self._events = events
        self._tasks = tasks
        self._start = start
        self._backoff = Backoff()

    async def give_up(self, partitions: Iterable[TopicPartition], *, time_limit: float | None = None) -> None:
        """Within half the rebalance timeout, so that there is time left to tell the group."""
        leaving = self.owned.intersection(partitions)
        if not leaving:
            return
        limit = self._settings.rebalance_timeout / 2 if time_limit is None else time_limit
        self._reading.hold(leaving)
        if not await self._reading.until_idle(leaving, limit):
            log.warning(
                "group %s: giving up %s with a record in hand: it was not finished in %g s, and comes again elsewhere",
                self._settings.group,
                _names(leaving),
                limit,
            )
        try:
            await self._events.tell(Revoked(tuple(sorted(leaving))))
        finally:
            try:
                await self.commit_finished(leaving, limit)
            finally:
                self._let_go(leaving)

    async def commit_finished(self, partitions: Iterable[TopicPartition], time_limit: float) -> None:
        """What is finished and not committed, where that is the consumer's to do. Failures are logged: the records
        come again, to this consumer or the next."""
        if self._settings.commit != "after":
            return
        news = self._committed.news(self._reading.finished(partitions))
        if not news:
            return
        try:
            await self._committed.commit(news, time_limit=min(time_limit, _COMMIT_TIME_LIMIT))
        except NotAssigned as error:
            log.warning("group %s: records will be processed again: %s", self._settings.group, error)
        except KafkaError as error:
            log.warning("group %s: offsets could not be committed yet: %s", self._settings.group, error)

    async def take_on(self, partitions: Iterable[TopicPartition]) -> None:
        coming = set() if self.is_closing else set(partitions) - self.owned
        readers: dict[TopicPartition, tuple[PartitionReader, int]] = {}
        for tp in sorted(coming):
            reader = self._reading.add(tp, "earliest", is_held=True)
            reader.await_offset()
            readers[tp] = reader, reader.generation
        self.owned |= coming
        if coming:
            await self._events.tell(Assigned(tuple(sorted(coming))))
            self._reading.release(coming & self.owned)
            self._tasks.spawn("find committed offsets", self._find(readers))

    def rewind(self) -> None:
        """Forget what was fetched and taken, and go on from what is committed, once that is known."""
        readers: dict[TopicPartition, tuple[PartitionReader, int]] = {}
        for tp in sorted(self.owned):
            reader = self._reading.fetcher.readers.get(tp)
            if reader is not None:
                reader.seek("earliest")
                reader.await_offset()
                readers[tp] = reader, reader.generation
        if readers:
            self._tasks.spawn("find committed offsets", self._find(readers))

    async def lose(self, partitions: Iterable[TopicPartition] | None = None) -> None:
        lost = set(self.owned) if partitions is None else self.owned.intersection(partitions)
        if not lost:
            return
        log.warning("group %s: lost %s: others may own them already", self._settings.group, _names(lost))
        self._let_go(lost)
        await self._events.tell(Lost(tuple(sorted(lost))))

    def _let_go(self, partitions: set[TopicPartition]) -> None:
        self._reading.remove(partitions)
        self._committed.forget(partitions)
        self.owned -= partitions

    async def _find(self, readers: dict[TopicPartition, tuple[PartitionReader, int]]) -> None:
        """Begin where the group left off, as long as it takes to learn where that is."""

        def is_waiting(tp: TopicPartition) -> bool:
            reader, generation = readers[tp]
            return reader.generation == generation and self._reading.fetcher.readers.get(tp) is reader

        attempt = 0
        while True:
            waiting = list(filter(is_waiting, readers))
            if not waiting:
                return
            try:
                found = await self._committed.fetch(waiting, time_limit=_COMMIT_TIME_LIMIT)
                break
            except Retriable as error:
                log.debug("group %s: %s", self._settings.group, error)
            except NotAssigned as error:  # the next assignment says what is ours
                log.debug("group %s: %s", self._settings.group, error)
            except KafkaError as error:
                self._reading.fetcher.failures.update(dict.fromkeys(waiting, error))
                self._reading.release(())
                return
            attempt += 1
            await asyncio.sleep(self._backoff.delay(attempt, random.random()))
        for tp in filter(is_waiting, waiting):
            reader = readers[tp][0]
            position, start = found[tp], self._start(tp)
            if position is not None:
                reader.found_committed(position.offset, position.leader_epoch)
            elif start == COMMITTED_ONLY:
                self._reading.fetcher.failures[tp] = NotFound(
                    f"group {self._settings.group} has committed no offset for {tp}, and start='committed' names none"
                )
            else:
                reader.seek(start)  # type: ignore[arg-type]
        self._reading.release(())


def _names(partitions: Iterable[TopicPartition]) -> str:
    return ", ".join(map(str, sorted(partitions)))
