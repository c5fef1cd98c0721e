"""What log compaction costs: how many MB a second it works through, and what producers wait meanwhile.

Rules: the log is filled while it is not to be compacted, so that compaction begins when it is told to. It is over when
the log's size, which the broker tells, has been the same for a while; that while is not counted. A producer sends one
record after the other, before and during, in one run on one machine: the ratio is what counts.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

from pybroker import Admin, Client, Message, Producer
from pybroker_bench.errors import BenchError
from pybroker_bench.groups_table import spread
from pybroker_bench.target import Target, admin_client
from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.messages import DescribeLogDirsRequest, DescribeLogDirsResponse

SETTINGS: Final = ("--log-cleaner-backoff-ms", "100", "--log-retention-check-interval-ms", "1000")
"""For a broker that is started for this: it looks for work often."""
_VALUE_BYTES: Final = 1_000
_RECORDS_PER_KEY: Final = 10
_SEGMENT_BYTES: Final = 16 * 1024 * 1024
_POLL_S: Final = 0.02
_STILL_S: Final = 2.0
_TIME_LIMIT_S: Final = 300.0
_BASELINE_S: Final = 5.0
_MB: Final = 1_000_000


@dataclass(slots=True)
class Outcome:
    """Sizes in bytes; `alone_ms` and `during_ms` are what a record waited for its acknowledgement."""

    before_bytes: int = 0
    after_bytes: int = 0
    seconds: float = 0.0
    alone_ms: list[float] = field(default_factory=list)
    during_ms: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Bytes of dirty log a second."""
        return self.before_bytes / self.seconds


async def compaction(bootstrap: str, size_mb: int) -> Outcome:
    """Fills a log of this size, ten records of each key, and has it compacted. Raises BenchError."""
    tag = uuid4().hex[:8]
    filled, probed = f"bench-compacted-{tag}", f"bench-probed-{tag}"
    outcome = Outcome()
    async with admin_client(bootstrap) as client, Admin(client=client) as admin:
        never = {"cleanup.policy": "delete", "segment.bytes": str(_SEGMENT_BYTES)}
        await admin.create_topic(filled, partitions=1, configs=never)
        await admin.create_topic(probed, partitions=1)
        try:
            await _fill(client, filled, size_mb * _MB // _VALUE_BYTES)
            async with Producer(client=client) as producer:
                alone: list[tuple[float, float]] = []
                await _probe(producer, probed, alone, until=time.perf_counter() + _BASELINE_S)
                outcome.alone_ms = [wait_ms for _, wait_ms in alone]
                outcome.before_bytes = await _size(client, filled)
                over = asyncio.Event()
                waits: list[tuple[float, float]] = []
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(_probe(producer, probed, waits, over=over))
                    now = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01"}
                    await admin.alter_topic_configs(filled, now)
                    try:
                        ended = await _watch(client, filled, outcome)
                    finally:
                        over.set()
                outcome.during_ms = [wait_ms for sent, wait_ms in waits if sent < ended]
        finally:
            for name in (filled, probed):
                await admin.delete_topic(name, missing_ok=True)
    return outcome


async def _fill(client: Client, topic: str, count: int) -> None:
    noise = os.urandom(_VALUE_BYTES * 2)
    keys = max(count // _RECORDS_PER_KEY, 1)
    async with Producer(client=client) as producer:
        for first in range(0, count, 10_000):
            messages = [
                Message(noise[number % _VALUE_BYTES :][:_VALUE_BYTES], key=b"key-%012d" % (number % keys))
                for number in range(first, min(first + 10_000, count))
            ]
            await producer.send_many(topic, messages)


async def _probe(
    producer: Producer[bytes, bytes],
    topic: str,
    waits: list[tuple[float, float]],
    *,
    until: float = float("inf"),
    over: asyncio.Event | None = None,
) -> None:
    value = os.urandom(_VALUE_BYTES)
    while time.perf_counter() < until and not (over is not None and over.is_set()):
        started = time.perf_counter()
        await producer.send(topic, value)
        waits.append((started, (time.perf_counter() - started) * 1000))


async def _watch(client: Client, topic: str, outcome: Outcome) -> float:
    """Until the size has changed, and then stayed the same; when it changed last."""
    started = changed = time.perf_counter()
    last = outcome.before_bytes
    while True:
        await asyncio.sleep(_POLL_S)
        size, now = await _size(client, topic), time.perf_counter()
        if size != last:
            last, changed = size, now
        elif last < outcome.before_bytes and now - changed > _STILL_S:
            outcome.after_bytes, outcome.seconds = last, changed - started
            return changed
        if now - started > _TIME_LIMIT_S:
            raise BenchError(
                "the log was not compacted", cause=f"its size is {last:,} bytes after {_TIME_LIMIT_S:.0f} s"
            )


async def _size(client: Client, topic: str) -> int:
    partitions = [DescribeLogDirsRequest.DescribableLogDirTopic(topic=topic, partitions=[0])]
    total = 0
    for node in list(client.cluster.brokers):
        answer: DescribeLogDirsResponse = await client.ask_node(
            node, ApiKey.DESCRIBE_LOG_DIRS, DescribeLogDirsRequest(topics=partitions)
        )
        total += sum(p.partition_size for each in answer.results for t in each.topics for p in t.partitions)
    return total


def lines_of(target: Target, rounds: int, size_mb: int) -> Iterator[str]:
    """The table: medians, with the smallest and largest round beside them."""
    found = [asyncio.run(compaction(target.bootstrap, size_mb)) for _ in range(rounds)]
    line = "  {:34} {}"
    yield f"compaction of {size_mb} MB, ten records of {_VALUE_BYTES} bytes for each key"
    yield line.format("worked through", spread([each.rate / _MB for each in found], " MB/s"))
    yield line.format("left of it", spread([100 * each.after_bytes / each.before_bytes for each in found], " %"))
    for title, part in (("median", 0.5), ("99th percentile", 0.99)):
        alone = [_quantile(each.alone_ms, part) for each in found]
        during = [_quantile(each.during_ms, part) for each in found]
        ratios = [busy / calm for calm, busy in zip(alone, during, strict=True)]
        yield line.format(f"produce alone, {title}", spread(alone, " ms", 2))
        yield line.format(f"produce meanwhile, {title}", spread(during, " ms", 2))
        yield line.format("  meanwhile to alone", spread(ratios, "", 2))


def _quantile(values: list[float], part: float) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[round(part * 100) - 1]
