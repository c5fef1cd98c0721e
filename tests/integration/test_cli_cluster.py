"""`pybroker cluster` against brokers that come, go, and are moved off."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from tests.support.broker_cluster import BrokerCluster, broker_cluster, wait_until
from tests.support.cli import Run

SETTINGS = {"default.replication.factor": "2", "broker.session.timeout.ms": "600000"}
RECORDS = 300


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[BrokerCluster]:
    with broker_cluster(tmp_path, 3, SETTINGS) as running:
        running.wait_for_nodes(1, 2, 3)
        yield running


@pytest.fixture
def bootstrap(cluster: BrokerCluster) -> str:
    return cluster.brokers[1].bootstrap


def fill(cluster: BrokerCluster, topic: str, partitions: int) -> None:
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all", "log_level": 0})
    for number in range(RECORDS):
        producer.produce(topic, b"%d" % number, partition=number % partitions)
    assert producer.flush(60) == 0


def read(cluster: BrokerCluster, topic: str, partitions: int) -> list[int]:
    consumer = Consumer({"bootstrap.servers": cluster.brokers[1].bootstrap, "group.id": "g", "log_level": 0})
    consumer.assign([TopicPartition(topic, index, 0) for index in range(partitions)])
    found: list[int] = []
    while len(found) < RECORDS:
        messages = consumer.consume(RECORDS, timeout=30)
        assert messages, f"only {len(found)} records"
        found += [int(message.value() or b"") for message in messages if message.error() is None]
    consumer.close()
    return sorted(found)


def test_a_broker_is_added_filled_drained_and_forgotten(cluster: BrokerCluster, pybroker: Run) -> None:
    assert pybroker("topic", "create", "t", "-p", "6").code == 0
    fill(cluster, "t", 6)
    cluster.add(4).start()
    cluster.wait_for_nodes(1, 2, 3, 4)
    states = {row["node"]: row for row in json.loads(pybroker("cluster", "status", "-o", "json").out)}
    assert [row["state"] for row in states.values()].count("controller") == 1
    assert (states[4]["leads"], states[4]["replicas"]) == (0, 0)

    balanced = pybroker("cluster", "balance", "-y")
    assert balanced.code == 0, balanced
    rows = json.loads(pybroker("cluster", "status", "-o", "json").out)
    assert [row["replicas"] for row in rows] == [3, 3, 3, 3]
    assert read(cluster, "t", 6) == list(range(RECORDS))

    drained = pybroker("cluster", "drain", "2", "-y")
    assert drained.code == 0, drained
    rows = json.loads(pybroker("cluster", "status", "-o", "json").out)
    assert (rows[1]["leads"], rows[1]["replicas"]) == (0, 0)
    cluster.brokers[2].stop()
    sick = pybroker("cluster", "health", "-o", "json")
    assert sick.code == 1
    assert [(row["problem"], row["what"]) for row in json.loads(sick.out)] == [("broker away", "2")]
    assert pybroker("cluster", "forget", "2", "-y").out == "broker 2 is forgotten\n"
    assert pybroker("cluster", "health").code == 0
    assert read(cluster, "t", 6) == list(range(RECORDS))


def test_moves_by_hand_and_what_health_says_of_a_partition_without_a_leader(
    cluster: BrokerCluster, pybroker: Run
) -> None:
    assert pybroker("topic", "create", "t", "-p", "2", "-r", "1").code == 0
    moved = pybroker("cluster", "move", "t", "--to", "3,2", "-y")
    assert moved.code == 0, moved
    _, *rows = pybroker("topic", "describe", "t").rows
    assert [row[3] for row in rows] == ["3,2", "3,2"]
    wait_until(lambda: pybroker("cluster", "health").code == 0)
    assert pybroker("cluster", "move").rows == [["PARTITION", "REPLICAS", "COMING", "GOING"]]
    assert pybroker("cluster", "move", "t-1", "--to", "3", "-y").code == 0
    cluster.brokers[3].kill()
    expected = {"problem": "no leader", "what": "t-1", "detail": "replicas 3, in sync none"}
    wait_until(lambda: expected in json.loads(pybroker("cluster", "health", "-o", "json").out))


def test_what_cannot_be_is_said(pybroker: Run) -> None:
    pybroker("topic", "create", "t")
    for arguments, says in (
        (["move", "no-such", "--to", "1"], "there is no topic or partition no-such"),
        (["move", "t"], "say where to"),
        (["move", "t", "--to", "one"], "is not a list of node ids"),
        (["move", "t", "--to", "9"], "no such broker is registered"),
        (["forget", "9"], "not currently registered"),
    ):
        refused = pybroker("cluster", *arguments, "-y")
        assert refused.code != 0, arguments
        assert says in refused.err
