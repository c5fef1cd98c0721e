"""Members of consumer groups that are the SDK's consumers, each in a task of its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.support.broker_process import running_broker
from tests.support.sdk import TIME_LIMIT_S, new_topic

from pybroker import (
    Assigned,
    Client,
    Consumer,
    GroupEvent,
    GroupMetadata,
    Lost,
    Message,
    Producer,
    Revoked,
    TopicPartition,
)
from pybroker.group.committed import CommittedOffsets
from pybroker.group.coordinator import Coordinator

PARTITIONS = 6
FAST_GROUPS = {
    "group.initial.rebalance.delay.ms": "0",
    "group.consumer.min.heartbeat.interval.ms": "100",
    "group.consumer.heartbeat.interval.ms": "100",
    "group.consumer.min.session.timeout.ms": "1000",
    "group.consumer.session.timeout.ms": "2500",
    "group.consumer.assignment.interval.ms": "100",
    "group.min.session.timeout.ms": "1000",
}
"""Settings of a broker whose groups settle at once."""


@pytest.fixture(scope="module")
def fast_bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A broker of the module's own with these settings, or the one that PYBROKER_TEST_BOOTSTRAP names."""
    given = os.environ.get("PYBROKER_TEST_BOOTSTRAP")
    if given:
        yield given
        return
    with running_broker(tmp_path_factory.mktemp("groups") / "data", FAST_GROUPS) as broker:
        yield broker.bootstrap


CONSUMER: dict[str, Any] = {"group_protocol": "consumer"}
EAGER: dict[str, Any] = {"group_protocol": "classic", "session_timeout": 2.5, "heartbeat_interval": 0.1}
COOPERATIVE: dict[str, Any] = {**EAGER, "assignors": ("cooperative-sticky",)}
PROTOCOLS = {"consumer": CONSUMER, "eager": EAGER, "cooperative": COOPERATIVE}


class SdkMember:
    """`seen` are the numbers in the records it processed, `owned` what it was told it has."""

    def __init__(self, bootstrap: str, group: str, *topics: Any, **options: Any) -> None:
        self.seen: list[int] = []
        self.owned: set[TopicPartition] = set()
        self.events: list[GroupEvent] = []
        self.handle: Callable[[int], Any] | None = None
        self.consumer = Consumer(*topics, group=group, bootstrap=bootstrap, on_event=self._on_event, **options)
        self._stop = asyncio.Event()
        self.task = asyncio.ensure_future(self._run())

    def _on_event(self, event: GroupEvent) -> None:
        self.events.append(event)
        if isinstance(event, Assigned):
            assert not self.owned & set(event.partitions), "assigned twice"
            self.owned |= set(event.partitions)
        elif isinstance(event, Revoked | Lost):
            self.owned -= set(event.partitions)

    async def _run(self) -> None:
        async with self.consumer:
            while not self._stop.is_set():
                for record in await self.consumer.poll(10, time_limit=0.05):
                    number = int(record.value)
                    if self.handle is not None:
                        await self.handle(number)
                    self.seen.append(number)

    @property
    def joined(self) -> bool:
        """Whether the group knows it, or is asked to."""
        member = self.consumer._member
        return member is not None and bool(member.metadata.member_id)

    @property
    def partitions(self) -> set[int]:
        return {tp.partition for tp in self.owned}

    async def leave(self) -> None:
        self._stop.set()
        await self.task

    async def vanish(self) -> None:
        """End without a word to the group."""
        self.task.cancel()
        await asyncio.wait([self.task])


@asynccontextmanager
async def members_end() -> AsyncIterator[Callable[..., SdkMember]]:
    """Makes members; those that still run at the end leave."""
    made: list[SdkMember] = []

    def member(bootstrap: str, group: str, *topics: Any, **options: Any) -> SdkMember:
        made.append(SdkMember(bootstrap, group, *topics, **options))
        return made[-1]

    try:
        yield member
    finally:
        for each in made:
            if not each.task.done():
                await each.leave()


async def until(condition: Callable[[], bool], members: Iterable[SdkMember] = (), timeout_s: float = 40) -> None:
    """Wait for it, and fail as soon as a member does."""
    watched = list(members)
    deadline = asyncio.get_running_loop().time() + timeout_s
    while not condition():
        for member in watched:
            if member.task.done() and not member.task.cancelled():
                member.task.result()
        now = asyncio.get_running_loop().time()
        assert now < deadline, [(len(m.seen), sorted(m.owned), m.events[-3:]) for m in watched]
        await asyncio.sleep(0.01)


def shared_by(members: list[SdkMember]) -> bool:
    """Every partition has one owner, and nobody is idle."""
    return sorted(p for m in members for p in m.partitions) == list(range(PARTITIONS)) and all(m.owned for m in members)


async def send_numbers(bootstrap: str, topic: str, numbers: Iterable[int]) -> None:
    async with Producer(bootstrap) as producer:
        await producer.send_many(
            topic,
            [Message(b"%d" % number, key=b"%d" % (number % 10), partition=number % PARTITIONS) for number in numbers],
        )


async def numbered_topic(bootstrap: str, count: int = 300) -> str:
    """Six partitions over which so many numbers are spread."""
    topic = await new_topic(bootstrap, PARTITIONS)
    await send_numbers(bootstrap, topic, range(count))
    return topic


async def committed(bootstrap: str, group: str, topic: str) -> list[int]:
    """By partition; -1 where there is nothing."""
    async with Client(bootstrap) as client:
        client.track([topic])
        await client.topic(topic, time_limit=TIME_LIMIT_S)
        offsets = CommittedOffsets(
            client, Coordinator(client, group), lambda: GroupMetadata(group, -1, "", None), lambda tp: False
        )
        found = await offsets.fetch([TopicPartition(topic, p) for p in range(PARTITIONS)], time_limit=TIME_LIMIT_S)
        return [-1 if position is None else position.offset for _, position in sorted(found.items())]
