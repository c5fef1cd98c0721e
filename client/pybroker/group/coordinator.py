"""The broker that coordinates a group or a transactional id: found, asked, and found again when it has moved.

Rules: two connections of the group's own, because a broker answers a connection in order: what keeps the membership
must not wait behind anything, and a commit must not wait for a JoinGroup that gathers a whole group. An answer that
says "not here" or "not yet" is the caller's to try again; `forget` makes the next question look for the broker anew.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, Final

from pybroker.client import Client
from pybroker.connection import BrokerConnection
from pybroker.errors import Closed, KafkaError, Retriable, TimedOut, error_for
from pybroker.retry import Backoff
from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode, error_code
from pybroker_protocol.messages import FindCoordinatorRequest, FindCoordinatorResponse
from pybroker_protocol.schema.classes import Message

__all__ = ["Coordinator", "is_elsewhere", "is_for_now"]

_numbers = count()
GROUP: Final = 0
TRANSACTION: Final = 1
_NAMES: Final = {GROUP: "group", TRANSACTION: "transactional id"}
_VERSION_OF_BATCHES: Final = 4
_ELSEWHERE: Final = frozenset({ErrorCode.NOT_COORDINATOR, ErrorCode.COORDINATOR_NOT_AVAILABLE})
_FOR_NOW: Final = _ELSEWHERE | {
    ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
    ErrorCode.REQUEST_TIMED_OUT,
    ErrorCode.NETWORK_EXCEPTION,
    ErrorCode.UNKNOWN_SERVER_ERROR,
}


def is_elsewhere(code: int) -> bool:
    """Whether the answer says that another broker is to be asked."""
    return error_code(code) in _ELSEWHERE


def is_for_now(code: int) -> bool:
    """Whether the same question may get another answer soon, from this coordinator or the next."""
    return error_code(code) in _FOR_NOW


class Coordinator:
    """Of one group, for one consumer; or of one transactional id (`kind` TRANSACTION), for one producer."""

    def __init__(self, client: Client, group: str, kind: int = GROUP) -> None:
        self.group = group
        self._kind = kind
        self._client = client
        number = next(_numbers)
        self.membership_lane: Final = f"group {number}"
        self.offsets_lane: Final = f"offsets {number}"
        self._node: int | None = None
        self._finding = asyncio.Lock()
        self._backoff = Backoff()

    def forget(self) -> None:
        """It has moved, or cannot be reached."""
        self._node = None

    def close(self) -> None:
        for lane in (self.membership_lane, self.offsets_lane):
            self._client.pool.close_lane(lane)

    async def connect(self, lane: str) -> BrokerConnection:
        """A connection to the coordinator, found if it is not known. Raises `KafkaError`, after one attempt."""
        try:
            node = self._node if self._node is not None else await self._find()
            return await self._client.pool.connect(node, lane)
        except Closed:
            raise
        except KafkaError:
            self.forget()
            raise

    async def ask(
        self, lane: str, api: ApiKey, request: Message, *, highest: int | None = None, time_limit: float | None = None
    ) -> Any:
        """Ask once, in the newest version up to `highest`. Raises `KafkaError` when there is no answer."""
        connection = await self.connect(lane)
        limit = self._client.request_timeout if time_limit is None else time_limit
        try:
            return await connection.request(request, connection.version_for(api, highest), limit)
        except Retriable:
            self.forget()
            raise

    async def persist(
        self, work: Callable[[], Awaitable[int]], what: str, *, time_limit: float, gives_up: Callable[[], bool] = bool
    ) -> None:
        """Do `work` until the code it returns is final, through moves of the coordinator.

        Raises `TimedOut` after `time_limit` or when `gives_up()`, what `work` raises, or the error that it returns.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + time_limit
        attempt = 0
        while True:
            error: KafkaError | None = None
            try:
                async with asyncio.timeout_at(deadline):
                    code = await work()
            except TimeoutError as failure:
                if isinstance(failure, KafkaError) and loop.time() < deadline:
                    error, code = failure, ErrorCode.REQUEST_TIMED_OUT
                else:
                    raise TimedOut(f"{what}: not done within {time_limit:g} s") from None
            except Retriable as failure:
                error, code = failure, ErrorCode.NETWORK_EXCEPTION
            if code == ErrorCode.NONE:
                return
            if not is_for_now(code):
                raise error_for(code, what)
            if is_elsewhere(code):
                self.forget()
            attempt += 1
            delay = self._backoff.delay(attempt, random.random())
            if loop.time() + delay > deadline or gives_up():
                raise TimedOut(f"{what}: not done within {time_limit:g} s: {error or error_for(code, what)}") from error
            await asyncio.sleep(delay)

    async def _find(self) -> int:
        async with self._finding:
            if self._node is not None:
                return self._node
            connection = await self._client.pool.any()
            request = FindCoordinatorRequest(key=self.group, key_type=self._kind, coordinator_keys=[self.group])
            version = connection.version_for(ApiKey.FIND_COORDINATOR)
            answer: FindCoordinatorResponse = await connection.request(request, version, self._client.request_timeout)
            found: FindCoordinatorResponse | FindCoordinatorResponse.Coordinator = answer
            if version >= _VERSION_OF_BATCHES:
                found = answer.coordinators[0]
            if found.error_code:
                raise error_for(
                    found.error_code, f"coordinator of {_NAMES[self._kind]} {self.group}", found.error_message
                )
            if found.node_id not in self._client.cluster.brokers:
                await self._client.refresh()
            self._node = found.node_id
            return self._node
