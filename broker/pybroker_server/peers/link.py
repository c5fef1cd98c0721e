"""The way to one other broker for one kind of request: a connection, and what waits for it to be made.

Rules of this file: the event loop only. There is at most one connection at a time; when it is lost, the next is made
when there is something to send, or at once if it is kept open for its own sake. Attempts that fail are repeated after
a pause that doubles. What waits fails with the attempt: callers know better than this file whether to ask again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from pybroker_server.metadata.image import Endpoint
from pybroker_server.peers.connection import Call, PeerConnection
from pybroker_server.peers.problem import PeerError, Problem
from pybroker_server.runtime.ports import TimerHandle
from pybroker_server.runtime.runtime import Runtime

IN_FLIGHT_MAX: Final = 64
WAITING_MAX: Final = 1_000
BACKOFF_FIRST_MS: Final = 50
BACKOFF_MAX_MS: Final = 1_000


class Link:
    """`on_lost(error)` after every connection or attempt that ended; `on_ready()` after every one that works."""

    __slots__ = (
        "_backoff_ms",
        "_client_id",
        "_connect_timeout_ms",
        "_connection",
        "_endpoint",
        "_is_closed",
        "_is_kept_open",
        "_on_lost",
        "_on_ready",
        "_pause",
        "_runtime",
        "_waiting",
    )

    def __init__(
        self,
        endpoint: Endpoint,
        runtime: Runtime,
        *,
        client_id: str,
        connect_timeout_ms: int,
        is_kept_open: bool,
        on_ready: Callable[[], None],
        on_lost: Callable[[PeerError], None],
    ) -> None:
        self._endpoint = endpoint
        self._runtime = runtime
        self._client_id = client_id
        self._connect_timeout_ms = connect_timeout_ms
        self._is_kept_open = is_kept_open
        self._on_ready = on_ready
        self._on_lost = on_lost
        self._connection: PeerConnection | None = None
        self._waiting: deque[Call] = deque()
        self._pause: TimerHandle | None = None
        self._backoff_ms = 0
        """Before the next attempt; 0 after a connection that worked."""
        self._is_closed = False
        if is_kept_open:
            self._connect()

    @property
    def is_ready(self) -> bool:
        return self._connection is not None and self._connection.is_ready

    def submit(self, call: Call) -> None:
        """Sends it as soon as can be."""
        connection = self._connection
        if connection is not None and connection.is_ready and connection.in_flight < IN_FLIGHT_MAX:
            connection.submit(self._followed(call))
            return
        if len(self._waiting) >= WAITING_MAX:
            call.done(None, PeerError(Problem.BUSY, f"{len(self._waiting)} requests wait for {self._peer} already"))
            return
        self._waiting.append(call)
        if connection is None and self._pause is None:
            self._connect()

    def close(self, error: PeerError) -> None:
        """Ends it for good; what waits fails with `error`, and nobody is told that a connection was lost."""
        self._is_closed = True
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        if self._connection is not None:
            self._connection.end(error)
        self._fail_waiting(error)

    @property
    def _peer(self) -> str:
        return f"{self._endpoint.host}:{self._endpoint.port}"

    def _connect(self) -> None:
        self._pause = None
        if self._is_closed:
            return
        self._connection = PeerConnection(
            self._endpoint,
            self._runtime,
            client_id=self._client_id,
            connect_timeout_ms=self._connect_timeout_ms,
            on_ready=self._ready,
            on_end=self._ended,
        )

    def _followed(self, call: Call) -> Call:
        """With every answer there is room for one that waits."""

        def done(response: object, error: PeerError | None) -> None:
            if error is None and self._waiting:
                self._send_waiting()
            call.done(response, error)

        return call._replace(done=done)

    def _send_waiting(self) -> None:
        connection, waiting = self._connection, self._waiting
        now_ms = self._runtime.clock.monotonic_ms()
        while waiting and connection is not None and connection.is_ready and connection.in_flight < IN_FLIGHT_MAX:
            call = waiting.popleft()
            if call.deadline_ms <= now_ms:
                call.done(None, PeerError(Problem.TIMED_OUT, f"{self._peer} had no room for a request in time"))
            else:
                connection.submit(self._followed(call))

    def _ready(self) -> None:
        self._backoff_ms = 0
        self._on_ready()
        self._send_waiting()

    def _ended(self, error: PeerError) -> None:
        self._connection = None
        if self._is_closed:
            return
        self._fail_waiting(error)
        delay_ms = self._backoff_ms
        self._backoff_ms = min(max(2 * delay_ms, BACKOFF_FIRST_MS), BACKOFF_MAX_MS)
        self._pause = self._runtime.timers.call_after_ms(delay_ms, self._after_pause)
        self._on_lost(error)

    def _after_pause(self) -> None:
        self._pause = None
        if self._is_kept_open or self._waiting:
            self._connect()

    def _fail_waiting(self, error: PeerError) -> None:
        failed, self._waiting = self._waiting, deque()
        for call in failed:
            call.done(None, error)
