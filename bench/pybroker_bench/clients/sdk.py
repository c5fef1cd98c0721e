"""pybroker's own SDK: `send_many` and lists of records."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

from pybroker import Consumer, KafkaError, Message, Producer, SendManyFailed
from pybroker.transaction import Transaction
from pybroker_bench.clients.base import BUFFER_BYTES, READ_RECORDS_MAX, Read, Reading, SendFailed
from pybroker_bench.errors import BenchError
from pybroker_bench.scenario import Scenario

_FEW_RECORDS: Final = 64


class SdkProducer:
    def __init__(self, bootstrap: str, scenario: Scenario, topics: Sequence[str], number: int) -> None:
        options: dict[str, Any] = {
            "acks": scenario.acks if scenario.acks == "all" else int(scenario.acks),
            "compression": scenario.compression,
            "linger": scenario.linger_ms / 1000,
            # A batch takes a record at least: with room for none it takes one.
            "batch_bytes": 1 if scenario.batch_records == 1 else scenario.batch_bytes,
            "buffer_bytes": BUFFER_BYTES,
        }
        if scenario.transaction_records:
            options["transactional_id"] = f"bench-{topics[0]}-{number}"
        self._producer: Producer[bytes, bytes] = Producer(bootstrap, **options)
        self._transaction: Transaction[bytes, bytes] | None = None
        self._is_unbatched = scenario.batch_records == 1
        self._topics = topics

    async def open(self) -> None:
        await self._producer.__aenter__()
        for topic in self._topics:
            await self._producer.prepare(topic)

    async def send(self, topic: str, partition: int, values: list[bytes], keys: Sequence[bytes] | None) -> int:
        records: Sequence[Any] = values
        if keys is not None:
            records = list(map(Message, values, keys))
        elif len(values) < _FEW_RECORDS and not self._is_unbatched:
            # Lists of plain values become batches of their own; few records had better share one with others.
            records = list(map(Message, values))
        try:
            await self._producer.send_many(topic, records, partition=partition)
        except SendManyFailed as error:
            raise SendFailed(sum(failed.count for failed in error.result.failed), str(error)) from None
        except KafkaError as error:
            raise SendFailed(len(values), str(error)) from None
        return time.monotonic_ns()

    async def begin(self) -> None:
        try:
            self._transaction = await self._producer.transaction().__aenter__()
        except KafkaError as error:
            raise BenchError("a transaction could not be begun", cause=str(error)) from None

    async def commit(self) -> None:
        assert self._transaction is not None
        try:
            await self._transaction.__aexit__(None, None, None)
        except KafkaError as error:
            raise SendFailed(0, str(error)) from None

    async def abort(self) -> None:
        assert self._transaction is not None
        try:
            await self._transaction.abort()
        except KafkaError as error:
            raise BenchError("a transaction could not be aborted", cause=str(error)) from None

    async def close(self) -> None:
        await self._producer.close()


class SdkConsumer:
    def __init__(self, bootstrap: str, reading: Reading) -> None:
        self._keeps_values = reading.keeps_values
        options: dict[str, Any] = {
            "bootstrap": bootstrap,
            "start": "earliest",
            "isolation": "read_committed" if reading.read_committed else "read_uncommitted",
        }
        if reading.group is not None:
            self._consumer = Consumer(*reading.topics, group=reading.group, **options)
        else:
            self._consumer = Consumer(partitions=reading.partitions, **options)

    async def open(self) -> None:
        await self._consumer.__aenter__()
        await self._consumer.ready()

    async def read(self, time_limit_s: float) -> list[Read]:
        records = await self._consumer.poll(READ_RECORDS_MAX, time_limit=time_limit_s)
        if not records:
            return []
        read = Read(records[0].topic, records[0].partition, len(records), time.monotonic_ns())
        if self._keeps_values:
            read.offsets = [record.offset for record in records]
            read.values = [record.raw_value for record in records]
        else:
            read.sample = records[-1].raw_value
        return [read]

    async def close(self) -> None:
        await self._consumer.close()
