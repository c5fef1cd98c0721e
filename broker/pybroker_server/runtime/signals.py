"""How a broker is told to stop.

Rules of this file: the only place that handles signals. The first SIGTERM or SIGINT asks for an orderly
end; a second one, whichever of the two, ends the process at once: whoever sends it has seen enough of the
orderly one.
"""

from __future__ import annotations

import asyncio
import os
import signal

EXIT_SIGNAL_BASE = 128
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """Listens from `install` to `remove`; `wait` returns when the first signal has come."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._asked = asyncio.Event()

    def install(self) -> None:
        for number in _SIGNALS:
            self._loop.add_signal_handler(number, self._on_signal, number)

    def remove(self) -> None:
        for number in _SIGNALS:
            self._loop.remove_signal_handler(number)

    async def wait(self) -> None:
        await self._asked.wait()

    def _on_signal(self, number: int) -> None:
        if self._asked.is_set():
            os._exit(EXIT_SIGNAL_BASE + number)
        self._asked.set()
