"""One measurement from beginning to end: topics, worker processes, a common start, the drain, the verdict.

Rules: everything is opened before the common start, which is a time of the clock that all processes share. Consumers
are let go on after the end until they have read all that was acknowledged, or nothing comes any more. What the broker
cost is the difference between the two ends of the measured time (of the reading, where only a backlog is read).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pybroker import Admin, KafkaError
from pybroker.errors import NotFound
from pybroker_bench.crew import Member, ask_all
from pybroker_bench.errors import BenchError
from pybroker_bench.meter import Usage, drop_from_page_cache, usage_of_all
from pybroker_bench.scenario import Scenario
from pybroker_bench.target import Target, admin_client, durability_of
from pybroker_bench.verify import Verdict, judge, total

START_AHEAD_S: Final = 0.3
QUIET_S: Final = 15.0
"""How long nothing may come before what has not come is lost."""
_DRAIN_POLL_S: Final = 0.25
_TOPIC_S: Final = 180.0
"""A broker that was just given thousands of partitions is slow to know of one more."""
_SECOND_NS: Final = 1_000_000_000

Progress = Callable[[Mapping[str, Any]], None]


@dataclass(slots=True)
class Outcome:
    """What the workers brought home, for the report to be made of."""

    scenario: Scenario
    target: Target
    window_s: float
    producers: list[Mapping[str, Any]] = field(default_factory=list)
    consumers: list[Mapping[str, Any]] = field(default_factory=list)
    verdict: Verdict = field(default_factory=lambda: Verdict(is_enabled=False))
    before: Usage | None = None
    after: Usage | None = None
    backlog_before: Usage | None = None
    backlog_after: Usage | None = None
    generator_cpu_s: float = 0.0
    generator_processes: int = 0
    unread: int = 0
    cold_files: int = 0
    filled: int = 0
    filled_s: float = 0.0
    killed_at_s: float | None = None
    first_ns: int = 0
    rss_bytes: list[int | None] = field(default_factory=list)
    durability: str = "unknown"


class Measurement:
    def __init__(
        self,
        scenario: Scenario,
        target: Target,
        on_progress: Progress,
        *,
        keeps_topics: bool = False,
        quiet_s: float = QUIET_S,
    ) -> None:
        self._scenario = scenario
        self._target = target
        self._on_progress = on_progress
        self._keeps_topics = keeps_topics
        self._quiet_s = quiet_s
        self._tag = random.SystemRandom().randrange(1, 1 << 16)
        self._topics = [f"bench-{self._tag:04x}-{time.time_ns() % 10**9:09d}-{n}" for n in range(scenario.topics)]
        self._writing: list[Member] = []
        self._reading: list[Member] = []
        self._replaying: list[Member] = []
        self._idle: list[asyncio.StreamWriter] = []
        self._outcome = Outcome(scenario, target, scenario.duration_s)

    async def run(self) -> Outcome:
        """Raises BenchError when it could not be carried out. A verdict that is not clean is part of the outcome."""
        try:
            async with asyncio.TaskGroup() as tasks:
                try:
                    await self._create_topics()
                    await self._run(tasks)
                finally:
                    await asyncio.gather(*(member.end() for member in self._everybody))
                    for writer in self._idle:
                        writer.transport.abort()
        except* BenchError as failures:
            raise _first(failures) from None
        finally:
            if not self._keeps_topics:
                await self._delete_topics()
        return self._outcome

    @property
    def _everybody(self) -> list[Member]:
        return [*self._writing, *self._reading, *self._replaying]

    async def _create_topics(self) -> None:
        scenario = self._scenario
        try:
            async with admin_client(self._target.bootstrap) as client, Admin(client=client, timeout=_TOPIC_S) as admin:
                for topic in self._topics:
                    await admin.create_topic(
                        topic,
                        partitions=scenario.partitions,
                        replication=scenario.replication_factor,
                        configs=dict(scenario.topic_config),
                    )
                # A topic may be safer than its broker's default, or less safe.
                configs = await _configs_of(admin, self._topics[0])
                durability = durability_of(configs)
                self._outcome.durability = self._target.durability if durability == "unknown" else durability
        except KafkaError as error:
            raise BenchError("the topics could not be created", cause=error.message) from None

    async def _delete_topics(self) -> None:
        with contextlib.suppress(KafkaError):
            async with admin_client(self._target.bootstrap) as client, Admin(client=client) as admin:
                for topic in self._topics:
                    await admin.delete_topic(topic, missing_ok=True)

    async def _run(self, tasks: asyncio.TaskGroup) -> None:
        scenario, outcome = self._scenario, self._outcome
        self._writing = self._members("producers", _dealt(range(scenario.all_producers), scenario.processes))
        self._reading = self._members("consumers", self._shares(range(scenario.subscriptions)))
        self._replaying = self._members(
            "consumers", self._shares(range(scenario.subscriptions, scenario.all_subscriptions))
        )
        outcome.generator_processes = len(self._everybody)
        for member in self._everybody:
            await member.start(tasks)
        await ask_all(self._writing, {"do": "open"}, "open")
        if scenario.backlog:
            await self._build_backlog()
        await self._open_idle()
        if scenario.is_producing:
            await ask_all(self._reading, {"do": "open"}, "open")
            await self._produce(tasks)
            await self._drain()
        else:
            await self._read_backlog()
        await self._finish()

    def _members(self, role: str, shares: Sequence[Sequence[Any]]) -> list[Member]:
        nobody: dict[str, Any] = {"producers": [], "consumers": []}
        common = {
            "scenario": self._scenario.to_json(),
            "bootstrap": self._target.bootstrap,
            "topics": self._topics,
            "tag": self._tag,
        }
        return [Member(common | nobody | {role: list(share)}, self._on_progress) for share in shares]

    def _shares(self, subscriptions: Sequence[int]) -> list[list[Any]]:
        """The consumers, dealt out to processes. A consumer of a group gets its partitions from there."""
        scenario = self._scenario
        partitions = [(topic, each) for topic in range(scenario.topics) for each in range(scenario.partitions)]
        found = []
        for subscription in subscriptions:
            group = f"{self._topics[0]}-{subscription}" if scenario.is_group else None
            for number in range(scenario.consumers):
                share = partitions[number :: scenario.consumers]
                if share or group:
                    found.append({"subscription": subscription, "group": group, "partitions": share})
        return _dealt(found, scenario.processes)

    async def _build_backlog(self) -> None:
        self._outcome.backlog_before = self._target.usage()
        share = self._scenario.backlog // max(1, len(self._writing))
        answers = await ask_all(self._writing, {"do": "fill", "records": share}, "filled")
        self._outcome.filled_s = max((answer["seconds"] for answer in answers), default=0.0)
        self._outcome.filled = sum(answer["records"] for answer in answers)
        self._outcome.backlog_after = self._target.usage()
        if self._scenario.is_backlog_cold:
            self._outcome.cold_files = await asyncio.to_thread(drop_from_page_cache, self._target.pids)

    async def _open_idle(self) -> None:
        """Connections that say nothing."""
        host, _, port = self._target.bootstrap.partition(",")[0].rpartition(":")
        try:
            for _ in range(self._scenario.idle_connections):
                _, writer = await asyncio.open_connection(host, int(port))
                self._idle.append(writer)
        except OSError as error:
            raise BenchError(
                f"only {len(self._idle)} idle connections could be opened",
                cause=str(error),
                hint="raise the limit of open files (ulimit -n), here and for the broker",
            ) from None

    async def _produce(self, tasks: asyncio.TaskGroup) -> None:
        scenario, outcome = self._scenario, self._outcome
        start_ns = time.monotonic_ns() + int(START_AHEAD_S * 1e9)
        first_ns = start_ns + int(scenario.warmup_s * 1e9)
        last_ns = first_ns + int(scenario.duration_s * 1e9)
        outcome.first_ns = first_ns
        order = {"do": "start", "start_ns": start_ns, "first_ns": first_ns, "last_ns": last_ns}
        for member in (*self._writing, *self._reading):
            member.tell(order)
        meter = tasks.create_task(self._meter(first_ns, last_ns))
        if scenario.kill_after_s:
            tasks.create_task(self._kill(first_ns + int(scenario.kill_after_s * 1e9)))
        if self._replaying:
            tasks.create_task(self._replay(order))
        for member in (*self._writing, *self._reading):
            outcome.generator_cpu_s += (await member.answer("done"))["cpu_s"]
        await meter

    async def _meter(self, first_ns: int, last_ns: int) -> None:
        await _until(first_ns)
        self._outcome.before = self._target.usage()
        for at_ns in range(first_ns, last_ns, _SECOND_NS):
            await _until(at_ns)
            usage = self._target.usage()
            self._outcome.rss_bytes.append(usage.rss_bytes if usage else None)
        await _until(last_ns)
        self._outcome.after = self._target.usage()

    async def _replay(self, order: Mapping[str, Any]) -> None:
        """Others begin to read from the start when a third of the measured time is over."""
        await _until(order["first_ns"] + (order["last_ns"] - order["first_ns"]) // 3)
        await ask_all(self._replaying, {"do": "open"}, "open")
        for member in self._replaying:
            member.tell(order)
            await member.answer("done")

    async def _kill(self, at_ns: int) -> None:
        local = self._target.local
        if local is None or local.workers > 1:
            raise BenchError(
                "only a single broker that the measurement started can be killed",
                hint="leave out -b and --workers: a broker is then started for the measurement",
            )
        await _until(at_ns)
        local.kill()
        self._outcome.killed_at_s = (time.monotonic_ns() - self._outcome.first_ns) / 1e9
        await asyncio.to_thread(local.start)
        self._target.pids = [local.pid]

    async def _read_backlog(self) -> None:
        """Nothing is produced: the measured time is that of the reading."""
        now = time.monotonic_ns()
        order = {"do": "start", "start_ns": now, "first_ns": now, "last_ns": now + int(3600e9)}
        self._outcome.before = self._target.usage()
        self._outcome.first_ns = now
        for member in (*self._reading, *self._replaying):
            member.tell(order)
            await member.answer("done")
        await ask_all([*self._reading, *self._replaying], {"do": "open"}, "open")
        await self._drain()
        self._outcome.after = self._target.usage()

    async def _drain(self) -> None:
        """Until every subscription has read all that was acknowledged, or nothing new comes."""
        readers = [*self._reading, *self._replaying]
        if not readers:
            return
        written = await self._written()
        seen, quiet_since = -1, time.monotonic()
        while True:
            accounts = await ask_all(readers, {"do": "account"}, "account")
            members = [each for account in accounts for each in account["members"]]
            unread = self._unread(written, members)
            now_seen = sum(each["records"] for each in members)
            if now_seen != seen:
                seen, quiet_since = now_seen, time.monotonic()
            if unread <= 0 or time.monotonic() - quiet_since > self._quiet_s:
                self._outcome.unread = max(0, unread)
                return
            await asyncio.sleep(_DRAIN_POLL_S)

    async def _written(self) -> list[Mapping[str, Any]]:
        answers = await ask_all(self._writing, {"do": "written"}, "written")
        return [each for answer in answers for each in answer["members"]]

    def _unread(self, written: Sequence[Mapping[str, Any]], members: Sequence[Mapping[str, Any]]) -> int:
        """Records that were acknowledged and not read yet, of all subscriptions."""
        acked = sum(each["records"] for each in written)
        unread = 0
        for subscription in range(self._scenario.all_subscriptions):
            mine = [each for each in members if each["subscription"] == subscription]
            if self._scenario.is_verified:
                verdict = judge([each["account"] for each in written], [each["seen"] for each in mine])
                unread += verdict.lost
            else:
                unread += max(0, acked - sum(each["records"] for each in mine))
        return unread

    async def _finish(self) -> None:
        outcome = self._outcome
        answers = await ask_all(self._everybody, {"do": "finish"}, "finished")
        for answer in answers:
            outcome.producers += answer["producers"]
            outcome.consumers += answer["consumers"]
        outcome.after = outcome.after or usage_of_all(self._target.pids)
        if self._scenario.is_verified:
            sent = [each["account"] for each in outcome.producers]
            subscriptions = range(self._scenario.all_subscriptions)
            outcome.verdict = total(
                judge(sent, [each["seen"] for each in outcome.consumers if each["subscription"] == subscription])
                for subscription in subscriptions
            )


async def _configs_of(admin: Admin, topic: str) -> dict[str, str | None]:
    """A topic that was just created may not be known to every broker yet. Raises KafkaError."""
    deadline = time.monotonic() + _TOPIC_S
    while True:
        try:
            configs = await admin.topic_configs(topic)
        except NotFound:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)
        else:
            return {key: entry.value for key, entry in configs.items()}


async def _until(at_ns: int) -> None:
    await asyncio.sleep(max(0.0, (at_ns - time.monotonic_ns()) / 1e9))


def _dealt(items: Sequence[Any], processes: int) -> list[list[Any]]:
    """Items dealt out to at most so many processes, none of them without any."""
    return [list(items[n::processes]) for n in range(min(processes, len(items)))]


def _first(failures: BaseExceptionGroup[BenchError]) -> BenchError:
    found: BaseException = failures
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    assert isinstance(found, BenchError)
    return found
