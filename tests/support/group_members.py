"""Members of consumer groups for tests: confluent-kafka consumers in threads, and what to wait for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import confluent_kafka
import confluent_kafka.admin
from tests.support.sdk import a_name

PARTITIONS = 6
RECORDS = 300

REBALANCED = {
    confluent_kafka.KafkaError.ILLEGAL_GENERATION,
    confluent_kafka.KafkaError.UNKNOWN_MEMBER_ID,
    confluent_kafka.KafkaError.REBALANCE_IN_PROGRESS,
}


def filled_topic(bootstrap: str) -> str:
    """Six partitions with fifty records each; the values are their numbers."""
    name = a_name("groups")
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([confluent_kafka.admin.NewTopic(name, PARTITIONS, 1)])[name].result(30)
    producer = confluent_kafka.Producer({"bootstrap.servers": bootstrap})
    for number in range(RECORDS):
        producer.produce(name, str(number).encode(), partition=number % PARTITIONS)
    assert producer.flush(30) == 0
    return name


class Member:
    """A confluent-kafka consumer in a thread of its own; `seen` are the values it processed and committed."""

    def __init__(self, bootstrap: str, topic: str, group: str, **settings: str | int) -> None:
        self.seen: list[int] = []
        self.owned: set[int] = set()
        self.failure: BaseException | None = None
        self._stop = threading.Event()
        self._leaves = True
        self._consumer = confluent_kafka.Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": group,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                **settings,
            }
        )
        self._consumer.subscribe([topic], on_assign=self._on_assign, on_revoke=self._on_revoke)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _on_assign(self, consumer: object, partitions: list[confluent_kafka.TopicPartition]) -> None:
        self.owned |= {each.partition for each in partitions}

    def _on_revoke(self, consumer: object, partitions: list[confluent_kafka.TopicPartition]) -> None:
        self.owned -= {each.partition for each in partitions}

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                message = self._consumer.poll(0.05)
                if message is None:
                    continue
                assert message.error() is None, message.error()
                self.seen.append(int(message.value()))
                try:
                    self._consumer.commit(message, asynchronous=False)
                except confluent_kafka.KafkaException as error:
                    # The partition went to another member meanwhile, which processes the record again.
                    if error.args[0].code() not in REBALANCED:
                        raise
            self._consumer.close()
        except BaseException as error:  # noqa: BLE001 - told to the test's own thread
            self.failure = error

    def leave(self) -> None:
        self._stop.set()
        self._thread.join(30)
        assert self.failure is None, self.failure


def until(condition: Callable[[], bool], members: list[Member], timeout_s: float = 40) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        for member in members:
            assert member.failure is None, member.failure
        assert time.monotonic() < deadline, [(len(member.seen), sorted(member.owned)) for member in members]
        time.sleep(0.01)


def committed_offsets(bootstrap: str, topic: str, group: str) -> list[int]:
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": bootstrap})
    wanted = confluent_kafka.ConsumerGroupTopicPartitions(
        group, [confluent_kafka.TopicPartition(topic, p) for p in range(PARTITIONS)]
    )
    found = admin.list_consumer_group_offsets([wanted])[group].result(10)
    return [each.offset for each in found.topic_partitions]


def all_own_some(members: list[Member]) -> bool:
    """Every partition has one owner, and nobody is idle."""
    return sorted(p for m in members for p in m.owned) == list(range(PARTITIONS)) and all(m.owned for m in members)
