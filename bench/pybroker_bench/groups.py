"""What consumer groups cost a broker: commits, heartbeats, many groups, and a large rebalance.

Rules: one process of one event loop asks, over the SDK's connections, as fast as the broker answers; what the broker
spends is its own CPU time. Every load is bounded by a count. Answers are checked: a rate of refusals would be no rate.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from pybroker.connection import Address, BrokerConnection
from pybroker.pool import parse_bootstrap
from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import error_code
from pybroker_protocol.messages import (
    ApiVersionsRequest,
    ConsumerGroupHeartbeatRequest,
    FindCoordinatorRequest,
    HeartbeatRequest,
    JoinGroupRequest,
    OffsetCommitRequest,
    SyncGroupRequest,
)
from pybroker_protocol.schema.classes import Message

CONNECTIONS: Final = 4
DEPTH: Final = 32
"""Requests under way on each connection."""
REBALANCE_MEMBERS: Final = 200
_TIME_LIMIT_S: Final = 60.0
_REBALANCE_IN_PROGRESS: Final = 27
_MEMBER_ID_REQUIRED: Final = 79
_NOT_READY: Final = (14, 15, 16)
"""Loading, not available, not the coordinator: of a partition of the offsets topic that was made a moment ago."""


@dataclass(frozen=True, slots=True)
class Rate:
    per_second: float
    count: int


async def commits(bootstrap: str, topic: str, count: int) -> Rate:
    """OffsetCommit of one partition, each connection for a group of its own."""

    def request(connection: int, number: int) -> Message:
        partition = OffsetCommitRequest.OffsetCommitRequestPartition(partition_index=0, committed_offset=number)
        listed = OffsetCommitRequest.OffsetCommitRequestTopic(name=topic, partitions=[partition])
        return OffsetCommitRequest(group_id=f"commits-{connection}", topics=[listed])

    return await _flood(bootstrap, count, ApiKey.OFFSET_COMMIT, 9, request, _partition_code)


def _partition_code(answer: Any) -> int:
    code: int = answer.topics[0].partitions[0].error_code
    return code


async def classic_heartbeats(bootstrap: str, count: int) -> Rate:
    """Heartbeats of classic members that are alone in their groups."""
    members: dict[int, str] = {}
    run = uuid4().hex[:8]
    async with _connections(bootstrap, CONNECTIONS) as connections:
        for number, connection in enumerate(connections):
            joined = await _join(connection, f"beats-{run}-{number}", "")
            await _sync(connection, f"beats-{run}-{number}", joined.member_id, joined.generation_id, [joined.member_id])
            members[number] = joined.member_id

    def request(connection: int, number: int) -> Message:
        return HeartbeatRequest(group_id=f"beats-{run}-{connection}", generation_id=1, member_id=members[connection])

    return await _flood(bootstrap, count, ApiKey.HEARTBEAT, 4, request, lambda answer: int(answer.error_code))


async def consumer_heartbeats(bootstrap: str, topic: str, count: int) -> Rate:
    """Heartbeats of KIP-848 members that are alone in their groups."""
    epochs: dict[int, int] = {}
    async with _connections(bootstrap, CONNECTIONS) as connections:
        for number, connection in enumerate(connections):
            epochs[number] = (await _enter(connection, f"consumers-{number}", "m", topic)).member_epoch

    def request(connection: int, number: int) -> Message:
        return ConsumerGroupHeartbeatRequest(
            group_id=f"consumers-{connection}", member_id="m", member_epoch=epochs[connection]
        )

    api = ApiKey.CONSUMER_GROUP_HEARTBEAT
    return await _flood(bootstrap, count, api, 1, request, lambda answer: int(answer.error_code))


async def many_groups(bootstrap: str, topic: str, groups: int, members: int) -> Rate:
    """So many KIP-848 groups come to life; how many members per second were let in."""
    run = uuid4().hex[:8]
    async with _connections(bootstrap, 1) as [connection]:
        started = time.perf_counter()
        for group in range(groups):
            for member in range(members):
                await _enter(connection, f"many-{run}-{group}", f"m{member}", topic)
        seconds = time.perf_counter() - started
    return Rate(groups * members / seconds, groups * members)


@dataclass(frozen=True, slots=True)
class Rebalance:
    """`seconds` from a newcomer's JoinGroup until every member has its assignment; lags are those of the broker's
    other clients meanwhile."""

    seconds: float
    median_lag_ms: float
    largest_lag_ms: float


async def large_rebalance(bootstrap: str, members: int = REBALANCE_MEMBERS) -> Rebalance:
    """A classic group of this many, each on a connection of its own, takes in one more."""
    group = f"large-{uuid4().hex[:8]}"
    async with _connections(bootstrap, members + 2) as connections:
        *joining, newcomer, probe = connections
        joined = await asyncio.gather(*(_join(connection, group, "") for connection in joining))
        generation = await _settle(joining, group, [each.member_id for each in joined])
        lags: list[float] = []
        watch = asyncio.ensure_future(_probe(probe, lags))
        try:
            started = time.perf_counter()
            late = asyncio.ensure_future(_join(newcomer, group, ""))
            ids = [each.member_id for each in joined]
            await _until_rebalancing(joining[0], group, ids[0], generation)
            again = [_join(connection, group, each) for connection, each in zip(joining, ids, strict=True)]
            answers = [*await asyncio.gather(*again), await late]
            everybody = [*joining, newcomer]
            await _sync_all(everybody, group, answers)
            seconds = time.perf_counter() - started
        finally:
            watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watch
    return Rebalance(seconds, statistics.median(lags) * 1000, max(lags) * 1000)


async def _settle(connections: list[BrokerConnection], group: str, ids: list[str]) -> int:
    """Members joined one after the other: once more, until all are in one generation."""
    while True:
        answers = await asyncio.gather(
            *(_join(connection, group, each) for connection, each in zip(connections, ids, strict=True))
        )
        if len({answer.generation_id for answer in answers}) == 1:
            await _sync_all(connections, group, answers)
            generation: int = answers[0].generation_id
            return generation


async def _sync_all(connections: list[BrokerConnection], group: str, answers: list[Any]) -> None:
    generation = answers[0].generation_id
    ids = [answer.member_id for answer in answers]
    await asyncio.gather(
        *(
            _sync(connection, group, answer.member_id, generation, ids if answer.members else [])
            for connection, answer in zip(connections, answers, strict=True)
        )
    )


async def _until_rebalancing(connection: BrokerConnection, group: str, member_id: str, generation: int) -> None:
    request = HeartbeatRequest(group_id=group, generation_id=generation, member_id=member_id)
    while (await _ask(connection, request, 4)).error_code != _REBALANCE_IN_PROGRESS:
        pass  # every question takes a turn of the broker's loop


async def _probe(connection: BrokerConnection, lags: list[float]) -> None:
    while True:
        started = time.perf_counter()
        await _ask(connection, ApiVersionsRequest(client_software_name="bench", client_software_version="1"), 3)
        lags.append(time.perf_counter() - started)
        await asyncio.sleep(0.001)


# Requests


async def _join(connection: BrokerConnection, group: str, member_id: str) -> Any:
    """Both requests of a member that has no id yet. Raises RuntimeError when it is refused."""
    while True:
        request = JoinGroupRequest(
            group_id=group,
            session_timeout_ms=60_000,
            rebalance_timeout_ms=60_000,
            member_id=member_id,
            protocol_type="consumer",
            protocols=[JoinGroupRequest.JoinGroupRequestProtocol(name="range", metadata=b"\0" * 32)],
        )
        answer = await _ask(connection, request, 9)
        if answer.error_code == _MEMBER_ID_REQUIRED:
            member_id = answer.member_id
            continue
        _check(answer.error_code)
        return answer


async def _sync(connection: BrokerConnection, group: str, member_id: str, generation: int, ids: list[str]) -> None:
    request = SyncGroupRequest(
        group_id=group,
        generation_id=generation,
        member_id=member_id,
        protocol_type="consumer",
        protocol_name="range",
        assignments=[
            SyncGroupRequest.SyncGroupRequestAssignment(member_id=each, assignment=b"\0" * 32) for each in ids
        ],
    )
    _check((await _ask(connection, request, 5)).error_code)


async def _enter(connection: BrokerConnection, group: str, member_id: str, topic: str) -> Any:
    request = ConsumerGroupHeartbeatRequest(
        group_id=group,
        member_id=member_id,
        rebalance_timeout_ms=60_000,
        subscribed_topic_names=[topic],
        topic_partitions=[],
    )
    deadline = time.monotonic() + _TIME_LIMIT_S
    while True:
        answer = await _ask(connection, request, 1)
        if answer.error_code not in _NOT_READY or time.monotonic() > deadline:
            _check(answer.error_code)
            return answer
        await asyncio.sleep(0.02)


async def _ask(connection: BrokerConnection, request: Message, version: int) -> Any:
    return await connection.request(request, version, _TIME_LIMIT_S)


def _check(code: int) -> None:
    if code:
        raise RuntimeError(f"the broker refused: {error_code(code).name}")


async def _flood(
    bootstrap: str,
    count: int,
    api: ApiKey,
    version: int,
    request: Callable[[int, int], Message],
    code_of: Callable[[Any], int],
) -> Rate:
    """`count` requests over all connections, `DEPTH` under way on each."""
    share = count // CONNECTIONS

    async def run(number: int, connection: BrokerConnection) -> None:
        connection.version_for(api, version)
        waiting: deque[Awaitable[Any]] = deque()
        for index in range(share):
            if len(waiting) == DEPTH:
                _check(code_of(await waiting.popleft()))
            waiting.append(connection.submit(request(number, index), version, _TIME_LIMIT_S))
        for answer in waiting:
            _check(code_of(await answer))

    async with _connections(bootstrap, CONNECTIONS) as connections:
        started = time.perf_counter()
        await asyncio.gather(*(run(number, each) for number, each in enumerate(connections)))
        seconds = time.perf_counter() - started
    return Rate(share * CONNECTIONS / seconds, share * CONNECTIONS)


@contextlib.asynccontextmanager
async def _connections(bootstrap: str, count: int) -> AsyncIterator[list[BrokerConnection]]:
    """Open connections to the broker, which coordinates every group (one broker)."""
    address: Address = parse_bootstrap(bootstrap)[0]
    async with contextlib.AsyncExitStack() as stack:
        opened = [await _open(address, stack) for _ in range(count)]
        await _until_coordinated(opened[0])
        yield opened


async def _open(address: Address, stack: contextlib.AsyncExitStack) -> BrokerConnection:
    connection = await BrokerConnection.open(
        address, client_id="bench", time_limit=_TIME_LIMIT_S, frame_bytes_max=64 * 1024 * 1024
    )
    stack.push_async_callback(connection.close)
    return connection


async def _until_coordinated(connection: BrokerConnection) -> None:
    """The offsets topic is made when it is first asked for."""
    request = FindCoordinatorRequest(key_type=0, coordinator_keys=["bench"])
    while (await _ask(connection, request, 4)).coordinators[0].error_code:
        pass
