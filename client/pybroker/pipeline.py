"""Exactly once by construction: records in, a handler, records out, and the positions, all in one transaction.

Rules: the handler says what is to be written and writes nothing itself; what failed attempts have said is forgotten.
Positions are those of the records that were handled, and the membership is that under which they were taken: if the
group has moved on since, the transaction is refused and everything of it comes again, here or at another member. After
a transaction that did not commit, or of which nobody knows, reading goes on where the group is. So whatever dies in
between, each record's results count once.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Sequence
from types import TracebackType
from typing import Any, Final, Literal, Unpack
from uuid import uuid4

from pybroker.client import DEFAULT_BOOTSTRAP, Client
from pybroker.codecs import Codec, Raw
from pybroker.consumer import Consumer
from pybroker.consumer_input import ConsumerOptions
from pybroker.dead_letters import Retry, dead_letter_headers
from pybroker.errors import Abortable, Closed, NotAssigned, TimedOut
from pybroker.partition_reader import Start
from pybroker.producer import Producer
from pybroker.producer_input import HeadersIn, Message, Timestamp
from pybroker.record import Record
from pybroker.retry import Backoff

__all__ = ["Output", "Pipeline"]

log = logging.getLogger("pybroker.pipeline")

_IDLE_POLL: Final = 0.5
_TRANSACTION_TIMEOUT: Final = 15.0


class Output:
    """What a handler wants written if its record counts."""

    __slots__ = ("messages",)

    def __init__(self) -> None:
        self.messages: list[tuple[str, Message]] = []

    def send(
        self,
        topic: str,
        value: Any,
        *,
        key: Any = None,
        headers: HeadersIn | None = None,
        partition: int | None = None,
        timestamp: Timestamp | None = None,
    ) -> None:
        """One record. It is written with the others of its transaction, in the order of the records read."""
        self.messages.append((topic, Message(value, key, headers, partition, timestamp)))


Handler = Callable[[Record, Output], Awaitable[None] | None]


class Pipeline:
    """`async with Pipeline("orders", group="billing") as pipeline: await pipeline.run(handler)`.

    handler(record, out) calls `out.send(topic, value, key=...)` for each record to write. Topics, group and the other
    options are those of `Consumer`; codecs those of `Consumer` for reading, `out_key_codec` and `out_value_codec` those
    of `Producer`.

    transactional_id: of this instance; one that comes back under the same name takes over at once from the one that
    died, with another name after `transaction_timeout` seconds. By default made of the group and `instance_id`, else of
    chance. batch_records: how many records one transaction may have. concurrency: how many handlers may run at once;
    records of one "key" (or "partition", see `order`) are handled one after the other. retry: how often a handler is
    tried. dead_letter: the topic for records that it could not handle, written in the same transaction; without one
    the handler's error ends the pipeline.
    """

    def __init__(
        self,
        *topics: str,
        group: str,
        bootstrap: str | Sequence[str] = DEFAULT_BOOTSTRAP,
        client: Client | None = None,
        transactional_id: str | None = None,
        transaction_timeout: float = _TRANSACTION_TIMEOUT,
        start: Start | Literal["committed"] = "earliest",
        batch_records: int = 500,
        concurrency: int = 1,
        order: Literal["key", "partition", "none"] = "key",
        retry: Retry | None = None,
        dead_letter: str | None = None,
        key_codec: Codec[Any] | None = None,
        value_codec: Codec[Any] | None = None,
        out_key_codec: Codec[Any] | None = None,
        out_value_codec: Codec[Any] | None = None,
        compression: Literal["gzip", "snappy", "lz4", "zstd", "none"] | None = None,
        **options: Unpack[ConsumerOptions],
    ) -> None:
        if batch_records < 1 or concurrency < 1:
            raise ValueError("batch_records and concurrency: at least one")
        if order not in ("key", "partition", "none"):
            raise ValueError(f"order={order!r}: it can be 'key', 'partition' or 'none'")
        self.group = group
        self.transactional_id = transactional_id or f"{group}-{options.get('instance_id') or uuid4().hex}"
        self.transactions = 0
        """How many were committed."""
        self.records = 0
        """How many records were read in them."""
        self._owns_client = client is None
        self.client = client if client is not None else Client(bootstrap)
        options.setdefault("isolation", "read_committed")
        self._consumer = Consumer(
            *topics,
            group=group,
            client=self.client,
            start=start,
            commit="manual",
            key_codec=key_codec,
            value_codec=value_codec,
            **options,
        )
        self._producer: Producer[Any, Any] = Producer(
            self.client,
            transactional_id=self.transactional_id,
            transaction_timeout=transaction_timeout,
            compression=compression,
            key_codec=_OrAsRead(out_key_codec),
            value_codec=_OrAsRead(out_value_codec),
        )
        self._batch_records = batch_records
        self._concurrency = concurrency
        self._order = order
        self._retry = retry or Retry(attempts=1)
        self._dead_letter = dead_letter
        self._is_stopping = False
        self._backoff = Backoff()

    async def __aenter__(self) -> Pipeline:
        try:
            if self._owns_client:
                await self.client.open()
            # First the producer: it ends what an earlier instance has left open, so that the group's positions are
            # known when reading begins.
            await self._producer.__aenter__()
            await self._consumer.__aenter__()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End, and leave the group. Harmless when repeated."""
        try:
            await self._consumer.close()
        finally:
            try:
                await self._producer.close()
            finally:
                if self._owns_client:
                    await self.client.close()

    def stop(self) -> None:
        """Let `run` return once the transaction under way has ended."""
        self._is_stopping = True

    async def run(self, handler: Handler) -> None:
        """Read, handle and write until `stop`. Raises `Fenced` when another instance has the transactional id now, and
        what the handler failed with when there is no dead-letter topic."""
        failures = 0
        while not self._is_stopping:
            records = await self._gather()
            if not records:
                continue
            try:
                await self._in_one_transaction(records, handler)
            except (Abortable, TimedOut, NotAssigned) as error:
                failures += 1
                log.warning("group %s: %d records are handled again: %s", self.group, len(records), error)
                await asyncio.sleep(self._backoff.delay(failures, random.random()))
            else:
                failures = 0
                self.transactions += 1
                self.records += len(records)

    async def _gather(self) -> list[Record]:
        """What is there for the next transaction, of whatever partitions."""
        records = await self._consumer.poll(self._batch_records, time_limit=_IDLE_POLL)
        while 0 < len(records) < self._batch_records:
            more = await self._consumer.poll(self._batch_records - len(records), time_limit=0)
            if not more:
                break
            records = [*records, *more]
        return records

    async def _in_one_transaction(self, records: list[Record], handler: Handler) -> None:
        async with self._producer.transaction(self._consumer) as tx:
            # Nothing is written while handlers work: the transaction begins for the cluster with its first record.
            for output in await self._handled(records, handler):
                for topic, message in output.messages:
                    await tx.send(
                        topic,
                        message.value,
                        key=message.key,
                        headers=message.headers,
                        partition=message.partition,
                        timestamp=message.timestamp,
                    )

    # Handling.

    async def _handled(self, records: list[Record], handler: Handler) -> list[Output]:
        """What is to be written for each record, in the order in which they were read."""
        outputs: list[Output] = [Output() for _ in records]
        if self._concurrency == 1:
            for index, record in enumerate(records):
                outputs[index] = await self._handle(record, handler)
            return outputs
        lanes: dict[Hashable, deque[int]] = {}
        for index, record in enumerate(records):
            lanes.setdefault(self._lane_of(record), deque()).append(index)
        waiting = deque(lanes.values())

        async def work() -> None:
            while waiting:
                lane = waiting.popleft()
                while lane:
                    index = lane.popleft()
                    outputs[index] = await self._handle(records[index], handler)

        try:
            async with asyncio.TaskGroup() as workers:
                for _ in range(min(self._concurrency, len(lanes))):
                    workers.create_task(work())
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return outputs

    def _lane_of(self, record: Record) -> Hashable:
        if self._order == "partition":
            return record.topic_partition
        if self._order == "key" and record.raw_key is not None:
            return record.topic_partition, record.raw_key
        return record.topic_partition, record.offset, None

    async def _handle(self, record: Record, handler: Handler) -> Output:
        attempt = 0
        while True:
            attempt += 1
            output = Output()
            try:
                answer = handler(record, output)
                if inspect.isawaitable(answer):
                    await answer
                return output
            except Closed:
                raise
            except Exception as error:  # noqa: BLE001 - whatever the application's handler failed with
                failure = error
            delay = self._retry.delay(attempt, failure, random.random())
            if delay is None:
                return await self._dead(record, failure, attempt)
            log.info("%r failed (attempt %d), trying again in %.2g s: %r", record, attempt, delay, failure)
            await asyncio.sleep(delay)

    async def _dead(self, record: Record, failure: Exception, attempts: int) -> Output:
        """The dead letter, as it was read, in the place of what the handler would have written."""
        if self._dead_letter is None:
            raise failure
        log.warning("%r failed %d times and goes to %s: %r", record, attempts, self._dead_letter, failure)
        letter = Output()
        letter.send(
            self._dead_letter,
            None if record.raw_value is None else _AsRead(record.raw_value),
            key=None if record.raw_key is None else _AsRead(record.raw_key),
            headers=dead_letter_headers(record, failure, attempts, self.group),
        )
        return letter


class _AsRead(bytes):
    """Bytes that are written as they are, whatever the codec."""


class _OrAsRead:
    """A codec that lets dead letters through."""

    def __init__(self, codec: Codec[Any] | None) -> None:
        self._codec: Codec[Any] = codec or Raw()

    def encode(self, value: Any) -> bytes:
        return value if isinstance(value, _AsRead) else self._codec.encode(value)

    def decode(self, data: bytes) -> Any:
        return self._codec.decode(data)
