"""A clock and timers that move only when a test says so."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count


class ManualHandle:
    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class ManualTime:
    """`ports.Clock` and `ports.Timers` in one: `advance_ms` moves time and calls what is due, in order."""

    def __init__(self, now_ms: int = 1_000_000) -> None:
        self._now_ms = now_ms
        self._order = count()
        self._due: list[tuple[int, int, ManualHandle]] = []

    def monotonic_ms(self) -> int:
        return self._now_ms

    def monotonic_us(self) -> int:
        return self._now_ms * 1000

    def wall_ms(self) -> int:
        return 1_700_000_000_000 + self._now_ms

    def call_after_ms(self, delay_ms: int, callback: Callable[[], None]) -> ManualHandle:
        handle = ManualHandle(callback)
        heapq.heappush(self._due, (self._now_ms + delay_ms, next(self._order), handle))
        return handle

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.call_after_ms(0, callback)

    def advance_ms(self, delay_ms: int) -> None:
        until = self._now_ms + delay_ms
        while self._due and self._due[0][0] <= until:
            at, _, handle = heapq.heappop(self._due)
            self._now_ms = max(self._now_ms, at)
            if handle.callback is not None:
                handle.callback()
        self._now_ms = until
