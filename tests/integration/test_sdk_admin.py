"""The SDK's admin against a broker process: every call answers for what it was asked, or says why not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.support.broker_process import BrokerProcess
from tests.support.sdk import TIME_LIMIT_S, a_name, new_topic, nothing_left

from pybroker import Admin, Client, Consumer, Message, Producer
from pybroker.admin import PartitionInfo
from pybroker.errors import AlreadyExists, Closed, NotFound, OffsetOutOfRange, Rejected, TimedOut
from pybroker_protocol.errors import ErrorCode

T0 = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
async def admin(bootstrap: str) -> AsyncIterator[Admin]:
    async with nothing_left(), Admin(bootstrap) as admin:
        yield admin


async def test_create_list_and_describe(admin: Admin) -> None:
    name = a_name()
    assert await admin.create_topic(name, partitions=3, configs={"retention.ms": "60000"})
    info = await admin.topic(name)
    assert (info.name, len(info.partitions), info.replication_factor, info.is_internal) == (name, 3, 1, False)
    broker = (await admin.cluster()).brokers[0].node_id
    first = info.partitions[0]
    assert first == PartitionInfo(0, broker, 0, (broker,), (broker,), ())
    assert info in await admin.topics()
    with pytest.raises(AlreadyExists, match=f"create topic {name}"):
        await admin.create_topic(name)
    assert not await admin.create_topic(name, exist_ok=True)


async def test_validate_only_changes_nothing(admin: Admin) -> None:
    name = a_name()
    assert await admin.create_topic(name, validate_only=True)
    with pytest.raises(NotFound):
        await admin.topic(name)


@pytest.mark.parametrize(
    ("name", "options", "code"),
    [
        ("a b", {}, ErrorCode.INVALID_TOPIC_EXCEPTION),
        ("", {}, ErrorCode.INVALID_TOPIC_EXCEPTION),
        ("t", {"partitions": 0}, ErrorCode.INVALID_PARTITIONS),
        ("t", {"replication": 99}, ErrorCode.INVALID_REPLICATION_FACTOR),
        ("t", {"configs": {"retention.ms": "soon"}}, ErrorCode.INVALID_CONFIG),
        ("t", {"configs": {"no.such.key": "1"}}, ErrorCode.INVALID_CONFIG),
    ],
)
async def test_what_cannot_be_created(admin: Admin, name: str, options: dict[str, Any], code: ErrorCode) -> None:
    with pytest.raises(Rejected, match=f"create topic {name}: ") as caught:
        await admin.create_topic(name, **options)
    assert caught.value.code is code


async def test_configurations(bootstrap: str, admin: Admin) -> None:
    topic = await new_topic(bootstrap)
    before = await admin.topic_configs(topic)
    assert before["cleanup.policy"].is_default
    assert before["retention.ms"].documentation
    await admin.alter_topic_configs(topic, {"cleanup.policy": "compact", "retention.ms": "5000"})
    await admin.alter_topic_configs(topic, {"retention.ms": None})
    after = await admin.topic_configs(topic)
    assert (after["cleanup.policy"].value, after["cleanup.policy"].source) == ("compact", "topic")
    assert after["retention.ms"] == before["retention.ms"]
    with pytest.raises(Rejected) as caught:
        await admin.alter_topic_configs(topic, {"segment.bytes": "-5"})
    assert caught.value.code is ErrorCode.INVALID_CONFIG
    assert "segment.bytes" in caught.value.message
    with pytest.raises(NotFound):
        await admin.topic_configs(a_name())
    with pytest.raises(NotFound):
        await admin.alter_topic_configs(a_name(), {"retention.ms": "1"})


async def test_the_cluster_and_its_brokers_configuration(admin: Admin, bootstrap: str) -> None:
    cluster = await admin.cluster()
    assert cluster.cluster_id
    assert cluster.controller_id in {broker.node_id for broker in cluster.brokers}
    assert bootstrap in {broker.address for broker in cluster.brokers}
    configs = await admin.broker_configs(cluster.brokers[0].node_id)
    assert configs["node.id"].is_read_only
    assert configs["log.dirs"].source == "broker file"


async def test_a_brokers_configuration_is_changed_while_it_runs(broker_process: BrokerProcess) -> None:
    async with Admin(broker_process.bootstrap) as admin:
        node = (await admin.cluster()).brokers[0].node_id
        await admin.alter_broker_configs(None, {"log.retention.ms": "7000000"})
        assert (await admin.broker_configs(node))["log.retention.ms"].value == "7000000"
        await admin.alter_broker_configs(node, {"log.retention.ms": "8000000"})
        entry = (await admin.broker_configs(node))["log.retention.ms"]
        assert (entry.value, entry.source) == ("8000000", "dynamic broker")
        await admin.alter_broker_configs(node, {"log.retention.ms": None})
        await admin.alter_broker_configs(None, {"log.retention.ms": None})
        assert "dynamic" not in (await admin.broker_configs(node))["log.retention.ms"].source
        with pytest.raises(Rejected):
            await admin.alter_broker_configs(node, {"log.dirs": "elsewhere"})


async def test_grow(bootstrap: str, admin: Admin) -> None:
    topic = await new_topic(bootstrap, 2)
    await admin.grow_topic(topic, 4)
    assert len((await admin.topic(topic)).partitions) == 4
    with pytest.raises(Rejected) as caught:
        await admin.grow_topic(topic, 3)
    assert caught.value.code is ErrorCode.INVALID_PARTITIONS
    with pytest.raises(NotFound):
        await admin.grow_topic(a_name(), 3)
    async with Producer(bootstrap) as producer:
        assert (await producer.send(topic, b"v", partition=3)).offset == 0


async def test_offsets_and_trim(bootstrap: str, admin: Admin) -> None:
    topic = await new_topic(bootstrap, 2)
    async with Producer(bootstrap) as producer:
        times = [T0 + timedelta(seconds=number) for number in range(10)]
        await producer.send_many(topic, [Message(b"v", partition=0, timestamp=time) for time in times])
    assert await admin.offsets(topic, "earliest") == {0: 0, 1: 0}
    assert await admin.offsets(topic, "latest") == {0: 10, 1: 0}
    assert await admin.offsets(topic, -3) == {0: 7, 1: 0}
    assert await admin.offsets(topic, 4, [0]) == {0: 4}
    assert await admin.offsets(topic, times[6]) == {0: 6, 1: 0}
    assert await admin.offsets(topic, times[6], [0]) == {0: 6}
    assert await admin.delete_records(topic, {0: 4}) == {0: 4}
    assert await admin.offsets(topic, "earliest") == {0: 4, 1: 0}
    assert await admin.offsets(topic, -99, [0]) == {0: 4}
    assert await admin.delete_records(topic, {0: 2}) == {0: 4}, "what is gone is gone"
    assert await admin.delete_records(topic, {0: -1, 1: -1}) == {0: 10, 1: 0}
    with pytest.raises(OffsetOutOfRange, match=f"delete records of {topic}-0"):
        await admin.delete_records(topic, {0: 11})
    for call in (admin.offsets(topic, "latest", [7]), admin.delete_records(topic, {7: 1})):
        with pytest.raises(NotFound, match=f"{topic}-7 does not exist"):
            await call
    with pytest.raises(NotFound, match="there is no topic"):
        await admin.offsets(a_name(), "latest")


async def test_delete(bootstrap: str, admin: Admin) -> None:
    topic = await new_topic(bootstrap)
    assert await admin.delete_topic(topic)
    assert topic not in {info.name for info in await admin.topics()}
    with pytest.raises(NotFound, match=f"there is no topic {topic}"):
        await admin.delete_topic(topic)
    assert not await admin.delete_topic(topic, missing_ok=True)
    with pytest.raises(NotFound, match=f"there is no topic {topic}"):
        await admin.topic(topic)


async def test_calls_outlive_a_restart(broker_process: BrokerProcess) -> None:
    async with asyncio.timeout(TIME_LIMIT_S), Admin(broker_process.bootstrap) as admin:
        await admin.create_topic("before")
        await asyncio.to_thread(broker_process.kill)
        async with asyncio.TaskGroup() as group:
            listing = group.create_task(admin.topic("before"))
            making = group.create_task(admin.create_topic("after"))
            group.create_task(asyncio.to_thread(broker_process.start))
        assert listing.result().name == "before"
        assert making.result()
        assert {info.name for info in await admin.topics()} == {"before", "after"}


async def test_a_broker_that_is_gone_is_told_within_the_time_given(broker_process: BrokerProcess) -> None:
    async with nothing_left(), Admin(broker_process.bootstrap, timeout=0.3) as admin:
        await asyncio.to_thread(broker_process.kill)
        with pytest.raises(TimedOut, match=f"create topic t: gave up after 0.3 s: .*{broker_process.bootstrap}"):
            await admin.create_topic("t")
        with pytest.raises(TimedOut, match=r"gave up after 0.3 s"):
            await admin.topics()


async def test_use_after_close_and_before_open(bootstrap: str) -> None:
    unopened = Admin(bootstrap)
    with pytest.raises(Closed, match="use it in `async with"):
        await unopened.topics()
    client = Client(bootstrap)
    for shared in (Admin(client=client), Producer(client), Consumer("t", client=client)):
        with pytest.raises(Closed, match="use it in `async with"):
            await shared.__aenter__()
    async with asyncio.timeout(TIME_LIMIT_S), nothing_left():
        async with Admin(bootstrap) as admin:
            await admin.close()
            await admin.close()
        for call in (admin.topics, admin.cluster, admin.topics, lambda: admin.create_topic("t")):
            with pytest.raises(Closed):
                await call()


async def test_admins_of_one_client_leave_it_open(bootstrap: str) -> None:
    async with nothing_left(), Client(bootstrap) as client:
        async with Admin(client=client) as one, Admin(client=client) as two:
            clusters = await asyncio.gather(one.cluster(), two.cluster())
        assert clusters[0] == clusters[1]
        async with Admin(client=client) as three:
            assert await three.cluster() == clusters[0]
