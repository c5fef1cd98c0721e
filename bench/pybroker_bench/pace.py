"""When to send: an open-loop schedule, and a timer finer than an event loop's millisecond.

Rules: the schedule is fixed before the test; a load that falls behind does not move it, so a stall of the broker shows
in every record that was due during it (what leaving out is called coordinated omission).
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import struct
import sys
import time
from struct import Struct
from typing import Final

_SPEC: Final = Struct("@qqqq")
_MONOTONIC: Final = 1
_FLAGS: Final = 0o4000 | 0o2000000  # TFD_NONBLOCK | TFD_CLOEXEC
_ABSOLUTE: Final = 1


class Schedule:
    """The times at which the records of one producer are due, from `start_ns` on.

    Up to 1,000 a second each has a time of its own; above, as many as make up the rate are due together each
    millisecond, which is how applications send that often.
    """

    BURSTS_PER_S: Final = 1000

    def __init__(self, start_ns: int, rate: float) -> None:
        self._start_ns = start_ns
        self.burst = max(1, -(-int(rate) // self.BURSTS_PER_S))
        self._gap_ns = 1e9 * self.burst / rate
        self.taken = 0

    def due_at(self, number: int) -> int:
        return self._start_ns + round(number // self.burst * self._gap_ns)

    @property
    def next_ns(self) -> int:
        return self.due_at(self.taken)

    def take(self, now_ns: int, limit: int, end_ns: int) -> list[int]:
        """The times of the records that are due by now, at most `limit`, and before `end_ns`."""
        until = min(now_ns, end_ns - 1)
        times: list[int] = []
        while len(times) < limit and self.next_ns <= until:
            due, count = self.next_ns, self.burst - self.taken % self.burst
            count = min(count, limit - len(times))
            times += [due] * count
            self.taken += count
        return times


class Timer:
    """Waits until a time of the steady clock: by a timerfd on Linux, elsewhere by the loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: asyncio.Future[None] | None = None
        self._fd = -1
        if sys.platform == "linux":
            self._libc = ctypes.CDLL(None, use_errno=True)
            self._fd = self._libc.timerfd_create(_MONOTONIC, _FLAGS)
        if self._fd >= 0:
            self._loop.add_reader(self._fd, self._rang)

    async def until(self, when_ns: int) -> None:
        now = time.monotonic_ns()
        if when_ns <= now:
            await asyncio.sleep(0)
            return
        if self._fd < 0:
            await asyncio.sleep((when_ns - now) / 1e9)
            return
        spec = _SPEC.pack(0, 0, *divmod(when_ns, 1_000_000_000))
        self._waiting = self._loop.create_future()
        if self._libc.timerfd_settime(self._fd, _ABSOLUTE, spec, None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")
        await self._waiting

    def _rang(self) -> None:
        try:
            os.read(self._fd, struct.calcsize("Q"))
        except BlockingIOError:
            return
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    def close(self) -> None:
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
