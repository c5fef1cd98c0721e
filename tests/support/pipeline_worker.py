"""Consume, transform, produce: a worker of an exactly-once pipeline, as a program that may be killed at any moment.

    python -m tests.support.pipeline_worker BOOTSTRAP GROUP_PROTOCOL WORKER SOURCE TARGETS

Each record of SOURCE gives one record in each of the topics TARGETS (separated by commas), in the same partition,
together with its position in one transaction. One transaction in ten is aborted on purpose and done again. What fails
is aborted if it can be; what cannot be is left to the next producer with this transactional id, as after a crash.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

import confluent_kafka

GROUP: Final = "pipeline"
BATCH: Final = int(os.environ.get("PIPELINE_BATCH", "20"))
TIMEOUT_S: Final = 60
REQUEST_TIMEOUT_MS: Final = 10_000
"""Of the clients that notice by nothing else that a broker hangs."""
OWN_PRODUCER: Final[dict[str, Any]] = {"transaction_timeout_ms": 60_000, "request_timeout_ms": REQUEST_TIMEOUT_MS}
OWN_CONSUMER: Final[dict[str, Any]] = {
    "group_id": GROUP,
    "enable_auto_commit": False,
    "auto_offset_reset": "earliest",
    "isolation_level": "read_committed",
    "request_timeout_ms": REQUEST_TIMEOUT_MS,
}
"""Of the libraries whose workers have partitions of their own; both use these names."""
ABORTED_SHARE: Final = 0.1
HANGS_AFTER_S: Final = 15
"""Longer than any request may take, see `Watchdog`."""


class Tally:
    """A byte for every transaction that was committed, in the file PIPELINE_TALLY; one may be missing for each kill."""

    def __init__(self) -> None:
        self._path = Path(os.environ["PIPELINE_TALLY"])

    def add(self, count: int = 1) -> None:
        with self._path.open("ab") as file:
            file.write(b"." * count)


class Watchdog:
    """A new process in the place of one that hangs in the library, as an operator would have it.

    librdkafka 2.16 lets go of a broker that leaves the metadata, but keeps it as the coordinator that a group had: the
    positions of a transaction then wait for ever, whatever time-out was asked for. kafka-python 3.0 may wait for ever
    for what it was to ask of a coordinator that has just died: nothing wakes up its sender.
    """

    def __init__(self, module: str) -> None:
        """`module`: of the worker, by its whole name."""
        self._module = module
        self._busy_since_s: float | None = None
        threading.Thread(target=self._watch, daemon=True).start()

    def __enter__(self) -> None:
        self._busy_since_s = time.monotonic()

    def __exit__(self, *failure: object) -> None:
        self._busy_since_s = None

    def _watch(self) -> None:
        while True:
            time.sleep(0.5)
            since_s = self._busy_since_s
            if since_s is not None and time.monotonic() - since_s > HANGS_AFTER_S:
                print("hangs", flush=True)
                os.execv(sys.executable, [sys.executable, "-m", self._module, *sys.argv[1:]])


def own_partitions(name: str, *, partitions: int = 3, workers: int = 2) -> list[int]:
    """Of the worker of that name, where they are not dealt out by a group."""
    return list(range(int(name.removeprefix("worker-")), partitions, workers))


class Restart(Exception):
    """Only a new producer and a new consumer can go on."""


class Worker:
    def __init__(self, bootstrap: str, protocol: str, name: str, source: str, targets: list[str]) -> None:
        self._targets = targets
        self._tally = Tally()
        self._chance = random.Random(name)
        quick: dict[str, Any] = {
            "bootstrap.servers": bootstrap,
            "reconnect.backoff.max.ms": 200,
            "metadata.recovery.strategy": "none",
        }
        classic = {"session.timeout.ms": 6_000, "heartbeat.interval.ms": 500}
        self._consumer = confluent_kafka.Consumer(
            {
                **quick,
                **(classic if protocol == "classic" else {}),
                "group.id": GROUP,
                "group.protocol": protocol,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
            }
        )
        self._producer = confluent_kafka.Producer(
            {**quick, "transactional.id": name, "transaction.timeout.ms": 60_000, "linger.ms": 0}
        )
        self._producer.init_transactions(TIMEOUT_S)
        # With callbacks partitions come and go within `consume` only: what was consumed is still owned when it is done.
        self._watchdog = Watchdog("tests.support.pipeline_worker")
        self._consumer.subscribe([source], on_assign=_moved, on_revoke=_moved, on_lost=_moved)

    def run(self) -> None:
        """Until it must be made anew: raises Restart."""
        while True:
            records = self._consumer.consume(BATCH, 0.2)
            for record in records:
                error = record.error()
                if error is not None and not error.retriable():
                    raise Restart(error)
            wanted = [record for record in records if record.error() is None]
            if wanted:
                with self._watchdog:
                    self._handle(wanted)

    def _handle(self, records: list[Any]) -> None:
        try:
            self._producer.begin_transaction()
            for record in records:
                for target in self._targets:
                    self._producer.produce(target, record.value(), record.key(), partition=record.partition())
            self._producer.send_offsets_to_transaction(
                _positions(records), self._consumer.consumer_group_metadata(), TIMEOUT_S
            )
            if self._chance.random() < ABORTED_SHARE:
                self._producer.flush(TIMEOUT_S)
                self._abort()
            else:
                self._commit()
        except confluent_kafka.KafkaException as failure:
            if not failure.args[0].txn_requires_abort():
                raise Restart(failure) from failure
            self._abort()

    def _commit(self) -> None:
        while True:
            try:
                self._producer.commit_transaction(TIMEOUT_S)
                self._tally.add()
                return
            except confluent_kafka.KafkaException as failure:
                if not failure.args[0].retriable():
                    raise

    def _abort(self) -> None:
        """And back to what is committed."""
        try:
            self._producer.abort_transaction(TIMEOUT_S)
            mine = self._consumer.assignment()
            for each in self._consumer.committed(mine, TIMEOUT_S) if mine else []:
                each.offset = each.offset if each.offset >= 0 else confluent_kafka.OFFSET_BEGINNING
                self._consumer.seek(each)
        except confluent_kafka.KafkaException as failure:
            raise Restart(failure) from failure

    def close(self) -> None:
        self._consumer.close()


def _moved(consumer: object, partitions: object) -> None:
    """Nothing to do."""


def _positions(records: list[Any]) -> list[confluent_kafka.TopicPartition]:
    following = {(record.topic(), record.partition()): record.offset() + 1 for record in records}
    return [confluent_kafka.TopicPartition(*where, offset) for where, offset in following.items()]


def main(bootstrap: str, protocol: str, name: str, source: str, targets: str) -> None:
    while True:
        try:
            worker = Worker(bootstrap, protocol, name, source, targets.split(","))
        except confluent_kafka.KafkaException as failure:
            print("not started:", failure, flush=True)
            continue
        try:
            worker.run()
        except Restart as reason:
            print("begins anew:", reason, flush=True)
            worker.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
