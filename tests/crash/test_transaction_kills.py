"""An exactly-once pipeline through kill -9 and pauses of broker and workers: every record once, in both its targets.

`PYBROKER_TXN_KILLS` says how often something is killed or paused.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import confluent_kafka
import confluent_kafka.admin
import pytest
from tests.support.broker_process import ROOT, BrokerProcess

KILLS = int(os.environ.get("PYBROKER_TXN_KILLS", "5"))
WORKERS = 2
PARTITIONS = 3
SOURCE, TARGETS = "source", ("left", "right")
SETTINGS = {
    "group.initial.rebalance.delay.ms": "0",
    "offsets.topic.num.partitions": "3",
    "transaction.state.log.num.partitions": "3",
    "group.consumer.min.session.timeout.ms": "2000",
    "group.consumer.session.timeout.ms": "3000",
    "group.consumer.min.heartbeat.interval.ms": "200",
    "group.consumer.heartbeat.interval.ms": "500",
    "group.consumer.assignment.interval.ms": "100",
}
DONE_TIMEOUT_S = 120
PAUSE_S = 7
"""Longer than a session: the others take over, and the one that wakes up is a zombie."""


class Worker:
    """A process that is started again when it was killed."""

    def __init__(self, broker: BrokerProcess, protocol: str, number: int) -> None:
        self._command = [sys.executable, "-m", "tests.support.pipeline_worker", broker.bootstrap, protocol]
        self._command += [f"worker-{number}", SOURCE, ",".join(TARGETS)]
        self._log = broker.data_dir.with_name(f"worker-{number}.log").open("ab")
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(self._command, cwd=ROOT, stdout=self._log, stderr=subprocess.STDOUT)

    def kill(self) -> None:
        self.close()
        self._process = self._start()

    def pause(self) -> None:
        """It wakes up as a zombie, when a timer says so."""
        process = self._process
        process.send_signal(signal.SIGSTOP)
        threading.Timer(PAUSE_S, lambda: process.poll() is None and process.send_signal(signal.SIGCONT)).start()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        self.close()
        self._log.close()


class Load:
    """Writes numbers into the source, for as long as it may."""

    def __init__(self, bootstrap: str) -> None:
        self.sent: list[list[bytes]] = [[] for _ in range(PARTITIONS)]
        self._stop = threading.Event()
        self._producer = confluent_kafka.Producer(
            {"bootstrap.servers": bootstrap, "enable.idempotence": True, "reconnect.backoff.max.ms": 200}
        )
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        number = 0
        while not self._stop.wait(0.01):
            number += 1
            partition = number % PARTITIONS
            self.sent[partition].append(b"%d" % number)
            self._producer.produce(SOURCE, b"%d" % number, partition=partition)
            self._producer.poll(0)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        assert self._producer.flush(60) == 0


class Reader:
    """What readers of committed data have seen, by topic and partition."""

    def __init__(self, bootstrap: str) -> None:
        self.seen: dict[tuple[str, int], list[bytes]] = {
            (topic, partition): [] for topic in TARGETS for partition in range(PARTITIONS)
        }
        self._consumer = confluent_kafka.Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "reader",
                "isolation.level": "read_committed",
                "reconnect.backoff.max.ms": 200,
            }
        )
        self._consumer.assign([confluent_kafka.TopicPartition(*where, 0) for where in self.seen])

    def read(self, timeout_s: float) -> None:
        for message in self._consumer.consume(1_000, timeout_s):
            if message.error() is None:
                self.seen[message.topic(), message.partition()].append(message.value())
            else:
                assert message.error().retriable(), message.error()

    @property
    def count(self) -> int:
        return sum(map(len, self.seen.values()))

    def close(self) -> None:
        self._consumer.close()


def make_topics(bootstrap: str) -> None:
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": bootstrap})
    for topic in (SOURCE, *TARGETS):
        admin.create_topics([confluent_kafka.admin.NewTopic(topic, PARTITIONS, 1)])[topic].result(30)


def all_is_decided(bootstrap: str) -> bool:
    """No transaction holds any partition back any more."""
    ends = []
    for isolation in ("read_uncommitted", "read_committed"):
        consumer = confluent_kafka.Consumer(
            {"bootstrap.servers": bootstrap, "group.id": "ends", "isolation.level": isolation}
        )
        places = [confluent_kafka.TopicPartition(topic, index) for topic in TARGETS for index in range(PARTITIONS)]
        ends.append([consumer.get_watermark_offsets(place, timeout=30)[1] for place in places])
        consumer.close()
    return ends[0] == ends[1]


def progress(reader: Reader, wanted: int) -> None:
    """Until this many records more were seen."""
    begin, deadline = reader.count, time.monotonic() + DONE_TIMEOUT_S
    while reader.count < begin + wanted:
        assert time.monotonic() < deadline, "the pipeline stands still"
        reader.read(0.1)


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_every_record_comes_out_once_whatever_dies(tmp_path: Path, protocol: str) -> None:
    chance = random.Random(protocol)
    broker = BrokerProcess(tmp_path / "data", settings=SETTINGS)
    broker.start()
    make_topics(broker.bootstrap)
    load, reader = Load(broker.bootstrap), Reader(broker.bootstrap)
    workers = [Worker(broker, protocol, number) for number in range(WORKERS)]

    def kill_broker() -> None:
        broker.kill()
        broker.start()

    faults: list[Callable[[], None]] = [kill_broker, workers[0].kill, kill_broker, workers[1].pause, workers[1].kill]
    try:
        for number in range(KILLS):
            progress(reader, 10)
            time.sleep(chance.uniform(0, 0.3))
            faults[number % len(faults)]()
        load.stop()
        total = len(TARGETS) * sum(map(len, load.sent))
        deadline = time.monotonic() + DONE_TIMEOUT_S
        while reader.count < total or not all_is_decided(broker.bootstrap):
            assert time.monotonic() < deadline, f"{reader.count} of {total}\n{broker.log()[-4_000:]}"
            reader.read(0.2)
        reader.read(0.5)
        broker.stop()
    finally:
        for worker in workers:
            worker.end()
        load.stop()
        reader.close()
        broker.close()
    for topic, partition in reader.seen:
        assert reader.seen[topic, partition] == load.sent[partition], f"in {topic}-{partition}"
