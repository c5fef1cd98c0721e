"""What tests of the SDK share: a topic of their own, reading a topic to its end, and that nothing is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from pybroker import Admin, Consumer, Record

TIME_LIMIT_S = 30


def a_name(purpose: str = "sdk") -> str:
    return f"{purpose}-{uuid4().hex[:12]}"


async def new_topic(bootstrap: str, partitions: int = 1, **configs: str) -> str:
    """The name of a new topic; configuration keys with underscores for dots."""
    name = a_name()
    async with Admin(bootstrap) as admin:
        named = {key.replace("_", "."): value for key, value in configs.items()}
        await admin.create_topic(name, partitions=partitions, configs=named)
    return name


async def read_all(bootstrap: str, topic: str) -> dict[int, list[Record]]:
    """Every record of a topic, by partition, up to the ends that it has now."""
    async with asyncio.timeout(TIME_LIMIT_S), Consumer(topic, bootstrap=bootstrap, start="earliest") as consumer:
        await consumer.ready()
        ends = await consumer.offsets("latest")
        found: dict[int, list[Record]] = {tp.partition: [] for tp in ends}
        batches = consumer.batches(10_000)
        while any((consumer.position(*tp) or 0) < end for tp, end in ends.items()):
            for record in await anext(batches):
                found[record.partition].append(record)
        return found


async def take(consumer: Consumer, count: int) -> list[Record]:
    """The next records, as an application reads them."""
    found: list[Record] = []
    async with asyncio.timeout(TIME_LIMIT_S):
        async for record in consumer:
            found.append(record)
            if len(found) == count:
                return found
    raise AssertionError("a consumer has no end")


@asynccontextmanager
async def nothing_left() -> AsyncIterator[None]:
    """Of the tasks that were started within, none is left at the end."""
    before = asyncio.all_tasks()
    yield
    await asyncio.sleep(0)  # callbacks of what has just ended
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert not left, f"left behind: {left}"
