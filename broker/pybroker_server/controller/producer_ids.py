"""Hands out producer ids from blocks of the metadata store.

Rules of this file: an id is given out once in the life of the cluster. A block is taken from the store before
any of its ids is used; what is left of one when the broker stops is never used. The next block is fetched while the
present one still has ids, so that who takes one hardly ever finds none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from pybroker_protocol.errors import ErrorCode, KafkaError

AllocateBlock = Callable[[], Awaitable[range]]
"""Raises KafkaError when the metadata store gives none."""
Spawn = Callable[[str, Coroutine[Any, Any, None]], object]
"""Starts a task that has an owner: `TaskOwner.spawn`."""
WhenReady = Callable[[KafkaError | None], None]

_FETCH_AT_SHARE = 10
"""The next block is fetched when one part in this many of the present one is left."""


class ProducerIdAllocator:
    """`take` what is there, or be told `when_ready`."""

    def __init__(self, allocate_block: AllocateBlock, spawn: Spawn) -> None:
        self._allocate_block = allocate_block
        self._spawn = spawn
        self._block = range(0)
        self._next_block = range(0)
        self._fetch_below = 0
        self._is_fetching = False
        self._waiting: list[WhenReady] = []

    def take(self) -> int:
        """An id that no producer had before.

        Raises KafkaError COORDINATOR_LOAD_IN_PROGRESS, as Kafka does, while there is none at hand.
        """
        if not self._block:
            self._block, self._next_block = self._next_block, range(0)
            self._fetch_below = len(self._block) // _FETCH_AT_SHARE
        if not self._block:
            self._fetch()
            raise KafkaError(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
        taken, self._block = self._block[0], self._block[1:]
        if not self._next_block and len(self._block) < self._fetch_below:
            self._fetch()
        return taken

    def when_ready(self, callback: WhenReady) -> None:
        """Calls back when `take` has an id, at once if it can, or with the error for which there is none.

        The callback may take one; who takes more may find none.
        """
        if self._block or self._next_block:
            callback(None)
            return
        self._waiting.append(callback)
        self._fetch()

    def _fetch(self) -> None:
        if not self._is_fetching:
            self._is_fetching = True
            self._spawn("producer-ids", self._fetch_block())

    async def _fetch_block(self) -> None:
        error: KafkaError | None = None
        try:
            self._next_block = await self._allocate_block()
        except KafkaError as refusal:
            error = refusal
        self._is_fetching = False
        waiting, self._waiting = self._waiting, []
        for number, callback in enumerate(waiting):
            if error is None and not self._block and not self._next_block:
                self._waiting = waiting[number:] + self._waiting
                self._fetch()
                return
            callback(error)
