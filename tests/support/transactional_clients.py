"""Transactional producers and readers of committed data of four client libraries, behind one blocking face.

As a program (`python -m tests.support.transactional_clients LIBRARY BOOTSTRAP NAME TOPIC GROUP STEP`) it does one
transaction, says so when it has done STEP, and then waits to be killed.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Coroutine, Mapping
from typing import Any, Final, Protocol

import aiokafka
import confluent_kafka
import kafka
from kafka.structs import OffsetAndMetadata
from tests.support.transactional_sdk import Sdk, SdkFenced

TIMEOUT_S: Final = 30
TRANSACTION_TIMEOUT_MS: Final = 60_000
STEPS: Final = ("init", "begin", "send", "offsets", "commit")
"""Of a transaction, in order: what is done when a client crashes."""

_NOBODY: Final = "127.0.0.1:1"
"""Where a consumer looks that is only made to name its group."""

READ_UNCOMMITTED, READ_COMMITTED = "read_uncommitted", "read_committed"


class Fenced(Exception):
    """Another producer has taken the transactional id over."""


class Transactional(Protocol):
    """A producer with a transactional id. Any call may raise Fenced."""

    def begin(self) -> None: ...
    def send(self, topic: str, value: bytes, partition: int = 0) -> None:
        """Returns when it is acknowledged."""

    def send_offset(self, group: str, topic: str, offset: int) -> None:
        """Of partition 0, for a group that nobody is a member of."""

    def commit(self) -> None: ...
    def abort(self) -> None: ...
    def close(self) -> None: ...


class Copying(Transactional, Protocol):
    """One that consumes what it produces as a member of a group; our own SDK has its pipelines instead."""

    def copy(self, group: str, source: str, target: str, count: int, protocol: str) -> None:
        """Begins a transaction with so many records of `source`, as a member of the group, and their positions.

        The member stays until `leave`.
        """

    def leave(self) -> None:
        """The group, without a word about positions."""


class Confluent:
    """librdkafka."""

    def __init__(self, bootstrap: str, name: str) -> None:
        self._bootstrap = bootstrap
        self._producer = confluent_kafka.Producer(
            {
                "bootstrap.servers": bootstrap,
                "transactional.id": name,
                "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
                "reconnect.backoff.max.ms": 200,
                "linger.ms": 0,
            }
        )
        self._call(self._producer.init_transactions, TIMEOUT_S)

    def _call(self, function: Any, *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except confluent_kafka.KafkaException as failure:
            if failure.args[0].code() in (
                confluent_kafka.KafkaError._FENCED,
                confluent_kafka.KafkaError.PRODUCER_FENCED,
                confluent_kafka.KafkaError.INVALID_PRODUCER_EPOCH,
            ):
                raise Fenced from failure
            raise

    def begin(self) -> None:
        self._call(self._producer.begin_transaction)

    def send(self, topic: str, value: bytes, partition: int = 0) -> None:
        failures: list[Any] = []
        self._call(
            lambda: self._producer.produce(
                topic, value, partition=partition, on_delivery=lambda error, _: failures.append(error)
            )
        )
        assert self._producer.flush(TIMEOUT_S) == 0
        if failures[0] is not None:
            raise confluent_kafka.KafkaException(failures[0])

    def send_offset(self, group: str, topic: str, offset: int) -> None:
        consumer = confluent_kafka.Consumer(
            {"bootstrap.servers": _NOBODY, "group.id": group, "enable.auto.commit": False}
        )
        try:
            metadata = consumer.consumer_group_metadata()
        finally:
            consumer.close()
        wanted = [confluent_kafka.TopicPartition(topic, 0, offset)]
        self._call(self._producer.send_offsets_to_transaction, wanted, metadata, TIMEOUT_S)

    def copy(self, group: str, source: str, target: str, count: int, protocol: str) -> None:
        self._consumer = confluent_kafka.Consumer(
            {
                "bootstrap.servers": self._bootstrap,
                "group.id": group,
                "group.protocol": protocol,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "isolation.level": READ_COMMITTED,
            }
        )
        self._consumer.subscribe([source])
        records = []
        while len(records) < count:
            records += self._consumer.consume(count - len(records), TIMEOUT_S)
        self.begin()
        for record in records:
            self._producer.produce(target, record.value(), partition=0)
        following = [confluent_kafka.TopicPartition(source, 0, records[-1].offset() + 1)]
        self._call(
            self._producer.send_offsets_to_transaction, following, self._consumer.consumer_group_metadata(), TIMEOUT_S
        )
        assert self._producer.flush(TIMEOUT_S) == 0

    def leave(self) -> None:
        self._consumer.close()

    def commit(self) -> None:
        self._call(self._producer.commit_transaction, TIMEOUT_S)

    def abort(self) -> None:
        self._call(self._producer.abort_transaction, TIMEOUT_S)

    def close(self) -> None:
        """It ends with its object."""

    @staticmethod
    def read(bootstrap: str, topic: str, upto: int, isolation: str) -> list[bytes]:
        consumer = confluent_kafka.Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "reader",
                "isolation.level": isolation,
                "enable.partition.eof": True,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
            }
        )
        consumer.assign([confluent_kafka.TopicPartition(topic, 0, 0)])
        values = []
        try:
            while True:
                message = consumer.poll(TIMEOUT_S)
                assert message is not None, f"{len(values)} values read, and no end in sight"
                if message.error() is None:
                    values.append(message.value())
                elif consumer.position([confluent_kafka.TopicPartition(topic, 0)])[0].offset >= upto:
                    return values
        finally:
            consumer.close()


class KafkaPython:
    """kafka-python."""

    def __init__(self, bootstrap: str, name: str) -> None:
        self._bootstrap = bootstrap
        self._producer = kafka.KafkaProducer(
            bootstrap_servers=bootstrap,
            transactional_id=name,
            transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
            reconnect_backoff_max_ms=200,
            linger_ms=0,
        )
        self._call(self._producer.init_transactions)

    def _call(self, function: Any, *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except (kafka.errors.ProducerFencedError, kafka.errors.InvalidProducerEpochError) as failure:
            raise Fenced from failure

    def begin(self) -> None:
        self._call(self._producer.begin_transaction)

    def send(self, topic: str, value: bytes, partition: int = 0) -> None:
        future = self._call(lambda: self._producer.send(topic, value, partition=partition))
        self._call(future.get, TIMEOUT_S)

    def send_offset(self, group: str, topic: str, offset: int) -> None:
        offsets = {kafka.TopicPartition(topic, 0): OffsetAndMetadata(offset, "", -1)}
        self._call(self._producer.send_offsets_to_transaction, offsets, group)

    def copy(self, group: str, source: str, target: str, count: int, protocol: str) -> None:
        assert protocol == "classic", "the library speaks no other"
        self._consumer = kafka.KafkaConsumer(
            source,
            bootstrap_servers=self._bootstrap,
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            isolation_level=READ_COMMITTED,
        )
        records = []
        while len(records) < count:
            found = self._consumer.poll(1_000, max_records=count - len(records))
            records += [record for each in found.values() for record in each]
        self.begin()
        for record in records:
            self.send(target, record.value)
        following = {kafka.TopicPartition(source, 0): OffsetAndMetadata(records[-1].offset + 1, "", -1)}
        self._call(self._producer.send_offsets_to_transaction, following, self._consumer.group_metadata())

    def leave(self) -> None:
        self._consumer.close(autocommit=False)

    def commit(self) -> None:
        self._call(self._producer.commit_transaction)

    def abort(self) -> None:
        self._call(self._producer.abort_transaction)

    def close(self) -> None:
        self._producer.close(timeout=1)

    @staticmethod
    def read(bootstrap: str, topic: str, upto: int, isolation: str) -> list[bytes]:
        consumer = kafka.KafkaConsumer(
            bootstrap_servers=bootstrap, isolation_level=isolation, enable_auto_commit=False, group_id=None
        )
        where = kafka.TopicPartition(topic, 0)
        consumer.assign([where])
        consumer.seek(where, 0)
        values = []
        try:
            for _ in range(TIMEOUT_S * 10):
                values += [record.value for record in consumer.poll(100).get(where, ())]
                if consumer.position(where) >= upto:
                    return values
            raise AssertionError(f"{len(values)} values read, and no end in sight")
        finally:
            consumer.close()


class _Loop:
    """An event loop in a thread of its own, for a library that wants one."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(2 * TIMEOUT_S)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Aiokafka:
    """aiokafka."""

    def __init__(self, bootstrap: str, name: str) -> None:
        self._bootstrap = bootstrap
        self._loop = _Loop()
        self._producer = self._loop.run(self._start(bootstrap, name))

    async def _start(self, bootstrap: str, name: str) -> aiokafka.AIOKafkaProducer:
        producer = aiokafka.AIOKafkaProducer(
            bootstrap_servers=bootstrap, transactional_id=name, transaction_timeout_ms=TRANSACTION_TIMEOUT_MS
        )
        await producer.start()
        return producer

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        try:
            return self._loop.run(work)
        except (aiokafka.errors.ProducerFenced, aiokafka.errors.InvalidProducerEpoch) as failure:
            raise Fenced from failure

    def begin(self) -> None:
        self._call(self._producer.begin_transaction())

    def send(self, topic: str, value: bytes, partition: int = 0) -> None:
        self._call(self._producer.send_and_wait(topic, value, partition=partition))

    def send_offset(self, group: str, topic: str, offset: int) -> None:
        self._call(self._producer.send_offsets_to_transaction({aiokafka.TopicPartition(topic, 0): offset}, group))

    def copy(self, group: str, source: str, target: str, count: int, protocol: str) -> None:
        assert protocol == "classic", "the library speaks no other"
        self._call(self._copy(group, source, target, count))

    async def _copy(self, group: str, source: str, target: str, count: int) -> None:
        self._consumer = aiokafka.AIOKafkaConsumer(
            source,
            bootstrap_servers=self._bootstrap,
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            isolation_level=READ_COMMITTED,
        )
        await self._consumer.start()
        records = [await self._consumer.getone() for _ in range(count)]
        await self._producer.begin_transaction()
        for record in records:
            await self._producer.send_and_wait(target, record.value, partition=0)
        following = {aiokafka.TopicPartition(source, 0): records[-1].offset + 1}
        await self._producer.send_offsets_to_transaction(following, group)

    def leave(self) -> None:
        self._loop.run(self._consumer.stop())

    def commit(self) -> None:
        self._call(self._producer.commit_transaction())

    def abort(self) -> None:
        self._call(self._producer.abort_transaction())

    def close(self) -> None:
        self._loop.run(self._producer.stop())
        self._loop.close()

    @staticmethod
    def read(bootstrap: str, topic: str, upto: int, isolation: str) -> list[bytes]:
        async def read() -> list[bytes]:
            consumer = aiokafka.AIOKafkaConsumer(
                bootstrap_servers=bootstrap, isolation_level=isolation, enable_auto_commit=False
            )
            await consumer.start()
            where = aiokafka.TopicPartition(topic, 0)
            consumer.assign([where])
            consumer.seek(where, 0)
            values = []
            try:
                for _ in range(TIMEOUT_S * 10):
                    found = await consumer.getmany(where, timeout_ms=100)
                    values += [record.value for record in found.get(where, ())]
                    if await consumer.position(where) >= upto:
                        return values
                raise AssertionError(f"{len(values)} values read, and no end in sight")
            finally:
                await consumer.stop()

        return asyncio.run(read())


class Pybroker(Sdk):
    """Our own SDK."""

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        try:
            return super()._call(work)
        except SdkFenced as failure:
            raise Fenced from failure


LIBRARIES: Final[Mapping[str, Any]] = {
    "confluent-kafka": Confluent,
    "kafka-python": KafkaPython,
    "aiokafka": Aiokafka,
    "pybroker": Pybroker,
}


def main(library: str, bootstrap: str, name: str, topic: str, group: str, step: str) -> None:
    """One transaction up to `step`."""
    producer = LIBRARIES[library](bootstrap, name)
    work = {
        "begin": producer.begin,
        "send": lambda: producer.send(topic, b"crashed"),
        "offsets": lambda: producer.send_offset(group, topic, 99),
        "commit": producer.commit,
    }
    for each in STEPS:
        if each in work:
            work[each]()
        if each == step:
            break
    print(step, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
