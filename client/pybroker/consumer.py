"""The consumer: what services use to read records.

Rules: records of a partition come in their order; partitions take turns. `position` is that of the next record which
the application gets, and moves when it gets one. What is fetched ahead is bounded for each partition. An error of one
partition is raised once, to who reads; the others go on. With a group, the group says which partitions are read; what
was finished and what is in hand is `reading.py`'s to know.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Literal, Unpack
from uuid import UUID

from pybroker.client import DEFAULT_BOOTSTRAP, Client
from pybroker.codecs import Codec, Raw
from pybroker.consumer_input import (
    ConsumerOptions,
    checked_start,
    fetch_settings,
    group_settings,
    is_committed,
    positions_of,
)
from pybroker.dead_letters import Retry
from pybroker.errors import Closed, KafkaError, NotAssigned, NotFound
from pybroker.fetched import Decoder
from pybroker.fetcher import Fetcher
from pybroker.group.handover import COMMITTED_ONLY, StartInGroup
from pybroker.group.member import GroupMember
from pybroker.group.settings import (
    CommitMode,
    GroupEvent,
    GroupMetadata,
    Position,
)
from pybroker.metadata import NO_LEADER, ClusterView, TopicPartition, TopicView
from pybroker.offsets import ask_offsets
from pybroker.partition_reader import PartitionReader, Start, timestamp_of
from pybroker.reading import Reading
from pybroker.record import Record
from pybroker.stream import Order, Stream
from pybroker.subscription import Subscription
from pybroker.tasks import TaskOwner

__all__ = ["Consumer", "ConsumerOptions"]

log = logging.getLogger("pybroker.consumer")

_CHUNK_RECORDS: Final = 500
_TIME_LIMIT: Final = 30.0
_IDLE_IS_READY: Final = 1.0


class Consumer:
    """Reads records: `async with Consumer("topic", start="earliest") as consumer: async for record in consumer: ...`.

    `topics` are names, or patterns (`re.compile(...)`, of whole names); those that do not exist yet are read from when
    they do. They are read whole, or shared with the other members of `group`; `partitions` names single ones instead.

    start: "latest", "earliest", an offset, an offset from the end (-3: the last three), or an aware datetime. With a
    group it is where to begin where the group has committed nothing, and can be "committed": that is an error then.
    By default "latest", with a group "earliest".
    commit: what is committed for the group, and when. "after": a record once the next is asked for, or the block ends
    without an error (at least once). "before": a record before it is given out (at most once). "manual": what `commit`
    is called for.
    isolation: "read_committed" leaves out what transactions have not committed. buffer_bytes: how much is fetched ahead
    of each partition.
    """

    def __init__(
        self,
        *topics: str | re.Pattern[str],
        group: str | None = None,
        bootstrap: str | Sequence[str] = DEFAULT_BOOTSTRAP,
        client: Client | None = None,
        partitions: Iterable[tuple[str, int]] = (),
        start: Start | Literal["committed"] | None = None,
        commit: CommitMode = "after",
        key_codec: Codec[Any] | None = None,
        value_codec: Codec[Any] | None = None,
        **options: Unpack[ConsumerOptions],
    ) -> None:
        self._given = [TopicPartition(*given) for given in partitions]
        if bool(topics) == bool(self._given):
            raise TypeError("Consumer(...) needs topics to read, or partitions=[(topic, partition), ...], one of them")
        if group is not None and self._given:
            raise TypeError("the members of a group share whole topics: give topics, or partitions without a group")
        self._start = checked_start(start, group)
        given: dict[str, Any] = {**options}
        self._group_settings = group_settings(group, commit, given)
        self._owns_client = client is None
        self.client = client if client is not None else Client(bootstrap)
        self._subscription = Subscription(
            self.client, topics or [tp.topic for tp in self._given], lambda: self._on_metadata(self.client.cluster)
        )
        self._decoder = Decoder(
            key_codec or Raw(),
            value_codec or Raw(),
            read_committed=is_committed(given.pop("isolation", "read_uncommitted")),
            checks_crc=given.pop("check_crcs", True),
            replier=self.client,
        )
        self._settings = fetch_settings(given, read_committed=self._decoder.read_committed)
        self._tasks = TaskOwner("consumer", lambda failure: self._more.set())
        self._more = asyncio.Event()
        self._reading: Reading | None = None
        self._member: GroupMember | None = None
        self._taken_as: GroupMetadata | None = None
        self._is_closing = False
        """Nothing is read any more; handlers of events may still look around, and commit."""
        self._seen: dict[str, UUID] = {}
        self._first_counts: dict[str, int] = {}
        self._stop_listening = _nothing

    async def __aenter__(self) -> Consumer:
        self._tasks.check()
        if self._owns_client:
            await self.client.open()
        self.client.check()
        reset: Start | None = "latest" if self._start == "latest" else "earliest"
        fetcher = Fetcher(
            self.client,
            self._tasks,
            self._settings,
            self._decoder,
            on_records=self._more.set,
            reset=None if self._start == COMMITTED_ONLY else reset,
        )
        reading = self._reading = Reading(fetcher, self._more)
        self._stop_listening = self.client.on_update(self._on_metadata)
        self._subscription.open()
        for tp in self._given:
            reading.add(tp, self._plain_start)
        if self._group_settings is not None:
            self._member = GroupMember(
                self.client,
                self._group_settings,
                reading,
                self._tasks,
                topics=lambda: frozenset(self._subscription.names),
                start=self._start_of,
                on_change=self._more.set,
            )
        self._on_metadata(self.client.cluster)
        if self._subscription.patterns:
            self._tasks.spawn("look for topics", self._subscription.look())
        if self._member is not None:
            self._member.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._close(finishes=error is None)

    async def close(self) -> None:
        """End: commit what is finished, where that is the consumer's to do, and leave the group. Harmless when
        repeated."""
        await self._close(finishes=True)

    async def _close(self, *, finishes: bool) -> None:
        reading, was_closing, self._is_closing = self._reading, self._is_closing, True
        self._more.set()
        try:
            if reading is not None and self._member is not None and not was_closing:
                if finishes:
                    reading.one_at_a_time.put_down()
                else:
                    reading.one_at_a_time.let_be()
                await self._member.close()
        finally:
            reading, self._reading = self._reading, None
            if reading is not None:
                reading.fetcher.stop()
                self._stop_listening()
                self._subscription.close()
            self._tasks.cancel()
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
        count = 1 if self._commits_before else _CHUNK_RECORDS
        while True:
            reader, records = await self._next(count)
            reader.pending, reader.pending_at = records, 0
            self._usable().one_at_a_time.take_up(reader, records, is_single=True)
            while reader.pending is records and reader.pending_at < len(records) and not reader.is_paused:
                record = records[reader.pending_at]
                reader.pending_at += 1
                self._note_taken()
                yield record

    async def batches(self, max_records: int = 500) -> AsyncIterator[list[Record]]:
        """Records by the list, each of one partition and of at most `max_records`: the fast path."""
        if max_records < 1:
            raise ValueError(f"max_records={max_records}: at least one")
        while True:
            reader, records = await self._next(max_records)
            self._usable().one_at_a_time.take_up(reader, records, is_single=False)
            yield records

    async def poll(self, max_records: int = 500, *, time_limit: float) -> list[Record]:
        """The next records of one partition; empty when none came within `time_limit` seconds."""
        try:
            async with asyncio.timeout(time_limit):
                reader, records = await self._next(max_records)
        except TimeoutError:
            return []
        self._usable().one_at_a_time.take_up(reader, records, is_single=False)
        return records

    def stream(
        self,
        *,
        concurrency: int = 16,
        order: Order = "key",
        max_pending: int | None = None,
        retry: Retry | None = None,
        dead_letter: str | None = None,
    ) -> Stream:
        """Handlers side by side: `async with consumer.stream(concurrency=32) as stream: await stream.run(handler)`.

        order: records of one "key" (or of one "partition") are handled one after the other, those without a key in any
        order; "none": all in any order. max_pending: how many may be taken and not finished, by default eight for each
        handler. retry: how often, and after what errors, a handler is tried again; by default it is not. dead_letter:
        the topic to which a record goes that could not be handled; without one, the handler's error ends the stream.
        In a group only what is finished, without a gap, is committed: commit="after" or "manual" is needed.
        """
        if self._commits_before:
            raise ValueError("commit='before' and a stream do not go together: it commits what is finished")
        group = self._group_settings.group if self._group_settings is not None else None
        return Stream(
            self,
            concurrency=concurrency,
            order=order,
            max_pending=max_pending,
            retry=retry,
            dead_letter=dead_letter,
            group=group,
        )

    def lend_to(self, stream: Stream) -> Reading:
        """From now on it is the stream that reads. Raises TypeError when another does."""
        reading = self._readable()
        if reading.work is not reading.one_at_a_time:
            raise TypeError("a consumer has one stream at a time")
        reading.one_at_a_time.put_down()
        reading.work = stream
        return reading

    async def next_for_stream(
        self, count: int, is_over: Callable[[], object]
    ) -> tuple[PartitionReader, list[Record]] | None:
        """The next records for a stream; None when it is over. Raises what a partition failed with."""
        while not is_over():
            reading = self._readable()
            self._raise_failure(reading)
            found = reading.next(count)
            if found is not None:
                return found
            self._more.clear()
            await self._more.wait()
        return None

    def wake(self) -> None:
        """Have who waits for records look around."""
        self._more.set()

    def _raise_failure(self, reading: Reading) -> None:
        failures = reading.fetcher.failures
        for tp in list(failures):
            raise failures.pop(tp)

    async def _next(self, count: int) -> tuple[PartitionReader, list[Record]]:
        hand = self._readable().one_at_a_time
        if self._usable().work is not hand:
            raise TypeError("the records of this consumer go to its stream")
        if self._member is not None and hand.is_held_by_another:
            raise TypeError(
                "two tasks read one consumer of a group, so nobody can tell what is finished:"
                " read in one task, or use consumer.stream(concurrency=...)"
            )
        hand.put_down()
        while True:
            reading = self._readable()
            self._raise_failure(reading)
            found = reading.next(count)
            if found is not None:
                if not self._commits_before or await self._commit_before(reading, *found):
                    self._note_taken()
                    return found
                continue
            self._more.clear()
            await self._more.wait()

    def _note_taken(self) -> None:
        if self._taken_as is None and self._member is not None:
            self._taken_as = self._member.metadata

    @property
    def _commits_before(self) -> bool:
        return self._group_settings is not None and self._group_settings.commit == "before"

    async def _commit_before(self, reading: Reading, reader: PartitionReader, records: list[Record]) -> bool:
        """Whether these may be given out: their offsets are committed."""
        assert self._member is not None
        last = records[-1]
        try:
            await self._member.commit({reader.tp: Position(last.offset + 1, last.leader_epoch)}, _TIME_LIMIT)
        except NotAssigned:
            return False
        except BaseException:
            reading.give_back(reader, records)
            raise
        return True

    # Where it reads.

    @property
    def assignment(self) -> list[TopicPartition]:
        """The partitions that are read now."""
        return sorted(self._usable().fetcher.readers)

    def position(self, topic: str, partition: int) -> int | None:
        """The offset of the next record that the application gets; None while it is not known."""
        return self._reader(topic, partition).position

    def positions(self) -> dict[TopicPartition, Position]:
        """What `commit()` would commit: of every partition that is read, where to go on after what the application
        got, or what the handlers of its stream have finished."""
        reading = self._usable()
        if reading.work is not reading.one_at_a_time:
            return reading.finished(reading.fetcher.readers)
        found: dict[TopicPartition, Position] = {}
        for tp, reader in reading.fetcher.readers.items():
            position = reader.position
            if position is not None:
                found[tp] = Position(position, reader.read_epoch)
        return found

    def lag(self) -> dict[TopicPartition, int]:
        """How many records are left in each partition, as of the last fetch; those not known yet are left out."""
        lags = {tp: reader.lag for tp, reader in self._usable().fetcher.readers.items()}
        return {tp: lag for tp, lag in lags.items() if lag is not None}

    def seek(self, start: Start, partitions: Iterable[tuple[str, int]] | None = None) -> None:
        """Go on from elsewhere: an offset, an offset from the end, a time, "earliest" or "latest"; all by default."""
        timestamp_of(start)
        fetcher = self._usable().fetcher
        for reader in self._chosen(partitions):
            fetcher.failures.pop(reader.tp, None)
            reader.seek(start)
        fetcher.wake()

    def pause(self, partitions: Iterable[tuple[str, int]] | None = None) -> None:
        """Give out no records of these partitions until `resume`; of all by default."""
        for reader in self._chosen(partitions):
            reader.is_paused = True

    def resume(self, partitions: Iterable[tuple[str, int]] | None = None) -> None:
        reading = self._usable()
        for reader in self._chosen(partitions):
            if not reading.is_leaving(reader.tp):
                reader.is_paused = False
        reading.fetcher.wake()
        self._more.set()

    async def offsets(self, start: Start) -> dict[TopicPartition, int]:
        """What `start` means in every partition that is read: `await consumer.offsets("latest")`.

        Raises what made it fail.
        """
        timestamp_of(start)
        by_node: dict[int, dict[TopicPartition, Start]] = {}
        for tp in list(self._usable().fetcher.readers):
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
        """Wait until every topic is there and it is known where to read; with a group, until this member has its part.

        A member for which the group has nothing is ready when that has been so for a second. Raises `TimeoutError`, or
        what a partition failed with.
        """
        async with asyncio.timeout(time_limit):
            while True:
                fetcher = self._readable().fetcher
                self._raise_failure(self._readable())
                idle_for = None if self._member is None else self._member.idle_for()
                if self._member is None or idle_for is not None:
                    readers = fetcher.readers.values()
                    is_known = all(reader.start is None for reader in readers)
                    has_part = idle_for is None or bool(readers) or idle_for >= _IDLE_IS_READY
                    if is_known and has_part and self._seen.keys() >= set(self._subscription.names):
                        return
                self._more.clear()
                await self._wait_for_more(_IDLE_IS_READY / 4 if self._member is not None else None)

    async def _wait_for_more(self, time_limit: float | None) -> None:
        try:
            async with asyncio.timeout(time_limit):
                await self._more.wait()
        except TimeoutError:
            pass

    # In a group.

    async def commit(
        self,
        what: Record | Mapping[tuple[str, int], int | Position] | None = None,
        *,
        time_limit: float = _TIME_LIMIT,
    ) -> None:
        """Commit now: all that the application got; a record and those before it in its partition; or offsets to go on
        from, by (topic, partition).

        The last two only with commit="manual". Raises `NotAssigned` for what belongs to another member by now.
        """
        reading, member = self._usable(), self._in_group()
        if what is None:
            reading.one_at_a_time.mark_done()
            await member.commit(member.committed.news(self.positions()), time_limit)
            return
        if member.settings.commit != "manual":
            raise ValueError(f"with commit={member.settings.commit!r} the consumer decides what is committed")
        await member.commit(positions_of(what), time_limit)

    async def committed(
        self, partitions: Iterable[tuple[str, int]] | None = None, *, time_limit: float = _TIME_LIMIT
    ) -> dict[TopicPartition, Position | None]:
        """What the group has committed for these partitions, by default those that this member reads; None: nothing."""
        wanted = self._usable().fetcher.readers if partitions is None else partitions
        return await self._in_group().committed.fetch([TopicPartition(*tp) for tp in wanted], time_limit=time_limit)

    def rewind(self) -> None:
        """Go back to what the group has committed; where that is nothing, to `start`. After a transaction was aborted.

        Nothing is read before that is known: of a transaction under way the end is waited for.
        """
        self._in_group().handover.rewind()

    @property
    def taken_as(self) -> GroupMetadata:
        """Who this consumer was in its group when it took the first record since `settle`: a transaction commits as
        that one, so that it is refused when the group has moved on since."""
        return self._taken_as or self.group_metadata

    def settle(self) -> None:
        """What was taken is committed, or will be taken again."""
        self._taken_as = None

    @property
    def commit_mode(self) -> CommitMode | None:
        """What commits for the group, None without one."""
        return None if self._group_settings is None else self._group_settings.commit

    @property
    def group_metadata(self) -> GroupMetadata:
        """Who this consumer is in its group now."""
        return self._in_group().metadata

    @property
    def group_protocol(self) -> str:
        """The protocol of this membership: "consumer" (KIP-848) or "classic"."""
        return self._in_group().protocol

    def events(self) -> AsyncIterator[GroupEvent]:
        """What happens to the membership from now on: `Assigned`, `Revoked`, `Lost`, `Slow`. Ends with the consumer."""
        return self._in_group().events.listen()

    # Inside.

    def _usable(self) -> Reading:
        self._tasks.check()
        if self._reading is None:
            raise Closed("the consumer is not open: use it in `async with Consumer(...) as consumer:`")
        self.client.tasks.check()
        if self._member is not None:
            self._member.check()
        return self._reading

    def _readable(self) -> Reading:
        if self._is_closing and self._reading is not None:
            raise Closed("the consumer is being closed")
        return self._usable()

    def _in_group(self) -> GroupMember:
        self._usable()
        if self._member is None:
            raise TypeError("this consumer has no group: Consumer(..., group=...) has one")
        return self._member

    def _reader(self, topic: str, partition: int) -> PartitionReader:
        reader = self._usable().fetcher.readers.get(TopicPartition(topic, partition))
        if reader is None:
            raise NotFound(f"{topic}-{partition} is not read by this consumer")
        return reader

    def _chosen(self, partitions: Iterable[tuple[str, int]] | None) -> list[PartitionReader]:
        if partitions is None:
            return list(self._usable().fetcher.readers.values())
        return [self._reader(*given) for given in partitions]

    @property
    def _plain_start(self) -> Start:
        assert self._start != COMMITTED_ONLY
        return self._start  # type: ignore[return-value]

    def _start_of(self, tp: TopicPartition) -> StartInGroup:
        """Where to begin where the group has committed nothing. Of partitions that came while this member was there
        nothing was missed."""
        is_new = tp.partition >= self._first_counts.get(tp.topic, tp.partition + 1)
        return "earliest" if is_new and self._start == "latest" else self._start

    def _on_metadata(self, cluster: ClusterView) -> None:
        reading = self._reading
        if reading is None:
            return
        for name in self._subscription.names:
            view = cluster.topic(name)
            if view is None or not view.exists:
                continue
            if self._seen.get(name, view.topic_id) != view.topic_id:
                self._start_anew(reading, view)
            if not self._given and self._group_settings is None:
                # Partitions that come later are read from their beginning, whatever `start` is: nothing was missed.
                start = "earliest" if name in self._seen else self._plain_start
                for partition in view.partitions:
                    tp = TopicPartition(name, partition.index)
                    if tp not in reading.fetcher.readers:
                        reading.add(tp, start)
            self._first_counts.setdefault(name, len(view.partitions))
            self._seen[name] = view.topic_id
        if self._group_settings is None and not self._given:
            names = set(self._subscription.names)
            reading.remove([tp for tp in reading.fetcher.readers if tp.topic not in names])
        if self._member is not None:
            self._member.on_metadata()
        reading.fetcher.wake()
        self._more.set()

    def _start_anew(self, reading: Reading, topic: TopicView) -> None:
        """The topic was deleted and made again: what is there now is another one's, and nothing of it was read yet."""
        log.warning("topic %s was deleted and made again: reading it from its beginning", topic.name)
        self._first_counts[topic.name] = 0
        readers = reading.fetcher.readers
        for reader in [each for each in readers.values() if each.tp.topic == topic.name]:
            reading.fetcher.failures.pop(reader.tp, None)
            if self._given or reader.tp.partition < len(topic.partitions):
                reader.seek("earliest")
            elif self._group_settings is None:
                reading.remove([reader.tp])
        if self._member is not None:
            self._member.committed.forget([tp for tp in readers if tp.topic == topic.name])


def _nothing() -> None:
    """Before there is anything to stop listening to."""
