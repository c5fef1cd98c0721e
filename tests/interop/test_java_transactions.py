"""The Java client's transactions, and Kafka's own tool for those that hang. Run by `make interop`."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import confluent_kafka
import confluent_kafka.admin
import pytest
from tests.interop.kafka import compiled, tool
from tests.oracle.batches import Batch, Rec
from tests.oracle.exchange import exchange
from tests.oracle.runner import Player
from tests.oracle.vocabulary import create, list_offsets, produce
from tests.support.broker_cluster import broker_cluster
from tests.support.broker_process import BrokerProcess, running_broker
from tests.support.sdk import a_name
from tests.support.small_transactions import commit_under_faults
from tests.support.transactional_clients import READ_COMMITTED, STEPS, Confluent

pytestmark = pytest.mark.java

SETTINGS = {
    "group.initial.rebalance.delay.ms": "0",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "transaction.partition.verification.enable": "false",
}
"""Without verification of older clients a transaction can be left open that no coordinator knows of."""


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    with running_broker(tmp_path_factory.mktemp("java-transactions") / "data", SETTINGS) as started:
        yield started


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return compiled("Transactions", tmp_path_factory.mktemp("classes"))


@pytest.fixture
def topic(broker: BrokerProcess) -> str:
    name = a_name("txn")
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([confluent_kafka.admin.NewTopic(name, 1, 1)])[name].result(30)
    return name


def committed(broker: BrokerProcess, group: str, topic: str) -> int:
    consumer = confluent_kafka.Consumer({"bootstrap.servers": broker.bootstrap, "group.id": group})
    [found] = consumer.committed([confluent_kafka.TopicPartition(topic, 0)], timeout=30)
    consumer.close()
    return int(found.offset)


def read(broker: BrokerProcess, topic: str) -> list[bytes]:
    consumer = confluent_kafka.Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "ends"})
    end = consumer.get_watermark_offsets(confluent_kafka.TopicPartition(topic, 0), timeout=30)[1]
    consumer.close()
    return Confluent.read(broker.bootstrap, topic, end, READ_COMMITTED)


def test_commits_count_aborts_do_not_and_a_zombie_is_fenced(
    broker: BrokerProcess, command: list[str], topic: str
) -> None:
    group = a_name("group")
    out = subprocess.run(
        [*command, broker.bootstrap, topic, group, a_name("id")],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert out.stdout.split() == ["fenced", "done"]
    assert read(broker, topic) == [b"0 a", b"0 b", b"2 a", b"2 b", b"of the successor"]
    assert committed(broker, group, topic) == 3


def test_the_same_where_coordinators_and_leaders_are_on_other_brokers(tmp_path: Path, command: list[str]) -> None:
    with broker_cluster(tmp_path, 3, {**SETTINGS, "transaction.partition.verification.enable": "true"}) as cluster:
        cluster.wait_for_nodes(1, 2, 3)
        admin = cluster.admin()
        for number in range(3):
            name = f"t{number}"
            admin.create_topics([confluent_kafka.admin.NewTopic(name, 1, 3)])[name].result(30)
            arguments = [cluster.bootstrap, name, f"group{number}", f"id{number}"]
            out = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=120, check=True)
            assert out.stdout.split() == ["fenced", "done"]
            broker = cluster.brokers[cluster.partitions(name)[0].leader]
            assert read(broker, name) == [b"0 a", b"0 b", b"2 a", b"2 b", b"of the successor"]


def test_small_transactions_while_brokers_and_workers_are_killed_and_paused(tmp_path: Path) -> None:
    commit_under_faults(tmp_path, "java", compiled("PipelineWorker", tmp_path))


@pytest.mark.parametrize("step", STEPS)
def test_who_takes_over_from_one_that_died_finds_all_of_its_transaction_or_nothing(
    broker: BrokerProcess, command: list[str], topic: str, step: str
) -> None:
    name, group = a_name("id"), a_name("group")
    victim: subprocess.Popen[Any] = subprocess.Popen(
        [*command, broker.bootstrap, topic, group, name, step], stdout=subprocess.PIPE, text=True
    )
    assert victim.stdout is not None
    assert victim.stdout.readline().strip() == step
    victim.kill()
    victim.communicate()
    successor = Confluent(broker.bootstrap, name)
    successor.begin()
    successor.send(topic, b"after")
    successor.commit()
    is_committed = step == "commit"
    assert committed(broker, group, topic) == (99 if is_committed else confluent_kafka.OFFSET_INVALID)
    assert read(broker, topic) == ([b"crashed"] if is_committed else []) + [b"after"]


def test_a_hanging_transaction_is_found_and_aborted(broker: BrokerProcess) -> None:
    player = Player(broker.bootstrap)
    hanging = Batch((Rec(b"v"),), attributes=0x10, producer_id=10**12, epoch=0, sequence=0, timestamp=1_000)
    name = a_name("hanging")
    write = produce(name, hanging, version=9, transactional_id="x")
    player.play(exchange("hanging", create(name), write, list_offsets(name)))
    tools = ("--bootstrap-server", broker.bootstrap)
    found = tool("kafka-transactions", *tools, "find-hanging", "--broker-id", "1", "--topic", name)
    [row] = [line.split() for line in found.splitlines() if line.startswith(name)]
    assert row[1:3] == ["0", str(10**12)]
    described = tool("kafka-transactions", *tools, "describe-producers", "--topic", name, "--partition", "0")
    assert str(10**12) in described
    tool("kafka-transactions", *tools, "abort", "--topic", name, "--partition", "0", "--start-offset", "0")
    found = tool("kafka-transactions", *tools, "find-hanging", "--broker-id", "1", "--topic", name)
    assert name not in found
    assert read(broker, name) == []


def test_kafka_dump_log_shows_how_transactions_ended(broker: BrokerProcess, command: list[str], topic: str) -> None:
    arguments = [broker.bootstrap, topic, a_name("group"), a_name("id")]
    subprocess.run([*command, *arguments], capture_output=True, timeout=120, check=True)
    segment = broker.data_dir / f"{topic}-0" / f"{0:020d}.log"
    out = tool("kafka-dump-log", "--print-data-log", "--files", str(segment))
    ends = [line.rpartition("endTxnMarker: ")[2].split()[0] for line in out.splitlines() if "endTxnMarker" in line]
    assert ends == ["COMMIT", "ABORT", "COMMIT", "ABORT", "ABORT", "COMMIT"]
