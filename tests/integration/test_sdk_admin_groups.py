"""The admin of groups: members of both protocols, positions and lag; moved and deleted only while nobody consumes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from tests.support.broker_process import BrokerProcess, running_broker
from tests.support.group_members import PARTITIONS, RECORDS, Member, filled_topic, until
from tests.support.sdk import TIME_LIMIT_S, a_name, nothing_left

from pybroker import Admin, TopicPartition
from pybroker.errors import NotFound, Rejected, TooLarge
from pybroker.group_info import CommittedOffset
from pybroker_protocol.errors import ErrorCode

SETTINGS = {
    "group.consumer.min.heartbeat.interval.ms": "100",
    "group.consumer.heartbeat.interval.ms": "100",
    "group.initial.rebalance.delay.ms": "0",
}
PER_PARTITION = RECORDS // PARTITIONS


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    with running_broker(tmp_path_factory.mktemp("admin-groups") / "data", SETTINGS) as started:
        yield started


@pytest.fixture(scope="module")
def topic(broker: BrokerProcess) -> str:
    return filled_topic(broker.bootstrap)


@pytest.fixture
async def admin(broker: BrokerProcess) -> AsyncIterator[Admin]:
    async with asyncio.timeout(TIME_LIMIT_S), nothing_left(), Admin(broker.bootstrap) as admin:
        yield admin


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
async def test_a_group_is_described_whichever_protocol_its_members_speak(
    broker: BrokerProcess, topic: str, admin: Admin, protocol: str
) -> None:
    group = a_name("group")
    settings = {"group.protocol": protocol, "client.id": "reader", "group.instance.id": "till-1"}
    member = await asyncio.to_thread(Member, broker.bootstrap, topic, group, **settings)
    await asyncio.to_thread(until, lambda: len(member.seen) == RECORDS, [member])
    info = await admin.group(group)
    assert (info.name, info.kind, info.state, info.protocol_type) == (group, protocol, "Stable", "consumer")
    assert info.assignor in ("range", "uniform")
    assert info.coordinator == (await admin.cluster()).brokers[0].node_id
    only = info.members[0]
    assert (only.instance_id, only.client_id, only.host) == ("till-1", "reader", "127.0.0.1")
    assert only.topics == (topic,)
    assert only.assigned == tuple(TopicPartition(topic, index) for index in range(PARTITIONS))
    assert info.owners[TopicPartition(topic, 3)] is only
    if protocol == "consumer":
        assert only.target == only.assigned
        assert (info.epoch, info.assignment_epoch, only.epoch) == (info.epoch, info.epoch, info.epoch)
        assert info.epoch > 0
    listed = {each.name: each for each in await admin.groups(states=["Stable"], kinds=[protocol])}
    assert (listed[group].kind, listed[group].coordinator) == (protocol, info.coordinator)
    assert group not in {each.name for each in await admin.groups(states=["Empty"])}
    lags = await admin.group_lag(group)
    assert {tp.partition: lag.lag for tp, lag in lags.items()} == dict.fromkeys(range(PARTITIONS), 0)
    assert lags[TopicPartition(topic, 0)].end == PER_PARTITION
    assert lags[TopicPartition(topic, 0)].member == only
    for change in (
        admin.alter_group_offsets(group, {(topic, 0): 1}),
        admin.delete_group(group),
        admin.delete_group_offsets(group, [(topic, 0)]),
    ):
        with pytest.raises(Rejected):
            await change
    assert (await admin.group_offsets(group))[TopicPartition(topic, 0)].offset == PER_PARTITION
    await asyncio.to_thread(member.leave)


async def test_positions_are_moved_and_the_group_goes_on_from_there(
    broker: BrokerProcess, topic: str, admin: Admin
) -> None:
    group = a_name("group")
    positions = {(topic, index): 10 * index for index in range(PARTITIONS)}
    await admin.alter_group_offsets(group, positions)
    await admin.alter_group_offsets(group, {(topic, 5): CommittedOffset(49, 0, "by hand")})
    found = await admin.group_offsets(group)
    assert [found[TopicPartition(topic, index)].offset for index in range(PARTITIONS)] == [0, 10, 20, 30, 40, 49]
    assert found[TopicPartition(topic, 5)] == CommittedOffset(49, 0, "by hand")
    assert {tp.partition: lag.lag for tp, lag in (await admin.group_lag(group)).items()} == {
        0: 50, 1: 40, 2: 30, 3: 20, 4: 10, 5: 1,
    }  # fmt: skip
    member = await asyncio.to_thread(Member, broker.bootstrap, topic, group)
    await asyncio.to_thread(until, lambda: len(member.seen) == 151, [member])
    await asyncio.to_thread(member.leave)
    assert await admin.seek_group(group, -2, [(topic, 0), (topic, 1)]) == {
        TopicPartition(topic, 0): 48,
        TopicPartition(topic, 1): 48,
    }
    assert (await admin.group_offsets(group))[TopicPartition(topic, 2)].offset == PER_PARTITION
    assert set((await admin.seek_group(group, "earliest")).values()) == {0}


async def test_offsets_and_groups_are_deleted(topic: str, admin: Admin) -> None:
    group = a_name("group")
    await admin.alter_group_offsets(group, {(topic, 0): 1, (topic, 1): 2})
    await admin.delete_group_offsets(group, [(topic, 0)])
    assert list(await admin.group_offsets(group)) == [TopicPartition(topic, 1)]
    info = await admin.group(group)
    assert (info.state, info.members, info.kind) == ("Empty", (), "classic")
    assert await admin.delete_group(group)
    assert await admin.group_offsets(group) == {}
    assert not await admin.delete_group(group, missing_ok=True)


async def test_what_is_not_there_or_cannot_be_is_told(topic: str, admin: Admin) -> None:
    group = a_name("group")
    for missing in (admin.group(group), admin.group_lag(group), admin.delete_group(group)):
        with pytest.raises(NotFound, match=f"there is no group {group}"):
            await missing
    assert await admin.group_offsets(group) == {}
    with pytest.raises(NotFound):
        await admin.delete_group_offsets(group, [(topic, 0)])
    with pytest.raises(NotFound, match=f"{topic}-99"):
        await admin.seek_group(group, "earliest", [(topic, 99)])
    with pytest.raises(ValueError, match="not below zero"):
        await admin.alter_group_offsets(group, {(topic, 0): -1})
    with pytest.raises(TooLarge) as caught:
        await admin.alter_group_offsets(group, {(topic, 0): CommittedOffset(1, -1, "x" * 5_000)})
    assert caught.value.code is ErrorCode.OFFSET_METADATA_TOO_LARGE
    await admin.alter_group_offsets(group, {})
    assert await admin.seek_group(group, "latest") == {}


async def test_a_groups_own_settings(broker: BrokerProcess, topic: str, admin: Admin) -> None:
    group = a_name("group")
    usual = await admin.group_configs(group)
    assert usual["consumer.session.timeout.ms"].value == "45000"
    assert usual["consumer.heartbeat.interval.ms"].source == "broker file"
    await admin.alter_group_configs(
        group, {"consumer.session.timeout.ms": "50000", "consumer.heartbeat.interval.ms": "200"}
    )
    changed = await admin.group_configs(group)
    assert (changed["consumer.session.timeout.ms"].value, changed["consumer.session.timeout.ms"].source) == (
        "50000",
        "group",
    )
    member = await asyncio.to_thread(Member, broker.bootstrap, topic, group, **{"group.protocol": "consumer"})
    await asyncio.to_thread(until, lambda: len(member.owned) == PARTITIONS, [member])
    await asyncio.to_thread(member.leave)
    with pytest.raises(Rejected, match=r"consumer\.session\.timeout\.ms") as caught:
        await admin.alter_group_configs(group, {"consumer.session.timeout.ms": "1"})
    assert caught.value.code is ErrorCode.INVALID_CONFIG
    await admin.alter_group_configs(group, {"consumer.session.timeout.ms": None})
    assert (await admin.group_configs(group))["consumer.session.timeout.ms"] == usual["consumer.session.timeout.ms"]


async def test_lag_of_partitions_without_a_position_or_without_a_topic(broker: BrokerProcess, admin: Admin) -> None:
    kept, gone, group = a_name(), a_name(), a_name("group")
    for name in (kept, gone):
        await admin.create_topic(name)
    await admin.alter_group_offsets(group, {(kept, 0): 0, (gone, 0): 0})
    await admin.delete_topic(gone)
    lags = await admin.group_lag(group)
    assert lags[TopicPartition(kept, 0)].lag == 0
    assert all(lag.end is None and lag.lag is None for tp, lag in lags.items() if tp.topic == gone)
