"""What the SDK writes librdkafka reads, and the reverse, with every byte: nulls, headers, times, keys' partitions."""

from __future__ import annotations

from typing import Any

import confluent_kafka
import pytest
from tests.support.records import Sample, samples
from tests.support.sdk import new_topic, read_all

from pybroker import Message, Producer

PARTITIONS = 3
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


def sent_by_partition() -> dict[int, list[Sample]]:
    return {partition: samples()[partition::PARTITIONS] for partition in range(PARTITIONS)}


def librdkafka_reads(bootstrap: str, topic: str, count: int) -> dict[int, list[Sample]]:
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False, "check.crcs": True}
    )
    beginning = confluent_kafka.OFFSET_BEGINNING
    consumer.assign([confluent_kafka.TopicPartition(topic, partition, beginning) for partition in range(PARTITIONS)])
    found: dict[int, list[Sample]] = {partition: [] for partition in range(PARTITIONS)}
    while (missing := count - sum(map(len, found.values()))) > 0:
        messages = consumer.consume(missing, timeout=20)
        assert messages, f"{missing} of {count} records did not come"
        for message in messages:
            assert message.error() is None, message.error()
            headers = tuple((name, value) for name, value in message.headers() or ())
            record = Sample(message.key(), message.value(), headers, message.timestamp()[1])
            found[message.partition()].append(record)
    consumer.close()
    return found


def librdkafka_writes(bootstrap: str, topic: str, codec: str, records: list[tuple[int, Sample]]) -> None:
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, "compression.type": codec, "linger.ms": 20})
    errors: list[object] = []
    for partition, record in records:
        producer.produce(
            topic,
            record.value,
            record.key,
            partition,
            timestamp=record.timestamp_ms,
            headers=list(record.headers),
            on_delivery=lambda error, _: errors.append(error) if error else None,
        )
    assert producer.flush(30) == 0
    assert errors == []


async def sdk_reads(bootstrap: str, topic: str) -> dict[int, list[Sample]]:
    return {
        partition: [Sample(r.key, r.value, tuple(r.headers), r.timestamp_ms) for r in records]
        for partition, records in (await read_all(bootstrap, topic)).items()
    }


@pytest.mark.parametrize("codec", CODECS)
async def test_librdkafka_reads_what_the_sdk_wrote(bootstrap: str, codec: Any) -> None:
    topic, sent = await new_topic(bootstrap, PARTITIONS), sent_by_partition()
    async with Producer(bootstrap, compression=codec) as producer:
        for partition, records in sent.items():
            messages = [Message(r.value, r.key, r.headers, partition, r.timestamp_ms) for r in records]
            assert len(await producer.send_many(topic, messages)) == len(records)
    assert librdkafka_reads(bootstrap, topic, len(samples())) == sent
    assert await sdk_reads(bootstrap, topic) == sent


@pytest.mark.parametrize("codec", CODECS)
async def test_the_sdk_reads_what_librdkafka_wrote(bootstrap: str, codec: str) -> None:
    topic, sent = await new_topic(bootstrap, PARTITIONS), sent_by_partition()
    librdkafka_writes(bootstrap, topic, codec, [(p, record) for p, records in sent.items() for record in records])
    assert await sdk_reads(bootstrap, topic) == sent


async def test_values_in_bulk_are_read_as_they_were_sent(bootstrap: str) -> None:
    """`send_many` of plain values builds batches on a way of its own."""
    topic = await new_topic(bootstrap, PARTITIONS)
    values = [b"%d " % number * (number % 50) for number in range(5_000)]
    async with Producer(bootstrap, batch_bytes=20_000) as producer:
        result = await producer.send_many(topic, values, timestamp=1_700_000_000_000)
    found = librdkafka_reads(bootstrap, topic, 5_000)
    for each, value in zip(result, values, strict=True):
        assert found[each.partition][each.offset] == Sample(None, value, (), 1_700_000_000_000)


async def test_keys_lie_where_librdkafka_puts_them(bootstrap: str) -> None:
    topic = await new_topic(bootstrap, PARTITIONS)
    keys = [b"key %d" % number for number in range(100)]
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, "partitioner": "murmur2_random"})
    for key in keys:
        producer.produce(topic, b"v", key)
    assert producer.flush(30) == 0
    async with Producer(bootstrap) as ours:
        await ours.send_many(topic, [Message(b"v", key) for key in keys])
    for records in (await read_all(bootstrap, topic)).values():
        half = len(records) // 2
        assert sorted(r.key for r in records[:half]) == sorted(r.key for r in records[half:])
