"""Commits and memberships through kill -9 of the broker: what was acknowledged is there, and nothing goes back.

Committers store ever larger offsets for groups of their own while members of another group keep joining and leaving, so
that every kill falls into commits and rebalances alike.
"""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import confluent_kafka
import confluent_kafka.admin
from tests.support.broker_process import BrokerProcess
from tests.support.group_members import PARTITIONS, Member, all_own_some, filled_topic, until

KILLS = 50
COMMITTERS = 3
SETTINGS = {"group.initial.rebalance.delay.ms": "0", "offsets.topic.num.partitions": "8"}
QUICK: dict[str, str | int] = {
    "session.timeout.ms": 6_000,
    "heartbeat.interval.ms": 100,
    "reconnect.backoff.max.ms": 100,
}


class Committer:
    """Commits 1, 2, 3, ... for partition 0; `acked` is the last that was acknowledged, `tried` the last sent."""

    def __init__(self, bootstrap: str, topic: str, group: str) -> None:
        self.group = group
        self.acked = self.tried = 0
        self._topic = topic
        self._stop = threading.Event()
        self._consumer = confluent_kafka.Consumer(
            {"bootstrap.servers": bootstrap, "group.id": group, "enable.auto.commit": False, **QUICK}
        )
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            self.tried += 1
            wanted = confluent_kafka.TopicPartition(self._topic, 0, self.tried)
            try:
                [answer] = self._consumer.commit(offsets=[wanted], asynchronous=False)
            except confluent_kafka.KafkaException:
                continue  # not acknowledged: the next one is larger
            if answer.error is None:
                self.acked = answer.offset

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        self._consumer.close()


class Restless:
    """Joins the group, waits until it owns something, leaves, and begins again."""

    def __init__(self, bootstrap: str, topic: str, group: str) -> None:
        self.rounds = 0
        self._stop = threading.Event()
        self._arguments = (bootstrap, topic, group)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        bootstrap, topic, group = self._arguments
        while not self._stop.is_set():
            consumer = confluent_kafka.Consumer({"bootstrap.servers": bootstrap, "group.id": group, **QUICK})
            consumer.subscribe([topic])
            while not consumer.assignment() and not self._stop.is_set():
                consumer.poll(0.02)
            consumer.close()
            self.rounds += 1

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()


def _run_for_a_while(committers: list[Committer], chance: random.Random) -> None:
    """Until everybody has made progress since the last kill, then a random moment more."""
    before = [committer.acked for committer in committers]
    deadline = time.monotonic() + 30
    while any(committer.acked < known + 5 for committer, known in zip(committers, before, strict=True)):
        assert time.monotonic() < deadline, "commits stand still after a restart"
        time.sleep(0.005)
    time.sleep(chance.uniform(0, 0.1))


def test_fifty_kills_in_commits_and_rebalances_lose_no_offset(tmp_path: Path) -> None:
    chance = random.Random(848)
    broker = BrokerProcess(tmp_path / "data", settings=SETTINGS)
    broker.start()
    topic = filled_topic(broker.bootstrap)
    committers = [Committer(broker.bootstrap, topic, f"committer-{number}") for number in range(COMMITTERS)]
    restless = Restless(broker.bootstrap, topic, "restless")
    steady = Member(broker.bootstrap, topic, "restless", **QUICK)
    try:
        for _ in range(KILLS):
            _run_for_a_while(committers, chance)
            broker.kill()
            broker.start()
    finally:
        for committer in committers:
            committer.stop()
        restless.stop()
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": broker.bootstrap})
    for committer in committers:
        wanted = confluent_kafka.ConsumerGroupTopicPartitions(
            committer.group, [confluent_kafka.TopicPartition(topic, 0)]
        )
        [found] = admin.list_consumer_group_offsets([wanted])[committer.group].result(10).topic_partitions
        assert committer.acked <= found.offset <= committer.tried
        assert committer.acked >= 5 * KILLS
    until(lambda: all_own_some([steady]) and len(steady.owned) == PARTITIONS, [steady])
    steady.leave()
    broker.stop()
