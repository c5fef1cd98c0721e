"""Hands out producer ids from blocks of the metadata store.

Rules of this file: an id is given out once in the life of the cluster. A block is taken from the store before
any of its ids is used; what is left of one when the broker stops is never used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

AllocateBlock = Callable[[], Awaitable[range]]


class ProducerIdAllocator:
    def __init__(self, allocate_block: AllocateBlock) -> None:
        self._allocate_block = allocate_block
        self._ids = iter(range(0))
        self._lock = asyncio.Lock()

    async def next(self) -> int:
        """An id that no producer had before. Raises KafkaError when the metadata store gives no block."""
        while True:
            producer_id = next(self._ids, None)
            if producer_id is not None:
                return producer_id
            async with self._lock:
                left = next(self._ids, None)
                if left is not None:
                    return left
                self._ids = iter(await self._allocate_block())
