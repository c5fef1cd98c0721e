"""Cancelling any call of the SDK, at any moment, leaves no task behind and nothing half done.

Every coroutine is cancelled after each of its first turns of the event loop, and once more where it waits for long;
what it belongs to must work afterwards and close at once.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.support.broker_process import BrokerProcess
from tests.support.sdk import TIME_LIMIT_S, a_name, new_topic, nothing_left, read_all, take

from pybroker import Admin, Client, Consumer, Producer

TURNS = (0, 1, 2, 3, 5, 8, 13, 30)
Call = Callable[[Any, str], Coroutine[Any, Any, Any]]


async def cancelled_after(turns: int, call: Coroutine[Any, Any, Any]) -> None:
    task = asyncio.ensure_future(call)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.exception()  # it was over, or failed, before


@asynccontextmanager
async def closing_at_once(*objects: Any) -> AsyncIterator[None]:
    """The block and the end of these take no longer than they should, and leave nothing."""
    async with asyncio.timeout(TIME_LIMIT_S), nothing_left():
        try:
            yield
        finally:
            for each in objects:
                await each.close()
    gc.collect()  # an unclosed socket would be told here


def named(calls: dict[str, Call]) -> Iterable[Any]:
    return [pytest.param(call, id=name) for name, call in calls.items()]


PRODUCER: dict[str, Call] = {
    "send": lambda p, t: p.send(t, b"v"),
    "send to a new topic": lambda p, t: p.send(a_name(), b"v"),
    "send without room": lambda p, t: p.send(t, b"x" * 50_000),
    "send_many": lambda p, t: p.send_many(t, [b"x" * 1_000] * 100),
    "prepare": lambda p, t: p.prepare(a_name()),
    "ready": lambda p, t: p.ready(),
    "flush": lambda p, t: p.flush(),
}


@pytest.mark.parametrize("call", named(PRODUCER))
async def test_producer(bootstrap: str, call: Call) -> None:
    topic = await new_topic(bootstrap)
    producer = Producer(bootstrap, buffer_bytes=60_000)
    async with closing_at_once(producer):
        await producer.__aenter__()
        await producer.prepare(topic)
        for turns in TURNS:
            producer.send_nowait(topic, b"x" * 20_000)
            await cancelled_after(turns, call(producer, topic))
            await producer.flush()
        sent = await producer.send(topic, b"last")
        assert not producer._accumulator.buffered_bytes
        assert not producer._waiters
    assert [r.offset for r in (await read_all(bootstrap, topic))[0]] == list(range(sent.offset + 1))


CONSUMER: dict[str, Call] = {
    "async for": lambda c, t: take(c, 1_000_000),
    "batches": lambda c, t: anext(c.batches()),
    "poll": lambda c, t: c.poll(time_limit=10),
    "ready": lambda c, t: c.ready(),
    "offsets": lambda c, t: c.offsets("latest"),
}


@pytest.mark.parametrize("call", named(CONSUMER))
async def test_consumer(bootstrap: str, call: Call) -> None:
    topic = await new_topic(bootstrap)
    async with Producer(bootstrap) as producer:
        await producer.send_many(topic, [b"v"] * 100)
    consumer = Consumer(topic, bootstrap=bootstrap, start="earliest")
    async with closing_at_once(consumer):
        await consumer.__aenter__()
        for turns in TURNS:
            consumer.seek("earliest")
            await cancelled_after(turns, call(consumer, topic))
        consumer.seek("earliest")
        assert [record.offset for record in await take(consumer, 100)] == list(range(100))


async def test_a_record_that_was_given_out_is_never_given_again(bootstrap: str) -> None:
    topic = await new_topic(bootstrap)
    async with Producer(bootstrap) as producer:
        await producer.send_many(topic, [b"v"] * 2_000)
    found: list[int] = []

    async def read(consumer: Consumer) -> None:
        async for record in consumer:
            found.append(record.offset)
            await asyncio.sleep(0)

    async with asyncio.timeout(TIME_LIMIT_S), Consumer(topic, bootstrap=bootstrap, start="earliest") as consumer:
        while len(found) < 2_000:
            await cancelled_after(50, read(consumer))
    assert found == list(range(2_000))


ADMIN: dict[str, Call] = {
    "create_topic": lambda a, t: a.create_topic(a_name()),
    "delete_topic": lambda a, t: a.delete_topic(a_name(), missing_ok=True),
    "grow_topic": lambda a, t: a.grow_topic(t, len(t) + 2),
    "topics": lambda a, t: a.topics(),
    "topic": lambda a, t: a.topic(t),
    "topic_configs": lambda a, t: a.topic_configs(t),
    "alter_topic_configs": lambda a, t: a.alter_topic_configs(t, {"retention.ms": "5000"}),
    "broker_configs": lambda a, t: a.broker_configs(1),
    "offsets": lambda a, t: a.offsets(t, -1),
    "delete_records": lambda a, t: a.delete_records(t, {0: -1}),
    "cluster": lambda a, t: a.cluster(),
}


@pytest.mark.parametrize("call", named(ADMIN))
async def test_admin(bootstrap: str, call: Call) -> None:
    topic = await new_topic(bootstrap)
    admin = Admin(bootstrap)
    async with closing_at_once(admin):
        await admin.__aenter__()
        for turns in TURNS:
            await cancelled_after(turns, call(admin, topic))
        assert (await admin.topic(topic)).name == topic
        assert not admin.client._topics, "topics are not kept in view for who is gone"


CLIENT: dict[str, Callable[[str, str], Any]] = {
    "client": lambda b, t: Client(b),
    "producer": lambda b, t: Producer(b),
    "consumer": lambda b, t: Consumer(t, bootstrap=b),
    "admin": lambda b, t: Admin(b),
}


@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in CLIENT.items()])
async def test_opening_and_closing(bootstrap: str, make: Callable[[str, str], Any]) -> None:
    topic = await new_topic(bootstrap)
    for turns in TURNS:
        opened_late = make(bootstrap, topic)
        async with closing_at_once(opened_late):
            await cancelled_after(turns, opened_late.__aenter__())
        closed_late = make(bootstrap, topic)
        async with closing_at_once(closed_late):
            await closed_late.__aenter__()
            await cancelled_after(turns, closed_late.close())
    for turns in TURNS[1:]:
        abandoned = make(bootstrap, topic)
        async with asyncio.timeout(TIME_LIMIT_S), nothing_left():
            await abandoned.__aenter__()
            await cancelled_after(turns, abandoned.__aexit__(None, None, None))
            client = abandoned if isinstance(abandoned, Client) else abandoned.client
            assert client.pool.open_connections == []


async def test_whatever_waits_for_a_broker_that_hangs_can_be_cancelled(broker_process: BrokerProcess) -> None:
    topic = await new_topic(broker_process.bootstrap)
    client = Client(broker_process.bootstrap)
    producer, admin = Producer(client, delivery_timeout=0.1), Admin(client=client)
    consumer = Consumer(topic, client=client)
    async with closing_at_once(consumer, producer, admin, client):
        await client.open()
        for each in (producer, admin, consumer):
            await each.__aenter__()
        await producer.prepare(topic)
        await consumer.ready()
        os.kill(broker_process.pid, signal.SIGSTOP)
        try:
            calls = [call(producer, topic) for call in PRODUCER.values()]
            calls += [call(admin, topic) for call in ADMIN.values()]
            calls += [call(consumer, topic) for call in CONSUMER.values()]
            async with asyncio.timeout(0.1):
                await asyncio.gather(*calls, return_exceptions=True)
        except TimeoutError:
            pass
        finally:
            os.kill(broker_process.pid, signal.SIGCONT)
