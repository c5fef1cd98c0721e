"""The time a client gives an admin request, kept as Kafka keeps it. No API of its own.

What is not done in time is answered REQUEST_TIMED_OUT and may happen all the same, as with every answer that
got lost; no time at all therefore means "begin it, do not wait".
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from pybroker_protocol.errors import ErrorCode, KafkaError

T = TypeVar("T")


class TimeLimit:
    """One for each request, made when its work begins."""

    def __init__(self, timeout_ms: int) -> None:
        self._deadline_s = asyncio.get_running_loop().time() + max(timeout_ms, 0) / 1000

    async def run(self, work: Awaitable[T]) -> T:
        """The result of `work`. Raises KafkaError(REQUEST_TIMED_OUT) when the time is over first."""
        try:
            async with asyncio.timeout_at(self._deadline_s):
                return await work
        except TimeoutError:
            raise KafkaError(ErrorCode.REQUEST_TIMED_OUT) from None
