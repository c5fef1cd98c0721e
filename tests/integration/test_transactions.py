"""Transactions of three client libraries: committed, aborted, taken over from a zombie, left by a client that died."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import confluent_kafka
import confluent_kafka.admin
import pytest
from tests.support.broker_process import ROOT, BrokerProcess, running_broker
from tests.support.sdk import a_name
from tests.support.transactional_clients import LIBRARIES, READ_COMMITTED, READ_UNCOMMITTED, STEPS, Fenced

SETTINGS = {
    "group.initial.rebalance.delay.ms": "0",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "200",
}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    with running_broker(tmp_path_factory.mktemp("transactions") / "data", SETTINGS) as started:
        yield started


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def topic(broker: BrokerProcess) -> str:
    name = a_name("txn")
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([confluent_kafka.admin.NewTopic(name, 1, 1)])[name].result(30)
    return name


def end_offset(broker: BrokerProcess, topic: str, isolation: str) -> int:
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": broker.bootstrap, "group.id": "offsets", "isolation.level": isolation}
    )
    try:
        _, high = consumer.get_watermark_offsets(confluent_kafka.TopicPartition(topic, 0), timeout=30)
        return high
    finally:
        consumer.close()


def settled(broker: BrokerProcess, topic: str) -> int:
    """Waits until nothing in the topic is undecided; where it ends."""
    deadline = time.monotonic() + 30
    while True:
        end = end_offset(broker, topic, READ_UNCOMMITTED)
        stable = end_offset(broker, topic, READ_COMMITTED)
        if stable == end:
            return end
        assert time.monotonic() < deadline, f"undecided from {stable} on, of {end}"
        time.sleep(0.02)


def read(broker: BrokerProcess, library: str, topic: str, isolation: str = READ_COMMITTED) -> list[bytes]:
    found: list[bytes] = LIBRARIES[library].read(broker.bootstrap, topic, settled(broker, topic), isolation)
    return found


def committed_offset(broker: BrokerProcess, group: str, topic: str) -> int:
    consumer = confluent_kafka.Consumer({"bootstrap.servers": broker.bootstrap, "group.id": group})
    try:
        [found] = consumer.committed([confluent_kafka.TopicPartition(topic, 0)], timeout=30)
        return int(found.offset)
    finally:
        consumer.close()


def test_committed_is_seen_and_aborted_is_not(broker: BrokerProcess, library: str, topic: str) -> None:
    producer = LIBRARIES[library](broker.bootstrap, a_name("id"))
    wanted = []
    for number in range(6):
        producer.begin()
        producer.send(topic, b"%d a" % number)
        producer.send(topic, b"%d b" % number)
        if number % 2:
            producer.abort()
        else:
            producer.commit()
            wanted += [b"%d a" % number, b"%d b" % number]
    producer.close()
    assert read(broker, library, topic) == wanted
    assert len(read(broker, library, topic, READ_UNCOMMITTED)) == 12


def test_an_open_transaction_holds_readers_of_committed_data_back(
    broker: BrokerProcess, library: str, topic: str
) -> None:
    producer = LIBRARIES[library](broker.bootstrap, a_name("id"))
    producer.begin()
    producer.send(topic, b"first")
    other = confluent_kafka.Producer({"bootstrap.servers": broker.bootstrap})
    other.produce(topic, b"outside", partition=0)
    assert other.flush(30) == 0
    assert end_offset(broker, topic, READ_COMMITTED) == 0
    assert end_offset(broker, topic, READ_UNCOMMITTED) == 2
    producer.commit()
    producer.close()
    assert read(broker, library, topic) == [b"first", b"outside"]


def test_a_zombie_is_fenced_and_nothing_of_it_is_seen(broker: BrokerProcess, library: str, topic: str) -> None:
    name = a_name("id")
    zombie = LIBRARIES[library](broker.bootstrap, name)
    zombie.begin()
    zombie.send(topic, b"of the zombie")
    successor = LIBRARIES[library](broker.bootstrap, name)
    successor.begin()
    successor.send(topic, b"of the successor")
    with pytest.raises(Fenced):
        zombie.commit()
    zombie.close()
    successor.commit()
    successor.close()
    assert read(broker, library, topic) == [b"of the successor"]


def test_a_transaction_that_nobody_ends_is_aborted_when_its_time_is_over(broker: BrokerProcess, topic: str) -> None:
    idle = confluent_kafka.Producer(
        {"bootstrap.servers": broker.bootstrap, "transactional.id": a_name("id"), "transaction.timeout.ms": 1_000}
    )
    idle.init_transactions(30)
    idle.begin_transaction()
    idle.produce(topic, b"of the idle", partition=0)
    assert idle.flush(30) == 0
    other = confluent_kafka.Producer({"bootstrap.servers": broker.bootstrap})
    other.produce(topic, b"outside", partition=0)
    assert other.flush(30) == 0
    assert read(broker, "confluent-kafka", topic) == [b"outside"]
    with pytest.raises(confluent_kafka.KafkaException):
        idle.commit_transaction(30)
    assert read(broker, "confluent-kafka", topic) == [b"outside"]


def test_offsets_count_with_the_transaction(broker: BrokerProcess, library: str, topic: str) -> None:
    group = a_name("group")
    producer = LIBRARIES[library](broker.bootstrap, a_name("id"))
    for offset, commits in ((3, True), (5, False), (8, True)):
        producer.begin()
        producer.send(topic, b"%d" % offset)
        producer.send_offset(group, topic, offset)
        if commits:
            producer.commit()
        else:
            producer.abort()
        # Readers of positions wait for the marker (KIP-447).
        assert committed_offset(broker, group, topic) == (offset if commits else 3)
    producer.close()
    assert read(broker, library, topic) == [b"3", b"8"]


@pytest.mark.parametrize(
    ("library", "protocol"),
    [
        ("confluent-kafka", "classic"),
        ("confluent-kafka", "consumer"),
        ("kafka-python", "classic"),
        ("aiokafka", "classic"),
    ],
)
def test_what_a_member_consumes_is_produced_once(
    broker: BrokerProcess, library: str, topic: str, protocol: str
) -> None:
    """A transaction that commits, one that aborts, one whose member goes away and is fenced by who does it again."""
    source, group, name = f"{topic}-source", a_name("group"), a_name("id")
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([confluent_kafka.admin.NewTopic(source, 1, 1)])[source].result(30)
    filler = confluent_kafka.Producer({"bootstrap.servers": broker.bootstrap})
    wanted = [b"%d" % number for number in range(12)]
    for value in wanted:
        filler.produce(source, value, partition=0)
    assert filler.flush(30) == 0
    worker = LIBRARIES[library](broker.bootstrap, name)
    worker.copy(group, source, topic, 5, protocol)
    worker.commit()
    worker.leave()
    worker.copy(group, source, topic, 4, protocol)
    worker.abort()
    worker.leave()
    worker.copy(group, source, topic, 3, protocol)
    worker.leave()
    successor = LIBRARIES[library](broker.bootstrap, name)
    successor.copy(group, source, topic, 7, protocol)
    successor.commit()
    successor.leave()
    successor.close()
    worker.close()
    assert read(broker, library, topic) == wanted
    assert committed_offset(broker, group, source) == len(wanted)


@pytest.mark.parametrize("step", STEPS)
def test_who_takes_over_from_a_client_that_died_finds_all_of_its_transaction_or_nothing(
    broker: BrokerProcess, library: str, topic: str, step: str
) -> None:
    name, group = a_name("id"), a_name("group")
    command = [sys.executable, "-m", "tests.support.transactional_clients"]
    victim: subprocess.Popen[Any] = subprocess.Popen(
        [*command, library, broker.bootstrap, name, topic, group, step],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert victim.stdout is not None
    assert victim.stdout.readline().strip() == step
    victim.kill()
    victim.communicate()
    successor = LIBRARIES[library](broker.bootstrap, name)
    is_committed = step == "commit"
    assert committed_offset(broker, group, topic) == (99 if is_committed else confluent_kafka.OFFSET_INVALID)
    successor.begin()
    successor.send(topic, b"after")
    successor.commit()
    successor.close()
    assert read(broker, library, topic) == ([b"crashed"] if is_committed else []) + [b"after"]
