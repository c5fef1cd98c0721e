"""Requests to other brokers over real sockets: answered in order, failed once, reconnected, and told when lost."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any

import pytest
from tests.support.broker_process import free_port
from tests.support.network import handler, serving
from tests.support.runtimes import real_runtime

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.messages import (
    ApiVersionsResponse,
    FetchRequest,
    HeartbeatRequest,
    HeartbeatResponse,
    ListGroupsRequest,
    WriteTxnMarkersRequest,
)
from pybroker_server.handlers.registry import Handler
from pybroker_server.handlers.request import Pending
from pybroker_server.metadata.image import BrokerImage, Endpoint, MetadataImage
from pybroker_server.peers import link
from pybroker_server.peers.peers import Lane, Peers
from pybroker_server.peers.problem import PeerError, Problem

OTHER = 2


class Others:
    """This broker's peers, and the image that they see."""

    def __init__(self, peers: Peers) -> None:
        self.peers = peers
        self.image = MetadataImage()
        self.lost: list[tuple[int, int, Problem]] = []
        self.reached: list[tuple[int, int]] = []
        self.changed = asyncio.Event()
        peers.on_lost(lambda *event: self._note(self.lost, event))
        peers.on_reached(lambda *event: self._note(self.reached, event))

    def _note(self, events: list[Any], event: Any) -> None:
        events.append(event)
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits for something to be lost or reached that makes it true."""
        async with asyncio.timeout(20):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def show(self, **ports_by_epoch: int) -> None:
        """`e7=9092`: broker 2 is registered with epoch 7 at that port; nothing: it is not registered."""
        brokers: dict[int, BrokerImage] = {}
        for epoch, port in ports_by_epoch.items():
            brokers[OTHER] = BrokerImage(OTHER, int(epoch[1:]), (Endpoint("REPLICATION", "127.0.0.1", port),))
        old, self.image = self.image, MetadataImage(brokers=MappingProxyType(brokers))
        self.peers.on_image(old, self.image)


@asynccontextmanager
async def others(*, listener: str | None = "REPLICATION", request_timeout_ms: int = 10_000) -> AsyncIterator[Others]:
    async with real_runtime() as runtime:
        peers = Peers(1, listener, runtime, request_timeout_ms=request_timeout_ms, connect_timeout_ms=5_000)
        try:
            yield Others(peers)
        finally:
            peers.close()


def heartbeat(services: Any, context: Any, request: HeartbeatRequest) -> Any:
    """Answers at once, or never for the group that says so."""
    return Pending() if request.group_id == "never" else HeartbeatResponse(error_code=len(request.group_id))


def versions(services: Any, context: Any, request: Any) -> ApiVersionsResponse:
    served = ((ApiKey.API_VERSIONS, 0, 4), (ApiKey.HEARTBEAT, 0, 3), (ApiKey.FETCH, 90, 99))
    return ApiVersionsResponse(
        api_keys=[
            ApiVersionsResponse.ApiVersion(api_key=k, min_version=low, max_version=high) for k, low, high in served
        ]
    )


SERVED: list[Handler] = [
    handler(ApiKey.API_VERSIONS, 0, 4, versions),
    handler(ApiKey.HEARTBEAT, 0, 4, heartbeat),
]


def beat(group: str) -> HeartbeatRequest:
    return HeartbeatRequest(group_id=group, member_id="m")


async def test_many_requests_at_once_are_each_given_their_own_answer() -> None:
    async with serving(SERVED) as server, others() as other:
        other.show(e7=server.listener.port)
        asked = [other.peers.request(OTHER, beat("g" * length)) for length in range(3 * link.IN_FLIGHT_MAX)]
        answers = await asyncio.gather(*asked)
        assert [answer.error_code for answer in answers] == list(range(3 * link.IN_FLIGHT_MAX))
        assert other.peers.is_reached(OTHER)
        assert other.reached == [(OTHER, 7)]
        assert len(server.hub.connections) == 1


async def test_a_lane_that_waits_holds_up_no_other() -> None:
    async with serving(SERVED) as server, others() as other:
        other.show(e7=server.listener.port)
        never = asyncio.ensure_future(other.peers.request(OTHER, beat("never"), lane=Lane.FETCH))
        assert (await other.peers.request(OTHER, beat("ab"), lane=Lane.TRANSACTIONS)).error_code == 2
        assert not never.done()
        other.peers.close()
        with pytest.raises(PeerError) as caught:
            await never
        assert caught.value.problem is Problem.STOPPED


async def test_the_highest_version_that_both_speak_is_used_and_none_is_an_error() -> None:
    async with serving(SERVED) as server, others() as other:
        other.show(e7=server.listener.port)
        await other.peers.request(OTHER, beat("a"))
        assert {r.name: r.requests for r in server.dispatcher.routes()}["HEARTBEAT(v3)"] == 1
        for request in (FetchRequest(), ListGroupsRequest(), WriteTxnMarkersRequest()):
            with pytest.raises(PeerError) as caught:
                await other.peers.request(OTHER, request)
            assert caught.value.problem is Problem.PROTOCOL


async def test_a_late_answer_ends_the_connection_and_the_next_request_makes_another() -> None:
    async with serving(SERVED) as server, others() as other:
        other.show(e7=server.listener.port)
        behind: list[PeerError | None] = []
        never = asyncio.ensure_future(other.peers.request(OTHER, beat("never"), timeout_ms=50))
        await asyncio.sleep(0)
        other.peers.send(OTHER, beat("a"), lambda response, error: behind.append(error))
        with pytest.raises(PeerError) as caught:
            await never
        assert caught.value.problem is Problem.TIMED_OUT
        assert [error.problem for error in behind if error is not None] == [Problem.TIMED_OUT]
        assert other.lost == [(OTHER, 7, Problem.TIMED_OUT)]
        assert (await other.peers.request(OTHER, beat("abc"))).error_code == 3


async def test_a_dead_process_is_told_apart_at_once_and_found_again_when_it_is_back() -> None:
    async with others() as other:
        async with serving(SERVED) as server:
            port = server.listener.port
            other.show(e7=port)
            await other.until(lambda: other.peers.is_reached(OTHER))
            server.listener.close()
            server.hub.abort_all()
            await other.until(lambda: (OTHER, 7, Problem.REFUSED) in other.lost)
            assert other.lost[0] == (OTHER, 7, Problem.CLOSED)
            assert not other.peers.is_reached(OTHER)
            with pytest.raises(PeerError) as caught:
                await other.peers.request(OTHER, beat("a"))
            assert caught.value.problem is Problem.REFUSED
        revived = socket.socket()
        revived.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        revived.bind(("127.0.0.1", port))
        revived.listen()
        revived.setblocking(False)
        accepted, _ = await asyncio.wait_for(asyncio.get_running_loop().sock_accept(revived), 20)
        accepted.close()
        revived.close()


async def test_a_broker_that_leaves_or_registers_anew_fails_what_waits_on_it() -> None:
    async with serving(SERVED) as server, others() as other:
        port = server.listener.port
        other.show(e7=port)
        first = asyncio.ensure_future(other.peers.request(OTHER, beat("never")))
        await other.until(lambda: other.reached == [(OTHER, 7)])
        other.show(e8=port)
        with pytest.raises(PeerError) as caught:
            await first
        assert caught.value.problem is Problem.LEFT
        await other.until(lambda: other.reached == [(OTHER, 7), (OTHER, 8)])
        other.show()
        assert other.lost == [], "that a broker left is no failure"
        with pytest.raises(PeerError) as caught:
            await other.peers.request(OTHER, beat("a"))
        assert caught.value.problem is Problem.UNKNOWN


async def test_requests_beyond_the_bound_fail_at_once() -> None:
    async with serving(SERVED) as server, others() as other:
        other.show(e7=server.listener.port)
        failed: list[Problem] = []

        def done(response: Any, error: PeerError | None) -> None:
            if error is not None:
                failed.append(error.problem)

        for _ in range(link.WAITING_MAX + 5):
            other.peers.send(OTHER, beat("never"), done, lane=Lane.TRANSACTIONS)
        assert failed == [Problem.BUSY] * 5


async def test_a_broker_that_stays_alone_has_no_peers() -> None:
    async with others(listener=None) as other:
        other.show(e7=free_port())
        with pytest.raises(PeerError):
            await other.peers.request(OTHER, beat("a"))
        assert other.lost == []


async def test_somebody_who_does_not_speak_the_protocol_is_left() -> None:
    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(nonsense, "127.0.0.1", 0)
    async with server, others() as other:
        other.show(e7=server.sockets[0].getsockname()[1])
        with pytest.raises(PeerError) as caught:
            await other.peers.request(OTHER, beat("a"))
        assert caught.value.problem is Problem.PROTOCOL
