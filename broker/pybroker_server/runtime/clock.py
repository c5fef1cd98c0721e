"""The system's clock.

Rules of this file: the only place that reads time. Pure logic is handed `now_ms` and never holds a clock.
"""

from __future__ import annotations

import time

_monotonic_ns = time.monotonic_ns
_wall_ns = time.time_ns


class SystemClock:
    """`ports.Clock` over the operating system: CLOCK_MONOTONIC for intervals, the wall for record
    timestamps."""

    __slots__ = ()

    def monotonic_ms(self) -> int:
        return _monotonic_ns() // 1_000_000

    def monotonic_us(self) -> int:
        return _monotonic_ns() // 1_000

    def wall_ms(self) -> int:
        return _wall_ns() // 1_000_000
