"""The SDK's consumer against a broker process: where it begins, what it gives, and that nothing is lost on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.support.broker_process import BrokerProcess
from tests.support.sdk import TIME_LIMIT_S, a_name, new_topic, nothing_left, take

from pybroker import Admin, Client, Consumer, Json, Message, Producer, Record, Text, TopicPartition
from pybroker.errors import Closed, DecodeFailed, KafkaError, NotFound
from pybroker.partition_reader import Start

T0 = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
async def producer(bootstrap: str) -> AsyncIterator[Producer[bytes, bytes]]:
    async with nothing_left(), Producer(bootstrap) as producer:
        yield producer


async def filled(bootstrap: str, producer: Producer[bytes, bytes], count: int = 10, partitions: int = 1) -> str:
    """A topic with numbered records in each partition, a second apart from T0 on."""
    topic = await new_topic(bootstrap, partitions)
    await producer.send_many(
        topic,
        [
            Message(b"%d" % number, partition=partition, timestamp=T0 + timedelta(seconds=number))
            for number in range(count)
            for partition in range(partitions)
        ],
    )
    return topic


def numbers(records: list[Record]) -> list[int]:
    return [int(record.value) for record in records]


# Where it begins.


@pytest.mark.parametrize(
    ("start", "first"),
    [
        ("earliest", 0),
        (4, 4),
        (-3, 7),
        (-99, 0),
        (T0 + timedelta(seconds=5), 5),
        (T0 + timedelta(seconds=5, milliseconds=1), 6),
        (T0 - timedelta(days=1), 0),
    ],
)
async def test_starts(bootstrap: str, producer: Producer[bytes, bytes], start: Start, first: int) -> None:
    topic = await filled(bootstrap, producer)
    async with Consumer(topic, bootstrap=bootstrap, start=start) as consumer:
        assert numbers(await take(consumer, 10 - first)) == list(range(first, 10))
        assert consumer.position(topic, 0) == 10
        assert await consumer.offsets(start) == {TopicPartition(topic, 0): first}


@pytest.mark.parametrize("start", ["latest", T0 + timedelta(days=1)])
async def test_starts_after_the_last_record(bootstrap: str, producer: Producer[bytes, bytes], start: Start) -> None:
    topic = await filled(bootstrap, producer)
    async with Consumer(topic, bootstrap=bootstrap, start=start) as consumer:
        await consumer.ready()
        assert consumer.position(topic, 0) == 10
        await producer.send(topic, b"10")
        assert numbers(await take(consumer, 1)) == [10]


async def test_an_offset_that_is_not_there_is_answered_with_the_nearest_end(
    bootstrap: str, producer: Producer[bytes, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    topic = await filled(bootstrap, producer)
    async with Admin(bootstrap) as admin:
        await admin.delete_records(topic, {0: 6})
    async with Consumer(topic, bootstrap=bootstrap, start=2) as consumer:
        assert numbers(await take(consumer, 4)) == [6, 7, 8, 9]
    assert f"{topic}-0: offset 2 is not there any more" in caplog.text


@pytest.mark.parametrize(
    ("given", "kind", "says"),
    [
        ({"start": "begining"}, ValueError, "start='begining': it can be 'earliest', 'latest'"),
        ({"start": datetime(2024, 1, 1)}, ValueError, "no time zone"),
        ({"isolation": "serializable"}, ValueError, "'read_uncommitted' or 'read_committed'"),
        ({"grupo": "g"}, TypeError, "Consumer has no option grupo"),
        ({"instance_id": "i"}, TypeError, "instance_id: for consumers with a group"),
        ({"start": "committed"}, ValueError, "needs a group"),
        ({"group": "g", "commit": "later"}, ValueError, "'after', 'before', 'manual'"),
        ({"group": "g", "assignors": ("sticky",)}, ValueError, "'range', 'roundrobin', 'cooperative-sticky'"),
        ({"partitions": [("t", 0)]}, TypeError, "one of them"),
    ],
)
def test_what_cannot_be_is_refused_at_once(given: dict[str, Any], kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says):
        Consumer("t", **given)


# Reading.


async def test_partitions_keep_their_order_and_take_turns(bootstrap: str, producer: Producer[bytes, bytes]) -> None:
    topic = await filled(bootstrap, producer, count=2_000, partitions=3)
    async with Consumer(topic, bootstrap=bootstrap, start="earliest") as consumer:
        records = await take(consumer, 6_000)
        assert consumer.assignment == [TopicPartition(topic, partition) for partition in range(3)]
        assert consumer.lag() == dict.fromkeys(consumer.assignment, 0)
    for partition in range(3):
        assert numbers([r for r in records if r.partition == partition]) == list(range(2_000))
    assert {record.partition for record in records[:1_500]} == {0, 1, 2}


async def test_batches_and_poll(bootstrap: str, producer: Producer[bytes, bytes]) -> None:
    topic = await filled(bootstrap, producer, count=25)
    async with asyncio.timeout(TIME_LIMIT_S), Consumer(topic, bootstrap=bootstrap, start="earliest") as consumer:
        batches = consumer.batches(10)
        assert numbers(await anext(batches)) == list(range(10))
        assert consumer.position(topic, 0) == 10
        assert numbers(await consumer.poll(7, time_limit=10)) == list(range(10, 17))
        async for record in consumer:
            assert record.offset == 17
            break
        assert numbers(await consumer.poll(time_limit=10)) == list(range(18, 25))
        assert await consumer.poll(time_limit=0.01) == []
        with pytest.raises(ValueError, match="max_records=0"):
            await anext(consumer.batches(0))


async def test_pause_resume_and_seek(bootstrap: str, producer: Producer[bytes, bytes]) -> None:
    topic = await filled(bootstrap, producer, count=10, partitions=2)
    async with asyncio.timeout(TIME_LIMIT_S), Consumer(topic, bootstrap=bootstrap, start="earliest") as consumer:
        await consumer.ready()
        consumer.pause([(topic, 0)])
        assert {record.partition for record in await take(consumer, 10)} == {1}
        assert await consumer.poll(time_limit=0.01) == []
        consumer.resume()
        assert {record.partition for record in await take(consumer, 10)} == {0}
        consumer.seek(8, [(topic, 1)])
        assert numbers(await take(consumer, 2)) == [8, 9]
        consumer.seek(-1)
        assert numbers(await take(consumer, 2)) == [9, 9]
        consumer.seek(T0 + timedelta(seconds=7), [(topic, 0)])
        assert numbers(await take(consumer, 3)) == [7, 8, 9]
        consumer.seek("earliest", [(topic, 0)])
        found = []
        async for record in consumer:
            found.append(record.offset)
            if len(found) == 3:
                consumer.seek(5, [(topic, 0)])
            if len(found) == 5:
                consumer.pause()
                break
        assert found == [0, 1, 2, 5, 6]
        assert await consumer.poll(time_limit=0.01) == []
        consumer.resume()
        assert numbers(await take(consumer, 3)) == [7, 8, 9]
        with pytest.raises(NotFound, match="is not read by this consumer"):
            consumer.seek(0, [(topic, 2)])
        with pytest.raises(ValueError, match="start='end'"):
            consumer.seek("end")  # type: ignore[arg-type]


async def test_single_partitions(bootstrap: str, producer: Producer[bytes, bytes]) -> None:
    topic = await filled(bootstrap, producer, count=5, partitions=3)
    async with Consumer(bootstrap=bootstrap, partitions=[(topic, 2)], start="earliest") as consumer:
        assert {record.partition for record in await take(consumer, 5)} == {2}
        assert consumer.assignment == [(topic, 2)]


@pytest.mark.parametrize("isolation", ["read_uncommitted", "read_committed"])
async def test_isolation(bootstrap: str, producer: Producer[bytes, bytes], isolation: Any) -> None:
    topic = await filled(bootstrap, producer)
    async with Consumer(topic, bootstrap=bootstrap, start="earliest", isolation=isolation) as consumer:
        assert numbers(await take(consumer, 10)) == list(range(10))
        assert await consumer.offsets("latest") == {(topic, 0): 10}


async def test_values_are_decoded_and_one_that_cannot_be_stops_nobody(
    bootstrap: str, producer: Producer[bytes, bytes]
) -> None:
    topic = await new_topic(bootstrap)
    await producer.send_many(topic, [Message(b'{"n":1}', b"a"), Message(b"{", b"b"), Message(None, b"c")])
    async with Consumer(
        topic, bootstrap=bootstrap, start="earliest", key_codec=Text(), value_codec=Json[Any]()
    ) as consumer:
        good, bad, null = await take(consumer, 3)
    assert (good.key, good.value, null.key, null.value) == ("a", {"n": 1}, "c", None)
    with pytest.raises(DecodeFailed, match=f"{topic}-0 offset 1"):
        _ = bad.value


async def test_records_larger_than_the_buffers_come_through(bootstrap: str, producer: Producer[bytes, bytes]) -> None:
    topic = await new_topic(bootstrap)
    values = [bytes([number]) * 300_000 for number in range(6)]
    await producer.send_many(topic, values)
    limits = {"partition_bytes": 1_000, "buffer_bytes": 1_000, "max_bytes": 1_000}
    async with Consumer(topic, bootstrap=bootstrap, start="earliest", **limits) as consumer:  # type: ignore[arg-type]
        assert [record.value for record in await take(consumer, 6)] == values


# Topics that come, brokers that go.


async def test_a_consumer_that_was_there_before_its_topic(bootstrap: str, producer: Producer[bytes, bytes]) -> None:
    topic = a_name()
    async with asyncio.timeout(5), Consumer(topic, bootstrap=bootstrap, start="earliest") as consumer:
        with pytest.raises(TimeoutError):
            await consumer.ready(time_limit=0.01)
        assert consumer.assignment == []
        reading = asyncio.gather(take(consumer, 1))
        async with Admin(bootstrap) as admin:
            assert topic not in {info.name for info in await admin.topics()}, "to read is not to create"
            await admin.create_topic(topic, partitions=2)
        await producer.send(topic, b"1", partition=1)
        assert numbers((await reading)[0]) == [1]


async def test_partitions_that_come_later_are_read_from_their_beginning(
    bootstrap: str, producer: Producer[bytes, bytes]
) -> None:
    topic = await new_topic(bootstrap)
    async with Client(bootstrap, metadata_max_age=0.05) as client, Consumer(topic, client=client) as consumer:
        await consumer.ready()
        async with Admin(client=client) as admin:
            await admin.grow_topic(topic, 2)
        async with Producer(bootstrap) as another:
            await another.send(topic, b"7", partition=1)
        assert numbers(await take(consumer, 1)) == [7]
        assert consumer.assignment == [(topic, 0), (topic, 1)]


async def test_a_restart_of_the_broker_is_not_noticed(broker_process: BrokerProcess) -> None:
    bootstrap, count = broker_process.bootstrap, 1_500
    topic = await new_topic(bootstrap, 2)
    async with (
        asyncio.timeout(60),
        nothing_left(),
        Producer(bootstrap) as producer,
        Consumer(topic, bootstrap=bootstrap, start="earliest") as consumer,
    ):

        async def produce() -> None:
            for number in range(count):
                await producer.send(topic, b"%d" % number, partition=number % 2)

        async def restart() -> None:
            await asyncio.to_thread(broker_process.kill)
            await asyncio.to_thread(broker_process.start)

        async with asyncio.TaskGroup() as group:
            group.create_task(produce())
            found = await take(consumer, count // 3)
            group.create_task(restart())
            found += await take(consumer, count - count // 3)
    for partition in (0, 1):
        assert numbers([r for r in found if r.partition == partition]) == list(range(partition, count, 2))


# Several, and the end.


async def test_two_consumers_each_get_everything(bootstrap: str, producer: Producer[bytes, bytes]) -> None:
    topic = await filled(bootstrap, producer, count=500)
    async with (
        nothing_left(),
        Client(bootstrap) as client,
        Consumer(topic, client=client, start="earliest") as one,
        Consumer(topic, client=client, start="earliest") as two,
    ):
        for records in await asyncio.gather(take(one, 500), take(two, 500)):
            assert numbers(records) == list(range(500))
        await one.close()
        await producer.send(topic, b"500")
        assert numbers(await take(two, 1)) == [500]


async def test_a_consumer_that_waits_does_not_hold_up_another(bootstrap: str, producer: Producer[bytes, bytes]) -> None:
    quiet, busy = await new_topic(bootstrap), await new_topic(bootstrap)
    async with (
        Client(bootstrap) as client,
        Consumer(quiet, client=client, start="earliest", max_wait=20) as waiting,
        Consumer(busy, client=client, start="earliest") as reading,
    ):
        assert await waiting.poll(time_limit=0.1) == []
        async with asyncio.timeout(10):
            await producer.send(busy, b"1")
            assert numbers(await take(reading, 1)) == [1]


async def test_two_that_read_one_consumer_share_its_records(bootstrap: str, producer: Producer[bytes, bytes]) -> None:
    topic = await filled(bootstrap, producer, count=1_000)
    async with Consumer(topic, bootstrap=bootstrap, start="earliest") as consumer:
        found: list[Record] = []

        async def read() -> None:
            while len(found) < 1_000:
                found.extend(await consumer.poll(10, time_limit=0.1))

        async with asyncio.timeout(TIME_LIMIT_S), asyncio.TaskGroup() as group:
            group.create_task(read())
            group.create_task(read())
    assert sorted(numbers(found)) == list(range(1_000))


async def test_close_wakes_who_waits_and_use_after_it_says_closed(bootstrap: str) -> None:
    topic = await new_topic(bootstrap)
    consumer = Consumer(topic, bootstrap=bootstrap)
    with pytest.raises(Closed, match="use it in `async with"):
        await consumer.poll(time_limit=1)
    async with nothing_left():
        await consumer.__aenter__()
        waiting = asyncio.gather(take(consumer, 1), anext(consumer.batches()), return_exceptions=True)
        await consumer.ready()
        await consumer.close()
        await consumer.close()
        assert [type(error) for error in await waiting] == [Closed, Closed]
        for use in (consumer.poll(time_limit=1), consumer.ready(), consumer.offsets("latest"), take(consumer, 1)):
            with pytest.raises(Closed, match="consumer is closed"):
                await use
        for call in (consumer.pause, consumer.resume, consumer.lag, lambda: consumer.position(topic, 0)):
            with pytest.raises(Closed):
                call()


async def test_a_client_that_is_closed_first_ends_its_consumers(bootstrap: str) -> None:
    topic = await new_topic(bootstrap)
    async with asyncio.timeout(TIME_LIMIT_S), nothing_left():
        client = Client(bootstrap)
        async with client, Consumer(topic, client=client) as consumer:
            waiting = asyncio.gather(anext(consumer.batches()), return_exceptions=True)
            await consumer.ready()
            await client.close()
            assert isinstance((await waiting)[0], Closed)
            with pytest.raises(Closed):
                await consumer.poll(time_limit=1)


async def test_a_topic_that_is_deleted_and_made_again_is_read_from_its_beginning(
    bootstrap: str, producer: Producer[bytes, bytes]
) -> None:
    topic = await filled(bootstrap, producer, partitions=2)
    async with Admin(bootstrap) as admin, Consumer(topic, bootstrap=bootstrap, start="earliest") as consumer:
        await take(consumer, 20)
        await admin.delete_topic(topic)
        await admin.create_topic(topic)
        async with Producer(bootstrap) as another:
            await another.send_many(topic, [b"%d" % number for number in range(15)])
        assert numbers(await take(consumer, 15)) == list(range(15))
        assert consumer.assignment == [(topic, 0)]


async def test_errors_are_of_one_family(bootstrap: str) -> None:
    topic = await new_topic(bootstrap)
    async with Consumer(topic, bootstrap=bootstrap) as consumer:
        with pytest.raises(KafkaError):
            consumer.position(topic, 9)
