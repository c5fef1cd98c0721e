"""Consumer groups of the classic protocol with real clients: they share the work, come and go, and lose no offset."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator

import aiokafka
import confluent_kafka
import confluent_kafka.admin
import kafka
import pytest
from tests.support.broker_process import BrokerProcess, running_broker
from tests.support.group_members import (
    PARTITIONS,
    RECORDS,
    Member,
    all_own_some,
    committed_offsets,
    filled_topic,
    until,
)
from tests.support.sdk import a_name

QUICK: dict[str, str | int] = {"session.timeout.ms": 6_000, "heartbeat.interval.ms": 200}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    settings = {"group.initial.rebalance.delay.ms": "0"}
    with running_broker(tmp_path_factory.mktemp("groups") / "data", settings) as started:
        yield started


@pytest.fixture
def topic(broker: BrokerProcess) -> str:
    return filled_topic(broker.bootstrap)


@pytest.mark.parametrize("strategy", ["range", "roundrobin", "cooperative-sticky"])
def test_members_share_the_partitions_and_take_over_from_each_other(
    broker: BrokerProcess, topic: str, strategy: str
) -> None:
    group = a_name("group")
    settings = {**QUICK, "partition.assignment.strategy": strategy}
    members = [Member(broker.bootstrap, topic, group, **settings)]
    until(lambda: len(members[0].owned) == PARTITIONS, members)
    members += [Member(broker.bootstrap, topic, group, **settings) for _ in range(2)]
    until(lambda: all_own_some(members), members)
    until(lambda: {n for m in members for n in m.seen} == set(range(RECORDS)), members)
    members[0].leave()
    rest = members[1:]
    until(lambda: sorted(p for m in rest for p in m.owned) == list(range(PARTITIONS)), rest)
    for member in rest:
        member.leave()
    again = Member(broker.bootstrap, topic, group, **settings)
    until(lambda: len(again.owned) == PARTITIONS, [again])
    again.leave()
    assert again.seen == []
    assert committed_offsets(broker.bootstrap, topic, group) == [RECORDS // PARTITIONS] * PARTITIONS


def test_a_static_member_returns_without_a_rebalance(broker: BrokerProcess, topic: str) -> None:
    group = a_name("group")
    stays = Member(broker.bootstrap, topic, group, **QUICK, **{"group.instance.id": "one"})
    goes = Member(broker.bootstrap, topic, group, **QUICK, **{"group.instance.id": "two"})
    both = [stays, goes]
    until(lambda: all_own_some(both), both)
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": broker.bootstrap})
    kept, given = set(stays.owned), set(goes.owned)
    goes.leave()
    returned = Member(broker.bootstrap, topic, group, **QUICK, **{"group.instance.id": "two"})
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
    member = Member(broker.bootstrap, topic, group, **QUICK)
    until(lambda: len(member.seen) == RECORDS, [member])
    broker.kill()
    broker.start()
    late = Member(broker.bootstrap, topic, group, **QUICK)
    both = [member, late]
    until(lambda: all_own_some(both), both)
    assert late.seen == []
    assert len(member.seen) == RECORDS
    member.leave()
    late.leave()
