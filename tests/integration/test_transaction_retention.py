"""Retention takes records of a transaction that is still open, as in Apache Kafka 4.3.0: it goes on all the same.

What retention took is gone, committed or not; what is left is decided by the marker; readers of committed data wait no
further back than at the log's start.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import confluent_kafka
import confluent_kafka.admin
import pytest
from confluent_kafka.admin import OffsetSpec
from tests.support.broker_cluster import wait_until
from tests.support.broker_process import BrokerProcess, running_broker
from tests.support.sdk import a_name
from tests.support.transactional_clients import READ_COMMITTED, Confluent

HOUR_MS = 3_600_000
SETTINGS = {
    "transaction.state.log.num.partitions": "4",
    "log.retention.check.interval.ms": "100",
    "log.initial.task.delay.ms": "0",
}
CONFIG = {"retention.ms": str(HOUR_MS), "segment.ms": "1000"}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    with running_broker(tmp_path_factory.mktemp("retention") / "data", SETTINGS) as started:
        yield started


class Topic:
    """Of one partition, whose oldest records are two hours old when they are written."""

    def __init__(self, bootstrap: str) -> None:
        self.name = a_name("retained")
        self.bootstrap = bootstrap
        new = confluent_kafka.admin.NewTopic(self.name, 1, 1, config=CONFIG)
        admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": bootstrap})
        admin.create_topics([new])[self.name].result(30)

    def offset(self, spec: OffsetSpec, *, is_committed: bool = False) -> int:
        # One that has asked before stays with the leader epoch that a restart ends.
        admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": self.bootstrap})
        isolation = confluent_kafka.IsolationLevel(int(is_committed))
        where = confluent_kafka.TopicPartition(self.name, 0)
        futures = admin.list_offsets({where: spec}, isolation_level=isolation)
        return int(next(iter(futures.values())).result(30).offset)

    @property
    def bounds(self) -> tuple[int, int, int]:
        """Where the log begins, where readers of committed data wait, and where the log ends."""
        start, end = self.offset(OffsetSpec.earliest()), self.offset(OffsetSpec.latest())
        return start, self.offset(OffsetSpec.latest(), is_committed=True), end

    def write(self, *values: bytes, age_ms: int = 0) -> None:
        producer = confluent_kafka.Producer({"bootstrap.servers": self.bootstrap})
        self.produce(producer, *values, age_ms=age_ms)

    def produce(self, producer: confluent_kafka.Producer, *values: bytes, age_ms: int = 0) -> None:
        now_ms = int(time.time() * 1000)
        for value in values:
            producer.produce(self.name, value, partition=0, timestamp=now_ms - age_ms)
        assert producer.flush(30) == 0

    def wait_for_start(self, offset: int) -> None:
        wait_until(lambda: self.bounds[0] >= offset)

    def wait_for_decision(self) -> None:
        wait_until(lambda: self.bounds[1] == self.bounds[2])

    def read(self) -> list[bytes]:
        return Confluent.read(self.bootstrap, self.name, self.bounds[2], READ_COMMITTED)


def opened(topic: Topic, name: str) -> confluent_kafka.Producer:
    """A producer in whose transaction two old records were written."""
    producer = confluent_kafka.Producer(
        {
            "bootstrap.servers": topic.bootstrap,
            "transactional.id": name,
            "linger.ms": 0,
            "reconnect.backoff.max.ms": 200,
        }
    )
    producer.init_transactions(30)
    producer.begin_transaction()
    topic.produce(producer, b"old a", b"old b", age_ms=2 * HOUR_MS)
    return producer


def end(producer: confluent_kafka.Producer, commits: bool) -> None:
    if commits:
        producer.commit_transaction(30)
    else:
        producer.abort_transaction(30)


@pytest.mark.parametrize("commits", [True, False])
@pytest.mark.parametrize("restarts", [False, True])
def test_a_transaction_goes_on_without_the_records_that_retention_took(
    broker: BrokerProcess, commits: bool, restarts: bool
) -> None:
    topic = Topic(broker.bootstrap)
    producer = opened(topic, a_name("id"))
    topic.write(b"outside")
    topic.wait_for_start(2)
    assert topic.bounds == (2, 2, 3)
    if restarts:
        broker.kill()
        broker.start()
        assert topic.bounds == (2, 2, 3)
    topic.produce(producer, b"new")
    assert topic.bounds == (2, 2, 4)
    end(producer, commits)
    topic.wait_for_decision()
    assert topic.bounds == (2, 5, 5)
    assert topic.read() == ([b"outside", b"new"] if commits else [b"outside"])


@pytest.mark.parametrize("commits", [True, False])
def test_an_empty_log_is_what_retention_leaves_of_a_transaction_that_is_alone(
    broker: BrokerProcess, commits: bool
) -> None:
    topic = Topic(broker.bootstrap)
    producer = opened(topic, a_name("id"))
    topic.wait_for_start(2)
    assert topic.bounds == (2, 2, 2)
    end(producer, commits)
    topic.wait_for_decision()
    topic.write(b"after")
    assert topic.bounds == (2, 4, 4)
    assert topic.read() == [b"after"]
