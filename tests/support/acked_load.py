"""A producer that remembers what was acknowledged, and the check that nothing of it is lost, doubled or moved.

Values are `partition:sequence`, with sequences running without a gap per partition, so that a reader can tell loss from
duplication from reordering without asking the producer.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

FLUSH_S = 120


@dataclass
class AckedLoad:
    """One idempotent acks=all librdkafka producer in a thread, running until `stop`."""

    bootstrap: str
    topic: str
    partitions: int
    value_bytes: int = 100
    in_flight: int = 500
    acked: dict[int, dict[int, int]] = field(default_factory=lambda: defaultdict(dict))
    """partition -> sequence -> offset"""
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stopping = threading.Event()
        self._is_abandoned = False
        self._room = threading.Semaphore(self.in_flight)
        self._thread = threading.Thread(target=self._run, name="acked-load")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Sends no more, waits for every outstanding acknowledgement."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def abandon(self) -> None:
        """Ends it without waiting for what is outstanding; nothing is to be checked any more."""
        self._is_abandoned = True
        self.stop()

    @property
    def acked_count(self) -> int:
        return sum(len(by_sequence) for by_sequence in self.acked.values())

    def _run(self) -> None:
        producer = Producer(
            {
                "bootstrap.servers": self.bootstrap,
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 1,
                "message.timeout.ms": 120_000,
                "socket.timeout.ms": 10_000,
                "request.timeout.ms": 5_000,
                "reconnect.backoff.ms": 20,
                "reconnect.backoff.max.ms": 100,
                "retry.backoff.ms": 20,
                "log_level": 0,
            }
        )
        sequences = [0] * self.partitions
        partition = 0
        while not self._stopping.is_set():
            if not self._room.acquire(blocking=False):
                producer.poll(0.01)
                continue
            sequence = sequences[partition]
            sequences[partition] += 1
            value = f"{partition}:{sequence}".encode().ljust(self.value_bytes, b".")
            producer.produce(self.topic, value, partition=partition, on_delivery=self._delivered)
            producer.poll(0)
            partition = (partition + 1) % self.partitions
        deadline = time.monotonic() + FLUSH_S
        while (left := producer.flush(0.2)) and not self._is_abandoned and time.monotonic() < deadline:
            pass
        if left and self._is_abandoned:
            producer.purge()
            producer.flush(5)
        elif left:
            self.failures.append(f"{left} records were neither acknowledged nor refused after two minutes")

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        self._room.release()
        if error is not None:
            self.failures.append(str(error))
            return
        value = message.value()
        assert value is not None
        partition, sequence = (int(part) for part in value.rstrip(b".").split(b":"))
        offset = message.offset()
        assert offset is not None
        self.acked[partition][sequence] = offset


def read_back(bootstrap: str, topic: str, partitions: int) -> dict[int, list[tuple[int, int]]]:
    """Every record from the beginning to the end: partition -> [(offset, sequence)] in the order read."""
    consumer = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "read-back", "enable.auto.commit": False, "log_level": 0}
    )
    ends = {p: _end(consumer, TopicPartition(topic, p)) for p in range(partitions)}
    consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(partitions)])
    found: dict[int, list[tuple[int, int]]] = {p: [] for p in range(partitions)}
    while any(len(found[p]) == 0 or found[p][-1][0] + 1 < end for p, end in ends.items() if end > 0):
        messages = consumer.consume(10_000, timeout=10)
        assert messages, f"the reader stands still at { ({p: r[-1:] for p, r in found.items()}) }, ends are {ends}"
        for message in messages:
            if message.error() is not None:
                raise KafkaException(message.error())
            partition, sequence = (int(part) for part in message.value().rstrip(b".").split(b":"))
            assert partition == message.partition(), "a record stands in another partition than it was sent to"
            found[partition].append((message.offset(), sequence))
    consumer.close()
    return found


def _end(consumer: Consumer, partition: TopicPartition) -> int:
    """Asked again while the leader moves."""
    deadline = time.monotonic() + FLUSH_S
    while True:
        try:
            end: int = consumer.get_watermark_offsets(partition, timeout=30)[1]
        except KafkaException as error:
            if error.args[0].code() != KafkaError.NOT_LEADER_FOR_PARTITION or time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return end


def check(load: AckedLoad, found: dict[int, list[tuple[int, int]]]) -> None:
    """No acknowledged record lost or moved, none doubled, sequences and offsets without a gap."""
    assert not load.failures, load.failures[:5]
    for partition, records in found.items():
        offsets = [offset for offset, _ in records]
        sequences = [sequence for _, sequence in records]
        assert offsets == list(range(len(offsets))), f"offsets of partition {partition} have a gap"
        assert sequences == list(range(len(sequences))), f"partition {partition}: lost, doubled or reordered"
        by_sequence = {sequence: offset for offset, sequence in records}
        for sequence, offset in load.acked[partition].items():
            assert by_sequence.get(sequence) == offset, (
                f"record {partition}:{sequence} was acknowledged at offset {offset}, "
                f"read back at {by_sequence.get(sequence)}"
            )
