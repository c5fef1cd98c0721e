"""An exactly-once pipeline under test: a load of numbers, workers that copy them into two topics, and a reader."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import confluent_kafka
import confluent_kafka.admin
from tests.support.broker_process import ROOT

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
DONE_TIMEOUT_S = 180
BACKLOG_MAX = 500
"""Records that the load is ahead of the reader: what is left to do when the faults are over."""
PAUSE_S = 7
"""Longer than a session: the others take over, and the one that wakes up is a zombie."""
WORKERS = {
    "confluent-kafka": "tests.support.pipeline_worker",
    "sdk": "tests.support.pipeline_worker_sdk",
    "aiokafka": "tests.support.pipeline_worker_aiokafka",
    "kafka-python": "tests.support.pipeline_worker_kafka_python",
}
"""The modules of the workers in Python."""
PATIENT = {"socket.timeout.ms": 10_000, "reconnect.backoff.max.ms": 200, "metadata.recovery.strategy": "none"}


def python_worker(library: str) -> list[str]:
    """The program that works with this client library."""
    return [sys.executable, "-m", WORKERS[library]]


class Worker:
    """A process that is started again when it was killed."""

    def __init__(
        self, program: Sequence[str], bootstrap: str, folder: Path, protocol: str, number: int, batch: int
    ) -> None:
        self._command = [*program, bootstrap, protocol, f"worker-{number}", SOURCE, ",".join(TARGETS)]
        self._log = (folder / f"worker-{number}.log").open("ab")
        self._tally = folder / f"worker-{number}.tally"
        self._environment = os.environ | {"PIPELINE_TALLY": str(self._tally), "PIPELINE_BATCH": str(batch)}
        self._process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._command, cwd=ROOT, env=self._environment, stdout=self._log, stderr=subprocess.STDOUT
        )

    @property
    def transactions(self) -> int:
        """How many it has committed in all its lives."""
        return self._tally.stat().st_size if self._tally.exists() else 0

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
    """Writes numbers into the source, for as long as it may; a pause while `is_ahead`."""

    def __init__(self, bootstrap: str, is_ahead: Callable[[int], bool]) -> None:
        """`is_ahead`: whether so many records are enough for now."""
        self._is_ahead = is_ahead
        self.sent: list[list[bytes]] = [[] for _ in range(PARTITIONS)]
        self._stop = threading.Event()
        self._producer = confluent_kafka.Producer(
            {"bootstrap.servers": bootstrap, "enable.idempotence": True, **PATIENT}
        )
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        number = 0
        while not self._stop.wait(0.01):
            if self._is_ahead(number):
                self._producer.poll(0)
                continue
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
                **PATIENT,
            }
        )
        self._consumer.assign([confluent_kafka.TopicPartition(*where, 0) for where in self.seen])

    def read(self, timeout_s: float) -> None:
        for message in self._consumer.consume(1_000, timeout_s):
            if message.error() is None:
                self.seen[message.topic(), message.partition()].append(message.value())
            else:
                assert message.error().retriable(), message.error()

    def wait_for(self, wanted: int) -> None:
        """Until this many records more were seen."""
        begin, deadline = self.count, time.monotonic() + DONE_TIMEOUT_S
        while self.count < begin + wanted:
            assert time.monotonic() < deadline, "the pipeline stands still"
            self.read(0.1)

    @property
    def count(self) -> int:
        return sum(map(len, self.seen.values()))

    def close(self) -> None:
        self._consumer.close()


def make_topics(bootstrap: str, replicas: int = 1) -> None:
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": bootstrap})
    for topic in (SOURCE, *TARGETS):
        admin.create_topics([confluent_kafka.admin.NewTopic(topic, PARTITIONS, replicas)])[topic].result(30)


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


class Pipeline:
    """All of it. `workers` of the group protocol `protocol`, each a process."""

    def __init__(
        self,
        bootstrap: str,
        folder: Path,
        protocol: str,
        workers: int = 2,
        *,
        program: Sequence[str] = (),
        batch: int = 20,
    ) -> None:
        """`program`: see `pipeline_worker.py`, which it is by default. `batch`: records of a transaction at most."""
        self._bootstrap = bootstrap
        self.reader = Reader(bootstrap)
        self._load = Load(bootstrap, lambda sent: sent > self.reader.count // len(TARGETS) + BACKLOG_MAX)
        program = program or python_worker("confluent-kafka")
        self.workers = [Worker(program, bootstrap, folder, protocol, number, batch) for number in range(workers)]

    def wait_for_transactions(self, wanted: int) -> None:
        """Until this many more were committed."""
        begin = self.transactions
        while self.transactions < begin + wanted:
            self.reader.wait_for(1)

    @property
    def transactions(self) -> int:
        return sum(worker.transactions for worker in self.workers)

    def finish(self) -> None:
        """No more load: everything must come out, each number once and in order, and nothing stay undecided."""
        self._load.stop()
        sent, reader = self._load.sent, self.reader
        total = len(TARGETS) * sum(map(len, sent))
        deadline = time.monotonic() + DONE_TIMEOUT_S
        while reader.count < total or not all_is_decided(self._bootstrap):
            assert time.monotonic() < deadline, f"{reader.count} of {total}"
            reader.read(0.2)
        reader.read(0.5)
        for topic, partition in reader.seen:
            assert reader.seen[topic, partition] == sent[partition], f"in {topic}-{partition}"

    def close(self) -> None:
        for worker in self.workers:
            worker.end()
        self._load.stop()
        self.reader.close()
