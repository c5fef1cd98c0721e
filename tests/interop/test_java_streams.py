"""Kafka Streams with exactly_once_v2: a word count that is killed again and again counts every word once.

Run by `make interop`. `PYBROKER_STREAMS_KILLS` says how often the application is killed; before every other time the
broker is killed under it as well.
"""

from __future__ import annotations

import os
import random
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import confluent_kafka
import confluent_kafka.admin
import pytest
from tests.interop.kafka import compiled
from tests.support.broker_process import BrokerProcess, running_broker

pytestmark = pytest.mark.java

KILLS = int(os.environ.get("PYBROKER_STREAMS_KILLS", "3"))
PARTITIONS = 2
WORDS = [f"word{number}" for number in range(20)]
SETTINGS = {
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
}
START_TIMEOUT_S = 120
DONE_TIMEOUT_S = 120


class WordCount:
    """The application as a process, with the state directory that it keeps over its lives."""

    def __init__(self, bootstrap: str, folder: Path, source: str, target: str) -> None:
        classes = folder / "classes"
        classes.mkdir()
        settings = {
            "application.id": "word-count",
            "bootstrap.servers": bootstrap,
            "processing.guarantee": "exactly_once_v2",
            "state.dir": str(folder / "state"),
            "commit.interval.ms": "100",
            "statestore.cache.max.bytes": "0",
            "num.stream.threads": "2",
            "auto.offset.reset": "earliest",
            "session.timeout.ms": "1500",
            "heartbeat.interval.ms": "300",
            "reconnect.backoff.max.ms": "200",
        }
        properties = folder / "streams.properties"
        properties.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        self._command = [*compiled("WordCount", classes), str(properties), source, target]
        self._log = folder / "streams.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns when it says that it runs."""
        begin = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + START_TIMEOUT_S
        while b"RUNNING" not in self._log.read_bytes()[begin:].splitlines():
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.05)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def log(self) -> str:
        return self._log.read_text(errors="replace")[-8_000:]


class Load:
    """Sends lines of words at a steady pace; `counts` is the model."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.counts: Counter[str] = Counter()
        self._topic = topic
        self._chance = random.Random(10)
        self._stop = threading.Event()
        self._producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap, "enable.idempotence": True})
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            words = self._chance.choices(WORDS, k=5)
            self._producer.produce(self._topic, " ".join(words), partition=self._chance.randrange(PARTITIONS))
            self._producer.poll(0)
            self.counts.update(words)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        assert self._producer.flush(60) == 0


class Output:
    """What readers of committed data have seen of the counts, word by word."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self.counts: dict[str, list[int]] = {}
        self._consumer = confluent_kafka.Consumer(
            {"bootstrap.servers": bootstrap, "group.id": "output", "isolation.level": "read_committed"}
        )
        self._consumer.assign([confluent_kafka.TopicPartition(topic, index, 0) for index in range(PARTITIONS)])

    def read_for(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.read()

    def read(self) -> None:
        for message in self._consumer.consume(1_000, 0.2):
            if message.error() is not None:
                assert message.error().retriable(), message.error()
                continue
            self.counts.setdefault(message.key().decode(), []).append(int(message.value()))

    @property
    def last(self) -> dict[str, int]:
        return {word: counts[-1] for word, counts in self.counts.items()}

    def close(self) -> None:
        self._consumer.close()


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    with running_broker(tmp_path / "data", SETTINGS) as started:
        admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": started.bootstrap})
        for topic in ("lines", "counts"):
            admin.create_topics([confluent_kafka.admin.NewTopic(topic, PARTITIONS, 1)])[topic].result(30)
        yield started


def test_a_word_count_that_is_killed_again_and_again_counts_every_word_once(
    broker: BrokerProcess, tmp_path: Path
) -> None:
    chance = random.Random(11)
    application = WordCount(broker.bootstrap, tmp_path, "lines", "counts")
    load = Load(broker.bootstrap, "lines")
    output = Output(broker.bootstrap, "counts")
    try:
        for number in range(KILLS):
            application.start()
            output.read_for(chance.uniform(1, 3))
            if number % 2:
                broker.kill()
                broker.start()
                output.read_for(chance.uniform(1, 3))
            application.kill()
        load.stop()
        application.start()
        deadline = time.monotonic() + DONE_TIMEOUT_S
        while output.last != dict(load.counts):
            assert time.monotonic() < deadline, f"{output.last} of {load.counts}\n{application.log()}"
            output.read()
    finally:
        application.kill()
    output.read()
    output.close()
    for word, counts in output.counts.items():
        assert counts == list(range(1, load.counts[word] + 1)), f"{word} was counted {counts}"
