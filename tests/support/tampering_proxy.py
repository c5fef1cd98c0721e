"""A proxy that harms records between a producer and its broker, so that neither can notice: what only a check of every
record from end to end can find. Batches are made anew with right checksums and counts."""

from __future__ import annotations

import asyncio
import struct
import threading
from collections.abc import Callable
from typing import Any

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.codec import decoder
from pybroker_protocol.frame import encode_request
from pybroker_protocol.header import decode_request_header
from pybroker_protocol.messages import ProduceRequest
from pybroker_protocol.records.builder import RecordBatchBuilder
from pybroker_protocol.records.record import iter_records

Harm = Callable[[list[bytes]], list[bytes]]
"""The values of a batch, and what they become."""


def lose_one(values: list[bytes]) -> list[bytes]:
    return values[:5] + values[6:]


def duplicate_one(values: list[bytes]) -> list[bytes]:
    return [*values[:6], values[5], *values[6:]]


def swap_two(values: list[bytes]) -> list[bytes]:
    return [*values[:5], values[6], values[5], *values[7:]]


def flip_a_bit(values: list[bytes]) -> list[bytes]:
    flipped = bytearray(values[5])
    flipped[-1] ^= 0x10
    return [*values[:5], bytes(flipped), *values[6:]]


class TamperingProxy:
    """Stands on `port` before the broker on `broker_port`, in a thread of its own, and does its harm to one batch."""

    def __init__(self, port: int, broker_port: int, harm: Harm) -> None:
        self._port = port
        self._broker_port = broker_port
        self._harm = harm
        self.is_done = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="tampering-proxy")
        self._listening = threading.Event()

    def __enter__(self) -> TamperingProxy:
        self._thread.start()
        assert self._listening.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        self._stop = asyncio.Event()
        self._connections: set[asyncio.Task[Any]] = set()
        server = await asyncio.start_server(self._connected, "127.0.0.1", self._port)
        self._listening.set()
        await self._stop.wait()
        server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        upstream_reader, upstream = await asyncio.open_connection("127.0.0.1", self._broker_port)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(_copy(upstream_reader, writer))
                both.create_task(self._requests(reader, upstream))
        except* (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._connections.discard(task)
            upstream.close()
            writer.close()

    async def _requests(self, reader: asyncio.StreamReader, upstream: asyncio.StreamWriter) -> None:
        while True:
            size = await reader.readexactly(4)
            frame = await reader.readexactly(struct.unpack(">i", size)[0])
            upstream.write(self._tampered(frame) or size + frame)
            await upstream.drain()

    def _tampered(self, frame: bytes) -> bytes | None:
        view = memoryview(frame)
        header, position = decode_request_header(view)
        if header.api_key != ApiKey.PRODUCE or self.is_done:
            return None
        request, _ = decoder(ProduceRequest, header.api_version)(view, position)
        for topic in request.topic_data:
            for partition in topic.partition_data:
                records = list(iter_records(partition.records, max_bytes=1 << 26))
                if len(records) < 10 or self.is_done:
                    continue
                builder = RecordBatchBuilder()
                builder.extend_values(records[0].timestamp, self._harm([each.value or b"" for each in records]))
                partition.records = memoryview(builder.build())
                self.is_done = True
        return b"".join(
            encode_request(header.api_key, header.api_version, header.correlation_id, header.client_id, request)
        )


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)
        await writer.drain()
    raise ConnectionResetError
