"""Members of a group, the SDK's consumers in processes of their own, killed with -9 under load, again and again.

Every record is handled at least once, no partition has two owners at a time, committed offsets never go back, and in
the end they are where the records are. PYBROKER_TEST_MEMBER_KILLS says how many kills.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.support.broker_process import ROOT, running_broker
from tests.support.sdk import a_name, new_topic
from tests.support.sdk_members import CONSUMER, COOPERATIVE, EAGER, FAST_GROUPS, PARTITIONS, committed

from pybroker import Message, Producer

pytestmark = pytest.mark.campaign

KILLS = int(os.environ.get("PYBROKER_TEST_MEMBER_KILLS", "2"))
MEMBERS = 3
TIME_LIMIT_S = 60


class MemberProcess:
    def __init__(self, file: Path, *arguments: str) -> None:
        self.file = file
        self.ended_at: float | None = None
        path = os.pathsep.join(str(ROOT / name) for name in ("", "protocol", "client"))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.sdk_member_process", *arguments[:3], str(file), *arguments[3:]],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path},
        )

    def end(self, number: signal.Signals) -> int:
        self._process.send_signal(number)
        code = self._process.wait(30)
        self.ended_at = time.monotonic()
        return code

    def close(self) -> None:
        if self.ended_at is None:
            self._process.kill()
            self._process.wait()

    def lines(self) -> list[list[Any]]:
        """What it has written; the last line may have been cut by the kill."""
        if not self.file.exists():
            return []
        return [json.loads(line) for line in self.file.read_text().splitlines(keepends=True) if line.endswith("\n")]

    def handled(self) -> set[int]:
        return {line[4] for line in self.lines() if line[1] == "handled"}

    def ownership(self) -> Iterator[tuple[int, float, float]]:
        """(partition, since, until)."""
        since: dict[int, float] = {}
        for at, kind, *rest in self.lines():
            if kind == "assigned":
                since |= dict.fromkeys(rest[0], at)
            elif kind in ("revoked", "lost"):
                for partition in rest[0]:
                    yield partition, since.pop(partition), at
        assert self.ended_at is not None
        for partition, start in since.items():
            yield partition, start, self.ended_at


class Watch:
    """Produces numbers and looks at the committed offsets, until told to stop."""

    def __init__(self, bootstrap: str, topic: str, group: str) -> None:
        self.count = 0
        self.commits: list[list[int]] = []
        self._where = bootstrap, topic, group
        self._stop = asyncio.Event()

    async def produce(self) -> None:
        bootstrap, topic, _ = self._where
        async with Producer(bootstrap) as producer:
            while not self._stop.is_set():
                numbers = range(self.count, self.count + 30)
                await producer.send_many(topic, [Message(b"%d" % n, partition=n % PARTITIONS) for n in numbers])
                self.count += 30
                await asyncio.sleep(0.02)

    async def look(self) -> None:
        bootstrap, topic, group = self._where
        while not self._stop.is_set():
            self.commits.append(await committed(bootstrap, group, topic))
            await asyncio.sleep(0.1)

    def stop(self) -> None:
        self._stop.set()


@pytest.mark.parametrize(
    "options",
    [{**CONSUMER, "stream": True}, EAGER, COOPERATIVE],
    ids=["consumer, as a stream", "eager", "cooperative"],
)
async def test_members_are_killed_under_load(tmp_path: Path, options: dict[str, Any]) -> None:
    with running_broker(tmp_path / "data", FAST_GROUPS) as broker:
        topic, group = await new_topic(broker.bootstrap, PARTITIONS), a_name("group")
        members: list[MemberProcess] = []

        def start() -> MemberProcess:
            file = tmp_path / f"member-{len(members)}"
            members.append(MemberProcess(file, broker.bootstrap, topic, group, json.dumps(options)))
            return members[-1]

        async def until_handled(wanted: int) -> None:
            async with asyncio.timeout(TIME_LIMIT_S):
                while len(set().union(*(member.handled() for member in members))) < wanted:
                    await asyncio.sleep(0.1)

        watch = Watch(broker.bootstrap, topic, group)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(watch.produce())
                tasks.create_task(watch.look())
                alive = [start() for _ in range(MEMBERS)]
                await until_handled(100)
                for _ in range(KILLS):
                    victim = alive.pop(random.randrange(len(alive)))
                    await asyncio.to_thread(victim.end, signal.SIGKILL)
                    alive.append(start())
                    await until_handled(watch.count)
                    await asyncio.sleep(random.random())
                watch.stop()
            await until_handled(watch.count)
            async with asyncio.timeout(TIME_LIMIT_S):
                while not all(member.lines() for member in alive):
                    await asyncio.sleep(0.1)
            for member in alive:
                assert await asyncio.to_thread(member.end, signal.SIGTERM) == 0
            check(members, watch, await committed(broker.bootstrap, group, topic))
        finally:
            for member in members:
                member.close()


def check(members: list[MemberProcess], watch: Watch, at_the_end: list[int]) -> None:
    assert set().union(*(member.handled() for member in members)) == set(range(watch.count))
    assert at_the_end == [watch.count // PARTITIONS] * PARTITIONS
    for before, after in pairwise([*watch.commits, at_the_end]):
        assert all(old <= new for old, new in zip(before, after, strict=True)), (before, after)
    for partition in range(PARTITIONS):
        times = sorted(
            (since, until) for member in members for which, since, until in member.ownership() if which == partition
        )
        assert times
        for (_, until), (since, _) in pairwise(times):
            assert until <= since, f"partition {partition} has two owners: {times}"
