"""Half frames, silence and peers that stop reading end in a close, by deadline; a request in flight does
not."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.support.loops import on_both_loops
from tests.support.network import RawClient, handler, serving

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.messages import (
    ApiVersionsRequest,
    ApiVersionsResponse,
    FetchRequest,
    FetchResponse,
    ProduceRequest,
    ProduceResponse,
)
from pybroker_server.handlers.request import Pending, RequestContext
from pybroker_server.network.hub import ConnectionSettings

API_VERSIONS, FETCH, PRODUCE = int(ApiKey.API_VERSIONS), int(ApiKey.FETCH), int(ApiKey.PRODUCE)
VERSIONS = handler(API_VERSIONS, 0, 4, lambda services, context, request: ApiVersionsResponse())
SETTINGS = ConnectionSettings(connections_max_idle_ms=100_000)


async def arrived(condition: Any) -> None:
    while not condition():
        await asyncio.sleep(0)


@on_both_loops
async def test_half_a_size_and_half_a_frame_are_closed_after_the_deadline() -> None:
    async with serving([VERSIONS], settings=SETTINGS) as server:
        size_only, frame_begun, good = [await server.connect() for _ in range(3)]
        await size_only.send(b"\x00\x00")
        await frame_begun.send(RawClient.frame(API_VERSIONS, 0, ApiVersionsRequest())[:9])
        await good.request(API_VERSIONS, 0, ApiVersionsRequest())
        await arrived(lambda: len(server.hub.half_frames) == 2)
        server.sweep_later(29_000)
        assert server.events.refused == []
        server.sweep_later(2_000)
        assert await size_only.read_until_closed() == b""
        assert await frame_begun.read_until_closed() == b""
        assert server.events.kinds == ["frame-deadline", "frame-deadline"]
        await good.request(API_VERSIONS, 0, ApiVersionsRequest())


@on_both_loops
async def test_a_byte_now_and_then_does_not_move_the_deadline_but_a_slow_link_does() -> None:
    def produce(services: object, context: RequestContext, request: ProduceRequest) -> Any:
        return ProduceResponse()

    data = ProduceRequest.PartitionProduceData(index=0, records=memoryview(bytes(2_000_000)))
    request = ProduceRequest(topic_data=[ProduceRequest.TopicProduceData(name="t", partition_data=[data])])
    async with serving([VERSIONS, handler(PRODUCE, 3, 12, produce)], settings=SETTINGS) as server:
        dripping, slow = await server.connect(), await server.connect()
        frame = RawClient.frame(PRODUCE, 9, request)
        await slow.send(frame[:1_500_000])
        await arrived(lambda: server.hub.memory.held_bytes > 1_499_000)
        drips = RawClient.frame(API_VERSIONS, 0, ApiVersionsRequest())
        for number in range(5):
            await dripping.send(drips[number : number + 1])
            await arrived(lambda: len(server.hub.half_frames) == 2)
            server.sweep_later(6_500)
        assert await dripping.read_until_closed() == b""
        await slow.send(frame[1_500_000:])
        assert (await slow.response(PRODUCE, 9))[0] == 7


@on_both_loops
async def test_an_idle_connection_is_closed_without_a_word_in_the_log() -> None:
    async with serving([VERSIONS], settings=SETTINGS) as server:
        client = await server.connect()
        await client.request(API_VERSIONS, 0, ApiVersionsRequest())
        server.sweep_later(99_000)
        await client.request(API_VERSIONS, 0, ApiVersionsRequest())
        server.sweep_later(99_000)
        assert server.hub.connections
        server.sweep_later(2_000)
        assert await client.read_until_closed() == b""
        assert server.events.refused == []


@on_both_loops
async def test_a_request_in_flight_is_not_idle() -> None:
    """protocol 3.1.8: a JoinGroup may be parked for minutes on a connection that carries nothing else."""
    fetches: list[Pending[FetchResponse]] = []

    def fetch(services: object, context: RequestContext, request: FetchRequest) -> Any:
        fetches.append(Pending())
        return fetches[-1]

    async with serving([handler(FETCH, 4, 12, fetch)], settings=SETTINGS) as server:
        client = await server.connect()
        await client.send(RawClient.frame(FETCH, 12, FetchRequest()))
        await arrived(lambda: fetches)
        server.sweep_later(3_600_000)
        fetches[0].complete(FetchResponse())
        assert (await client.response(FETCH, 12))[0] == 7


@on_both_loops
async def test_a_peer_that_never_reads_is_closed_when_nothing_moves() -> None:
    def fetch(services: object, context: RequestContext, request: FetchRequest) -> Any:
        data = FetchResponse.PartitionData(partition_index=0, records=memoryview(bytes(30_000_000)))
        return FetchResponse(responses=[FetchResponse.FetchableTopicResponse(topic="t", partitions=[data])])

    async with serving([handler(FETCH, 4, 12, fetch)], settings=SETTINGS) as server:
        client = await server.connect()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(RawClient.frame(FETCH, 12, FetchRequest()))
        await arrived(lambda: any(c.statistics()["unsent_bytes"] for c in server.hub.connections))
        server.sweep_later(0)
        server.sweep_later(99_000)
        assert server.hub.connections
        server.sweep_later(2_000)
        await arrived(lambda: not server.hub.connections)
        assert server.events.kinds == ["not-reading"]


@on_both_loops
async def test_a_huge_announced_frame_takes_memory_only_as_it_comes() -> None:
    async with serving([VERSIONS], settings=SETTINGS) as server:
        clients = [await server.connect() for _ in range(50)]
        for client in clients:
            await client.send((100 << 20).to_bytes(4, "big") + b"\x00\x12")
        await arrived(lambda: len(server.hub.half_frames) == 50)
        assert server.hub.memory.held_bytes == 100
        server.sweep_later(31_000)
        for client in clients:
            assert await client.read_until_closed() == b""
