"""A bound on how long something may be waited for, in terms of `ports.Timers`.

Rules of this file: time comes from the port, so that a test or a simulator can hold it; the cancelling is asyncio's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pybroker_server.runtime.ports import Timers


@asynccontextmanager
async def time_limit(timers: Timers, limit_ms: int) -> AsyncIterator[None]:
    """Cancels the block and raises TimeoutError when `limit_ms` pass before it is left."""
    async with asyncio.timeout(None) as scope:
        handle = timers.call_after_ms(limit_ms, lambda: scope.reschedule(0))
        try:
            yield
        finally:
            handle.cancel()
