"""Groups in which the SDK's consumers and those of other clients share the work: either may lead, either may leave."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import aiokafka
import pytest
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from tests.support.group_members import Member
from tests.support.sdk import a_name, nothing_left
from tests.support.sdk_members import (
    CONSUMER,
    COOPERATIVE,
    EAGER,
    PARTITIONS,
    SdkMember,
    committed,
    fast_bootstrap,
    members_end,
    numbered_topic,
    send_numbers,
    until,
)

bootstrap = fast_bootstrap
ALL = set(range(PARTITIONS))
FAST_CLASSIC: dict[str, str | int] = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 100}
LIBRDKAFKA: dict[str, dict[str, str | int]] = {
    "range or roundrobin": FAST_CLASSIC,
    "roundrobin": {**FAST_CLASSIC, "partition.assignment.strategy": "roundrobin"},
    "cooperative-sticky": {**FAST_CLASSIC, "partition.assignment.strategy": "cooperative-sticky"},
    "consumer": {"group.protocol": "consumer"},
}
PAIRS = [
    pytest.param(EAGER, "range or roundrobin", id="eager"),
    pytest.param(EAGER, "roundrobin", id="roundrobin"),
    pytest.param(COOPERATIVE, "cooperative-sticky", id="cooperative"),
    pytest.param(CONSUMER, "consumer", id="consumer"),
    pytest.param(CONSUMER, "range or roundrobin", id="consumer with classic"),
    pytest.param(CONSUMER, "cooperative-sticky", id="consumer with cooperative"),
    pytest.param(EAGER, "consumer", id="classic with consumer"),
]


class AioKafkaMember:
    """aiokafka's consumer, with what the others' `Member`s have."""

    def __init__(self, bootstrap: str, topic: str, group: str, assignor: Any) -> None:
        self.seen: list[int] = []
        self.owned: set[int] = set()
        self._stop = asyncio.Event()
        self._consumer = aiokafka.AIOKafkaConsumer(
            topic,
            bootstrap_servers=bootstrap,
            group_id=group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            heartbeat_interval_ms=100,
            session_timeout_ms=6000,
            partition_assignment_strategy=[assignor],
        )
        self.task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        await self._consumer.start()
        try:
            while not self._stop.is_set():
                found = await self._consumer.getmany(timeout_ms=50)
                self.owned = {tp.partition for tp in self._consumer.assignment()}
                for records in found.values():
                    self.seen += [int(record.value) for record in records]
                if found:
                    with contextlib.suppress(aiokafka.errors.CommitFailedError, aiokafka.errors.IllegalStateError):
                        await self._consumer.commit()
        finally:
            await self._consumer.stop()

    async def leave(self) -> None:
        self._stop.set()
        await self.task


def is_shared(*owned: set[int]) -> bool:
    return sorted(partition for each in owned for partition in each) == sorted(ALL) and all(owned)


def seen_by(members: Sequence[Any]) -> set[int]:
    return {number for member in members for number in member.seen}


@pytest.fixture
async def member() -> AsyncIterator[Any]:
    async with nothing_left(), members_end() as make:
        yield make


@pytest.mark.parametrize("who_is_first", ["sdk", "librdkafka"])
@pytest.mark.parametrize(("options", "theirs"), PAIRS)
async def test_with_librdkafka(
    bootstrap: str, member: Any, options: dict[str, Any], theirs: str, who_is_first: str
) -> None:
    topic, group = await numbered_topic(bootstrap), a_name("group")

    def make(kind: str) -> Any:
        if kind == "sdk":
            return member(bootstrap, group, topic, **options)
        return Member(bootstrap, topic, group, **LIBRDKAFKA[theirs])

    async def leave(each: Any) -> None:
        await (each.leave() if isinstance(each, SdkMember) else asyncio.to_thread(each.leave))

    def partitions(each: Any) -> set[int]:
        return each.partitions if isinstance(each, SdkMember) else each.owned

    first = make(who_is_first)
    await until(lambda: partitions(first) == ALL)
    second = make("librdkafka" if who_is_first == "sdk" else "sdk")
    await until(lambda: is_shared(partitions(first), partitions(second)))
    await send_numbers(bootstrap, topic, range(300, 600))
    await until(lambda: seen_by([first, second]) == set(range(600)))
    await leave(first)
    await until(lambda: partitions(second) == ALL)
    await send_numbers(bootstrap, topic, range(600, 660))
    await until(lambda: seen_by([first, second]) == set(range(660)))
    await leave(second)
    assert await committed(bootstrap, group, topic) == [110] * PARTITIONS


@pytest.mark.parametrize("assignor", [RangePartitionAssignor, RoundRobinPartitionAssignor])
@pytest.mark.parametrize("who_is_first", ["sdk", "aiokafka"])
async def test_with_aiokafka(bootstrap: str, member: Any, assignor: Any, who_is_first: str) -> None:
    topic, group = await numbered_topic(bootstrap), a_name("group")
    members: dict[str, Any] = {}

    def join(kind: str) -> None:
        if kind == "sdk":
            members[kind] = member(bootstrap, group, topic, **EAGER)
        else:
            members[kind] = AioKafkaMember(bootstrap, topic, group, assignor)

    join(who_is_first)
    await until(lambda: seen_by(list(members.values())) == set(range(300)))
    join("aiokafka" if who_is_first == "sdk" else "sdk")
    await until(lambda: len(members) == 2 and is_shared(members["sdk"].partitions, members["aiokafka"].owned))
    await send_numbers(bootstrap, topic, range(300, 600))
    await until(lambda: seen_by(list(members.values())) == set(range(600)))
    for each in members.values():
        await each.leave()
