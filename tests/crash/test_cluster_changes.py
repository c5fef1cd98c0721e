"""A cluster that changes under load: brokers restart one after the other, come, and go; partitions are added and moved;
the metadata store is away. The producer notices nothing but waiting, and nothing is lost, doubled or moved.

`PYBROKER_TEST_OUTAGE_S` says how long the metadata store is away, `PYBROKER_TEST_MOVED_MB` how much is moved.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException
from confluent_kafka.admin import NewPartitions, NewTopic
from tests.support.acked_load import AckedLoad, check, read_back
from tests.support.broker_cluster import wait_until
from tests.support.cli_process import pybroker_command
from tests.support.etcd import Etcd
from tests.support.replicated_load import PARTITIONS, TOPIC, replicated_load

from pybroker import Admin, TopicPartition

pytestmark = pytest.mark.campaign

MOVED_MB = int(os.environ.get("PYBROKER_TEST_MOVED_MB", "50"))
MOVE_S = 300
OUTAGE_S = float(os.environ.get("PYBROKER_TEST_OUTAGE_S", "5"))


def test_a_rolling_restart_goes_unnoticed(tmp_path: Path) -> None:
    with replicated_load(tmp_path, seed=11) as under_load:
        for broker in under_load.cluster.brokers.values():
            under_load.run_for_a_while()
            broker.restart()
            under_load.wait_for_progress()
            under_load.wait_for_all_in_sync()
        under_load.check()


def test_a_broker_and_partitions_are_added_and_a_broker_is_drained(tmp_path: Path) -> None:
    with replicated_load(tmp_path, seed=12) as under_load:
        cluster = under_load.cluster
        under_load.run_for_a_while()
        cluster.add(4).start()
        admin = cluster.admin()
        admin.create_partitions([NewPartitions(TOPIC, 2 * PARTITIONS)])[TOPIC].result(30)
        wait_until(lambda: len(cluster.partitions(TOPIC)) == 2 * PARTITIONS)
        under_load.wait_for_progress()
        pybroker_command("cluster", "drain", "2", "-y", "-b", cluster.brokers[1].bootstrap)
        under_load.wait_for_progress()
        assert all(2 not in partition.replicas for partition in cluster.partitions(TOPIC))
        cluster.brokers.pop(2).stop()
        under_load.wait_for_progress()
        under_load.check()


def test_partitions_move_to_another_broker_under_load(tmp_path: Path) -> None:
    with replicated_load(tmp_path, seed=15) as under_load:
        cluster = under_load.cluster
        placed = {index: [node] for index, node in enumerate((1, 2, 3))}
        topic = NewTopic("bulk", len(placed), replica_assignment=list(placed.values()))
        admin = cluster.admin()
        admin.create_topics([topic])["bulk"].result(30)
        bulk = AckedLoad(cluster.bootstrap, "bulk", len(placed), value_bytes=10_000)
        bulk.start()
        try:
            while bulk.acked_count * bulk.value_bytes < MOVED_MB * 1_000_000:
                time.sleep(0.05)
        finally:
            bulk.stop()
        cluster.add(4).start()
        began, acked = time.monotonic(), under_load.load.acked_count
        seconds = asyncio.run(move(cluster.bootstrap, {("bulk", index): [4] for index in placed})) - began
        assert under_load.load.acked_count > acked
        assert [p.replicas for p in cluster.partitions("bulk")] == [[4]] * len(placed)
        check(bulk, read_back(cluster.bootstrap, "bulk", len(placed)))
        cluster.brokers.pop(4).stop()
        under_load.wait_for_progress()
        under_load.check()
        moved_mb = bulk.acked_count * bulk.value_bytes / 1e6
        print(f"{moved_mb:.0f} MB moved in {seconds:.1f} s, {moved_mb / seconds:.0f} MB/s")


async def move(bootstrap: str, targets: dict[tuple[str, int], list[int]]) -> float:
    """Returns with the time (monotonic) at which the moves had ended."""
    async with Admin(bootstrap) as admin, asyncio.timeout(MOVE_S):
        await admin.move({TopicPartition(*where): nodes for where, nodes in targets.items()})
        while await admin.moves():
            await asyncio.sleep(0.05)
    return time.monotonic()


def test_the_metadata_store_is_away_and_comes_back(tmp_path: Path) -> None:
    etcd = Etcd(tmp_path / "etcd")
    etcd.start()
    try:
        with replicated_load(tmp_path, url=f"etcd://{etcd.address}/pybroker", seed=13) as under_load:
            under_load.run_for_a_while()
            etcd.kill()
            time.sleep(OUTAGE_S)  # what is tested is that time passes
            etcd.start()
            under_load.wait_for_progress()
            under_load.check()
    finally:
        etcd.kill()


def test_groups_go_on_when_their_coordinator_is_killed(tmp_path: Path) -> None:
    with replicated_load(tmp_path, seed=14) as under_load:
        reader = Reader(under_load.cluster.bootstrap)
        reader.start()
        try:
            for _ in range(2):
                reader.wait_for(500)
                victim = under_load.cluster.brokers[coordinator(under_load.cluster.brokers[1].bootstrap)]
                victim.kill()
                reader.wait_for(500)
                under_load.wait_for_progress()
                victim.start()
                under_load.wait_for_all_in_sync()
            under_load.load.stop()
            wait_until(lambda: reader.failure is not None or len(reader.seen) == under_load.load.acked_count)
        finally:
            reader.stop()
        assert reader.failure is None
        under_load.check()


def coordinator(bootstrap: str) -> int:
    """The broker that coordinates the reader's group."""
    rows = pybroker_command("group", "list", "-o", "json", "-b", bootstrap)
    [found] = [row["coordinator"] for row in rows if row["group"] == Reader.GROUP]
    return int(found)


class Reader(threading.Thread):
    """A member of a group that commits as it goes. `seen`: (partition, offset) of everything it read, once."""

    GROUP = "readers"

    def __init__(self, bootstrap: str) -> None:
        super().__init__(name="reader")
        self.seen: set[tuple[int, int]] = set()
        self.failure: str | None = None
        self._servers = bootstrap
        self._stopping = threading.Event()

    def run(self) -> None:
        consumer = Consumer(
            {
                "bootstrap.servers": self._servers,
                "group.id": self.GROUP,
                "auto.offset.reset": "earliest",
                "auto.commit.interval.ms": 200,
                "reconnect.backoff.max.ms": 100,
                "log_level": 0,
            }
        )
        consumer.subscribe([TOPIC])
        while not self._stopping.is_set():
            message = consumer.poll(0.1)
            if message is None:
                continue
            error = message.error()
            if error is not None and not error.retriable():
                self.failure = str(error)
                break
            if error is None:
                self.seen.add((message.partition() or 0, message.offset() or 0))
        try:
            consumer.close()
        except KafkaException as error:
            self.failure = self.failure or str(error)

    def wait_for(self, more: int) -> None:
        before = len(self.seen)
        wait_until(lambda: self.failure is not None or len(self.seen) >= before + more)
        assert self.failure is None, self.failure

    def stop(self) -> None:
        self._stopping.set()
        self.join()
