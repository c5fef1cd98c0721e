"""A consumer that says its rack reads from the replica on it, and goes on when that one is gone (KIP-392)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import NewTopic
from tests.support.broker_cluster import BrokerCluster, wait_until

SELECTOR = {"replica.selector.class": "org.apache.kafka.common.replica.RackAwareReplicaSelector"}
TOPIC = "near"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[BrokerCluster]:
    """Three brokers, each on a rack of its own."""
    made = BrokerCluster(tmp_path, f"sqlite:///{tmp_path}/store.db?shared=true", SELECTOR)
    try:
        for node in (1, 2, 3):
            made.add(node, {"broker.rack": f"rack{node}"}).launch()
        for broker in made.brokers.values():
            broker.wait_until_ready()
        made.wait_for_nodes(1, 2, 3)
        admin = made.admin()
        admin.create_topics([NewTopic(TOPIC, 1, 3)])[TOPIC].result(30)
        yield made
    finally:
        made.close()


def produce(cluster: BrokerCluster, first: int, count: int) -> None:
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all", "log_level": 0})
    for number in range(first, first + count):
        producer.produce(TOPIC, b"%d" % number, partition=0)
    assert producer.flush(30) == 0


class RackReader:
    """`reads_from`: the broker that librdkafka fetches the partition from, as its statistics tell."""

    def __init__(self, cluster: BrokerCluster, rack: str) -> None:
        self.reads_from = -1
        self.values: list[bytes] = []
        self._consumer = Consumer(
            {
                "bootstrap.servers": cluster.bootstrap,
                "group.id": "near",
                "enable.auto.commit": False,
                "client.rack": rack,
                "statistics.interval.ms": 50,
                "stats_cb": self._on_statistics,
                "topic.metadata.refresh.interval.ms": 1_000,
                "log_level": 0,
            }
        )
        self._consumer.assign([TopicPartition(TOPIC, 0, 0)])

    def _on_statistics(self, text: str) -> None:
        partition = json.loads(text)["topics"].get(TOPIC, {}).get("partitions", {}).get("0")
        if partition is not None:
            self.reads_from = partition["broker"]

    def read(self) -> None:
        for message in self._consumer.consume(1_000, timeout=0.1):
            assert message.error() is None, message.error()
            value = message.value()
            assert value is not None
            self.values.append(value)

    def close(self) -> None:
        self._consumer.close()


def test_a_consumer_reads_from_its_own_rack_and_elsewhere_when_that_is_gone(cluster: BrokerCluster) -> None:
    produce(cluster, 0, 100)
    leader = cluster.partitions(TOPIC)[0].leader
    near = leader % 3 + 1
    reader = RackReader(cluster, f"rack{near}")
    try:
        wait_until(lambda: reader.read() or (reader.reads_from == near and len(reader.values) >= 100))
        produce(cluster, 100, 100)
        wait_until(lambda: reader.read() or len(reader.values) >= 200)
        assert reader.reads_from == near
        cluster.brokers[near].kill()
        produce(cluster, 200, 100)
        wait_until(lambda: reader.read() or len(reader.values) >= 300)
        assert reader.reads_from != near
        assert reader.values == [b"%d" % number for number in range(300)]
    finally:
        reader.close()
