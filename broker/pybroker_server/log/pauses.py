"""Waiting that can be ended from outside: for tasks that do something now and then and are to stop at once.

Rules of this file: event loop only.
"""

from __future__ import annotations

import asyncio
from functools import partial

from pybroker_server.runtime.ports import Timers


class Pauses:
    """The pauses of the tasks of one owner."""

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._waiting: set[asyncio.Future[None]] = set()
        self._ended = False

    async def wait(self, delay_ms: int) -> None:
        """Returns after `delay_ms`, or when `end` is called; at once when it was."""
        if self._ended:
            return
        pause: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        handle = self._timers.call_after_ms(delay_ms, partial(_end, pause))
        self._waiting.add(pause)
        try:
            await pause
        finally:
            self._waiting.discard(pause)
            handle.cancel()

    def end(self) -> None:
        """Ends the pauses of this moment, and those that a task would begin after it finished what it is at."""
        self._ended = True
        for pause in tuple(self._waiting):
            _end(pause)


def _end(pause: asyncio.Future[None]) -> None:
    if not pause.done():
        pause.set_result(None)
