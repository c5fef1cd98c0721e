"""A compacted topic of a served broker, filled and read by librdkafka: what is left is the last value of each key."""

from __future__ import annotations

import random
import time
from pathlib import Path

import confluent_kafka
import confluent_kafka.admin
import pytest
from tests.support.broker_process import BrokerProcess, running_broker

TOPIC = "compacted"
KEYS = 200
RECORDS = 20_000
SETTINGS = {"log.cleaner.backoff.ms": "50", "log.initial.task.delay.ms": "0"}
CONFIG = {
    "cleanup.policy": "compact",
    "segment.bytes": "1048576",
    "min.cleanable.dirty.ratio": "0.01",
    "delete.retention.ms": "0",
}
DEADLINE_S = 60
Table = dict[bytes, bytes]


def create(bootstrap: str) -> None:
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": bootstrap})
    new = confluent_kafka.admin.NewTopic(TOPIC, 1, 1, config=CONFIG)
    admin.create_topics([new])[TOPIC].result(30)


def produce(bootstrap: str, codec: str, seed: int) -> dict[bytes, bytes | None]:
    """Random values and tombstones for few keys; the table that they come to, tombstones included."""
    chance = random.Random(seed)
    producer = confluent_kafka.Producer(
        {"bootstrap.servers": bootstrap, "enable.idempotence": True, "compression.type": codec, "linger.ms": 5}
    )
    errors: list[object] = []
    table: dict[bytes, bytes | None] = {}
    for _ in range(RECORDS):
        key = b"key-%d" % chance.randrange(KEYS)
        value = chance.randbytes(300) if chance.random() < 0.9 else None
        table[key] = value
        while True:
            try:
                producer.produce(TOPIC, value, key, on_delivery=lambda e, _: errors.append(e) if e else None)
                break
            except BufferError:
                producer.poll(0.05)
    assert producer.flush(30) == 0
    assert not errors
    return table


def read(bootstrap: str) -> tuple[Table, int]:
    """The table that a reader from the beginning comes to, and how many records it was sent."""
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "unused",
            "enable.auto.commit": False,
            "check.crcs": True,
            "enable.partition.eof": True,
        }
    )
    consumer.assign([confluent_kafka.TopicPartition(TOPIC, 0, confluent_kafka.OFFSET_BEGINNING)])
    table: Table = {}
    count, reached = 0, -1
    try:
        while True:
            message = consumer.poll(20)
            assert message is not None, "nothing came, not even the end"
            if message.error() is not None:
                assert message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF, message.error()
                return table, count
            assert message.offset() > reached
            reached = message.offset()
            count += 1
            if message.value() is None:
                table.pop(message.key(), None)
            else:
                table[message.key()] = message.value()
    finally:
        consumer.close()


def read_when_compacted(broker: BrokerProcess, at_most: int) -> Table:
    deadline = time.monotonic() + DEADLINE_S
    while True:
        table, count = read(broker.bootstrap)
        if count <= at_most:
            return table
        assert time.monotonic() < deadline, f"{count} records are left:\n{broker.log()}"


@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_the_last_value_of_each_key_is_left_and_survives_a_restart(tmp_path: Path, codec: str) -> None:
    with running_broker(tmp_path / "data", SETTINGS) as broker:
        create(broker.bootstrap)
        expected = produce(broker.bootstrap, codec, 1)
        values = {key: value for key, value in expected.items() if value is not None}
        assert read_when_compacted(broker, RECORDS // 2) == values
        broker.restart()
        assert read(broker.bootstrap)[0] == values
        expected |= produce(broker.bootstrap, codec, 2)
        values = {key: value for key, value in expected.items() if value is not None}
        assert read_when_compacted(broker, RECORDS // 2) == values
        assert "log_not_compacted" not in broker.log()
        checkpoint = (tmp_path / "data" / "cleaner-offset-checkpoint").read_text().splitlines()
        assert checkpoint[:2] == ["0", "1"]
        assert checkpoint[2].startswith(f"{TOPIC} 0 ")


def test_a_kill_in_the_middle_of_compaction_loses_nothing(tmp_path: Path) -> None:
    # So slow that a pass is always under way.
    settings = {**SETTINGS, "log.cleaner.io.max.bytes.per.second": "20000000"}
    broker = BrokerProcess(tmp_path / "data", settings=settings)
    broker.start()
    try:
        create(broker.bootstrap)
        values: Table = {}
        for number in range(4):
            table = produce(broker.bootstrap, "lz4", number)
            values |= {key: value for key, value in table.items() if value is not None}
            for key in [key for key, value in table.items() if value is None]:
                values.pop(key, None)
            broker.kill()
            broker.start()
            assert read(broker.bootstrap)[0] == values
        assert "log_compacted" in broker.log_path.read_text()
        broker.stop()
    finally:
        broker.close()
