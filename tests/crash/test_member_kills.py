"""Members of groups killed with kill -9 under load and started again, in five kinds of clients at once.

Every record is processed, no partition is owned twice at a time, and no committed offset goes back.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.broker_process import ROOT, BrokerProcess, running_broker
from tests.support.member_process import KINDS
from tests.support.sdk import a_name, new_topic
from tests.support.sdk_members import FAST_GROUPS

from pybroker import Admin, Client, Producer, TopicPartition
from pybroker.errors import NotFound

pytestmark = pytest.mark.campaign

KILLS = max(int(os.environ.get("PYBROKER_TEST_KILLS", "2")) // 2, 1)
MEMBERS = 2
PARTITIONS = 6
TIME_LIMIT_S = 120 + 10 * KILLS


class Crowd:
    """A group of one kind of client, with what its members have processed and what was seen of it."""

    def __init__(self, kind: str, bootstrap: str, topic: str, folder: Path) -> None:
        self.kind = kind
        self.group = a_name(kind)
        self._topic = topic
        self._bootstrap = bootstrap
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self._offsets: dict[TopicPartition, int] = {}
        self.looks = 0
        for number in range(MEMBERS):
            self._processes.append(self._start(number))

    def _start(self, number: int) -> subprocess.Popen[bytes]:
        path = self._folder / f"{self.kind}-{number}"
        arguments = [self.kind, self._bootstrap, self._topic, self.group, str(path)]
        with path.with_suffix(".log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.support.member_process", *arguments], cwd=ROOT, stdout=log, stderr=log
            )

    def kill_one(self, number: int) -> None:
        self._processes[number].kill()
        self._processes[number].wait()

    def bring_back(self, number: int) -> None:
        self._processes[number] = self._start(number)

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()

    @property
    def processed(self) -> list[int]:
        found = []
        for number in range(MEMBERS):
            path = self._folder / f"{self.kind}-{number}"
            if path.exists():
                found += [int(line) for line in path.read_bytes().splitlines()]
        return found

    def check_alive(self) -> None:
        for number, process in enumerate(self._processes):
            said = self._folder / f"{self.kind}-{number}.log"
            assert process.poll() is None, f"{self.kind} ended: {said.read_text(errors='replace')[-2000:]}"

    async def look(self, admin: Admin) -> None:
        try:
            info = await admin.group(self.group)
        except NotFound:
            return
        if info.kind == "consumer" or info.state == "Stable":
            owned = [tp for member in info.members for tp in member.assigned]
            assert len(owned) == len(set(owned)), f"{self.kind}: owned twice: {info}"
            self.looks += bool(owned)
        for tp, committed in (await admin.group_offsets(self.group)).items():
            before = self._offsets.get(tp, 0)
            assert committed.offset >= before, f"{self.kind}: {tp} went back from {before} to {committed.offset}"
            self._offsets[tp] = committed.offset

    @property
    def committed(self) -> int:
        return sum(self._offsets.values())


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    with running_broker(tmp_path / "data", {**FAST_GROUPS, "offsets.topic.num.partitions": "8"}) as started:
        yield started


class Load:
    """Numbered records, twenty at a time, until `over`."""

    def __init__(self, client: Client, topic: str) -> None:
        self.sent = 0
        self.over = asyncio.Event()
        self._client = client
        self._topic = topic

    async def run(self) -> None:
        async with Producer(client=self._client) as producer:
            await producer.prepare(self._topic)
            while not self.over.is_set():
                for number in range(self.sent, self.sent + 20):
                    producer.send_nowait(self._topic, b"%d" % number, partition=number % PARTITIONS)
                await producer.flush()
                self.sent += 20
                await asyncio.sleep(0.02)


async def look_until(crowds: list[Crowd], admin: Admin, is_over: Callable[[], bool], *, alive: bool = False) -> None:
    """Looks at every group again and again. With `alive` every process has to run."""
    while not is_over():
        for crowd in crowds:
            if alive:
                crowd.check_alive()
            await crowd.look(admin)
        await asyncio.sleep(0.1)


async def kill_and_bring_back(crowds: list[Crowd], admin: Admin, chance: random.Random) -> None:
    """One member of each group, for some looks; until each group has gone on with the new one."""
    victims = [(crowd, chance.randrange(MEMBERS)) for crowd in crowds]
    for crowd, number in victims:
        crowd.kill_one(number)
    looks = iter(range(chance.randrange(3, 12)))
    await look_until(crowds, admin, lambda: next(looks, None) is None)
    for crowd, number in victims:
        crowd.bring_back(number)
    done = {crowd.kind: len(crowd.processed) for crowd in crowds}
    await look_until(crowds, admin, lambda: all(len(each.processed) > done[each.kind] for each in crowds))


async def test_members_of_every_client_may_be_killed(broker: BrokerProcess, tmp_path: Path) -> None:
    topic = await new_topic(broker.bootstrap, PARTITIONS)
    chance = random.Random(5)
    crowds = [Crowd(kind, broker.bootstrap, topic, tmp_path) for kind in KINDS]
    try:
        async with (
            asyncio.timeout(TIME_LIMIT_S),
            Client(broker.bootstrap) as client,
            Admin(client=client) as admin,
            asyncio.TaskGroup() as tasks,
        ):
            load = Load(client, topic)
            tasks.create_task(load.run())
            await look_until(crowds, admin, lambda: all(crowd.processed for crowd in crowds), alive=True)
            for _ in range(KILLS):
                await kill_and_bring_back(crowds, admin, chance)
            load.over.set()
            await look_until(
                crowds,
                admin,
                lambda: all(
                    set(each.processed) >= set(range(load.sent)) and each.committed == load.sent for each in crowds
                ),
                alive=True,
            )
    finally:
        for crowd in crowds:
            crowd.close()
    assert load.sent > 0
    assert all(crowd.looks for crowd in crowds), "each was seen with its partitions"
