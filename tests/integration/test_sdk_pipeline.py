"""Pipelines of the SDK against a broker process: every record's results count once, whatever happens in between."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from tests.support.sdk import TIME_LIMIT_S, a_name, new_topic, nothing_left
from tests.support.sdk_members import FAST_GROUPS, fast_bootstrap

from pybroker import Admin, Consumer, Json, Message, Output, Pipeline, Producer, Record, Retry
from pybroker.errors import Fenced

__all__ = ["FAST_GROUPS", "fast_bootstrap"]

COUNT = 300
PARTITIONS = 4


@pytest.fixture
async def source(fast_bootstrap: str) -> str:
    """Numbered records of twenty keys."""
    topic = await new_topic(fast_bootstrap, PARTITIONS)
    async with Producer(fast_bootstrap) as producer:
        messages = [Message(b"%d" % number, key=b"k%d" % (number % 20)) for number in range(COUNT)]
        await producer.send_many(topic, messages)
    return topic


@pytest.fixture
async def target(fast_bootstrap: str) -> str:
    return await new_topic(fast_bootstrap, PARTITIONS)


async def counted(bootstrap: str, topic: str) -> list[Record]:
    """What counts in a topic up to where it ends now."""
    found: list[Record] = []
    async with (
        asyncio.timeout(TIME_LIMIT_S),
        Admin(bootstrap) as admin,
        Consumer(topic, bootstrap=bootstrap, start="earliest", isolation="read_committed") as consumer,
    ):
        ends = await admin.offsets(topic, "latest")
        await consumer.ready()
        while any((consumer.position(topic, index) or 0) < end for index, end in ends.items()):
            found += await consumer.poll(time_limit=0.1)
    return found


def keys_in_order(records: list[Record]) -> bool:
    last: dict[bytes | None, int] = {}
    for record in records:
        number = int(record.value)
        if last.get(record.key, -1) >= number:
            return False
        last[record.key] = number
    return True


async def until_read(pipelines: list[Pipeline], count: int) -> None:
    while sum(pipeline.records for pipeline in pipelines) < count:
        await asyncio.sleep(0.02)


Handler = Callable[[Record, Output], Awaitable[None] | None]


async def run(pipeline: Pipeline, handler: Handler, count: int = COUNT) -> None:
    """Until that many records were handled."""
    async with asyncio.timeout(TIME_LIMIT_S), nothing_left(), pipeline, asyncio.TaskGroup() as tasks:
        tasks.create_task(pipeline.run(handler))
        await until_read([pipeline], count)
        pipeline.stop()


@pytest.mark.parametrize("concurrency", [1, 16])
async def test_results_are_written_once_and_in_the_order_of_keys(
    fast_bootstrap: str, source: str, target: str, concurrency: int
) -> None:
    working = at_once = 0

    async def handle(record: Record, out: Output) -> None:
        nonlocal working, at_once
        working += 1
        at_once = max(at_once, working)
        await asyncio.sleep(0)
        working -= 1
        out.send(target, record.value, key=record.key, headers={"from": record.topic})

    group = a_name("group")
    pipeline = Pipeline(source, group=group, bootstrap=fast_bootstrap, concurrency=concurrency, batch_records=50)
    await run(pipeline, handle)
    results = await counted(fast_bootstrap, target)
    assert sorted(int(record.value) for record in results) == list(range(COUNT))
    assert keys_in_order(results)
    assert pipeline.transactions >= COUNT // 50
    assert at_once == 1 if concurrency == 1 else at_once > 1
    async with Admin(fast_bootstrap) as admin:
        assert sum(each.lag or 0 for each in (await admin.group_lag(group)).values()) == 0


async def test_what_fails_is_tried_again_and_then_put_aside_with_the_rest(
    fast_bootstrap: str, source: str, target: str
) -> None:
    dead = await new_topic(fast_bootstrap)
    attempts: Counter[int] = Counter()

    def handle(record: Record, out: Output) -> None:
        number = record.value
        attempts[number] += 1
        out.send(target, {"number": number}, key=record.key)
        if number == 13 or (number % 50 == 0 and attempts[number] < 3):
            raise RuntimeError(f"{number} is not liked")

    await run(
        Pipeline(
            source,
            group=a_name("group"),
            bootstrap=fast_bootstrap,
            value_codec=Json(),
            out_value_codec=Json(),
            retry=Retry(attempts=3, first=0.001),
            dead_letter=dead,
        ),
        handle,
    )
    results = [Json().decode(record.value)["number"] for record in await counted(fast_bootstrap, target)]
    assert sorted(results) == [number for number in range(COUNT) if number != 13]
    assert {number for number, count in attempts.items() if count == 3} == {13, *range(0, COUNT, 50)}
    (letter,) = await counted(fast_bootstrap, dead)
    told = dict(letter.headers)
    assert (letter.key, letter.value) == (b"k13", b"13"), "as it was read"
    assert told["__dlq.errors.topic"] == source.encode()
    assert told["__dlq.errors.delivery.count"] == b"3"
    assert told["__dlq.errors.message"] == b"13 is not liked"


async def test_without_a_dead_letter_topic_the_error_ends_it_and_nothing_counts(
    fast_bootstrap: str, source: str, target: str
) -> None:
    def handle(record: Record, out: Output) -> None:
        out.send(target, record.value)
        raise ZeroDivisionError

    for concurrency in (1, 4):
        pipeline = Pipeline(source, group=a_name("group"), bootstrap=fast_bootstrap, concurrency=concurrency)
        async with asyncio.timeout(TIME_LIMIT_S), nothing_left(), pipeline:
            with pytest.raises(ZeroDivisionError):
                await pipeline.run(handle)
    assert await counted(fast_bootstrap, target) == []


@pytest.mark.parametrize("protocol", ["consumer", "classic"])
async def test_members_come_and_go_in_the_middle(fast_bootstrap: str, source: str, target: str, protocol: str) -> None:
    async def handle(record: Record, out: Output) -> None:
        await asyncio.sleep(0.002)
        out.send(target, record.value, key=record.key)

    group = a_name("group")
    options = {} if protocol == "consumer" else {"heartbeat_interval": 0.1, "session_timeout": 6.0}

    def another() -> Pipeline:
        return Pipeline(
            source,
            group=group,
            bootstrap=fast_bootstrap,
            batch_records=10,
            group_protocol=protocol,  # type: ignore[arg-type]
            **options,  # type: ignore[arg-type]
        )

    pipelines = [another() for _ in range(4)]
    async with asyncio.timeout(TIME_LIMIT_S), nothing_left(), pipelines[0], asyncio.TaskGroup() as tasks:
        tasks.create_task(pipelines[0].run(handle))
        for number, pipeline in enumerate(pipelines[1:], 1):
            async with pipeline, asyncio.TaskGroup() as guests:
                guests.create_task(pipeline.run(handle))
                await until_read(pipelines, COUNT * number // 4)
                pipeline.stop()
        await until_read(pipelines, COUNT)
        pipelines[0].stop()
    results = await counted(fast_bootstrap, target)
    assert sorted(int(record.value) for record in results) == list(range(COUNT))
    assert keys_in_order(results)


async def test_another_instance_of_the_same_name_takes_over(fast_bootstrap: str, source: str, target: str) -> None:
    name, group = a_name("tx"), a_name("group")
    first_is_in = asyncio.Event()

    async def slow(record: Record, out: Output) -> None:
        first_is_in.set()
        out.send(target, record.value, key=record.key)
        await asyncio.sleep(0.05)

    def handle(record: Record, out: Output) -> None:
        out.send(target, record.value, key=record.key)

    options = {"group": group, "bootstrap": fast_bootstrap, "transactional_id": name}
    async with (
        asyncio.timeout(TIME_LIMIT_S),
        nothing_left(),
        Pipeline(source, batch_records=5, **options) as zombie,  # type: ignore[arg-type]
    ):
        fenced = asyncio.create_task(zombie.run(slow))
        await first_is_in.wait()
        async with Pipeline(source, **options) as heir:  # type: ignore[arg-type]
            with pytest.raises(Fenced):
                await fenced
            await zombie.close()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(heir.run(handle))
                await until_read([zombie, heir], COUNT)
                heir.stop()
    assert sorted(int(record.value) for record in await counted(fast_bootstrap, target)) == list(range(COUNT))


def test_what_cannot_be_is_told() -> None:
    for options in ({"batch_records": 0}, {"concurrency": 0}, {"order": "random"}):
        with pytest.raises(ValueError):
            Pipeline("t", group="g", **options)  # type: ignore[arg-type]
