"""Work that may wait for a device, in a bounded pool of threads.

Rules of this file: the only place that starts threads. Work is any callable; it must not touch state that the
event loop changes, unless that state says so. Results come back on the event loop, many at one wake-up: a
wake-up costs a system call, so a thread that finds one already on its way adds to it (design D13: a hop to
a thread and back costs 100 µs, and is paid per group of requests, never per request).
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")
Done = Callable[[Any, BaseException | None], None]

MAX_THREADS = 8
"""Enough to keep several devices busy; threads beyond the work at hand are never started."""


class BlockingThreads:
    """`ports.Blocking`. Belongs to one event loop; threads are started when there is work and none is
    idle."""

    def __init__(self, loop: asyncio.AbstractEventLoop, max_threads: int = MAX_THREADS) -> None:
        self._loop = loop
        self._max_threads = max_threads
        self._work: SimpleQueue[tuple[Callable[[], Any], Done] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._finished: deque[tuple[Done, Any, BaseException | None]] = deque()
        self._wake_up_sent = False
        """Set by the thread that sends it, cleared by the loop before it looks at `_finished`: a result that
        comes after the look finds it cleared and sends a new one, so none is left lying."""
        self._in_flight = 0
        self._closed = False

    def run(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Runs `work` in the pool; the future has its result or raises what it raised."""
        future: asyncio.Future[T] = self._loop.create_future()

        def done(result: Any, error: BaseException | None) -> None:
            if future.done():  # cancelled while the work ran: it cannot be stopped, only forgotten
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        self.submit(work, done)
        return future

    def submit(self, work: Callable[[], T], done: Callable[[T | None, BaseException | None], None]) -> None:
        """Runs `work` in the pool and calls `done(result, error)` on the event loop. Call it on the loop."""
        assert not self._closed, "work given to a closed pool"
        self._in_flight += 1
        if self._in_flight > len(self._threads) and len(self._threads) < self._max_threads:
            self._start_thread()
        self._work.put((work, done))

    @property
    def in_flight(self) -> int:
        """Pieces of work whose `done` has not been called yet."""
        return self._in_flight

    def close(self) -> None:
        """Lets the work at hand end and stops the threads; waits for them. Results not yet delivered are."""
        if self._closed:
            return
        self._closed = True
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads:
            thread.join()
        self._deliver()

    def _start_thread(self) -> None:
        name = f"blocking-{len(self._threads)}"
        thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _serve(self) -> None:
        """A thread's life. Daemon: a device that never answers must not keep a process from exiting."""
        while (item := self._work.get()) is not None:
            work, done = item
            result: Any = None
            error: BaseException | None = None
            try:
                result = work()
            except BaseException as raised:  # noqa: BLE001 - carried to the loop, where the caller judges it
                error = raised
            self._finished.append((done, result, error))
            if not self._wake_up_sent:
                self._wake_up_sent = True
                if not self._closed:
                    self._loop.call_soon_threadsafe(self._deliver)
            del item, work, done, result, error  # an idle thread holds nothing of what it worked on

    def _deliver(self) -> None:
        self._wake_up_sent = False
        finished = self._finished
        while finished:
            done, result, error = finished.popleft()
            self._in_flight -= 1
            done(result, error)
