"""The SDK's producer against a broker process: what was acknowledged is there, once and in order, or the error says."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest
from tests.support.broker_process import BrokerProcess, free_port, running_broker
from tests.support.sdk import TIME_LIMIT_S, a_name, new_topic, nothing_left, read_all

from pybroker import Admin, Client, Delivery, Json, Message, Producer, SendManyFailed, Text
from pybroker.errors import BufferFull, Closed, ConnectionFailed, NotFound, Rejected, TimedOut, TooLarge
from pybroker.partitioner import partition_for_key
from pybroker_protocol.errors import ErrorCode


@pytest.fixture
async def producer(bootstrap: str) -> AsyncIterator[Producer[bytes, bytes]]:
    async with nothing_left(), Producer(bootstrap) as producer:
        yield producer


# Sending.


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
async def test_every_codec(bootstrap: str, codec: Literal["none", "gzip", "snappy", "lz4", "zstd"]) -> None:
    topic = await new_topic(bootstrap)
    values = [f"value {number} ".encode() * number for number in range(200)]
    async with Producer(bootstrap, compression=codec) as producer:
        result = await producer.send_many(topic, values)
    assert result.offsets == {0: [range(200)]}
    assert [record.value for record in (await read_all(bootstrap, topic))[0]] == values


async def test_send_says_where_the_record_is(bootstrap: str, producer: Producer[bytes, bytes]) -> None:
    topic = await new_topic(bootstrap, 3)
    when = datetime(2024, 2, 29, 12, 0, 0, 123_000, tzinfo=UTC)
    sent = await producer.send(topic, b"v", key=b"k", headers={"a": "1", "b": None}, partition=2, timestamp=when)
    assert (sent.topic, sent.partition, sent.offset, sent.timestamp) == (topic, 2, 0, when)
    tombstone = await producer.send(topic, None, key=b"k", partition=2)
    assert tombstone.offset == 1
    first, second = (await read_all(bootstrap, topic))[2]
    assert (first.key, first.value, first.headers, first.timestamp) == (b"k", b"v", [("a", b"1"), ("b", None)], when)
    assert (second.key, second.value, second.headers) == (b"k", None, [])


async def test_keys_decide_the_partition(bootstrap: str, producer: Producer[bytes, bytes]) -> None:
    topic = await new_topic(bootstrap, 5)
    keys = [b"key %d" % number for number in range(40)]
    sent = await asyncio.gather(*(producer.send(topic, b"v", key=key) for key in keys))
    assert [each.partition for each in sent] == [partition_for_key(key, 5) for key in keys]


async def test_records_without_a_key_reach_every_partition(bootstrap: str, producer: Producer[bytes, bytes]) -> None:
    topic = await new_topic(bootstrap, 3)
    one_by_one = [(await producer.send(topic, b"v")).partition for _ in range(60)]
    assert set(one_by_one) == {0, 1, 2}
    many = await producer.send_many(topic, [b"x" * 100_000] * 60)
    assert set(many.offsets) == {0, 1, 2}


async def test_send_nowait_and_flush(bootstrap: str, producer: Producer[bytes, bytes]) -> None:
    topic = await new_topic(bootstrap)
    with pytest.raises(NotFound, match=f"await producer.prepare\\('{topic}'\\) before send_nowait"):
        producer.send_nowait(topic, b"too early")
    await producer.prepare(topic)
    deliveries = [producer.send_nowait(topic, b"%d" % number) for number in range(1_000)]
    assert not deliveries[-1].is_done
    await producer.flush()
    assert [delivery.result().offset for delivery in deliveries] == list(range(1_000))
    await producer.flush()


async def test_send_many_of_everything(bootstrap: str, producer: Producer[bytes, bytes]) -> None:
    topic = await new_topic(bootstrap, 2)
    given = [
        b"plain",
        Message(b"keyed", b"k", {"h": "1"}, partition=1, timestamp=1_000),
        Message(b"after", b"k", partition=1, timestamp=1_001),
        None,
    ]
    result = await producer.send_many(topic, given, timestamp=5_000)
    assert (len(result), result.failed) == (4, ())
    assert [(each.partition, each.timestamp_ms) for each in result][1:3] == [(1, 1_000), (1, 1_001)]
    found = await read_all(bootstrap, topic)
    assert sorted((r.value or b"", r.key, r.timestamp_ms) for records in found.values() for r in records) == [
        (b"", None, 5_000),
        (b"after", b"k", 1_001),
        (b"keyed", b"k", 1_000),
        (b"plain", None, 5_000),
    ]


async def test_senders_that_share_batches_are_told_of_their_own_records(
    bootstrap: str, producer: Producer[bytes, bytes]
) -> None:
    topic = await new_topic(bootstrap)
    batches = [[Message(b"%d-%d" % (sender, n), b"key") for n in range(50)] for sender in range(6)]
    results = await asyncio.gather(*(producer.send_many(topic, messages) for messages in batches))
    by_offset = {record.offset: record.value for record in (await read_all(bootstrap, topic))[0]}
    for messages, result in zip(batches, results, strict=True):
        assert [by_offset[each.offset] for each in result] == [message.value for message in messages]


async def test_an_endless_source_waits_for_room(bootstrap: str) -> None:
    topic = await new_topic(bootstrap)
    async with Producer(bootstrap, buffer_bytes=100_000, batch_bytes=10_000) as producer:
        buffered = []

        def source() -> Iterator[bytes]:
            for _ in range(20_000):
                buffered.append(producer._accumulator.buffered_bytes)
                yield b"x" * 100

        assert len(await producer.send_many(topic, source())) == 20_000
        assert max(buffered) <= 100_000


async def test_a_record_that_does_not_fit_waits_and_lets_others_run(bootstrap: str) -> None:
    topic = await new_topic(bootstrap)
    async with asyncio.timeout(TIME_LIMIT_S), Producer(bootstrap, buffer_bytes=10_000) as producer:
        await producer.prepare(topic)
        producer.send_nowait(topic, b"x" * 6_000)
        with pytest.raises(BufferFull, match=r"await producer.ready\(\)"):
            producer.send_nowait(topic, b"x" * 6_000)
        await producer.ready()
        producer.send_nowait(topic, b"x" * 6_000)
        sent = await asyncio.gather(*(producer.send(topic, b"x" * size) for size in (6_000, 50_000, 100, 6_000)))
    assert sorted(each.offset for each in sent) == [2, 3, 4, 5]


async def test_codecs_and_their_mistakes(bootstrap: str) -> None:
    topic = await new_topic(bootstrap)
    async with Producer(bootstrap, key_codec=Text(), value_codec=Json[Any]()) as producer:
        await producer.send(topic, {"n": 1}, key="ü")
        with pytest.raises(TypeError, match="not JSON serializable"):
            await producer.send(topic, {"n": object()})
        with pytest.raises(TypeError, match="a str is needed, not int"):
            await producer.send(topic, 1, key=5)  # type: ignore[arg-type]
    assert [(r.key, r.value) for r in (await read_all(bootstrap, topic))[0]] == [("ü".encode(), b'{"n":1}')]


@pytest.mark.parametrize("acks", [0, 1])
async def test_fewer_acks(bootstrap: str, acks: Literal[0, 1]) -> None:
    topic = await new_topic(bootstrap)
    async with Producer(bootstrap, acks=acks) as producer:
        sent = [await producer.send(topic, b"%d" % number) for number in range(20)]
    assert [each.offset for each in sent] == ([-1] * 20 if acks == 0 else list(range(20)))
    async with Producer(bootstrap) as last:  # a broker takes what one connection brings before the next one's
        await last.send(topic, b"last")
    values = [record.value for record in (await read_all(bootstrap, topic))[0]]
    assert sorted(values) == sorted([*(b"%d" % number for number in range(20)), b"last"])


async def test_the_time_is_the_brokers_where_the_topic_says_so(
    bootstrap: str, producer: Producer[bytes, bytes]
) -> None:
    topic = await new_topic(bootstrap, message_timestamp_type="LogAppendTime")
    sent = await producer.send(topic, b"v", timestamp=1_000)
    assert sent.timestamp_ms > 1_600_000_000_000
    assert (await read_all(bootstrap, topic))[0][0].timestamp_ms == sent.timestamp_ms


# Errors.


async def test_a_record_too_large_is_refused_and_the_others_are_not(
    bootstrap: str, producer: Producer[bytes, bytes]
) -> None:
    topic = await new_topic(bootstrap, max_message_bytes="2000")
    await producer.prepare(topic)
    before, large, after = (producer.send_nowait(topic, b"x" * size) for size in (1_000, 3_000, 1_000))
    assert (await before).offset == 0
    with pytest.raises(TooLarge, match=f"produce to {topic}-0") as caught:
        await large
    assert caught.value.code is ErrorCode.MESSAGE_TOO_LARGE
    assert (await after).offset == 1
    values = [b"x" * 500] * 20
    values[7] = b"x" * 3_000
    with pytest.raises(SendManyFailed, match="1 of 20 records were not delivered") as failed:
        await producer.send_many(topic, values)
    assert (failed.value.result.delivered, failed.value.result.failed[0].count) == (19, 1)
    assert (await producer.send(topic, b"goes on")).offset == 21


async def test_what_the_broker_finds_invalid_is_told_in_its_words(
    bootstrap: str, producer: Producer[bytes, bytes]
) -> None:
    topic = await new_topic(bootstrap, cleanup_policy="compact")
    with pytest.raises(Rejected) as caught:
        await producer.send(topic, b"no key")
    assert caught.value.code is ErrorCode.INVALID_RECORD
    assert topic in str(caught.value)
    assert (await producer.send(topic, b"v", key=b"k")).offset == 0


@pytest.mark.parametrize(("partition", "says"), [(3, "has partitions 0 to 2, not 3"), (-1, "not -1")])
async def test_a_partition_that_is_not_there(
    bootstrap: str, producer: Producer[bytes, bytes], partition: int, says: str
) -> None:
    topic = await new_topic(bootstrap, 3)
    with pytest.raises(NotFound, match=says):
        await producer.send(topic, b"v", partition=partition)
    with pytest.raises(NotFound, match=says):
        await producer.send_many(topic, [b"v"], partition=partition)


@pytest.mark.parametrize("name", ["", "a/b", "x" * 250, ".."])
async def test_a_topic_that_cannot_be(producer: Producer[bytes, bytes], name: str) -> None:
    with pytest.raises(Rejected) as caught:
        await producer.send(name, b"v")
    assert caught.value.code is ErrorCode.INVALID_TOPIC_EXCEPTION


async def test_an_unknown_topic_is_created_or_not_found(
    bootstrap: str, producer: Producer[bytes, bytes], tmp_path: Path
) -> None:
    assert (await producer.send(a_name("auto"), b"v")).offset == 0
    with running_broker(tmp_path / "data", {"auto.create.topics.enable": "false"}) as broker:
        async with Producer(broker.bootstrap, delivery_timeout=1.5) as impatient:
            with pytest.raises(NotFound, match="topic missing does not exist") as caught:
                await impatient.send("missing", b"v")
            assert caught.value.code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        async with Producer(broker.bootstrap) as patient, asyncio.TaskGroup() as group:
            sending = group.create_task(patient.send("later", b"v"))
            async with Admin(broker.bootstrap) as admin:
                assert not sending.done()
                await admin.create_topic("later")
        assert sending.result().offset == 0


async def test_nobody_listens() -> None:
    port = free_port()
    async with nothing_left():
        with pytest.raises(ConnectionFailed, match=f"cannot connect to bootstrap server 127.0.0.1:{port}"):
            await Client(f"127.0.0.1:{port}", connect_timeout=0.2).open()


# A broker that goes away.


async def test_nothing_is_lost_doubled_or_moved_when_the_broker_is_killed(broker_process: BrokerProcess) -> None:
    bootstrap, count, partitions = broker_process.bootstrap, 4_000, 3
    topic = await new_topic(bootstrap, partitions)

    async def kill_and_start() -> None:
        await asyncio.to_thread(broker_process.kill)
        await asyncio.to_thread(broker_process.start)

    async with asyncio.timeout(60), Producer(bootstrap, linger=0.001) as producer, asyncio.TaskGroup() as group:
        await producer.prepare(topic)
        deliveries: list[Delivery] = []
        for number in range(count):
            if number in (1_000, 2_500):
                group.create_task(kill_and_start())
            if number >= 300:
                await deliveries[number - 300]
            deliveries.append(producer.send_nowait(topic, b"%d" % number, partition=number % partitions))
        sent = [await delivery for delivery in deliveries]
    found = await read_all(bootstrap, topic)
    for partition, records in found.items():
        assert [int(record.value) for record in records] == list(range(partition, count, partitions))
        assert [record.offset for record in records] == [each.offset for each in sent if each.partition == partition]


async def test_a_record_that_cannot_be_delivered_in_time_says_what_happened(broker_process: BrokerProcess) -> None:
    topic = await new_topic(broker_process.bootstrap)
    async with Producer(broker_process.bootstrap, delivery_timeout=0.4) as producer:
        await producer.send(topic, b"before")
        broker_process.kill()
        with pytest.raises(TimedOut, match=r"a batch of 1 records for .*-0 .* within 0.4 s"):
            await producer.send(topic, b"v")
        with pytest.raises(SendManyFailed, match="3 of 3 records were not delivered"):
            await producer.send_many(topic, [b"v"] * 3)
        broker_process.start()
        async with asyncio.timeout(TIME_LIMIT_S):
            while True:
                try:
                    await producer.send(topic, b"after")
                    break
                except TimedOut:
                    continue
    assert [record.value for record in (await read_all(broker_process.bootstrap, topic))[0]] == [b"before", b"after"]


async def test_a_broker_that_hangs_is_not_waited_for_longer_than_asked(broker_process: BrokerProcess) -> None:
    topic = await new_topic(broker_process.bootstrap)
    async with Producer(broker_process.bootstrap, delivery_timeout=0.2) as producer:
        await producer.send(topic, b"before")
        os.kill(broker_process.pid, signal.SIGSTOP)
        try:
            async with asyncio.timeout(5):
                with pytest.raises(TimedOut, match=r"sent but not confirmed within 0.2 s; it may have been written"):
                    await producer.send(topic, b"v")
        finally:
            os.kill(broker_process.pid, signal.SIGCONT)


async def test_an_answer_that_comes_after_the_end_disturbs_nobody(
    broker_process: BrokerProcess, caplog: pytest.LogCaptureFixture
) -> None:
    topic = await new_topic(broker_process.bootstrap)
    async with Client(broker_process.bootstrap) as client, Admin(client=client) as admin:
        async with Producer(client, delivery_timeout=0.2) as producer:
            await producer.send(topic, b"before")
            os.kill(broker_process.pid, signal.SIGSTOP)
            delivery = producer.send_nowait(topic, b"v")
        os.kill(broker_process.pid, signal.SIGCONT)
        with pytest.raises(Closed, match="closed before the record was acknowledged"):
            await delivery
        assert (await admin.topic(topic)).name == topic
    assert caplog.records == []


# The end.


async def test_close_sends_what_is_left(bootstrap: str) -> None:
    topic = await new_topic(bootstrap)
    async with nothing_left():
        producer = Producer(bootstrap, linger=60)
        await producer.__aenter__()
        await producer.prepare(topic)
        deliveries = [producer.send_nowait(topic, b"%d" % number) for number in range(500)]
        await producer.close()
        await producer.close()
    assert [delivery.result().offset for delivery in deliveries] == list(range(500))
    assert len((await read_all(bootstrap, topic))[0]) == 500


async def test_close_tells_what_could_not_be_sent(
    broker_process: BrokerProcess, caplog: pytest.LogCaptureFixture
) -> None:
    topic = await new_topic(broker_process.bootstrap)
    async with nothing_left(), Producer(broker_process.bootstrap, delivery_timeout=0.3) as producer:
        await producer.prepare(topic)
        broker_process.kill()
        asked = producer.send_nowait(topic, b"v", partition=0)
        producer.send_nowait(topic, b"v", partition=0)
    with pytest.raises((TimedOut, Closed)):
        asked.result()
    del asked
    gc.collect()
    assert f"1 records for {topic}-0 were not delivered, and nobody asked" in caplog.text


async def test_use_after_close_and_before_open(bootstrap: str) -> None:
    topic = await new_topic(bootstrap)
    producer = Producer(bootstrap)
    with pytest.raises(Closed, match="use it in `async with"):
        await producer.send(topic, b"v")
    async with producer:
        await producer.prepare(topic)
    for use in (producer.send(topic, b"v"), producer.send_many(topic, [b"v"]), producer.flush(), producer.ready()):
        with pytest.raises(Closed, match="producer is closed"):
            await use
    with pytest.raises(Closed):
        producer.send_nowait(topic, b"v")
    with pytest.raises(Closed):
        await producer.__aenter__()


async def test_a_client_that_is_closed_first_ends_its_producers(bootstrap: str) -> None:
    topic = await new_topic(bootstrap)
    async with asyncio.timeout(TIME_LIMIT_S), nothing_left():
        client = Client(bootstrap)
        async with client, Producer(client=client) as producer:
            await producer.send(topic, b"v")
            await client.close()
            with pytest.raises(Closed):
                await producer.send(topic, b"v")
            with pytest.raises(Closed):
                await producer.send(a_name(), b"v")


async def test_producers_of_one_client_share_its_connection(bootstrap: str) -> None:
    topic = await new_topic(bootstrap)
    async with nothing_left(), Client(bootstrap) as client:
        async with Producer(client=client) as one, Producer(client) as two:
            await asyncio.gather(one.send(topic, b"1"), two.send(topic, b"2"))
            assert len(client.pool.open_connections) == 1
        async with Producer(client) as three:
            assert (await three.send(topic, b"3")).offset == 2
