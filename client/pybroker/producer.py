"""The producer: what services use to write records.

Rules: a returned `await` means acknowledged by as many replicas as `acks` says, all by default. Records of one sender
to one partition keep their order, through retries too, and are written once. What is buffered is bounded: `send` and
`send_many` wait for room, `send_nowait` says `BufferFull`. The work is done in sender.py; nothing here holds state
that a cancelled caller could leave half changed.
"""

from __future__ import annotations

import asyncio
import random
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import accumulate, islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar, Unpack, cast, overload

from pybroker.accumulator import Accumulator, PartitionQueue, Settings
from pybroker.batch import Batch
from pybroker.client import DEFAULT_BOOTSTRAP, Client
from pybroker.codecs import Codec, Raw
from pybroker.delivery import BatchResult, Delivery, RecordMetadata, SendManyFailed, Share, wait_done
from pybroker.errors import BufferFull, Closed, Fatal, KafkaError, NotFound
from pybroker.metadata import ClusterView, TopicPartition, TopicView
from pybroker.partitioner import Sticky, partition_for_key
from pybroker.producer_input import (
    HeadersIn,
    Message,
    ProducerOptions,
    Timestamp,
    acks_of,
    headers_of,
    is_bytes,
    milliseconds,
    settings_of,
)
from pybroker.sender import Sender
from pybroker.tasks import TaskOwner
from pybroker.transaction import Transaction, TransactionRunner
from pybroker.transactions import Transactions

if TYPE_CHECKING:
    from pybroker.consumer import Consumer

__all__ = ["Producer"]

K = TypeVar("K")
V = TypeVar("V")

_RECORD_COST_BYTES: Final = 64
_CHUNK_RECORDS: Final = 4096
_TOPIC_WAIT_MAX: Final = 60.0
"""Seconds that a send waits for its topic to be there: Kafka's max.block.ms."""
_TRANSACTION_TIMEOUT: Final = 60.0


class _Topic:
    """A topic that this producer writes to: the queues of its partitions, and where records without a key go."""

    __slots__ = ("candidates", "count", "name", "queues", "sticky")

    def __init__(self, view: TopicView, accumulator: Accumulator) -> None:
        self.name = view.name
        self.sticky = Sticky(random.choice)
        self.queues: list[PartitionQueue] = []
        self.update(view, accumulator)

    def update(self, view: TopicView, accumulator: Accumulator) -> None:
        self.count = len(view.partitions)
        led = [partition.index for partition in view.partitions if partition.leader >= 0]
        self.candidates = led or list(range(self.count))
        self.queues = [accumulator.queue(TopicPartition(self.name, index)) for index in range(self.count)]


class Producer(Generic[K, V]):
    """Writes records: `async with Producer("host:9092") as producer: await producer.send("topic", b"value")`.

    The first argument is a bootstrap list, for which the producer opens a client of its own; or give `client=`.
    `key_codec` and `value_codec` turn what you send into bytes (see codecs.py; bytes by default).

    acks: "all" (default), 1 or 0. idempotent: each record once, in order, through retries; on unless acks says
    otherwise. linger: how long a batch may wait for more records while earlier ones of its partition are under way;
    without any, it goes at once. batch_bytes: the size of a batch before compression. buffer_bytes: what may be
    buffered in all. delivery_timeout: when to give a record up.

    transactional_id: the name under which this producer writes transactions (`transaction()`), and nothing outside of
    them; a second producer of that name fences the first. transaction_timeout: when the cluster aborts one that was
    not ended.
    """

    @overload
    def __init__(
        self: Producer[bytes, bytes],
        bootstrap: str | Sequence[str] | Client = ...,
        **options: Unpack[ProducerOptions],
    ) -> None: ...

    @overload
    def __init__(
        self: Producer[bytes, V],
        bootstrap: str | Sequence[str] | Client = ...,
        *,
        value_codec: Codec[V],
        **options: Unpack[ProducerOptions],
    ) -> None: ...

    @overload
    def __init__(
        self: Producer[K, bytes],
        bootstrap: str | Sequence[str] | Client = ...,
        *,
        key_codec: Codec[K],
        **options: Unpack[ProducerOptions],
    ) -> None: ...

    @overload
    def __init__(
        self,
        bootstrap: str | Sequence[str] | Client = ...,
        *,
        key_codec: Codec[K],
        value_codec: Codec[V],
        **options: Unpack[ProducerOptions],
    ) -> None: ...

    def __init__(
        self,
        bootstrap: str | Sequence[str] | Client = DEFAULT_BOOTSTRAP,
        *,
        key_codec: Any = None,
        value_codec: Any = None,
        **options: Unpack[ProducerOptions],
    ) -> None:
        given: dict[str, Any] = {**options}
        client = bootstrap if isinstance(bootstrap, Client) else given.pop("client", None)
        self._owns_client = client is None
        self.client = client if client is not None else Client(bootstrap)  # type: ignore[arg-type]
        self._encode_key: Callable[[Any], bytes] = (key_codec or Raw()).encode
        self._encode_value: Callable[[Any], bytes] = (value_codec or Raw()).encode
        self._is_raw = value_codec is None or isinstance(value_codec, Raw)
        self._transactional_id: str | None = given.pop("transactional_id", None)
        self._transaction_timeout: float = given.pop("transaction_timeout", _TRANSACTION_TIMEOUT)
        self._acks = acks_of(given)
        self._settings = settings_of(self._acks, given)
        if self._transactional_id is not None:
            self._settings = _transactional(self._settings, self._transactional_id, self._transaction_timeout)
        self._accumulator = Accumulator(self._settings)
        self._accumulator.on_room = self._on_room
        self._tasks = TaskOwner("producer", self._on_task_failure)
        self._topics: dict[str, _Topic] = {}
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._was_full = False
        self._sender: Sender | None = None
        self._runner: TransactionRunner | None = None
        self._stop_listening = _nothing

    async def __aenter__(self) -> Producer[K, V]:
        self._tasks.check()
        if self._owns_client:
            await self.client.open()
        self.client.check()
        self._stop_listening = self.client.on_update(self._on_metadata)
        transactions = None
        if self._transactional_id is not None:
            transactions = Transactions(self.client, self._tasks, self._transactional_id, self._transaction_timeout)
        self._sender = Sender(self.client, self._accumulator, self._tasks, acks=self._acks, transactions=transactions)
        if transactions is not None:
            self._runner = TransactionRunner(transactions, self._accumulator, self._sender, self._tasks, self.flush)
            try:
                await transactions.init()
            except BaseException:
                await self._end()
                raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    # Sending.

    async def send(
        self,
        topic: str,
        value: V | None,
        *,
        key: K | None = None,
        headers: HeadersIn | None = None,
        partition: int | None = None,
        timestamp: Timestamp | None = None,
    ) -> RecordMetadata:
        """Write one record and wait until it is acknowledged. Waits for room and for the topic to be known.

        Raises what made it fail. When cancelled, the record may still be written: if it is not, that is logged.
        """
        delivery = await self.take(topic, value, key=key, headers=headers, partition=partition, timestamp=timestamp)
        return await delivery

    async def take(
        self,
        topic: str,
        value: V | None,
        *,
        key: K | None = None,
        headers: HeadersIn | None = None,
        partition: int | None = None,
        timestamp: Timestamp | None = None,
    ) -> Delivery:
        """Take one record for sending, waiting for room and for the topic to be known; await the `Delivery` for the
        acknowledgement."""
        await self._topic(topic)
        while True:
            try:
                return self.send_nowait(
                    topic, value, key=key, headers=headers, partition=partition, timestamp=timestamp
                )
            except BufferFull:
                await self._wait_for_room()

    def send_nowait(
        self,
        topic: str,
        value: V | None,
        *,
        key: K | None = None,
        headers: HeadersIn | None = None,
        partition: int | None = None,
        timestamp: Timestamp | None = None,
    ) -> Delivery:
        """Take one record for sending, without waiting; await the `Delivery` for the acknowledgement.

        Raises `BufferFull` when there is no room (`await producer.ready()`), and `NotFound` for a topic that this
        producer does not know yet (`await producer.prepare(topic)` once, or `send`).
        """
        sender = self._open_for_records()
        state = self._topics.get(topic)
        if state is None:
            raise NotFound(f"topic {topic} is not known yet: await producer.prepare({topic!r}) before send_nowait")
        key_bytes = None if key is None else self._encode_key(key)
        value_bytes = None if value is None else self._encode_value(value)
        record_headers = None if headers is None else headers_of(headers)
        time_ms = time.time_ns() // 1_000_000 if timestamp is None else milliseconds(timestamp)
        size = _RECORD_COST_BYTES + (len(key_bytes) if key_bytes else 0) + (len(value_bytes) if value_bytes else 0)
        if not self._accumulator.has_room(size):
            self._was_full = True
            raise BufferFull(f"{self._accumulator.buffered_bytes} bytes wait to be sent: await producer.ready()")
        queue = state.queues[self._partition(state, key_bytes, partition)]
        batch, index = queue.append(sender.now(), time_ms, key_bytes, value_bytes, record_headers)
        self._accumulator.reserve(batch, size)
        self._accumulator.activate(queue)
        sender.wake()
        return Delivery(batch, index, time_ms)

    async def send_many(
        self,
        topic: str,
        values: Iterable[V | Message | None],
        *,
        partition: int | None = None,
        timestamp: Timestamp | None = None,
    ) -> BatchResult:
        """Write many records and wait until all are acknowledged: the fast path.

        `values` are values, or `Message`s where keys, headers, partitions or times are needed. Values are made into
        batches directly and spread over the partitions batch by batch. Waits for room, so an endless iterable is
        fine. Raises `SendManyFailed` when some were not delivered.
        """
        await self._topic(topic)
        time_ms = time.time_ns() // 1_000_000 if timestamp is None else milliseconds(timestamp)
        shares: list[Share] = []
        iterator = iter(values)
        while chunk := list(islice(iterator, _CHUNK_RECORDS)):
            if self._is_raw and all(map(is_bytes, chunk)):
                await self._send_values(topic, cast(list[bytes], chunk), partition, time_ms, shares)
            else:
                await self._send_messages(topic, chunk, partition, time_ms, shares)
        await self._finish([share.batch for share in shares])
        result = BatchResult.of(shares)
        if result.failed:
            raise SendManyFailed(result)
        return result

    async def prepare(self, topic: str) -> None:
        """Learn a topic, so that `send_nowait` can be used for it. Brokers that may create topics create it.

        Raises `NotFound` when it is not there after a minute.
        """
        await self._topic(topic)

    async def ready(self) -> None:
        """Wait until there is room for more: after `BufferFull`, until something has left the buffer since."""
        while self._was_full or not self._accumulator.has_room(_RECORD_COST_BYTES):
            await self._wait_for_room()
        self._usable()

    async def flush(self) -> None:
        """Wait until everything sent so far is acknowledged or has failed; failures are told where they belong."""
        self._usable()
        await self._finish(self._accumulator.unfinished())

    async def close(self) -> None:
        """Send what is left, for at most `delivery_timeout`, and end. Harmless when repeated."""
        if self._sender is None or self._tasks.is_closed:
            await self._tasks.close()
            return
        try:
            async with asyncio.timeout(self._settings.delivery_timeout):
                await self._finish(self._accumulator.unfinished())
        except TimeoutError:
            pass  # what is left fails below, and says so
        finally:
            await self._end()

    async def _end(self) -> None:
        assert self._sender is not None
        self._sender.stop()
        self._stop_listening()
        if self._runner is not None:
            self._runner.transactions.close()
        self._tasks.cancel()
        for queue in self._accumulator.queues:
            queue.fail_all(Closed("the producer was closed before the record was acknowledged"))
        self._wake_all()
        self.client.untrack(list(self._topics), may_create=True)
        try:
            await self._tasks.close()
        finally:
            if self._owns_client:
                await self.client.close()

    # Transactions.

    def transaction(self, consumer: Consumer | None = None) -> Transaction[K, V]:
        """A block whose records, in whatever partitions, count all together when it is left, or not at all after an
        error: `async with producer.transaction() as tx: await tx.send("topic", b"value")`.

        With a `consumer` (of a group, with commit="manual") its positions are part of it: they are committed with the
        records, and after an abort the consumer goes back to where its group is.

        Raises `Abortable` when it was aborted: do it again. `Fenced` when another producer has taken over the
        transactional id: end. `TimedOut` when the coordinator did not answer: then whether it was committed is for the
        group's offsets to tell.
        """
        self._usable()
        if self._runner is None:
            raise TypeError("transactions need a name: Producer(..., transactional_id='orders-1')")
        return Transaction(self, self._runner, consumer)

    # Inside.

    def _open_for_records(self) -> Sender:
        sender = self._usable()
        if self._runner is not None:
            self._runner.transactions.check_open()
        return sender

    def _usable(self) -> Sender:
        self._tasks.check()
        if self._sender is None:
            raise Closed("the producer is not open: use it in `async with Producer(...) as producer:`")
        return self._sender

    async def _topic(self, name: str) -> _Topic:
        self._usable()
        known = self._topics.get(name)
        if known is not None:
            return known
        self.client.track([name], may_create=True)
        try:
            view = await self.client.topic(name, time_limit=min(_TOPIC_WAIT_MAX, self._settings.delivery_timeout))
        except BaseException:
            self.client.untrack([name], may_create=True)
            raise
        if name in self._topics:  # somebody else waited for it too
            self.client.untrack([name], may_create=True)
        else:
            self._topics[name] = _Topic(view, self._accumulator)
        return self._topics[name]

    def _on_metadata(self, cluster: ClusterView) -> None:
        for name, known in self._topics.items():
            view = cluster.topic(name)
            if view is not None and view.exists:
                known.update(view, self._accumulator)

    def _partition(self, topic: _Topic, key: bytes | None, partition: int | None) -> int:
        if partition is not None:
            if not 0 <= partition < topic.count:
                raise NotFound(f"topic {topic.name} has partitions 0 to {topic.count - 1}, not {partition}")
            return partition
        if key is not None:
            return partition_for_key(key, topic.count)
        current = topic.sticky.current(topic.candidates)
        if not topic.queues[current].is_filling:  # its batch is full or gone
            topic.sticky.move_on(topic.candidates)
            current = topic.sticky.current(topic.candidates)
        return current

    async def _send_values(
        self, topic: str, values: Sequence[bytes], partition: int | None, time_ms: int, shares: list[Share]
    ) -> None:
        """Makes whole batches of values, without looking at each."""
        ends = list(accumulate(map(len, values), initial=0))
        overhead = _RECORD_COST_BYTES // 4
        first = 0
        while first < len(values):
            # As many as surely fit: each costs its bytes and a few more.
            count, limit = 1, self._settings.batch_bytes
            last = bisect_right(ends, ends[first] + limit) - 1
            while last > first + 1 and ends[last] - ends[first] + overhead * (last - first) > limit:
                last = first + (last - first) * 15 // 16
            count = max(last - first, 1)
            size = ends[first + count] - ends[first] + _RECORD_COST_BYTES
            while not self._accumulator.has_room(size):
                await self._wait_for_room()
            sender = self._open_for_records()
            state = self._topics[topic]
            queue = state.queues[self._partition(state, None, partition)]
            batch = queue.new_batch(sender.now())
            batch.extend_values(time_ms, values[first : first + count])
            queue.enqueue(batch)
            self._accumulator.reserve(batch, size)
            self._accumulator.activate(queue)
            shares.append(Share(batch, 0, count, time_ms))
            sender.wake()
            first += count

    async def _send_messages(
        self, topic: str, values: Sequence[Any], partition: int | None, time_ms: int, shares: list[Share]
    ) -> None:
        for value in values:
            message = value if type(value) is Message else Message(value)
            where = partition if message.partition is None else message.partition
            when = time_ms if message.timestamp is None else message.timestamp
            delivery = await self.take(
                topic, message.value, key=message.key, headers=message.headers, partition=where, timestamp=when
            )
            if not shares or not delivery.join(shares[-1]):
                shares.append(delivery.share())

    async def _wait_for_room(self) -> None:
        """Until some batch has ended: the room that is there may be too small for what is to be sent."""
        self._usable()
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            # One batch that ended may make room for many: whoever was woken lets the next one look, after its own turn.
            asyncio.get_running_loop().call_soon(self._pass_on)
        self._usable()

    async def _finish(self, batches: Sequence[Batch]) -> None:
        """Waits until these batches have ended, sending those at once that still wait for more records."""
        for batch in batches:
            if not batch.is_done:
                self._accumulator.queue(batch.tp).is_flushing = True
        self._usable().wake()
        for batch in dict.fromkeys(batches):
            while unfinished := [leaf for leaf in batch.leaves() if not leaf.is_done]:
                await wait_done(unfinished[0])  # which may end by being split

    def _on_room(self) -> None:
        self._was_full = False
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _pass_on(self) -> None:
        if self._accumulator.has_room(_RECORD_COST_BYTES):
            self._on_room()

    def _wake_all(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    def _on_task_failure(self, failure: BaseException) -> None:
        error: KafkaError = Fatal(f"the producer has failed: {failure!r}")
        for queue in self._accumulator.queues:
            queue.fail_all(error)
        self._wake_all()


def _transactional(settings: Settings, transactional_id: str, timeout: float) -> Settings:
    if not transactional_id:
        raise ValueError("transactional_id='': give it a name, or leave it out")
    if not settings.is_idempotent:
        raise ValueError("transactional_id needs acks='all' and idempotent=True: a transaction is not half written")
    if not timeout > 0:
        raise ValueError(f"transaction_timeout={timeout!r}: it must be more than 0")
    return replace(settings, is_transactional=True)


def _nothing() -> None:
    """Before there is anything to stop listening to."""
