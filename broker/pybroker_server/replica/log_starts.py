"""Gets raised log starts onto the device, many requests with one write.

Rules of this file: the event loop only; the write itself is blocking work. Who asks while a write is under way is
answered by the next one, because the one under way may have read the log starts before.
"""

from __future__ import annotations

from collections.abc import Callable

from pybroker_server.runtime.ports import Blocking

Done = Callable[[BaseException | None], None]


class LogStartWriter:
    """`write` is the log manager's: it writes all log starts of all directories and returns when they are durable."""

    def __init__(self, blocking: Blocking, write: Callable[[], None]) -> None:
        self._blocking = blocking
        self._write = write
        self._asked: list[Done] = []
        self._is_writing = False

    def request(self, done: Done) -> None:
        """Calls `done(error)` on the event loop when what is true now has been written, or could not be."""
        self._asked.append(done)
        if not self._is_writing:
            self._start()

    def _start(self) -> None:
        answered, self._asked = self._asked, []
        self._is_writing = True

        def finished(_: None, error: BaseException | None) -> None:
            self._is_writing = False
            if self._asked:
                self._start()
            for done in answered:
                done(error)

        self._blocking.submit(self._write, finished)
