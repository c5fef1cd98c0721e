"""Request and reply over ordinary topics, and what the headers of it look like to others."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import pytest
from tests.support.sdk import TIME_LIMIT_S, a_name, new_topic, nothing_left, read_all, take

from pybroker import Client, Consumer, Json, Producer, Record
from pybroker.errors import Closed, Rejected, TimedOut


@asynccontextmanager
async def service(bootstrap: str, topic: str, **options: Any) -> AsyncIterator[None]:
    """Replies to each request with its value doubled."""

    async def serve(consumer: Consumer) -> None:
        async for record in consumer:
            await record.reply(record.value * 2, headers={"status": "ok"})

    async with Consumer(topic, group=a_name(), bootstrap=bootstrap, **options) as consumer:
        serving = asyncio.ensure_future(serve(consumer))
        try:
            yield
        finally:
            serving.cancel()
            await asyncio.wait([serving])


async def test_each_request_gets_its_own_reply(bootstrap: str) -> None:
    topic = await new_topic(bootstrap, 3)
    async with asyncio.timeout(TIME_LIMIT_S), nothing_left(), service(bootstrap, topic), Client(bootstrap) as client:
        replies = await asyncio.gather(*(client.request(topic, b"%d." % number) for number in range(50)))
        assert [reply.value for reply in replies] == [b"%d.%d." % (number, number) for number in range(50)]
        assert replies[0].topic == f"{topic}.replies"
        assert replies[0].header("status") == b"ok"


async def test_requesters_share_a_reply_topic(bootstrap: str) -> None:
    topic, reply_topic = await new_topic(bootstrap), await new_topic(bootstrap, 2)
    async with (
        service(bootstrap, topic),
        Client(bootstrap) as one,
        Client(bootstrap) as two,
    ):
        replies = await asyncio.gather(
            *(client.request(topic, b"%d" % n, reply_topic=reply_topic) for n in range(20) for client in (one, two))
        )
        assert [reply.value for reply in replies] == [b"%d%d" % (n, n) for n in range(20) for _ in (one, two)]


async def test_values_go_through_codecs_both_ways(bootstrap: str) -> None:
    topic = await new_topic(bootstrap)
    async with service(bootstrap, topic, value_codec=Json()), Client(bootstrap) as client:
        reply = await client.request(topic, [1, "x"], key="k", value_codec=Json())
        assert reply.value == [1, "x", 1, "x"]


async def test_the_headers_are_those_that_spring_kafka_writes(bootstrap: str) -> None:
    topic, reply_topic = await new_topic(bootstrap), await new_topic(bootstrap, 300)
    async with Client(bootstrap) as client, Consumer(topic, bootstrap=bootstrap, start="earliest") as consumer:
        asking = asyncio.ensure_future(client.request(topic, b"?", headers={"own": "1"}, reply_topic=reply_topic))
        [request] = await take(consumer, 1)
        headers = dict(request.headers)
        assert list(headers) == ["own", "kafka_correlationId", "kafka_replyTopic", "kafka_replyPartition"]
        assert len(headers["kafka_correlationId"] or b"") == 16
        assert headers["kafka_replyTopic"] == reply_topic.encode()
        (partition,) = struct.unpack(">i", headers["kafka_replyPartition"] or b"")
        # A reply as Spring sends it: the same id, to that partition.
        async with Producer(bootstrap) as producer:
            await producer.send(
                reply_topic,
                b"!",
                partition=partition,
                headers={"kafka_correlationId": headers["kafka_correlationId"]},
            )
        assert (await asking).value == b"!"


@pytest.mark.parametrize(
    ("partition", "text"), [(2, struct.pack(">i", 2)), (1, b"1"), (None, None)], ids=["int32", "text", "none"]
)
async def test_requests_of_others_are_replied_to_where_they_say(
    bootstrap: str, partition: int | None, text: bytes | None
) -> None:
    topic, reply_topic, correlation_id = await new_topic(bootstrap), await new_topic(bootstrap, 3), uuid4().bytes
    headers = {"kafka_correlationId": correlation_id, "kafka_replyTopic": reply_topic.encode()}
    if text is not None:
        headers["kafka_replyPartition"] = text
    async with Producer(bootstrap) as producer:
        await producer.send(topic, b"a", headers=headers)
    async with Consumer(topic, bootstrap=bootstrap, start="earliest") as consumer:
        [request] = await take(consumer, 1)
        await request.reply(b"b", key="k")
    replies: list[Record] = [record for found in (await read_all(bootstrap, reply_topic)).values() for record in found]
    assert [(reply.key, reply.value, reply.headers) for reply in replies] == [
        (b"k", b"b", [("kafka_correlationId", correlation_id)])
    ]
    assert partition in (None, replies[0].partition)


async def test_no_reply_in_time_is_told_and_a_late_one_harms_nobody(bootstrap: str) -> None:
    topic = await new_topic(bootstrap)
    async with asyncio.timeout(TIME_LIMIT_S), nothing_left(), Client(bootstrap) as client:
        with pytest.raises(TimedOut, match=f"no reply to a request on {topic} within 0.5 s"):
            await client.request(topic, b"1", timeout=0.5)
        async with service(bootstrap, topic):  # begins with the request that was given up
            assert (await client.request(topic, b"2")).value == b"22"


async def test_a_record_that_asks_for_no_reply_gets_none(bootstrap: str) -> None:
    topic = await new_topic(bootstrap)
    async with Producer(bootstrap) as producer:
        await producer.send(topic, b"a")
    async with Consumer(topic, bootstrap=bootstrap, start="earliest") as consumer:
        [record] = await take(consumer, 1)
        with pytest.raises(Rejected, match="asks for no reply"):
            await record.reply(b"b")


async def test_closing_the_client_ends_who_waits(bootstrap: str) -> None:
    topic = await new_topic(bootstrap)
    async with asyncio.timeout(TIME_LIMIT_S), nothing_left():
        async with Client(bootstrap) as client:
            asking = asyncio.ensure_future(client.request(topic, b"?"))
            async with Consumer(topic, bootstrap=bootstrap, start="earliest") as consumer:
                await take(consumer, 1)
        with pytest.raises(Closed):
            await asking
        with pytest.raises(Closed):
            await client.request(topic, b"?")
