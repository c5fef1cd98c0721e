"""What all connections of a broker share: the receive buffer, deadlines, the queue of connections with
answers.

Rules of this file: no bytes are interpreted here. One receive buffer serves every connection, because
reading, handling and forgetting happen in one callback of the loop: an idle connection holds no buffer at
all. Whatever a request keeps of the bytes keeps the buffer, and the hub then takes another.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pybroker_server.network.dispatcher import Dispatcher
from pybroker_server.network.request_memory import RequestMemory
from pybroker_server.runtime.buffers import BufferPool
from pybroker_server.runtime.ports import Clock, TimerHandle, Timers

if TYPE_CHECKING:
    from pybroker_server.network.connection import ClientConnection

SCRATCH_BYTES = 64 * 1024
LARGE_FRAME_BYTES = 16 * 1024
HEAD_BYTES = 512
"""After a frame of LARGE_FRAME_BYTES or more the next read takes only this much: enough to know the next
frame's size, so that its bytes are received where they stay and only these few are moved."""

SWEEP_MS = 1_000
_IDLE_EVERY_SWEEPS = 5
_UNSHARED_SCRATCH_REFERENCES = 3
"""`sys.getrefcount` of the receive buffer when no request holds any of it: the attribute, its one lasting
view, and the argument."""


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """The numbers that bound one connection; names are Kafka's where Kafka has the setting."""

    socket_request_max_bytes: int = 100 * 1024 * 1024
    connections_max_idle_ms: int = 600_000
    frame_deadline_ms: int = 30_000
    """A frame begun must be complete after this, plus a second for every `frame_bytes_per_second`
    received."""
    frame_bytes_per_second: int = 32 * 1024
    max_waiting_responses: int = 1_000
    max_waiting_response_bytes: int = 1024 * 1024


class ConnectionEvents(Protocol):
    """Where connections report. Implementations limit the rate by `kind`."""

    def connection_refused(self, kind: str, peer: str, reason: str) -> None:
        """The peer did something for which its connection closes."""


class ConnectionHub:
    """One per broker and event loop."""

    def __init__(
        self,
        settings: ConnectionSettings,
        dispatcher: Dispatcher,
        pool: BufferPool,
        memory: RequestMemory,
        clock: Clock,
        timers: Timers,
        events: ConnectionEvents,
    ) -> None:
        self.settings = settings
        self.dispatcher = dispatcher
        self.pool = pool
        self.memory = memory
        self.clock = clock
        self.timers = timers
        self.events = events
        self.connections: set[ClientConnection] = set()
        self.half_frames: dict[ClientConnection, int] = {}
        """Connections in the middle of a frame, and when (monotonic ms) it began."""
        self._on_empty: Callable[[], None] | None = None
        self._ready: list[ClientConnection] = []
        self._sweeps = 0
        self._sweep_timer: TimerHandle | None = None
        self._last_id = 0
        self.replace_scratch()

    def next_connection_id(self) -> int:
        self._last_id += 1
        return self._last_id

    @property
    def connections_made(self) -> int:
        """Since the start, open and closed ones."""
        return self._last_id

    # The receive buffer

    def replace_scratch(self) -> None:
        self.scratch = self.pool.acquire(SCRATCH_BYTES)
        self.scratch_view = memoryview(self.scratch)
        self.head_view = self.scratch_view[:HEAD_BYTES]

    def recycle_scratch(self) -> None:
        """Called when a connection has handled what was read: takes another buffer if a request kept a
        part."""
        if sys.getrefcount(self.scratch) != _UNSHARED_SCRATCH_REFERENCES:
            self.pool.release(self.scratch)
            self.replace_scratch()

    # Connections with answers to send

    def schedule(self, connection: ClientConnection) -> None:
        """Lets `connection` look at its answers in this turn of the loop: many answers, one write."""
        if not self._ready:
            self.timers.call_soon(self._run_ready)
        self._ready.append(connection)

    def _run_ready(self) -> None:
        ready = self._ready
        self._ready = []
        for connection in ready:
            connection.advance()

    # Deadlines

    def start(self) -> None:
        self._sweep_timer = self.timers.call_after_ms(SWEEP_MS, self._sweep_and_again)

    def stop(self) -> None:
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
            self._sweep_timer = None

    def _sweep_and_again(self) -> None:
        self.sweep(self.clock.monotonic_ms())
        self.start()

    def sweep(self, now_ms: int) -> None:
        """Closes connections whose frame does not end, and, less often, the idle ones."""
        for connection, begun_ms in list(self.half_frames.items()):
            connection.check_frame_deadline(now_ms, begun_ms)
        self._sweeps += 1
        if self._sweeps % _IDLE_EVERY_SWEEPS == 0:
            for connection in list(self.connections):
                connection.check_idle(now_ms)

    # The end

    def shut_down(self, when_empty: Callable[[], None]) -> None:
        """Closes every connection once its requests under way are answered; parked ones are let go at
        once."""
        self._on_empty = when_empty
        for connection in list(self.connections):
            connection.shut_down()
        if not self.connections:
            when_empty()

    def abort_all(self) -> None:
        """Closes what is left, unsent bytes or not."""
        for connection in list(self.connections):
            connection.abort()

    def forget(self, connection: ClientConnection) -> None:
        self.connections.discard(connection)
        self.half_frames.pop(connection, None)
        if not self.connections and self._on_empty is not None:
            self._on_empty()
