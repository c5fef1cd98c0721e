"""confluent-kafka as applications use it: `produce` with a delivery callback, `consume` by the list.

A thread serves its callbacks, so that an acknowledgement is noted when librdkafka gives it out, whatever the event
loop is doing.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import confluent_kafka

from pybroker_bench.clients.base import READ_RECORDS_MAX, Read, Reading, SendFailed, librdkafka_settings
from pybroker_bench.errors import BenchError
from pybroker_bench.scenario import Scenario

_FLUSH_S = 60.0


class _Sending:
    """A list of records under way: counts its deliveries and wakes who waits."""

    __slots__ = ("_done", "_failed", "_left", "_loop", "_why", "at_ns")

    def __init__(self, count: int, loop: asyncio.AbstractEventLoop) -> None:
        self._left = count
        self._failed = 0
        self._why = ""
        self._loop = loop
        self._done: asyncio.Future[None] = loop.create_future()
        self.at_ns = 0

    def delivered(self, error: Any, _: Any) -> None:
        if error is not None:
            self._failed += 1
            self._why = str(error)
        self._left -= 1
        if not self._left:
            self.at_ns = time.monotonic_ns()
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        if not self._done.done():
            self._done.set_result(None)

    async def wait(self) -> int:
        await self._done
        if self._failed:
            raise SendFailed(self._failed, self._why)
        return self.at_ns


class ConfluentProducer:
    def __init__(self, bootstrap: str, scenario: Scenario, topics: Sequence[str], number: int) -> None:
        settings = dict(librdkafka_settings(bootstrap, scenario))
        self._is_transactional = scenario.transaction_records > 0
        if self._is_transactional:
            settings["transactional.id"] = f"bench-{topics[0]}-{number}"
        self._settings = settings
        self._topics = topics
        self._stopping = threading.Event()
        self._calls = ThreadPoolExecutor(1, "transactions")

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._producer = confluent_kafka.Producer(self._settings)
        for topic in self._topics:
            await self._call(self._producer.list_topics, topic, _FLUSH_S)
        if self._is_transactional:
            try:
                await self._call(self._producer.init_transactions, _FLUSH_S)
            except confluent_kafka.KafkaException as error:
                raise BenchError("the broker takes no transactions", cause=str(error)) from None
        self._poller = threading.Thread(target=self._poll, name="deliveries", daemon=True)
        self._poller.start()

    def _poll(self) -> None:
        while not self._stopping.is_set():
            self._producer.poll(0.1)

    async def _call(self, function: Any, *arguments: Any) -> Any:
        return await self._loop.run_in_executor(self._calls, function, *arguments)

    async def send(self, topic: str, partition: int, values: list[bytes], keys: Sequence[bytes] | None) -> int:
        sending = _Sending(len(values), self._loop)
        produce, delivered = self._producer.produce, sending.delivered
        try:
            for index, value in enumerate(values):
                produce(topic, value, None if keys is None else keys[index], partition, delivered)
        except (confluent_kafka.KafkaException, BufferError) as error:
            # Some may be on their way already: what becomes of this list is not known.
            raise SendFailed(len(values), str(error)) from None
        return await sending.wait()

    async def begin(self) -> None:
        try:
            await self._call(self._producer.begin_transaction)
        except confluent_kafka.KafkaException as error:
            raise BenchError("a transaction could not be begun", cause=str(error)) from None

    async def commit(self) -> None:
        try:
            await self._call(self._producer.commit_transaction, _FLUSH_S)
        except confluent_kafka.KafkaException as error:
            raise SendFailed(0, str(error)) from None

    async def abort(self) -> None:
        try:
            await self._call(self._producer.abort_transaction, _FLUSH_S)
        except confluent_kafka.KafkaException as error:
            raise BenchError("a transaction could not be aborted", cause=str(error)) from None

    async def close(self) -> None:
        await self._call(self._producer.flush, _FLUSH_S)
        self._stopping.set()
        await self._call(self._poller.join)
        self._calls.shutdown(wait=False)


class ConfluentConsumer:
    def __init__(self, bootstrap: str, reading: Reading) -> None:
        self._reading = reading
        self._settings = {
            "bootstrap.servers": bootstrap,
            "group.id": reading.group or "bench",
            "enable.auto.commit": reading.group is not None,
            "auto.commit.interval.ms": 1000,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed" if reading.read_committed else "read_uncommitted",
            "queued.min.messages": 1_000_000,
            "fetch.wait.max.ms": 500,
            "check.crcs": True,
        }
        self._calls = ThreadPoolExecutor(1, "consume")

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._consumer = confluent_kafka.Consumer(self._settings)
        if self._reading.group is not None:
            self._consumer.subscribe(list(self._reading.topics))
        else:
            beginning = confluent_kafka.OFFSET_BEGINNING
            partitions = [confluent_kafka.TopicPartition(*each, beginning) for each in self._reading.partitions]
            self._consumer.assign(partitions)

    async def read(self, time_limit_s: float) -> list[Read]:
        messages, at_ns = await self._loop.run_in_executor(self._calls, self._take, time_limit_s)
        reads: dict[tuple[str, int], Read] = {}
        for message in messages:
            if message.error() is not None:
                continue  # librdkafka tells of what it tries again by itself
            place = (message.topic(), message.partition())
            read = reads.get(place)
            if read is None:
                read = reads[place] = Read(*place, 0, at_ns, offsets=[], values=[])
            read.count += 1
            if self._reading.keeps_values:
                read.offsets.append(message.offset())  # type: ignore[attr-defined]
                read.values.append(message.value())  # type: ignore[attr-defined]
            else:
                read.sample = message.value()
        return list(reads.values())

    def _take(self, time_limit_s: float) -> tuple[list[Any], int]:
        # `consume` waits for as many as were asked for: one is waited for, then what is there is taken.
        first = self._consumer.poll(time_limit_s)
        at_ns = time.monotonic_ns()
        return ([first, *self._consumer.consume(READ_RECORDS_MAX, 0)] if first is not None else []), at_ns

    async def close(self) -> None:
        await self._loop.run_in_executor(self._calls, self._consumer.close)
        self._calls.shutdown(wait=False)
