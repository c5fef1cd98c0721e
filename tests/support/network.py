"""The network of a broker with handlers of the test's own, over real sockets, and a client that sends raw
bytes."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from pybroker_protocol.frame import decode_response, encode_request
from pybroker_server.handlers.registry import Handler
from pybroker_server.handlers.request import RequestContext
from pybroker_server.network.dispatcher import Dispatcher
from pybroker_server.network.hub import ConnectionHub, ConnectionSettings
from pybroker_server.network.limits import ConnectionLimits
from pybroker_server.network.listener import Listener, bind_sockets
from pybroker_server.network.request_memory import RequestMemory
from pybroker_server.runtime.buffers import BufferPool
from pybroker_server.runtime.clock import SystemClock
from pybroker_server.runtime.tasks import TaskOwner
from pybroker_server.runtime.timers import LoopTimers


@dataclass
class RecordedEvents:
    """What the network reported, for tests to look at."""

    refused: list[tuple[str, str]] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)

    def connection_refused(self, kind: str, peer: str, reason: str) -> None:
        self.refused.append((kind, reason))

    def handler_failed(self, api: str, context: RequestContext, error: BaseException) -> None:
        self.failures.append(error)

    @property
    def kinds(self) -> list[str]:
        return [kind for kind, _ in self.refused]


class MovableClock(SystemClock):
    """The system's clock, which a test can put forward."""

    __slots__ = ("ahead_ms",)

    def __init__(self) -> None:
        self.ahead_ms = 0

    def monotonic_ms(self) -> int:
        return super().monotonic_ms() + self.ahead_ms

    def monotonic_us(self) -> int:
        return super().monotonic_us() + self.ahead_ms * 1000


class RawClient:
    """One connection: whole requests, or any bytes at all."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._asked: list[tuple[int, int]] = []

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def request(self, api_key: int, version: int, message: Any, correlation_id: int = 7) -> Any:
        """Sends one request and waits for its response, whose correlation id must be the one sent."""
        await self.send(self.frame(api_key, version, message, correlation_id))
        answered, response = await self.response(api_key, version)
        assert answered == correlation_id
        return response

    @staticmethod
    def frame(api_key: int, version: int, message: Any, correlation_id: int = 7) -> bytes:
        return b"".join(encode_request(api_key, version, correlation_id, "raw", message))

    async def response(self, api_key: int, version: int) -> tuple[int, Any]:
        return decode_response(api_key, version, memoryview(await self.read_frame()))

    async def read_frame(self) -> bytes:
        (size,) = struct.unpack(">i", await self.reader.readexactly(4))
        return await self.reader.readexactly(size)

    async def read_until_closed(self) -> bytes:
        """What still comes before the other side closes; raises TimeoutError if it does not within 2 s."""
        async with asyncio.timeout(2):
            try:
                return await self.reader.read()
            except ConnectionResetError:
                return b""

    def reset(self) -> None:
        """Ends the connection the hard way: the other side gets an RST."""
        connected = self.writer.get_extra_info("socket")
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except (ConnectionError, BrokenPipeError):
            return


@dataclass
class NetworkServer:
    hub: ConnectionHub
    listener: Listener
    limits: ConnectionLimits
    dispatcher: Dispatcher
    events: RecordedEvents
    clock: MovableClock
    tasks: TaskOwner
    _clients: list[RawClient] = field(default_factory=list)

    async def connect(self) -> RawClient:
        client = RawClient(*await asyncio.open_connection("127.0.0.1", self.listener.port))
        self._clients.append(client)
        return client

    def sweep_later(self, ahead_ms: int) -> None:
        """Puts the clock forward and looks at all deadlines, as often as makes every kind due."""
        self.clock.ahead_ms += ahead_ms
        for _ in range(5):
            self.hub.sweep(self.clock.monotonic_ms())

    async def close_clients(self) -> None:
        for client in self._clients:
            await client.close()


def handler(
    api_key: int, low: int, high: int, function: Callable[..., Any], *, pipelined: bool = False, **more: Any
) -> Handler:
    return Handler(api_key, low, high, function, low, pipelined=pipelined, **more)


@asynccontextmanager
async def serving(
    handlers: Sequence[Handler],
    *,
    settings: ConnectionSettings | None = None,
    limits: ConnectionLimits | None = None,
    memory_bytes: int = 1 << 30,
) -> AsyncIterator[NetworkServer]:
    """A listener on a free port of 127.0.0.1 with these handlers, shut down at the end; no task may be
    left."""
    events = RecordedEvents()
    clock = MovableClock()
    timers = LoopTimers(asyncio.get_running_loop())
    limits = limits or ConnectionLimits(1_000, 1_000, 1_000_000)
    async with TaskOwner("network-test") as tasks:
        table = {entry.api_key: entry for entry in handlers}
        dispatcher = Dispatcher(table, None, clock, tasks, events)
        memory = RequestMemory(memory_bytes)
        hub = ConnectionHub(settings or ConnectionSettings(), dispatcher, BufferPool(), memory, clock, timers, events)
        (listening,) = bind_sockets("127.0.0.1", 0)
        listener = Listener("PLAINTEXT", listening, hub, limits, tasks)
        hub.start()
        listener.start()
        server = NetworkServer(hub, listener, limits, dispatcher, events, clock, tasks)
        try:
            yield server
        finally:
            listener.close()
            hub.stop()
            await server.close_clients()
            closed = asyncio.Event()
            hub.shut_down(closed.set)
            try:
                await asyncio.wait_for(closed.wait(), 2)
            except TimeoutError:
                hub.abort_all()
            tasks.cancel()
    assert memory.held_bytes == 0
    assert limits.total == 0
