"""Accepting within limits, and going on when the machine runs out of something."""

from __future__ import annotations

import asyncio
import errno
import socket
from typing import Any

import pytest
from tests.support.loops import on_both_loops
from tests.support.network import handler, serving

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.messages import ApiVersionsRequest, ApiVersionsResponse
from pybroker_server.network.limits import ConnectionLimits
from pybroker_server.network.listener import bind_sockets

API_VERSIONS = int(ApiKey.API_VERSIONS)
VERSIONS = handler(API_VERSIONS, 0, 4, lambda services, context, request: ApiVersionsResponse())


@on_both_loops
async def test_a_connection_over_the_limit_is_closed_and_its_place_comes_free() -> None:
    async with serving([VERSIONS], limits=ConnectionLimits(2, 10, 1_000)) as server:
        first, second = await server.connect(), await server.connect()
        await first.request(API_VERSIONS, 0, ApiVersionsRequest())
        await second.request(API_VERSIONS, 0, ApiVersionsRequest())
        third = await server.connect()
        assert await third.read_until_closed() == b""
        assert server.events.kinds == ["too-many-connections"]
        await first.close()
        while server.limits.total > 1:
            await asyncio.sleep(0)
        await (await server.connect()).request(API_VERSIONS, 0, ApiVersionsRequest())


@on_both_loops
async def test_connections_over_the_rate_wait_their_turn() -> None:
    async with serving([VERSIONS], limits=ConnectionLimits(1_000, 1_000, 20)) as server:
        clock = asyncio.get_running_loop().time
        start = clock()
        clients = [await server.connect() for _ in range(24)]
        for client in clients:
            await client.request(API_VERSIONS, 0, ApiVersionsRequest())
        assert 0.15 <= clock() - start < 2
        assert server.events.refused == []


@on_both_loops
async def test_running_out_of_descriptors_pauses_accepting_and_recovers() -> None:
    class Exhausted:
        """The listening socket, for as long as the process has no descriptor left."""

        def __init__(self, listening: socket.socket) -> None:
            self.listening = listening
            self.failures = 2

        def accept(self) -> Any:
            if self.failures:
                self.failures -= 1
                raise OSError(errno.EMFILE, "Too many open files")
            return self.listening.accept()

        def __getattr__(self, name: str) -> Any:
            return getattr(self.listening, name)

    async with serving([VERSIONS]) as server:
        await (await server.connect()).request(API_VERSIONS, 0, ApiVersionsRequest())
        server.listener._socket = Exhausted(server.listener._socket)  # type: ignore[assignment]
        client = await server.connect()
        await client.request(API_VERSIONS, 0, ApiVersionsRequest())
        assert server.events.kinds == ["exhausted", "exhausted"]
        assert "Too many open files" in server.events.refused[0][1]


@on_both_loops
async def test_a_closed_listener_refuses_newcomers_and_keeps_its_connections() -> None:
    async with serving([VERSIONS]) as server:
        client = await server.connect()
        await client.request(API_VERSIONS, 0, ApiVersionsRequest())
        port = server.listener.port
        server.listener.close()
        await client.request(API_VERSIONS, 0, ApiVersionsRequest())
        with socket.socket() as late:
            assert late.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED


@on_both_loops
async def test_one_thousand_idle_connections_hold_no_buffers() -> None:
    async with serving([VERSIONS], limits=ConnectionLimits(2_000, 2_000, 100_000)) as server:
        clients = [await server.connect() for _ in range(300)]
        for client in clients:
            await client.request(API_VERSIONS, 0, ApiVersionsRequest())
        assert len(server.hub.connections) == 300
        assert server.hub.pool.created == 1
        assert server.hub.memory.held_bytes == 0


def test_localhost_means_every_loopback_address_on_one_port() -> None:
    sockets = bind_sockets("localhost", 0)
    try:
        names = [opened.getsockname() for opened in sockets]
        assert names[0][0] == "127.0.0.1"
        assert {name[1] for name in names} == {names[0][1]}
    finally:
        for opened in sockets:
            opened.close()


def test_an_empty_host_takes_ipv4_connections() -> None:
    sockets = bind_sockets("", 0)
    try:
        sockets[0].listen()
        port = sockets[0].getsockname()[1]
        with socket.create_connection(("127.0.0.1", port), timeout=2):
            pass
    finally:
        for opened in sockets:
            opened.close()


def test_a_port_in_use_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(OSError) as raised:
        bind_sockets("127.0.0.1", other.getsockname()[1])
    assert raised.value.errno == errno.EADDRINUSE


def test_an_address_of_another_machine_is_an_error() -> None:
    with pytest.raises(OSError) as raised:
        bind_sockets("192.0.2.1", 0)
    assert raised.value.errno == errno.EADDRNOTAVAIL
