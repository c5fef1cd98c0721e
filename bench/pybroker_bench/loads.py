"""One load in one process: `python -m pybroker_bench.loads SPEC.json` prints what it reached as one line of JSON.

A load runs in a process of its own, so that its CPU is never mistaken for the broker's and no load warms another.
Rates are records per second from the first send to the last acknowledgement (or the last record read), after a small
warm-up. Each load checks itself: what was acknowledged or read is counted, and a shortfall is an error, not a number.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from pybroker_bench.librdkafka import EngineError, RawConsumer, RawProducer

WARM_UP_RECORDS = 2_000


@dataclass(frozen=True, slots=True)
class LoadSpec:
    """What to run. `acks` is "1" or "all"; `batch_records` 0 leaves batching to the client."""

    kind: str
    bootstrap: str
    topic: str
    partitions: int
    records: int
    record_bytes: int
    acks: str = "1"
    batch_records: int = 0


@dataclass(frozen=True, slots=True)
class LoadResult:
    records: int
    seconds: float

    @property
    def records_per_second(self) -> float:
        return self.records / self.seconds


def _librdkafka_produce(spec: LoadSpec) -> LoadResult:
    settings = {
        "acks": spec.acks,
        "linger.ms": "5",
        "batch.size": "1000000",
        "queue.buffering.max.messages": "500000",
        "queue.buffering.max.kbytes": "512000",
    }
    if spec.batch_records:
        settings["batch.num.messages"] = str(spec.batch_records)
    producer = RawProducer(spec.bootstrap, spec.topic, settings, b"x" * spec.record_bytes, burst=1000)
    producer.produce(min(WARM_UP_RECORDS, spec.records))
    producer.flush()
    started = time.perf_counter()
    producer.produce(spec.records)
    producer.flush()
    seconds = time.perf_counter() - started
    producer.close()
    return LoadResult(spec.records, seconds)


def _librdkafka_consume(spec: LoadSpec) -> LoadResult:
    settings = {"fetch.message.max.bytes": "1048576", "queued.min.messages": "1000000"}
    consumer = RawConsumer(spec.bootstrap, spec.topic, spec.partitions, settings)
    taken = 0
    started = time.perf_counter()
    while taken < spec.records:
        came = consumer.consume(10_000)
        if came <= 0:
            raise EngineError(f"only {taken} of {spec.records} records could be read")
        taken += came
    seconds = time.perf_counter() - started
    consumer.close()
    return LoadResult(taken, seconds)


def _confluent_produce(spec: LoadSpec) -> LoadResult:
    import confluent_kafka

    failed: list[object] = []
    producer = confluent_kafka.Producer(
        {
            "bootstrap.servers": spec.bootstrap,
            "acks": spec.acks,
            "linger.ms": 5,
            "queue.buffering.max.messages": 500_000,
            "enable.idempotence": spec.acks == "all",
            "on_delivery": lambda error, _: failed.append(error) if error else None,
        }
    )
    value = b"x" * spec.record_bytes
    topic, produce, poll = spec.topic, producer.produce, producer.poll
    started = time.perf_counter()
    for number in range(spec.records):
        if number % 1000 == 0:
            poll(0)
        while True:
            try:
                produce(topic, value)
                break
            except BufferError:
                poll(0.05)
    left = producer.flush(120)
    seconds = time.perf_counter() - started
    if left or failed:
        raise EngineError(f"{left} records unacknowledged, {len(failed)} failed")
    return LoadResult(spec.records, seconds)


def _confluent_consume(spec: LoadSpec) -> LoadResult:
    import confluent_kafka

    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": spec.bootstrap, "group.id": "bench", "enable.auto.commit": False}
    )
    beginning = confluent_kafka.OFFSET_BEGINNING
    consumer.assign([confluent_kafka.TopicPartition(spec.topic, p, beginning) for p in range(spec.partitions)])
    taken = 0
    started = time.perf_counter()
    while taken < spec.records:
        messages = consumer.consume(min(10_000, spec.records - taken), timeout=10)
        if not messages:
            raise EngineError(f"only {taken} of {spec.records} records could be read")
        for message in messages:
            message.value()
        taken += len(messages)
    seconds = time.perf_counter() - started
    consumer.close()
    return LoadResult(taken, seconds)


async def _sdk_produce(spec: LoadSpec) -> LoadResult:
    from pybroker import Producer

    value = b"x" * spec.record_bytes
    values = [value] * 10_000
    async with Producer(spec.bootstrap) as producer:
        await producer.send_many(spec.topic, values[:WARM_UP_RECORDS])
        started = time.perf_counter()
        left = spec.records
        running: list[asyncio.Task[object]] = []
        async with asyncio.TaskGroup() as group:
            while left:
                count = min(len(values), left)
                left -= count
                running.append(group.create_task(producer.send_many(spec.topic, values[:count])))
                if len(running) >= 8:
                    await running.pop(0)
        seconds = time.perf_counter() - started
    return LoadResult(spec.records, seconds)


async def _sdk_consume(spec: LoadSpec) -> LoadResult:
    from pybroker import Consumer

    taken = 0
    async with Consumer(spec.topic, bootstrap=spec.bootstrap, start="earliest") as consumer:
        started = time.perf_counter()
        async with asyncio.timeout(120):
            async for batch in consumer.batches(max_records=10_000):
                for record in batch:
                    record.value  # noqa: B018 - reading the value is the work that is measured
                taken += len(batch)
                if taken >= spec.records:
                    break
        seconds = time.perf_counter() - started
    return LoadResult(taken, seconds)


async def _aiokafka_produce(spec: LoadSpec) -> LoadResult:
    import aiokafka

    acks = "all" if spec.acks == "all" else 1
    producer = aiokafka.AIOKafkaProducer(
        bootstrap_servers=spec.bootstrap, acks=acks, linger_ms=5, max_batch_size=262_144
    )
    await producer.start()
    value = b"x" * spec.record_bytes
    started = time.perf_counter()
    pending = [await producer.send(spec.topic, value) for _ in range(spec.records)]
    await asyncio.gather(*pending)
    seconds = time.perf_counter() - started
    await producer.stop()
    return LoadResult(spec.records, seconds)


async def _aiokafka_consume(spec: LoadSpec) -> LoadResult:
    import aiokafka

    consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=spec.bootstrap)
    await consumer.start()
    consumer.assign([aiokafka.TopicPartition(spec.topic, p) for p in range(spec.partitions)])
    await consumer.seek_to_beginning()
    taken = 0
    started = time.perf_counter()
    while taken < spec.records:
        found = await consumer.getmany(timeout_ms=10_000, max_records=10_000)
        if not found:
            raise EngineError(f"only {taken} of {spec.records} records could be read")
        taken += sum(map(len, found.values()))
    seconds = time.perf_counter() - started
    await consumer.stop()
    return LoadResult(taken, seconds)


def _kafka_python_produce(spec: LoadSpec) -> LoadResult:
    import kafka

    acks = "all" if spec.acks == "all" else 1
    producer = kafka.KafkaProducer(
        bootstrap_servers=spec.bootstrap, acks=acks, enable_idempotence=False, linger_ms=5, batch_size=262_144
    )
    value = b"x" * spec.record_bytes
    started = time.perf_counter()
    pending = [producer.send(spec.topic, value) for _ in range(spec.records)]
    for delivery in pending:
        delivery.get(60)
    seconds = time.perf_counter() - started
    producer.close()
    return LoadResult(spec.records, seconds)


def _kafka_python_consume(spec: LoadSpec) -> LoadResult:
    import kafka

    consumer = kafka.KafkaConsumer(bootstrap_servers=spec.bootstrap, consumer_timeout_ms=10_000)
    consumer.assign([kafka.TopicPartition(spec.topic, p) for p in range(spec.partitions)])
    consumer.seek_to_beginning()
    taken = 0
    started = time.perf_counter()
    for _ in consumer:
        taken += 1
        if taken >= spec.records:
            break
    seconds = time.perf_counter() - started
    consumer.close()
    if taken < spec.records:
        raise EngineError(f"only {taken} of {spec.records} records could be read")
    return LoadResult(taken, seconds)


LOADS: dict[str, Callable[[LoadSpec], LoadResult]] = {
    "librdkafka produce": _librdkafka_produce,
    "librdkafka consume": _librdkafka_consume,
    "confluent-kafka produce": _confluent_produce,
    "confluent-kafka consume": _confluent_consume,
    "kafka-python produce": _kafka_python_produce,
    "kafka-python consume": _kafka_python_consume,
    "SDK produce": lambda spec: asyncio.run(_sdk_produce(spec)),
    "SDK consume": lambda spec: asyncio.run(_sdk_consume(spec)),
    "aiokafka produce": lambda spec: asyncio.run(_aiokafka_produce(spec)),
    "aiokafka consume": lambda spec: asyncio.run(_aiokafka_consume(spec)),
}


def main() -> None:
    spec = LoadSpec(**json.loads(sys.argv[1]))
    print(json.dumps(asdict(LOADS[spec.kind](spec))))


if __name__ == "__main__":
    main()
