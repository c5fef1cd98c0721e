"""Every byte through: four unmodified client families, every codec each has, against a broker process.

Sources of what clients send: `docs/protocol.md`. The topic is created by the client under test where it can.
"""

from __future__ import annotations

import asyncio
import gc
import shutil
import subprocess
import warnings
from collections.abc import Callable, Iterator
from uuid import uuid4

import aiokafka
import aiokafka.admin
import confluent_kafka
import confluent_kafka.admin
import kafka
import kafka.admin
import pytest
from tests.support.records import Sample, samples

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
PARTITIONS = 3


@pytest.fixture
def topic() -> str:
    return f"clients-{uuid4().hex[:12]}"


@pytest.fixture
def forgives_leaks() -> Iterator[None]:
    """kafka-python leaves sockets to the garbage collector: collect them here, where nobody else is blamed."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def _by_partition(sent: list[Sample]) -> dict[int, list[Sample]]:
    return {p: sent[p::PARTITIONS] for p in range(PARTITIONS)}


def _for_python_clients() -> list[Sample]:
    """aiokafka and kafka-python refuse header values that are None, and records without key and value."""
    return [r for r in samples(null_header_values=False) if r.key is not None or r.value is not None]


def _create_with_confluent(bootstrap: str, topic: str) -> None:
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": bootstrap})
    new = confluent_kafka.admin.NewTopic(topic, num_partitions=PARTITIONS, replication_factor=1)
    admin.create_topics([new])[topic].result(30)


def _confluent_read(bootstrap: str, topic: str, expected: int) -> dict[int, list[Sample]]:
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "unused",
            "enable.auto.commit": False,
            "check.crcs": True,
        }
    )
    beginning = confluent_kafka.OFFSET_BEGINNING
    consumer.assign([confluent_kafka.TopicPartition(topic, p, beginning) for p in range(PARTITIONS)])
    found: dict[int, list[Sample]] = {p: [] for p in range(PARTITIONS)}
    while (missing := expected - sum(map(len, found.values()))) > 0:
        messages = consumer.consume(missing, timeout=20)
        assert messages, f"{sum(map(len, found.values()))} of {expected} records came"
        for message in messages:
            assert message.error() is None, message.error()
            kind, timestamp_ms = message.timestamp()
            assert kind == confluent_kafka.TIMESTAMP_CREATE_TIME
            headers = tuple((k, v) for k, v in message.headers() or ())
            found[message.partition()].append(Sample(message.key(), message.value(), headers, timestamp_ms))
    consumer.close()
    return found


@pytest.mark.parametrize("idempotent", [True, False], ids=["idempotent", "plain"])
@pytest.mark.parametrize("codec", CODECS)
def test_confluent_kafka_gets_back_every_byte(bootstrap: str, topic: str, codec: str, idempotent: bool) -> None:
    _create_with_confluent(bootstrap, topic)
    sent = _by_partition(samples())
    producer = confluent_kafka.Producer(
        {
            "bootstrap.servers": bootstrap,
            "compression.type": codec,
            "enable.idempotence": idempotent,
            "linger.ms": 20,
        }
    )
    errors: list[object] = []
    for partition, records in sent.items():
        for record in records:
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
    assert not errors
    assert _confluent_read(bootstrap, topic, sum(map(len, sent.values()))) == sent


@pytest.mark.parametrize("codec", CODECS)
async def test_aiokafka_gets_back_every_byte(bootstrap: str, topic: str, codec: str) -> None:
    admin = aiokafka.admin.AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    await admin.create_topics([aiokafka.admin.NewTopic(topic, PARTITIONS, 1)])
    await admin.close()
    sent = _by_partition(_for_python_clients())
    compression = None if codec == "none" else codec
    idempotent = codec != "none"
    producer = aiokafka.AIOKafkaProducer(
        bootstrap_servers=bootstrap, compression_type=compression, enable_idempotence=idempotent
    )
    await producer.start()
    waiting = []
    for partition, records in sent.items():
        for record in records:
            delivery = await producer.send(
                topic,
                record.value,
                record.key,
                partition,
                timestamp_ms=record.timestamp_ms,
                headers=list(record.headers),
            )
            waiting.append(delivery)
    await asyncio.gather(*waiting)
    await producer.stop()

    consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=bootstrap, check_crcs=True)
    await consumer.start()
    consumer.assign([aiokafka.TopicPartition(topic, p) for p in range(PARTITIONS)])
    await consumer.seek_to_beginning()
    found: dict[int, list[Sample]] = {p: [] for p in range(PARTITIONS)}
    async with asyncio.timeout(30):
        while sum(map(len, found.values())) < sum(map(len, sent.values())):
            message = await consumer.getone()
            record = Sample(message.key, message.value, tuple(message.headers), message.timestamp)
            found[message.partition].append(record)
    await consumer.stop()
    assert found == sent


@pytest.mark.usefixtures("forgives_leaks")
@pytest.mark.parametrize("codec", CODECS)
def test_kafka_python_gets_back_every_byte(bootstrap: str, topic: str, codec: str) -> None:
    admin = kafka.admin.KafkaAdminClient(bootstrap_servers=bootstrap)
    admin.create_topics([kafka.admin.NewTopic(topic, PARTITIONS, 1)])
    admin.close()
    sent = _by_partition(_for_python_clients())
    producer = kafka.KafkaProducer(
        bootstrap_servers=bootstrap, compression_type=None if codec == "none" else codec, linger_ms=20
    )
    deliveries = [
        producer.send(topic, r.value, r.key, list(r.headers), partition, r.timestamp_ms)
        for partition, records in sent.items()
        for r in records
    ]
    for delivery in deliveries:
        delivery.get(30)
    producer.close()

    consumer = kafka.KafkaConsumer(bootstrap_servers=bootstrap, consumer_timeout_ms=20_000, check_crcs=True)
    consumer.assign([kafka.TopicPartition(topic, p) for p in range(PARTITIONS)])
    consumer.seek_to_beginning()
    found: dict[int, list[Sample]] = {p: [] for p in range(PARTITIONS)}
    for message in consumer:
        record = Sample(message.key, message.value, tuple(message.headers), message.timestamp)
        found[message.partition].append(record)
        if sum(map(len, found.values())) == sum(map(len, sent.values())):
            break
    consumer.close()
    assert found == sent


@pytest.fixture
def kcat(bootstrap: str) -> Iterator[Callable[..., bytes]]:
    path = shutil.which("kcat")
    if path is None:
        pytest.skip("kcat is not installed (Debian and Ubuntu: apt-get install kcat)")

    def run(*arguments: str, stdin: bytes = b"") -> bytes:
        command = [path, "-b", bootstrap, *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, check=True, timeout=60).stdout

    return run


@pytest.mark.parametrize("codec", CODECS)
def test_kcat_gets_back_every_line(kcat: Callable[..., bytes], topic: str, codec: str) -> None:
    """kcat has no admin call: it creates its topic by producing to it (auto creation)."""
    lines = [f"k{n}\tvalue {n} {'x' * n * 11}".encode() for n in range(60)]
    arguments = [
        "-P",
        "-t",
        topic,
        "-K",
        "\t",
        "-z",
        codec,
        "-H",
        "origin=kcat",
        "-H",
        "n=1",
        "-X",
        "acks=all",
    ]
    kcat(*arguments, stdin=b"\n".join(lines))
    out = kcat("-C", "-t", topic, "-o", "beginning", "-e", "-q", "-K", "\t", "-f", "%k\t%s|%h\n")
    assert sorted(out.splitlines()) == sorted(line + b"|origin=kcat,n=1" for line in lines)


def test_kcat_keeps_nulls_apart_from_empties(kcat: Callable[..., bytes], topic: str) -> None:
    kcat("-P", "-t", topic, "-K", ":", "-Z", stdin=b"key:\n:value\n")
    out = kcat("-C", "-t", topic, "-o", "beginning", "-e", "-q", "-f", "%K %S\n")
    assert sorted(out.splitlines()) == [b"-1 5", b"3 -1"]


def test_kcat_lists_what_the_broker_advertises(kcat: Callable[..., bytes], bootstrap: str, topic: str) -> None:
    _create_with_confluent(bootstrap, topic)
    listing = kcat("-L", "-t", topic).decode()
    assert f"at {bootstrap}" in listing
    assert f'topic "{topic}" with {PARTITIONS} partitions' in listing
