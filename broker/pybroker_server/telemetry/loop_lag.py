"""How late the event loop is: the time by which a timer fires after its deadline.

Rules of this file: two timers a second, whatever the load. A loop that is held up for 300 ms shows as one sample of
that size at most; a loop that is busy all the time shows in every sample.
"""

from __future__ import annotations

from typing import Final

from pybroker_server.runtime.ports import Clock, TimerHandle, Timers
from pybroker_server.telemetry.counts import Durations

INTERVAL_MS: Final = 500


class LoopLag:
    """`start`, and `stop`; `durations` has what was seen."""

    def __init__(self, clock: Clock, timers: Timers) -> None:
        self.durations = Durations()
        self._clock = clock
        self._timers = timers
        self._timer: TimerHandle | None = None
        self._due_us = 0

    def start(self) -> None:
        self._due_us = self._clock.monotonic_us() + INTERVAL_MS * 1000
        self._timer = self._timers.call_after_ms(INTERVAL_MS, self._on_timer)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        self.durations.add(max(self._clock.monotonic_us() - self._due_us, 0))
        self.start()
