"""Consumer groups of the classic protocol with real clients: they share the work, come and go, and lose no offset."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import aiokafka
import confluent_kafka
import confluent_kafka.admin
import kafka
import pytest
from tests.support.broker_process import BrokerProcess, running_broker
from tests.support.sdk import a_name

PARTITIONS = 6
RECORDS = 300


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    settings = {"group.initial.rebalance.delay.ms": "0"}
    with running_broker(tmp_path_factory.mktemp("groups") / "data", settings) as started:
        yield started


@pytest.fixture
def topic(broker: BrokerProcess) -> str:
    """Six partitions with fifty records each; the values are their numbers."""
    name = a_name("groups")
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": broker.bootstrap})
    admin.create_topics([confluent_kafka.admin.NewTopic(name, PARTITIONS, 1)])[name].result(30)
    producer = confluent_kafka.Producer({"bootstrap.servers": broker.bootstrap})
    for number in range(RECORDS):
        producer.produce(name, str(number).encode(), partition=number % PARTITIONS)
    assert producer.flush(30) == 0
    return name


class Member:
    """A confluent-kafka consumer in a thread of its own; `seen` are the values it processed and committed."""

    def __init__(self, broker: BrokerProcess, topic: str, group: str, **settings: str | int) -> None:
        self.seen: list[int] = []
        self.owned: set[int] = set()
        self.failure: BaseException | None = None
        self._stop = threading.Event()
        self._leaves = True
        self._consumer = confluent_kafka.Consumer(
            {
                "bootstrap.servers": broker.bootstrap,
                "group.id": group,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "session.timeout.ms": 6_000,
                "heartbeat.interval.ms": 200,
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


REBALANCED = {
    confluent_kafka.KafkaError.ILLEGAL_GENERATION,
    confluent_kafka.KafkaError.UNKNOWN_MEMBER_ID,
    confluent_kafka.KafkaError.REBALANCE_IN_PROGRESS,
}


def until(condition: Callable[[], bool], members: list[Member], timeout_s: float = 40) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        for member in members:
            assert member.failure is None, member.failure
        assert time.monotonic() < deadline, [(len(member.seen), sorted(member.owned)) for member in members]
        time.sleep(0.01)


def committed_offsets(broker: BrokerProcess, topic: str, group: str) -> list[int]:
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": broker.bootstrap})
    wanted = confluent_kafka.ConsumerGroupTopicPartitions(
        group, [confluent_kafka.TopicPartition(topic, p) for p in range(PARTITIONS)]
    )
    found = admin.list_consumer_group_offsets([wanted])[group].result(10)
    return [each.offset for each in found.topic_partitions]


def all_own_some(members: list[Member]) -> bool:
    """Every partition has one owner, and nobody is idle."""
    return sorted(p for m in members for p in m.owned) == list(range(PARTITIONS)) and all(m.owned for m in members)


@pytest.mark.parametrize("strategy", ["range", "roundrobin", "cooperative-sticky"])
def test_members_share_the_partitions_and_take_over_from_each_other(
    broker: BrokerProcess, topic: str, strategy: str
) -> None:
    group = a_name("group")
    settings = {"partition.assignment.strategy": strategy}
    members = [Member(broker, topic, group, **settings)]
    until(lambda: len(members[0].owned) == PARTITIONS, members)
    members += [Member(broker, topic, group, **settings) for _ in range(2)]
    until(lambda: all_own_some(members), members)
    until(lambda: {n for m in members for n in m.seen} == set(range(RECORDS)), members)
    members[0].leave()
    rest = members[1:]
    until(lambda: sorted(p for m in rest for p in m.owned) == list(range(PARTITIONS)), rest)
    for member in rest:
        member.leave()
    again = Member(broker, topic, group, **settings)
    until(lambda: len(again.owned) == PARTITIONS, [again])
    again.leave()
    assert again.seen == []
    assert committed_offsets(broker, topic, group) == [RECORDS // PARTITIONS] * PARTITIONS


def test_a_static_member_returns_without_a_rebalance(broker: BrokerProcess, topic: str) -> None:
    group = a_name("group")
    stays = Member(broker, topic, group, **{"group.instance.id": "one"})
    goes = Member(broker, topic, group, **{"group.instance.id": "two"})
    both = [stays, goes]
    until(lambda: all_own_some(both), both)
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": broker.bootstrap})
    kept, given = set(stays.owned), set(goes.owned)
    goes.leave()
    returned = Member(broker, topic, group, **{"group.instance.id": "two"})
    until(lambda: returned.owned == given, [stays, returned])
    assert stays.owned == kept
    described = admin.describe_consumer_groups([group])[group].result(10)
    assert described.state == confluent_kafka.ConsumerGroupState.STABLE
    assert {member.group_instance_id for member in described.members} == {"one", "two"}
    stays.leave()
    returned.leave()


async def _consume_with_aiokafka(bootstrap: str, topic: str, group: str, counts: Counter[int], want: int) -> None:
    consumer = aiokafka.AIOKafkaConsumer(
        topic,
        bootstrap_servers=bootstrap,
        group_id=group,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        heartbeat_interval_ms=200,
        session_timeout_ms=6_000,
    )
    await consumer.start()
    try:
        while len(counts) < want:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                counts.update(int(record.value) for record in records)
            await consumer.commit()
    finally:
        await consumer.stop()


async def test_aiokafka_members_share_the_partitions(broker: BrokerProcess, topic: str) -> None:
    counts: Counter[int] = Counter()
    group = a_name("group")
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        for _ in range(2):
            tasks.create_task(_consume_with_aiokafka(broker.bootstrap, topic, group, counts, RECORDS))
    assert set(counts) == set(range(RECORDS))


def test_kafka_python_continues_where_it_left_off(broker: BrokerProcess, topic: str) -> None:
    group = a_name("group")

    def consume(count: int) -> list[int]:
        consumer = kafka.KafkaConsumer(
            topic,
            bootstrap_servers=broker.bootstrap,
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            max_poll_records=10,
            consumer_timeout_ms=20_000,
        )
        seen: list[int] = []
        while len(seen) < count:
            for records in consumer.poll(timeout_ms=500).values():
                seen += [int(record.value) for record in records]
                consumer.commit()
        consumer.close()
        return seen

    first = consume(RECORDS // 2)
    second = consume(RECORDS - len(first))
    assert sorted(first + second) == list(range(RECORDS))


def test_offsets_and_groups_survive_a_kill(broker: BrokerProcess, topic: str) -> None:
    group = a_name("group")
    member = Member(broker, topic, group)
    until(lambda: len(member.seen) == RECORDS, [member])
    broker.kill()
    broker.start()
    late = Member(broker, topic, group)
    both = [member, late]
    until(lambda: all_own_some(both), both)
    assert late.seen == []
    assert len(member.seen) == RECORDS
    member.leave()
    late.leave()
