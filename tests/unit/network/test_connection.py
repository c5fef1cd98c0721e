"""A connection answers in request order, holds what must wait, and is bounded both ways."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.support.loops import on_both_loops
from tests.support.network import RawClient, handler, serving

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.messages import (
    ApiVersionsRequest,
    ApiVersionsResponse,
    CreateTopicsRequest,
    CreateTopicsResponse,
    FetchRequest,
    FetchResponse,
    InitProducerIdRequest,
    ProduceRequest,
    ProduceResponse,
)
from pybroker_server.handlers.registry import Handler
from pybroker_server.handlers.request import NO_RESPONSE, CloseConnection, Pending, RequestContext
from pybroker_server.network.hub import SCRATCH_BYTES, ConnectionSettings

PRODUCE, FETCH, API_VERSIONS = int(ApiKey.PRODUCE), int(ApiKey.FETCH), int(ApiKey.API_VERSIONS)
CREATE_TOPICS, INIT_PRODUCER_ID = int(ApiKey.CREATE_TOPICS), int(ApiKey.INIT_PRODUCER_ID)


def produce_request(records: bytes = b"r" * 100, acks: int = -1) -> ProduceRequest:
    data = ProduceRequest.PartitionProduceData(index=0, records=memoryview(records))
    topic = ProduceRequest.TopicProduceData(name="t", partition_data=[data])
    return ProduceRequest(acks=acks, timeout_ms=1000, topic_data=[topic])


def produce_frame(correlation_id: int, records: bytes = b"r" * 100, acks: int = -1) -> bytes:
    return RawClient.frame(PRODUCE, 9, produce_request(records, acks), correlation_id)


def records_of(request: ProduceRequest) -> memoryview:
    records = request.topic_data[0].partition_data[0].records
    assert isinstance(records, memoryview)
    return records


def versions_handler() -> Handler:
    return handler(API_VERSIONS, 0, 4, lambda services, context, request: ApiVersionsResponse())


class HeldProduces:
    """A Produce handler whose answers the test gives."""

    def __init__(self) -> None:
        self.pending: list[Pending[ProduceResponse]] = []
        self.records: list[bytes] = []

    def __call__(self, services: object, context: RequestContext, request: ProduceRequest) -> Any:
        self.records.append(bytes(records_of(request)))
        self.pending.append(Pending())
        return self.pending[-1]

    def entry(self) -> Handler:
        return handler(PRODUCE, 3, 12, self, pipelined=True)


async def until(condition: Any) -> None:
    """Lets the loop run until `condition()` holds; the test's time limit ends a wait in vain."""
    while not condition():
        await asyncio.sleep(0)


async def settled() -> None:
    """Lets everything that is on its way over the local sockets arrive: the kernel hands it over at once."""
    for _ in range(50):
        await asyncio.sleep(0)


@on_both_loops
async def test_a_request_is_answered_with_its_correlation_id_and_context() -> None:
    seen: list[RequestContext] = []

    def versions(services: object, context: RequestContext, request: ApiVersionsRequest) -> Any:
        seen.append(context)
        return ApiVersionsResponse(throttle_time_ms=5)

    async with serving([handler(API_VERSIONS, 0, 4, versions)]) as server:
        client = await server.connect()
        response = await client.request(API_VERSIONS, 3, ApiVersionsRequest(client_software_name="x"), 99)
        assert response.throttle_time_ms == 5
        (context,) = seen
        assert (context.client_id, context.correlation_id, context.api_version) == ("raw", 99, 3)
        assert context.connection.local_port == server.listener.port
        assert context.connection.peer_host == "127.0.0.1"
        assert context.now_ms == context.received_us // 1000


@on_both_loops
async def test_one_byte_at_a_time_is_the_same_as_all_at_once() -> None:
    produces = HeldProduces()
    async with serving([produces.entry(), versions_handler()]) as server:
        client = await server.connect()
        for byte in produce_frame(1) + RawClient.frame(API_VERSIONS, 0, ApiVersionsRequest(), 2):
            await client.send(bytes([byte]))
            await settled()
        await until(lambda: produces.pending)
        produces.pending[0].complete(ProduceResponse())
        assert (await client.response(PRODUCE, 9))[0] == 1
        assert (await client.response(API_VERSIONS, 0))[0] == 2
        assert produces.records == [b"r" * 100]
        assert server.hub.half_frames == {}


@on_both_loops
async def test_frames_of_every_size_around_the_buffers_arrive_whole_and_writable() -> None:
    got: list[bytes] = []

    def produce(services: object, context: RequestContext, request: ProduceRequest) -> Any:
        records = records_of(request)
        got.append(bytes(records))
        records[0] = 1  # as the log does with base offset and leader epoch
        return ProduceResponse()

    sizes = [1, 15_000, 17_000, SCRATCH_BYTES - 60, SCRATCH_BYTES, SCRATCH_BYTES + 1, 1_000_000, 50, 3_000_000, 80]
    async with serving([handler(PRODUCE, 3, 12, produce)]) as server:
        client = await server.connect()
        sent = [bytes([65 + number]) * size for number, size in enumerate(sizes)]
        frames = b"".join(produce_frame(number, records) for number, records in enumerate(sent))
        sending = asyncio.ensure_future(client.send(frames))
        for number in range(len(sizes)):
            assert (await client.response(PRODUCE, 9))[0] == number
        await sending
        assert got == sent


@on_both_loops
async def test_large_frames_share_one_pooled_buffer() -> None:
    def produce(services: object, context: RequestContext, request: ProduceRequest) -> Any:
        return ProduceResponse()

    async with serving([handler(PRODUCE, 3, 12, produce)]) as server:
        client = await server.connect()
        await client.request(PRODUCE, 9, produce_request(bytes(1_000_000)))
        made = server.hub.pool.created
        for _ in range(20):
            await client.request(PRODUCE, 9, produce_request(bytes(1_000_000)))
        assert server.hub.pool.created == made


@on_both_loops
async def test_what_a_handler_keeps_is_never_overwritten() -> None:
    kept: list[memoryview] = []

    def produce(services: object, context: RequestContext, request: ProduceRequest) -> Any:
        kept.append(records_of(request))
        return ProduceResponse()

    async with serving([handler(PRODUCE, 3, 12, produce)]) as server:
        client = await server.connect()
        sent = [bytes([number]) * (100 if number % 2 else 200_000) for number in range(20)]
        for records in sent:
            await client.request(PRODUCE, 9, produce_request(records))
        assert [bytes(view) for view in kept] == sent


@on_both_loops
async def test_waiting_appends_are_pipelined_and_answered_in_request_order() -> None:
    produces = HeldProduces()
    async with serving([produces.entry(), versions_handler()]) as server:
        client = await server.connect()
        frames = [produce_frame(number) for number in range(5)]
        await client.send(b"".join(frames) + RawClient.frame(API_VERSIONS, 0, ApiVersionsRequest(), 5))
        await until(lambda: len(produces.pending) == 5)
        for number in (3, 1, 4, 2):
            produces.pending[number].complete(ProduceResponse(throttle_time_ms=number))
        await settled()
        assert client.reader._buffer == b""  # type: ignore[attr-defined]
        produces.pending[0].complete(ProduceResponse())
        for number in range(5):
            correlation_id, response = await client.response(PRODUCE, 9)
            assert (correlation_id, response.throttle_time_ms) == (number, number)
        assert (await client.response(API_VERSIONS, 0))[0] == 5


@on_both_loops
async def test_a_waiting_fetch_holds_the_requests_behind_it() -> None:
    fetches: list[Pending[FetchResponse]] = []
    produces = HeldProduces()

    def fetch(services: object, context: RequestContext, request: FetchRequest) -> Any:
        fetches.append(Pending())
        return fetches[-1]

    async with serving([handler(FETCH, 4, 12, fetch), produces.entry()]) as server:
        client = await server.connect()
        await client.send(RawClient.frame(FETCH, 12, FetchRequest(), 1) + produce_frame(2) + produce_frame(3)[:50])
        await until(lambda: fetches)
        await settled()
        assert produces.pending == []
        await client.send(produce_frame(3)[50:])
        fetches[0].complete(FetchResponse())
        assert (await client.response(FETCH, 12))[0] == 1
        await until(lambda: len(produces.pending) == 2)
        for pending in produces.pending:
            pending.complete(ProduceResponse())
        assert [(await client.response(PRODUCE, 9))[0] for _ in range(2)] == [2, 3]


@on_both_loops
async def test_a_coroutine_handler_is_answered_and_holds_its_connection_only() -> None:
    release = asyncio.Event()

    async def create(services: object, context: RequestContext, request: CreateTopicsRequest) -> Any:
        await release.wait()
        return CreateTopicsResponse(throttle_time_ms=3)

    async with serving([handler(CREATE_TOPICS, 2, 7, create), versions_handler()]) as server:
        client, other = await server.connect(), await server.connect()
        await client.send(
            RawClient.frame(CREATE_TOPICS, 7, CreateTopicsRequest(), 1)
            + RawClient.frame(API_VERSIONS, 0, ApiVersionsRequest(), 2)
        )
        await other.request(API_VERSIONS, 0, ApiVersionsRequest())
        release.set()
        assert (await client.response(CREATE_TOPICS, 7))[1].throttle_time_ms == 3
        assert (await client.response(API_VERSIONS, 0))[0] == 2
        assert server.tasks.task_names == []


@on_both_loops
async def test_acks_0_has_no_response() -> None:
    def produce(services: object, context: RequestContext, request: ProduceRequest) -> Any:
        return NO_RESPONSE if request.acks == 0 else ProduceResponse()

    async with serving([handler(PRODUCE, 3, 12, produce)]) as server:
        client = await server.connect()
        await client.send(produce_frame(1, acks=0) + produce_frame(2, acks=1) + produce_frame(3, acks=0))
        assert (await client.response(PRODUCE, 9))[0] == 2
        await client.request(PRODUCE, 9, produce_request(acks=1), 4)


@on_both_loops
async def test_a_handler_may_close_and_what_was_asked_before_is_still_answered() -> None:
    produces = HeldProduces()

    def fetch(services: object, context: RequestContext, request: FetchRequest) -> Any:
        raise CloseConnection("as Kafka would")

    async with serving([produces.entry(), handler(FETCH, 4, 12, fetch)]) as server:
        client = await server.connect()
        await client.send(produce_frame(1) + RawClient.frame(FETCH, 12, FetchRequest(), 2) + produce_frame(3))
        await until(lambda: server.events.refused)
        produces.pending[0].complete(ProduceResponse())
        assert (await client.response(PRODUCE, 9))[0] == 1
        assert await client.read_until_closed() == b""
        assert len(produces.pending) == 1
        assert server.events.kinds == ["closed-by-handler"]


@on_both_loops
async def test_a_bug_costs_its_request_an_error_and_nothing_else() -> None:
    def init(services: object, context: RequestContext, request: InitProducerIdRequest) -> Any:
        raise ZeroDivisionError("a bug")

    async def create(services: object, context: RequestContext, request: CreateTopicsRequest) -> Any:
        raise ZeroDivisionError("a bug in a coroutine")

    async with serving(
        [handler(INIT_PRODUCER_ID, 0, 5, init), handler(CREATE_TOPICS, 2, 7, create), versions_handler()]
    ) as server:
        client = await server.connect()
        response = await client.request(INIT_PRODUCER_ID, 4, InitProducerIdRequest())
        assert response.error_code == ErrorCode.UNKNOWN_SERVER_ERROR
        await client.request(API_VERSIONS, 0, ApiVersionsRequest())
        await client.send(RawClient.frame(CREATE_TOPICS, 7, CreateTopicsRequest()))
        assert await client.read_until_closed() == b""  # its errors are per topic: no form of its own was given
        assert [str(error) for error in server.events.failures] == ["a bug", "a bug in a coroutine"]
        assert server.dispatcher.failed_requests == 2
        await (await server.connect()).request(API_VERSIONS, 0, ApiVersionsRequest())


@on_both_loops
async def test_an_api_can_say_errors_in_its_own_form() -> None:
    def create(services: object, context: RequestContext, request: CreateTopicsRequest) -> Any:
        raise KafkaError(ErrorCode.CLUSTER_AUTHORIZATION_FAILED)

    def answer(context: RequestContext, request: CreateTopicsRequest, code: ErrorCode) -> Any:
        made = CreateTopicsResponse.CreatableTopicResult
        return CreateTopicsResponse(topics=[made(name=t.name, error_code=int(code)) for t in request.topics])

    entry = handler(CREATE_TOPICS, 2, 7, create, error_response=answer)
    async with serving([entry]) as server:
        client = await server.connect()
        topics = [CreateTopicsRequest.CreatableTopic(name="a")]
        response = await client.request(CREATE_TOPICS, 7, CreateTopicsRequest(topics=topics))
        assert response.topics[0].error_code == ErrorCode.CLUSTER_AUTHORIZATION_FAILED
        assert server.events.failures == []


@on_both_loops
async def test_a_response_that_cannot_be_encoded_closes() -> None:
    produces = HeldProduces()
    async with serving([produces.entry()]) as server:
        client = await server.connect()
        await client.send(produce_frame(1))
        await until(lambda: produces.pending)
        produces.pending[0].complete(ProduceResponse(throttle_time_ms="not a number"))  # type: ignore[arg-type]
        assert await client.read_until_closed() == b""
        assert len(server.events.failures) == 1


@on_both_loops
async def test_a_peer_that_does_not_read_is_not_served_further() -> None:
    answered = 0

    def fetch(services: object, context: RequestContext, request: FetchRequest) -> Any:
        nonlocal answered
        answered += 1
        data = FetchResponse.PartitionData(partition_index=0, records=memoryview(bytes(100_000)))
        return FetchResponse(responses=[FetchResponse.FetchableTopicResponse(topic="t", partitions=[data])])

    async with serving([handler(FETCH, 4, 12, fetch), versions_handler()]) as server:
        client, other = await server.connect(), await server.connect()
        asked = 1_000
        frames = b"".join(RawClient.frame(FETCH, 12, FetchRequest(), number) for number in range(asked))
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(frames)
        await settled()
        await other.request(API_VERSIONS, 0, ApiVersionsRequest())
        (connection,) = [c for c in server.hub.connections if c.statistics()["unsent_bytes"]]
        assert answered < asked
        assert connection.statistics()["unsent_bytes"] < 1_000_000
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        for number in range(asked):
            assert (await client.response(FETCH, 12))[0] == number
        assert answered == asked


@on_both_loops
async def test_waiting_answers_are_bounded_in_number_and_in_bytes() -> None:
    produces = HeldProduces()
    big = ApiVersionsResponse(
        finalized_features=[ApiVersionsResponse.FinalizedFeatureKey(name="x" * 30_000, max_version_level=1)]
    )
    settings = ConnectionSettings(max_waiting_responses=10, max_waiting_response_bytes=100_000)
    big_versions = handler(API_VERSIONS, 0, 4, lambda services, context, request: big)
    async with serving([produces.entry(), big_versions], settings=settings) as server:
        client = await server.connect()
        await client.send(b"".join(produce_frame(number) for number in range(30)))
        await settled()
        assert len(produces.pending) == 10
        for number in range(30):
            await until(lambda n=number: len(produces.pending) > n)
            produces.pending[number].complete(ProduceResponse())
            assert (await client.response(PRODUCE, 9))[0] == number
        versions = [RawClient.frame(API_VERSIONS, 3, ApiVersionsRequest(), number) for number in range(20)]
        await client.send(produce_frame(30) + b"".join(versions))
        await settled()
        (connection,) = server.hub.connections
        assert connection.statistics()["waiting"] == 5  # the append and four answers of 30 kB behind it
        produces.pending[30].complete(ProduceResponse())
        await client.response(PRODUCE, 9)
        for number in range(20):
            assert (await client.response(API_VERSIONS, 3))[0] == number


@on_both_loops
async def test_throttled_connection_answers_at_once_and_is_read_later() -> None:
    """KIP-219: the response leaves immediately, the next request waits on the broker's side."""

    def versions(services: object, context: RequestContext, request: ApiVersionsRequest) -> Any:
        if context.correlation_id == 1:
            context.connection.throttle_ms = 100
        return ApiVersionsResponse(throttle_time_ms=context.connection.throttle_ms)

    async with serving([handler(API_VERSIONS, 0, 4, versions)]) as server:
        client = await server.connect()
        clock = asyncio.get_running_loop().time
        start = clock()
        await client.send(
            RawClient.frame(API_VERSIONS, 1, ApiVersionsRequest(), 1)
            + RawClient.frame(API_VERSIONS, 1, ApiVersionsRequest(), 2)
        )
        assert (await client.response(API_VERSIONS, 1))[1].throttle_time_ms == 100
        assert clock() - start < 0.1
        assert (await client.response(API_VERSIONS, 1))[0] == 2
        assert clock() - start >= 0.1


@on_both_loops
async def test_a_lost_connection_lets_go_of_what_waits_for_it() -> None:
    dropped: list[int] = []
    produces = HeldProduces()
    async with serving([produces.entry()]) as server:
        client = await server.connect()
        await client.send(produce_frame(1) + produce_frame(2))
        await until(lambda: len(produces.pending) == 2)
        for number, pending in enumerate(produces.pending):
            pending.on_abandon = lambda n=number: dropped.append(n)  # type: ignore[misc]
        client.reset()
        await until(lambda: len(dropped) == 2)
        produces.pending[0].complete(ProduceResponse())  # harmless
        await until(lambda: not server.hub.connections)


@on_both_loops
async def test_a_peer_that_sends_no_more_gets_what_it_asked_for() -> None:
    produces = HeldProduces()
    async with serving([produces.entry()]) as server:
        client = await server.connect()
        await client.send(produce_frame(1))
        client.writer.write_eof()
        await until(lambda: produces.pending)
        await settled()
        produces.pending[0].complete(ProduceResponse())
        assert (await client.response(PRODUCE, 9))[0] == 1
        assert await client.read_until_closed() == b""


@on_both_loops
async def test_memory_for_requests_is_shared_and_some_frame_always_completes() -> None:
    got: list[int] = []

    def produce(services: object, context: RequestContext, request: ProduceRequest) -> Any:
        got.append(len(records_of(request)))
        return ProduceResponse()

    async with serving([handler(PRODUCE, 3, 12, produce)], memory_bytes=1_000_000) as server:
        clients = [await server.connect() for _ in range(6)]
        frame = produce_frame(1, bytes(900_000))
        for client in clients:
            await client.send(frame[:600_000])
            await settled()
        # The second goes over the budget and is the one that may; those after it stop after their first read.
        assert server.hub.memory.held_bytes <= 1_200_000 + 4 * SCRATCH_BYTES
        assert server.hub.memory.waiting == 4
        sending = [asyncio.ensure_future(client.send(frame[600_000:])) for client in clients]
        for client in clients:
            assert (await client.response(PRODUCE, 9))[0] == 1
        await asyncio.gather(*sending)
        assert got == [900_000] * 6


@on_both_loops
async def test_shutting_down_answers_appends_and_lets_go_of_parked_fetches() -> None:
    produces = HeldProduces()
    fetches: list[Pending[FetchResponse]] = []

    def fetch(services: object, context: RequestContext, request: FetchRequest) -> Any:
        fetches.append(Pending())
        return fetches[-1]

    async with serving([produces.entry(), handler(FETCH, 4, 12, fetch)]) as server:
        producer, consumer, idle = [await server.connect() for _ in range(3)]
        await producer.send(produce_frame(1))
        await consumer.send(RawClient.frame(FETCH, 12, FetchRequest()))
        await until(lambda: produces.pending and fetches)
        closed = asyncio.Event()
        server.hub.shut_down(closed.set)
        assert await consumer.read_until_closed() == b""
        assert await idle.read_until_closed() == b""
        assert fetches[0].abandoned
        assert not closed.is_set()
        produces.pending[0].complete(ProduceResponse())
        assert (await producer.response(PRODUCE, 9))[0] == 1
        await closed.wait()


class ParkedFetches:
    """A Fetch handler that waits for ever; `can_hurry`: unless its connection has more to say."""

    def __init__(self, *, can_hurry: bool) -> None:
        self.can_hurry = can_hurry
        self.pending: list[Pending[FetchResponse]] = []
        self.came = asyncio.Event()

    def __call__(self, services: object, context: RequestContext, request: FetchRequest) -> Any:
        made: Pending[FetchResponse] = Pending()
        if self.can_hurry:
            made.on_hurry = lambda: made.complete(FetchResponse(session_id=len(self.pending)))
        self.pending.append(made)
        self.came.set()
        return made


@on_both_loops
async def test_what_comes_behind_a_followers_waiting_fetch_has_it_answered_first() -> None:
    parked = ParkedFetches(can_hurry=True)
    async with serving([handler(FETCH, 4, 18, parked), versions_handler()]) as server:
        client = await server.connect()
        for turn in (1, 2):
            await client.send(RawClient.frame(FETCH, 18, FetchRequest(), 10 * turn))
            async with asyncio.timeout(10):
                await parked.came.wait()
                parked.came.clear()
                await client.send(RawClient.frame(API_VERSIONS, 4, ApiVersionsRequest(), 10 * turn + 1))
                correlation_id, response = await client.response(FETCH, 18)
                assert (correlation_id, response.session_id) == (10 * turn, turn)
                assert (await client.response(API_VERSIONS, 4))[0] == 10 * turn + 1


@on_both_loops
async def test_a_consumers_waiting_fetch_is_not_hurried_by_what_comes_behind_it() -> None:
    parked = ParkedFetches(can_hurry=False)
    async with serving([handler(FETCH, 4, 18, parked), versions_handler()]) as server:
        client = await server.connect()
        await client.send(RawClient.frame(FETCH, 18, FetchRequest(), 1))
        await client.send(RawClient.frame(API_VERSIONS, 4, ApiVersionsRequest(), 2))
        async with asyncio.timeout(10):
            await parked.came.wait()
            other = await server.connect()
            await other.request(API_VERSIONS, 4, ApiVersionsRequest())
            assert not parked.pending[0].completed
            parked.pending[0].complete(FetchResponse())
            assert (await client.response(FETCH, 18))[0] == 1
            assert (await client.response(API_VERSIONS, 4))[0] == 2
