"""Streams of the SDK's consumer: handlers side by side, order kept where asked for, nothing committed too early."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from typing import Any

import pytest
from tests.support.sdk import TIME_LIMIT_S, a_name, new_topic, nothing_left, read_all, take
from tests.support.sdk_members import PARTITIONS, committed, fast_bootstrap, numbered_topic, send_numbers

from pybroker import Consumer, Message, Producer, Record, Retry, TopicPartition

bootstrap = fast_bootstrap
NUMBERS = range(300)


class Handled:
    """A handler that remembers what it got and how many were under way at once; `stop` is called after `count`."""

    def __init__(self, count: int) -> None:
        self.seen: list[int] = []
        self.by_key: dict[Any, list[int]] = defaultdict(list)
        self.by_partition: dict[int, list[int]] = defaultdict(list)
        self.under_way = self.most_under_way = self.most_pending = 0
        self.stream: Any = None
        self._count = count

    async def __call__(self, record: Record) -> None:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        self.most_pending = max(self.most_pending, self.stream.pending)
        await asyncio.sleep(random.random() * 0.004)
        self.under_way -= 1
        self.seen.append(int(record.value))
        self.by_key[record.partition, record.key].append(int(record.value))
        self.by_partition[record.partition].append(int(record.value))
        if len(self.seen) == self._count:
            self.stream.stop()


async def run(consumer: Consumer, handler: Handled, **options: Any) -> None:
    async with asyncio.timeout(TIME_LIMIT_S), consumer.stream(**options) as stream:
        handler.stream = stream
        await stream.run(handler)


@pytest.mark.parametrize("order", ["key", "partition", "none"])
async def test_handlers_work_side_by_side_in_the_order_asked_for(bootstrap: str, order: str) -> None:
    topic, group = await numbered_topic(bootstrap), a_name("group")
    handler = Handled(len(NUMBERS))
    async with nothing_left(), Consumer(topic, group=group, bootstrap=bootstrap) as consumer:
        await run(consumer, handler, concurrency=16, order=order, max_pending=64)
    assert sorted(handler.seen) == list(NUMBERS)
    if order != "none":
        assert all(numbers == sorted(numbers) for numbers in handler.by_key.values())
    if order == "partition":
        assert all(numbers == sorted(numbers) for numbers in handler.by_partition.values())
        assert handler.most_under_way <= PARTITIONS
    else:
        assert PARTITIONS < handler.most_under_way <= 16
    assert handler.most_pending <= 64
    assert await committed(bootstrap, group, topic) == [50] * PARTITIONS


async def test_it_works_without_a_group_and_without_keys(bootstrap: str) -> None:
    topic = await new_topic(bootstrap)
    async with Producer(bootstrap) as producer:
        await producer.send_many(topic, [b"%d" % number for number in NUMBERS])
    handler = Handled(len(NUMBERS))
    async with Consumer(topic, bootstrap=bootstrap, start="earliest") as consumer:
        await run(consumer, handler)
    assert sorted(handler.seen) == list(NUMBERS)
    assert handler.most_under_way > 1


async def one_partition(bootstrap: str, count: int = 20) -> str:
    topic = await new_topic(bootstrap)
    async with Producer(bootstrap) as producer:
        await producer.send_many(topic, [Message(b"%d" % number, key=b"%d" % (number % 5)) for number in range(count)])
    return topic


async def committed_of(bootstrap: str, group: str, topic: str) -> int | None:
    async with Consumer(topic, group=group, bootstrap=bootstrap) as consumer:
        found = (await consumer.committed([(topic, 0)]))[TopicPartition(topic, 0)]
        return None if found is None else found.offset


async def test_only_the_finished_prefix_is_committed_when_a_handler_fails(bootstrap: str) -> None:
    topic, group = await one_partition(bootstrap), a_name("group")
    seen: set[int] = set()
    others_done = asyncio.Event()

    async def fails_at_7(record: Record) -> None:
        if record.offset == 7:
            await others_done.wait()
            raise ZeroDivisionError
        seen.add(record.offset)
        # The others of its key wait behind 7.
        if seen >= set(range(20)) - {7, 12, 17}:
            others_done.set()

    with pytest.raises(ZeroDivisionError):
        async with Consumer(topic, group=group, bootstrap=bootstrap) as consumer, consumer.stream() as stream:
            await stream.run(fails_at_7)
    assert await committed_of(bootstrap, group, topic) == 7


async def test_a_stream_that_is_cancelled_loses_nothing_and_the_consumer_goes_on(bootstrap: str) -> None:
    topic, group = await one_partition(bootstrap), a_name("group")
    started = asyncio.Event()

    async def hangs_at_3(record: Record) -> None:
        if record.offset == 3:
            started.set()
            await asyncio.Event().wait()

    async with nothing_left(), Consumer(topic, group=group, bootstrap=bootstrap) as consumer:
        async with consumer.stream(concurrency=8) as stream:
            running = asyncio.ensure_future(stream.run(hangs_at_3))
            await started.wait()
            with pytest.raises(TypeError, match="go to its stream"):
                await consumer.poll(time_limit=1)
            running.cancel()
            await asyncio.wait([running])
        assert (await take(consumer, 1))[0].offset == 3
    assert await committed_of(bootstrap, group, topic) == 4


async def test_a_handler_that_is_cancelled_from_within_has_failed_and_stops_no_other(bootstrap: str) -> None:
    topic, dead = await one_partition(bootstrap), await new_topic(bootstrap)
    finished: list[int] = []

    async def handle(record: Record) -> None:
        if record.offset % 2:
            raise asyncio.CancelledError
        finished.append(record.offset)
        if len(finished) == 10:
            stream.stop()

    async with (
        asyncio.timeout(TIME_LIMIT_S),
        Consumer(topic, group=a_name("group"), bootstrap=bootstrap) as consumer,
        consumer.stream(concurrency=2, dead_letter=dead) as stream,
    ):
        await stream.run(handle)
    assert sorted(finished) == list(range(0, 20, 2))
    assert len((await read_all(bootstrap, dead))[0]) == 10


async def test_a_handler_is_tried_again_and_then_the_record_becomes_a_dead_letter(
    bootstrap: str, caplog: pytest.LogCaptureFixture
) -> None:
    topic, dead, group = await one_partition(bootstrap), await new_topic(bootstrap), a_name("group")
    attempts: dict[int, int] = defaultdict(int)
    finished: list[int] = []

    async def handle(record: Record) -> None:
        attempts[record.offset] += 1
        if record.offset == 5 and attempts[5] < 3:
            raise TimeoutError("will pass")
        if record.offset == 7:
            raise ValueError("never will do")
        finished.append(record.offset)

    async with Consumer(topic, group=group, bootstrap=bootstrap) as consumer:
        retry = Retry(attempts=3, first=0.01)
        async with consumer.stream(retry=retry, dead_letter=dead) as stream:
            running = asyncio.ensure_future(stream.run(handle))
            async with asyncio.timeout(TIME_LIMIT_S):
                while len(finished) < 19:
                    await asyncio.sleep(0.01)
            stream.stop()
            await running
    assert sorted(finished) == [offset for offset in range(20) if offset != 7]
    assert [offset for offset in finished if offset % 5 == 0] == [0, 5, 10, 15], "a key's order through attempts"
    assert (attempts[5], attempts[7], attempts[8]) == (3, 3, 1)
    [letter] = (await read_all(bootstrap, dead))[0]
    assert (letter.key, letter.value) == (b"2", b"7")
    told = {name: (value or b"").decode() for name, value in letter.headers}
    assert told["__dlq.errors.topic"] == topic
    assert (told["__dlq.errors.partition"], told["__dlq.errors.offset"]) == ("0", "7")
    assert (told["__dlq.errors.group"], told["__dlq.errors.delivery.count"]) == (group, "3")
    assert (told["__dlq.errors.message"], told["__dlq.errors.exception"]) == ("never will do", "builtins.ValueError")
    assert await committed_of(bootstrap, group, topic) == 20
    assert f"is in {dead} now" in caplog.text


async def test_partitions_move_between_streams_and_every_record_is_handled(bootstrap: str) -> None:
    topic, group = await numbered_topic(bootstrap), a_name("group")
    handled: list[list[int]] = []
    streams: list[Any] = []

    async def member() -> None:
        mine: list[int] = []
        handled.append(mine)

        async def handle(record: Record) -> None:
            await asyncio.sleep(random.random() * 0.01)
            mine.append(int(record.value))

        async with (
            Consumer(topic, group=group, bootstrap=bootstrap) as consumer,
            consumer.stream(concurrency=8) as stream,
        ):
            streams.append(stream)
            await stream.run(handle)

    async def until_handled(count: int) -> None:
        while len({number for mine in handled for number in mine}) < count:
            await asyncio.sleep(0.01)

    async with asyncio.timeout(TIME_LIMIT_S), nothing_left():
        running = [asyncio.ensure_future(member())]
        await until_handled(50)
        running.append(asyncio.ensure_future(member()))
        await send_numbers(bootstrap, topic, range(300, 900))
        await until_handled(600)
        streams[0].stop()
        await running[0]
        await send_numbers(bootstrap, topic, range(900, 960))
        await until_handled(960)
        streams[1].stop()
        await running[1]
    assert all(handled)
    # Nobody failed, so what was finished was committed before it was handed over: nothing came twice.
    assert sorted(number for mine in handled for number in mine) == list(range(960))
    assert await committed(bootstrap, group, topic) == [160] * PARTITIONS


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"concurrency": 0}, "at least one"),
        ({"order": "random"}, "'key', 'partition' or 'none'"),
        ({"concurrency": 8, "max_pending": 7}, "at least as many as concurrency"),
    ],
)
def test_what_cannot_be_is_refused_at_once(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Consumer("t", group="g").stream(**given)
    with pytest.raises(ValueError, match="do not go together"):
        Consumer("t", group="g", commit="before").stream()
