"""Deadlines on the event loop.

Rules of this file: the only place that asks the event loop for a timer. A callback is never called before its
delay has passed on `Clock.monotonic_ms`, so a caller that looks at the clock finds its deadline reached.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class LoopTimers:
    """`ports.Timers` over an asyncio event loop."""

    __slots__ = ("_loop",)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def call_after_ms(self, delay_ms: int, callback: Callable[[], None]) -> asyncio.TimerHandle:
        # The loop may count from a clock it read a little earlier: one millisecond more makes up for it.
        return self._loop.call_later((delay_ms + 1) / 1000, callback)

    def call_soon(self, callback: Callable[[], None]) -> None:
        self._loop.call_soon(callback)
