"""Request and reply over ordinary topics, with the headers that Spring Kafka uses, so that either side may be Spring's.

Rules: a request carries an id of its own (`kafka_correlationId`, 16 bytes), and where its reply is to go
(`kafka_replyTopic`, text; `kafka_replyPartition`, an int32). The reply carries the same id. Requesters share reply
topics: each reads one partition of them from its end, and ignores what answers others. Who replies returns the id as it
came, whatever its form; a partition written as decimal text, as other frameworks do it, is understood too.
"""

from __future__ import annotations

import asyncio
import logging
import random
import struct
from typing import Any, Final
from uuid import uuid4

from pybroker.admin import Admin
from pybroker.client import Client
from pybroker.codecs import Codec, Raw
from pybroker.consumer import Consumer
from pybroker.errors import Closed, KafkaError, Rejected, TimedOut
from pybroker.producer import Producer
from pybroker.producer_input import HeadersIn, headers_of
from pybroker.record import Record

__all__ = ["CORRELATION_ID", "REPLY_PARTITION", "REPLY_TOPIC", "RequestReply"]

log = logging.getLogger("pybroker.client")

CORRELATION_ID: Final = "kafka_correlationId"
REPLY_TOPIC: Final = "kafka_replyTopic"
REPLY_PARTITION: Final = "kafka_replyPartition"
_INT32: Final = struct.Struct(">i")


class RequestReply:
    """Of one client; what it needs is opened when it is first used."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._producer: Producer[Any, Any] | None = None
        self._replies: dict[str, _Replies] = {}
        self._opening = asyncio.Lock()

    async def request(
        self,
        topic: str,
        value: Any,
        *,
        time_limit: float,
        key: Any = None,
        headers: HeadersIn | None = None,
        reply_topic: str | None = None,
        value_codec: Codec[Any] | None = None,
    ) -> Record:
        """See `Client.request`."""
        codec = value_codec or Raw()
        try:
            async with asyncio.timeout(time_limit):
                replies = await self._replies_in(reply_topic or f"{topic}.replies")
                producer = await self._open_producer()
                correlation_id = uuid4().bytes
                answer = replies.expect(correlation_id)
                try:
                    await producer.send(
                        topic,
                        None if value is None else codec.encode(value),
                        key=None if key is None else _bytes_of(key),
                        headers=[
                            *headers_of(headers or ()),
                            (CORRELATION_ID, correlation_id),
                            (REPLY_TOPIC, replies.topic),
                            (REPLY_PARTITION, _INT32.pack(replies.partition)),
                        ],
                    )
                    return (await answer).decoded_by(codec)
                finally:
                    replies.forget(correlation_id)
        except TimeoutError as error:
            if isinstance(error, KafkaError):
                raise
            raise TimedOut(f"no reply to a request on {topic} within {time_limit:g} s") from None

    async def reply(self, record: Record, value: bytes | None, key: Any, headers: HeadersIn | None) -> None:
        """See `Record.reply`."""
        found = dict(record.headers)
        topic, correlation_id = found.get(REPLY_TOPIC), found.get(CORRELATION_ID)
        if not topic or correlation_id is None:
            raise Rejected(f"{record!r} asks for no reply: it has no {REPLY_TOPIC} and {CORRELATION_ID} headers")
        producer = await self._open_producer()
        await producer.send(
            topic.decode(),
            value,
            key=None if key is None else _bytes_of(key),
            headers=[*headers_of(headers or ()), (CORRELATION_ID, correlation_id)],
            partition=_partition_of(found.get(REPLY_PARTITION)),
        )

    async def close(self) -> None:
        replies, self._replies = list(self._replies.values()), {}
        producer, self._producer = self._producer, None
        for each in replies:
            await each.close()
        if producer is not None:
            await producer.close()

    async def _open_producer(self) -> Producer[Any, Any]:
        async with self._opening:
            if self._producer is None:
                producer: Producer[Any, Any] = Producer(client=self._client, linger=0)
                await producer.__aenter__()
                self._producer = producer
            return self._producer

    async def _replies_in(self, topic: str) -> _Replies:
        async with self._opening:
            replies = self._replies.get(topic)
            if replies is None or replies.is_over:
                replies = _Replies(self._client, topic)
                await replies.open()
                self._replies[topic] = replies
            return replies


class _Replies:
    """One partition of a reply topic, and who waits for what comes there."""

    def __init__(self, client: Client, topic: str) -> None:
        self.topic = topic
        self.partition = -1
        self.is_over = False
        self._client = client
        self._waiting: dict[bytes, asyncio.Future[Record]] = {}
        self._consumer: Consumer | None = None

    async def open(self) -> None:
        """Returns when no reply to what is asked from now on can be missed."""
        async with Admin(client=self._client) as admin:
            if not any(info.name == self.topic for info in await admin.topics()):
                await admin.create_topic(self.topic, exist_ok=True)
        self._client.track([self.topic])
        try:
            view = await self._client.topic(self.topic, time_limit=self._client.request_timeout)
            self.partition = random.randrange(len(view.partitions))
            consumer = Consumer(partitions=[(self.topic, self.partition)], client=self._client, max_wait=5.0)
            await consumer.__aenter__()
        finally:
            self._client.untrack([self.topic])
        try:
            await consumer.ready()
        except BaseException:
            await consumer.close()
            raise
        self._consumer = consumer
        self._client.tasks.spawn(f"replies in {self.topic}", self._read(consumer))

    def expect(self, correlation_id: bytes) -> asyncio.Future[Record]:
        waiter: asyncio.Future[Record] = asyncio.get_running_loop().create_future()
        self._waiting[correlation_id] = waiter
        return waiter

    def forget(self, correlation_id: bytes) -> None:
        self._waiting.pop(correlation_id, None)

    async def close(self) -> None:
        self.is_over = True
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.close()

    async def _read(self, consumer: Consumer) -> None:
        error: KafkaError = Closed("the client was closed")
        try:
            async for record in consumer:
                waiter = self._waiting.pop(record.header(CORRELATION_ID) or b"", None)
                if waiter is not None and not waiter.done():
                    waiter.set_result(record)
        except KafkaError as failure:
            error = failure
        finally:
            self.is_over = True
            for waiter in self._waiting.values():
                if not waiter.done():
                    waiter.set_exception(error)
                    waiter.exception()
        if not isinstance(error, Closed):
            log.warning("replies in %s cannot be read any more: %s", self.topic, error)
            await consumer.close()


def _partition_of(data: bytes | None) -> int | None:
    """Where the reply is to go; None leaves it to the topic's partitioner."""
    if data is None:
        return None
    if len(data) == _INT32.size:
        partition: int = _INT32.unpack(data)[0]
        return partition if partition >= 0 else None
    return int(data) if data.isdigit() else None


def _bytes_of(key: Any) -> bytes:
    return key.encode() if isinstance(key, str) else Raw().encode(key)
