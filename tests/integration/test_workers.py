"""`pybroker serve --workers N`: brokers that are a cluster, kept running, and ended with their supervisor."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic
from tests.support.broker_cluster import wait_until
from tests.support.broker_process import BrokerProcess

QUIET = {"log_level": 0}


@contextmanager
def two_workers(directory: Path) -> Iterator[BrokerProcess]:
    command = (sys.executable, "-m", "pybroker_server", "serve", "--workers", "2")
    supervisor = BrokerProcess(directory / "data", settings={"default.replication.factor": "2"}, command=command)
    supervisor.start()
    try:
        yield supervisor
    finally:
        supervisor.close()


def nodes(admin: AdminClient) -> list[int]:
    return sorted(admin.list_topics(timeout=30).brokers)


def pids_of_workers(supervisor: BrokerProcess) -> dict[int, int]:
    """By node id."""
    found = {}
    for task in Path(f"/proc/{supervisor.pid}/task").iterdir():
        for pid in (task / "children").read_text().split():
            words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
            ids = [word.partition("=")[2] for word in words if word.startswith("node.id=")]
            if ids:
                found[int(ids[0])] = int(pid)
    return found


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_topics_groups_and_replication_go_across_the_workers(tmp_path: Path) -> None:
    with two_workers(tmp_path) as supervisor:
        admin = AdminClient({"bootstrap.servers": supervisor.bootstrap, **QUIET})
        wait_until(lambda: nodes(admin) == [1, 2])
        admin.create_topics([NewTopic("t", 4, 2)])["t"].result(30)
        partitions = wait_until(lambda: admin.list_topics("t", timeout=30).topics["t"].partitions)
        assert {partition.leader for partition in partitions.values()} == {1, 2}
        producer = Producer({"bootstrap.servers": supervisor.bootstrap, "acks": "all", **QUIET})
        for number in range(100):
            producer.produce("t", b"%d" % number, partition=number % 4)
        assert producer.flush(60) == 0
        group = {"group.id": "g", "auto.offset.reset": "earliest", **QUIET}
        consumer = Consumer({"bootstrap.servers": supervisor.bootstrap, **group})
        consumer.subscribe(["t"])
        read: set[bytes] = set()
        while len(read) < 100:
            for message in consumer.consume(100, timeout=30):
                assert message.error() is None, message.error()
                value = message.value()
                assert value is not None
                read.add(value)
        consumer.close()
        supervisor.stop()
        assert supervisor.log().count("clean=True") == 2


def test_a_worker_that_is_killed_comes_back_and_all_end_with_the_supervisor(tmp_path: Path) -> None:
    with two_workers(tmp_path) as supervisor:
        admin = AdminClient({"bootstrap.servers": supervisor.bootstrap, **QUIET})
        wait_until(lambda: nodes(admin) == [1, 2])
        victim = pids_of_workers(supervisor)[2]
        os.kill(victim, signal.SIGKILL)
        again = wait_until(lambda: pids_of_workers(supervisor).get(2, victim) != victim and pids_of_workers(supervisor))
        wait_until(lambda: nodes(admin) == [1, 2])
        supervisor.kill()
        wait_until(lambda: not any(is_running(pid) for pid in again.values()))


def test_workers_that_cannot_start_end_them_all(tmp_path: Path) -> None:
    with two_workers(tmp_path) as first:
        # Else the second's node 2 may be there sooner, and the first is the one that ends.
        admin = AdminClient({"bootstrap.servers": first.bootstrap, **QUIET})
        wait_until(lambda: nodes(admin) == [1, 2])
        command = (sys.executable, "-m", "pybroker_server", "serve", "--workers", "2")
        second = BrokerProcess(tmp_path / "data", command=command)
        try:
            second.launch()
            assert second.wait() != 0
            assert "in use by another broker" in second.log()
        finally:
            second.close()
        first.stop()
