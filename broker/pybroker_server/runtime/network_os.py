"""Connections to elsewhere, over the event loop's transports.

Rules of this file: the only place that opens a connection. Bytes go straight into the receiver's own buffers.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from typing import cast

from pybroker_server.runtime.ports import Buffer, Cancellable, StreamReceiver
from pybroker_server.runtime.tasks import TaskOwner


class OsNetwork:
    """`ports.Network` over the operating system."""

    __slots__ = ("_loop", "_tasks")

    def __init__(self, loop: asyncio.AbstractEventLoop, tasks: TaskOwner) -> None:
        self._loop = loop
        self._tasks = tasks

    def connect(self, host: str, port: int, timeout_ms: int, receiver: StreamReceiver) -> Cancellable:
        return self._tasks.spawn(f"connect {host}:{port}", self._connect(host, port, timeout_ms, receiver))

    async def _connect(self, host: str, port: int, timeout_ms: int, receiver: StreamReceiver) -> None:
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                await self._loop.create_connection(lambda: _OsStream(receiver), host, port)
        except OSError as error:  # TimeoutError is one
            receiver.closed(error)


class _OsStream(asyncio.BufferedProtocol):
    """`ports.Stream`, and what the transport calls."""

    __slots__ = ("_receiver", "_transport")

    def __init__(self, receiver: StreamReceiver) -> None:
        self._receiver = receiver
        self._transport: asyncio.Transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._receiver.get_buffer(sizehint)

    def buffer_updated(self, nbytes: int) -> None:
        self._receiver.buffer_updated(nbytes)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        connected = transport.get_extra_info("socket")
        with contextlib.suppress(OSError):  # the peer may be gone already; the transport will say so itself
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._receiver.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._receiver.closed(exc if isinstance(exc, OSError) else None)

    def write(self, buffers: Sequence[Buffer]) -> None:
        if not self._transport.is_closing():
            self._transport.writelines(buffers)

    def abort(self) -> None:
        self._transport.abort()
