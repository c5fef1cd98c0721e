"""What every part of the admin shares: the client, the time that a call may take, and whom it asks.

Rules: a call is tried again while what made it fail may pass, until `timeout` is over. Who leads, coordinates or
controls is found anew for each try.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from enum import IntEnum
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from pybroker.client import DEFAULT_BOOTSTRAP, Client
from pybroker.errors import Retriable, TimedOut, error_for
from pybroker.pool import MAIN
from pybroker.retry import Backoff
from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.messages import (
    FindCoordinatorRequest,
    FindCoordinatorResponse,
    MetadataRequest,
    MetadataResponse,
)
from pybroker_protocol.schema.classes import Message

__all__ = ["AdminCalls", "CoordinatorKind", "check"]

T = TypeVar("T")

_MANY_KEYS_FROM: Final = 4


class CoordinatorKind(IntEnum):
    """What a coordinator is asked for, as FindCoordinator numbers it."""

    GROUP = 0
    TRANSACTION = 1


class AdminCalls:
    """See the head of this file; `Admin` is made of classes that extend this one."""

    def __init__(
        self,
        bootstrap: str | Sequence[str] = DEFAULT_BOOTSTRAP,
        *,
        client: Client | None = None,
        timeout: float = 30.0,
    ) -> None:
        """`timeout`: seconds that a call may take in all."""
        self._owns_client = client is None
        self.client = client if client is not None else Client(bootstrap)
        self._timeout = timeout
        self._backoff = Backoff()

    async def __aenter__(self) -> Self:
        if self._owns_client:
            await self.client.open()
        self.client.check()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        if self._owns_client:
            await self.client.close()

    @property
    def _timeout_ms(self) -> int:
        return int(self._timeout * 1000)

    async def _metadata(self, names: Sequence[str] | None) -> MetadataResponse:
        topics = None if names is None else [MetadataRequest.MetadataRequestTopic(name=name) for name in names]
        request = MetadataRequest(topics=topics, allow_auto_topic_creation=False)
        response: MetadataResponse = await self.client.ask_any(ApiKey.METADATA, request)
        return response

    async def _ask_controller(self, api: ApiKey, request: Message) -> Any:
        """Ask the broker that the cluster names as its controller, any one when it names none."""
        node = self.client.cluster.controller_id
        if node not in self.client.cluster.brokers:
            return await self.client.ask_any(api, request, time_limit=self._timeout)
        return await self.client.ask_node(node, api, request, time_limit=self._timeout)

    async def _ask_nodes(self, api: ApiKey, request: Message) -> dict[int, Any]:
        """Ask every broker at once; the answers by node id."""
        nodes = sorted(self.client.cluster.brokers)
        answers = await asyncio.gather(
            *(self.client.ask_node(node, api, request, time_limit=self._timeout) for node in nodes)
        )
        return dict(zip(nodes, answers, strict=True))

    async def _ask_at_most(self, node: int, api: ApiKey, request: Message, version: int) -> Any:
        """Ask one broker in no newer version than this one."""
        connection = await self.client.pool.connect(node, MAIN)
        return await connection.request(request, connection.version_for(api, version), self._timeout)

    async def _coordinator(self, kind: CoordinatorKind, key: str) -> int:
        """The node id of the coordinator of a group or of a transactional id."""
        connection = await self.client.pool.any()
        version = connection.version_for(ApiKey.FIND_COORDINATOR)
        request = FindCoordinatorRequest(key=key, key_type=kind, coordinator_keys=[key])
        response: FindCoordinatorResponse = await connection.request(request, version, self._timeout)
        found = response.coordinators[0] if version >= _MANY_KEYS_FROM else response
        check(found.error_code, f"find the coordinator of {key}", found.error_message)
        return found.node_id

    async def _retried(self, what: str, attempt: Callable[[], Awaitable[T]]) -> T:
        """Until it succeeds, fails for good, or the time is over."""
        self.client.check()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout
        tries = 0
        while True:
            try:
                return await attempt()
            except Retriable as error:
                tries += 1
                delay = self._backoff.delay(tries, random.random())
                if loop.time() + delay > deadline:
                    raise TimedOut(
                        f"{what}: gave up after {self._timeout:g} s: {error.message}", code=error.code
                    ) from error
                self.client.request_refresh()
                await asyncio.sleep(delay)


def check(code: int, what: str, detail: str | None) -> None:
    """Raise the exception for a code that is not zero."""
    if code:
        raise error_for(code, what, detail)
