"""A transaction that was decided comes to its end, whatever step the broker died in."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import confluent_kafka
import pytest
from confluent_kafka.admin import NewTopic
from tests.oracle.catalogue.transactions import FINDING, added, begun, describe, end
from tests.oracle.exchange import exchange
from tests.oracle.runner import Player
from tests.oracle.vocabulary import create, list_offsets
from tests.support.broker_cluster import BrokerCluster
from tests.support.broker_process import BrokerProcess
from tests.support.mortal_coordinator import BEFORE_MARKERS, STEPS

PARTITIONS = 3
COMMITTED_ONLY = 1
COMMAND = (sys.executable, "-m", "tests.support.mortal_coordinator", "serve")


@pytest.mark.parametrize(("step", "commit"), [*((step, True) for step in STEPS), (BEFORE_MARKERS, False)])
def test_its_markers_are_written_after_the_restart(tmp_path: Path, step: str, commit: bool) -> None:
    settings = {"transaction.state.log.num.partitions": "2", "offsets.topic.num.partitions": "2"}
    broker = BrokerProcess(tmp_path / "data", settings=settings, command=COMMAND, environment={"DIE_AT": step})
    broker.start()
    every = {"txn": list(range(PARTITIONS))}
    begin = exchange(
        "begin", create("txn", PARTITIONS), FINDING, begun("x"), added(every, name="x"), end(name="x", commit=commit)
    )
    [answer] = Player(broker.bootstrap).play(begin)
    assert answer.get("outcome") == "closed" or answer["answer"]["error_code"] == 0
    broker.wait()
    again = BrokerProcess(tmp_path / "data", settings=settings)
    again.start()
    state = "CompleteCommit" if commit else "CompleteAbort"
    complete = describe("x", until={"transaction_states.0.transaction_state": state})
    ends = [list_offsets("txn", partition=index, isolation=COMMITTED_ONLY) for index in range(PARTITIONS)]
    described, *shown = Player(again.bootstrap).play(exchange("look", complete, ends))
    assert described["answer"]["transaction_states"][0]["transaction_state"] == state
    stable: list[Any] = [one["answer"]["topics"][0]["partitions"][0]["offset"] for one in shown]
    # A marker may be written twice, and is where the broker died in between; an offset of 0 would be none.
    assert all(offset in (1, 2) for offset in stable), stable
    again.stop()


def test_another_coordinator_goes_on_when_one_dies_with_the_decision(tmp_path: Path) -> None:
    once = tmp_path / "die-once"
    settings = {"transaction.state.log.num.partitions": "2", "transaction.state.log.replication.factor": "3"}
    cluster = BrokerCluster(tmp_path, f"sqlite:///{tmp_path}/store.db?shared=true", settings)
    dying = {"DIE_AT": BEFORE_MARKERS, "DIE_ONCE": str(once)}
    try:
        for node_id in (1, 2, 3):
            cluster.add(node_id, command=COMMAND, environment=dying).launch()
        for broker in cluster.brokers.values():
            broker.wait_until_ready()
        cluster.wait_for_nodes(1, 2, 3)
        admin = cluster.admin()
        admin.create_topics([NewTopic("txn", 6, 3)])["txn"].result(30)
        producer = confluent_kafka.Producer(
            {"bootstrap.servers": cluster.bootstrap, "transactional.id": "x", "reconnect.backoff.max.ms": 200}
        )
        producer.init_transactions(60)
        producer.begin_transaction()
        for partition in range(6):
            producer.produce("txn", str(partition).encode(), partition=partition)
        producer.flush(30)
        once.touch()
        producer.commit_transaction(60)
        assert not once.exists(), "no coordinator died"
        assert sum(broker.is_alive for broker in cluster.brokers.values()) == 2
        assert read_committed(cluster.bootstrap, "txn", 6) == {str(partition).encode() for partition in range(6)}
    finally:
        cluster.close()


def read_committed(bootstrap: str, topic: str, count: int) -> set[bytes]:
    """The values, once there are as many."""
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "reader", "isolation.level": "read_committed"}
    )
    consumer.assign([confluent_kafka.TopicPartition(topic, index, 0) for index in range(6)])
    found: set[bytes] = set()
    deadline = time.monotonic() + 60
    while len(found) < count and time.monotonic() < deadline:
        message = consumer.poll(0.5)
        value = None if message is None or message.error() else message.value()
        if value is not None:
            found.add(value)
    consumer.close()
    return found
