"""The consumer: what services use to read records.

Rules: records of a partition come in their order; partitions take turns. `position` is that of the next record which
the application gets, and moves when it gets one. What is fetched ahead is bounded for each partition. An error of one
partition is raised once, to who reads; the others go on.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import Any, Final, Literal, TypedDict, Unpack
from uuid import UUID

from pybroker.client import DEFAULT_BOOTSTRAP, Client
from pybroker.codecs import Codec, Raw
from pybroker.errors import Closed, KafkaError, NotFound
from pybroker.fetched import Decoder
from pybroker.fetcher import Fetcher, FetchSettings
from pybroker.metadata import NO_LEADER, ClusterView, TopicPartition, TopicView
from pybroker.offsets import ask_offsets
from pybroker.partition_reader import PartitionReader, Start, timestamp_of
from pybroker.record import Record
from pybroker.tasks import TaskOwner

__all__ = ["Consumer", "ConsumerOptions"]

log = logging.getLogger("pybroker.consumer")

_CHUNK_RECORDS: Final = 500
_TIME_LIMIT: Final = 30.0


class ConsumerOptions(TypedDict, total=False):
    """Keyword arguments of `Consumer` that tune it. Durations are seconds, sizes bytes."""

    isolation: Literal["read_uncommitted", "read_committed"]
    max_wait: float
    min_bytes: int
    max_bytes: int
    partition_bytes: int
    buffer_bytes: int
    check_crcs: bool
    rack: str


class Consumer:
    """Reads records: `async with Consumer("topic", start="earliest") as consumer: async for record in consumer: ...`.

    `topics` are read whole, those that do not exist yet from when they do; `partitions` names single ones instead.
    start: "latest" (default), "earliest", an offset, an offset from the end (-3: the last three), or an aware datetime.
    isolation: "read_committed" leaves out what transactions have not committed. buffer_bytes: how much is fetched ahead
    of each partition.
    """

    def __init__(
        self,
        *topics: str,
        bootstrap: str | Sequence[str] = DEFAULT_BOOTSTRAP,
        client: Client | None = None,
        partitions: Iterable[tuple[str, int]] = (),
        start: Start = "latest",
        key_codec: Codec[Any] | None = None,
        value_codec: Codec[Any] | None = None,
        **options: Unpack[ConsumerOptions],
    ) -> None:
        self._given = [TopicPartition(*given) for given in partitions]
        if bool(topics) == bool(self._given):
            raise TypeError("Consumer(...) needs topics to read, or partitions=[(topic, partition), ...], one of them")
        timestamp_of(start)  # raises for what cannot be one
        self._owns_client = client is None
        self.client = client if client is not None else Client(bootstrap)
        self._topics = list(dict.fromkeys(topics or [tp.topic for tp in self._given]))
        self._start: Start = start
        given: dict[str, Any] = {**options}
        self._decoder = Decoder(
            key_codec or Raw(),
            value_codec or Raw(),
            read_committed=_is_committed(given.pop("isolation", "read_uncommitted")),
            checks_crc=given.pop("check_crcs", True),
        )
        self._settings = _settings(given, read_committed=self._decoder.read_committed)
        self._tasks = TaskOwner("consumer", lambda failure: self._more.set())
        self._fetcher: Fetcher | None = None
        self._more = asyncio.Event()
        self._turns: deque[PartitionReader] = deque()
        self._seen: dict[str, UUID] = {}
        self._stop_listening = _nothing

    async def __aenter__(self) -> Consumer:
        self._tasks.check()
        if self._owns_client:
            await self.client.open()
        self.client.check()
        self._fetcher = Fetcher(
            self.client,
            self._tasks,
            self._settings,
            self._decoder,
            on_records=self._more.set,
            reset="latest" if self._start == "latest" else "earliest",
        )
        self._stop_listening = self.client.on_update(self._on_metadata)
        self.client.track(self._topics)
        for tp in self._given:
            self._add(tp, self._start)
        self._on_metadata(self.client.cluster)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End. Harmless when repeated."""
        fetcher, self._fetcher = self._fetcher, None
        if fetcher is not None:
            fetcher.stop()
            self._stop_listening()
            self.client.untrack(self._topics)
        self._tasks.cancel()
        self._more.set()
        try:
            await self._tasks.close()
        finally:
            if self._owns_client:
                await self.client.close()

    # Reading.

    async def __aiter__(self) -> AsyncIterator[Record]:
        """Every record, one after the other, without end. Raises what a partition failed with.

        Leaving the loop loses nothing: another one goes on with the next record.
        """
        while True:
            reader, records = await self._next(_CHUNK_RECORDS)
            reader.pending, reader.pending_at = records, 0
            while reader.pending is records and reader.pending_at < len(records) and not reader.is_paused:
                record = records[reader.pending_at]
                reader.pending_at += 1
                yield record

    async def batches(self, max_records: int = 500) -> AsyncIterator[list[Record]]:
        """Records by the list, each of one partition and of at most `max_records`: the fast path."""
        if max_records < 1:
            raise ValueError(f"max_records={max_records}: at least one")
        while True:
            _, records = await self._next(max_records)
            yield records

    async def poll(self, max_records: int = 500, *, time_limit: float) -> list[Record]:
        """The next records of one partition; empty when none came within `time_limit` seconds."""
        try:
            async with asyncio.timeout(time_limit):
                return (await self._next(max_records))[1]
        except TimeoutError:
            return []

    async def _next(self, count: int) -> tuple[PartitionReader, list[Record]]:
        while True:
            fetcher = self._usable()
            for tp in list(fetcher.failures):
                raise fetcher.failures.pop(tp)
            for _ in range(len(self._turns)):
                reader = self._turns[0]
                self._turns.rotate(-1)
                records = self._read(fetcher, reader, count)
                if records:
                    return reader, records
            self._more.clear()
            await self._more.wait()

    def _read(self, fetcher: Fetcher, reader: PartitionReader, count: int) -> list[Record]:
        if reader.is_paused:
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
            fetcher.wake()
        return []

    # Where it reads.

    @property
    def assignment(self) -> list[TopicPartition]:
        """The partitions that are read now."""
        return sorted(self._usable().readers)

    def position(self, topic: str, partition: int) -> int | None:
        """The offset of the next record that the application gets; None while it is not known."""
        return self._reader(topic, partition).position

    def lag(self) -> dict[TopicPartition, int]:
        """How many records are left in each partition, as of the last fetch; those not known yet are left out."""
        lags = {tp: reader.lag for tp, reader in self._usable().readers.items()}
        return {tp: lag for tp, lag in lags.items() if lag is not None}

    def seek(self, start: Start, partitions: Iterable[tuple[str, int]] | None = None) -> None:
        """Go on from elsewhere: an offset, an offset from the end, a time, "earliest" or "latest"; all by default."""
        timestamp_of(start)
        fetcher = self._usable()
        for reader in self._chosen(partitions):
            fetcher.failures.pop(reader.tp, None)
            reader.seek(start)
        fetcher.wake()

    def pause(self, partitions: Iterable[tuple[str, int]] | None = None) -> None:
        """Give out no records of these partitions until `resume`; of all by default."""
        for reader in self._chosen(partitions):
            reader.is_paused = True

    def resume(self, partitions: Iterable[tuple[str, int]] | None = None) -> None:
        for reader in self._chosen(partitions):
            reader.is_paused = False
        self._usable().wake()
        self._more.set()

    async def offsets(self, start: Start) -> dict[TopicPartition, int]:
        """What `start` means in every partition that is read: `await consumer.offsets("latest")`.

        Raises what made it fail.
        """
        timestamp_of(start)
        by_node: dict[int, dict[TopicPartition, Start]] = {}
        for tp in list(self._usable().readers):
            node = self.client.cluster.leader(tp)
            if node == NO_LEADER:
                node = (await self.client.refresh()).leader(tp)
            by_node.setdefault(node, {})[tp] = start
        found: dict[TopicPartition, int] = {}
        for node, starts in by_node.items():
            answers = await ask_offsets(self.client, node, starts, read_committed=self._decoder.read_committed)
            for tp, outcome in answers.items():
                if isinstance(outcome, KafkaError):
                    raise outcome
                found[tp] = outcome
        return found

    async def ready(self, time_limit: float = _TIME_LIMIT) -> None:
        """Wait until every topic is there and it is known where to read. Raises `TimeoutError`, or what a partition
        failed with."""
        async with asyncio.timeout(time_limit):
            while True:
                fetcher = self._usable()
                for tp in list(fetcher.failures):
                    raise fetcher.failures.pop(tp)
                readers = fetcher.readers.values()
                if self._seen.keys() >= set(self._topics) and all(reader.start is None for reader in readers):
                    return
                self._more.clear()
                await self._more.wait()

    # Inside.

    def _usable(self) -> Fetcher:
        self._tasks.check()
        if self._fetcher is None:
            raise Closed("the consumer is not open: use it in `async with Consumer(...) as consumer:`")
        self.client.tasks.check()
        return self._fetcher

    def _reader(self, topic: str, partition: int) -> PartitionReader:
        reader = self._usable().readers.get(TopicPartition(topic, partition))
        if reader is None:
            raise NotFound(f"{topic}-{partition} is not read by this consumer")
        return reader

    def _chosen(self, partitions: Iterable[tuple[str, int]] | None) -> list[PartitionReader]:
        if partitions is None:
            return list(self._usable().readers.values())
        return [self._reader(*given) for given in partitions]

    def _add(self, tp: TopicPartition, start: Start) -> None:
        assert self._fetcher is not None
        reader = self._fetcher.readers[tp] = PartitionReader(tp, start)
        self._turns.append(reader)

    def _on_metadata(self, cluster: ClusterView) -> None:
        fetcher = self._fetcher
        if fetcher is None:
            return
        for name in self._topics:
            view = cluster.topic(name)
            if view is None or not view.exists:
                continue
            if self._seen.get(name, view.topic_id) != view.topic_id:
                self._start_anew(fetcher, view)
            if not self._given:
                # Partitions that come later are read from their beginning, whatever `start` is: nothing was missed.
                start = "earliest" if name in self._seen else self._start
                for partition in view.partitions:
                    tp = TopicPartition(name, partition.index)
                    if tp not in fetcher.readers:
                        self._add(tp, start)
            self._seen[name] = view.topic_id
        fetcher.wake()
        self._more.set()

    def _start_anew(self, fetcher: Fetcher, topic: TopicView) -> None:
        """The topic was deleted and made again: what is there now is another one's, and nothing of it was read yet."""
        log.warning("topic %s was deleted and made again: reading it from its beginning", topic.name)
        for reader in [each for each in fetcher.readers.values() if each.tp.topic == topic.name]:
            fetcher.failures.pop(reader.tp, None)
            if self._given or reader.tp.partition < len(topic.partitions):
                reader.seek("earliest")
            else:
                del fetcher.readers[reader.tp]
                self._turns.remove(reader)


def _is_committed(isolation: str) -> bool:
    if isolation not in ("read_uncommitted", "read_committed"):
        raise ValueError(f"isolation={isolation!r}: it can be 'read_uncommitted' or 'read_committed'")
    return isolation == "read_committed"


def _settings(given: dict[str, Any], *, read_committed: bool) -> FetchSettings:
    names = {"buffer_bytes": "partition_buffer_bytes"}
    known = {"max_wait", "min_bytes", "max_bytes", "partition_bytes", "buffer_bytes", "rack"}
    unknown = set(given) - known
    if unknown:
        raise TypeError(f"Consumer has no option {', '.join(sorted(unknown))}")
    return FetchSettings(read_committed=read_committed, **{names.get(name, name): each for name, each in given.items()})


def _nothing() -> None:
    """Before there is anything to stop listening to."""
