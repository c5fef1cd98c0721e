"""How a broker bears numbers: thousands of partitions, of silent connections, of groups.

Rules: what grows is added step by step to one broker; after each step the median of a produce round trip is taken (one
record at a time, acks=1) and the resident memory read, beside what they were at the beginning.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final
from uuid import uuid4

from pybroker import Admin
from pybroker_bench import groups
from pybroker_bench.scenario import from_mapping
from pybroker_bench.suite import Measure
from pybroker_bench.target import Target, admin_client

PARTITIONS: Final = 5_000
CONNECTIONS: Final = 5_000
GROUPS: Final = 1_000
MEMBERS: Final = 5
_TOPIC_PARTITIONS: Final = 1_000
_ROUND_TRIP: Final = {
    "name": "round trip",
    "subscriptionsPerTopic": 0,
    "messagesInFlight": 1,
    "batchMessages": 1,
    "acks": "1",
    "testDurationSeconds": 3,
    "warmupDurationSeconds": 1,
    "verify": False,
}


def grow(target: Target, measure: Measure) -> list[dict[str, Any]]:
    """A step each: "step", "round_trip_ms", "rss_bytes", and "seconds" and "metadata_ms", which may be None."""
    return list(_steps(target, measure))


def _steps(target: Target, measure: Measure) -> Iterator[dict[str, Any]]:
    yield _state(target, measure, "nothing yet")
    topic = f"bench-growth-{uuid4().hex[:8]}"
    created_s, metadata_ms = asyncio.run(_make_partitions(target, topic))
    yield _state(target, measure, f"{PARTITIONS:,} partitions", seconds=created_s, metadata_ms=metadata_ms)
    yield _state(target, measure, f"and {CONNECTIONS:,} silent connections", connections=CONNECTIONS)
    started = time.perf_counter()
    asyncio.run(groups.many_groups(target.bootstrap, f"{topic}-groups", GROUPS, MEMBERS))
    seconds = time.perf_counter() - started
    yield _state(target, measure, f"and {GROUPS:,} groups of {MEMBERS} members", seconds=seconds)


def _state(
    target: Target,
    measure: Measure,
    step: str,
    *,
    connections: int = 0,
    seconds: float | None = None,
    metadata_ms: float | None = None,
) -> dict[str, Any]:
    report: Mapping[str, Any] = measure(from_mapping({**_ROUND_TRIP, "idleConnections": connections}), target)
    return {
        "step": step,
        "round_trip_ms": report["latency_ms"]["publish"]["p50"],
        "rss_bytes": report["broker"]["rss_bytes"],
        "seconds": None if seconds is None else round(seconds, 3),
        "metadata_ms": None if metadata_ms is None else round(metadata_ms, 2),
    }


async def _make_partitions(target: Target, topic: str) -> tuple[float, float]:
    """Seconds to create them, and milliseconds for the metadata of all."""
    async with admin_client(target.bootstrap) as client, Admin(client=client, timeout=180.0) as admin:
        started = time.perf_counter()
        for number in range(PARTITIONS // _TOPIC_PARTITIONS):
            await admin.create_topic(f"{topic}-{number}", partitions=_TOPIC_PARTITIONS, replication=1)
        created = time.perf_counter() - started
        await admin.create_topic(f"{topic}-groups", partitions=MEMBERS, replication=1)
        await admin.topics()
        started = time.perf_counter()
        await admin.topics()
        return created, (time.perf_counter() - started) * 1000
