"""One connection to another broker: from the attempt to connect to its end.

Rules of this file: the event loop only, no task and no `await`; the runtime's network and timers do the waiting. Before
anything else both sides agree on versions (ApiVersions). Answers come in the order of the requests, so a late one makes
all that is under way worthless: whatever goes wrong ends the connection, and every request on it fails with the
same problem. Each `Done` is called exactly once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.connection import ClientConnection
from pybroker_protocol.errors import ErrorCode, ProtocolError
from pybroker_protocol.frame import version_range
from pybroker_protocol.messages import ApiVersionsRequest
from pybroker_protocol.schema.classes import Message
from pybroker_server import __version__
from pybroker_server.metadata.image import Endpoint
from pybroker_server.peers.frames import FrameReceiver
from pybroker_server.peers.problem import PeerError, Problem
from pybroker_server.runtime.ports import Cancellable, Stream, TimerHandle
from pybroker_server.runtime.runtime import Runtime

Done = Callable[[Any, PeerError | None], None]
"""(response, None) or (None, error)"""

FRAME_BYTES_MAX: Final = 256 * 1024 * 1024
_SOFTWARE_NAME: Final = "pybroker-broker"
_NEGOTIATION_MS: Final = 10_000
"""How long the first answer may take."""
_NEVER_MS: Final = 1 << 62


class Call(NamedTuple):
    """A request and who waits for its answer."""

    request: Message
    version: int | None
    """None: the highest that both sides speak."""
    deadline_ms: int
    done: Done


class PeerConnection:
    """Connects at once. `on_ready()` when requests can be sent; `on_end(error)` when it is over, once."""

    __slots__ = (
        "_attempt",
        "_client_id",
        "_error",
        "_frames",
        "_in_flight",
        "_machine",
        "_on_end",
        "_on_ready",
        "_runtime",
        "_stream",
        "_timer",
        "_timer_ms",
        "_versions",
        "endpoint",
        "is_ready",
    )

    def __init__(
        self,
        endpoint: Endpoint,
        runtime: Runtime,
        *,
        client_id: str,
        connect_timeout_ms: int,
        on_ready: Callable[[], None],
        on_end: Callable[[PeerError], None],
    ) -> None:
        self.endpoint = endpoint
        self.is_ready = False
        self._runtime = runtime
        self._client_id = client_id
        self._on_ready = on_ready
        self._on_end = on_end
        self._machine = ClientConnection(FRAME_BYTES_MAX)
        self._frames = FrameReceiver(runtime.buffers, FRAME_BYTES_MAX, self._on_frame)
        self._versions: dict[int, tuple[int, int]] = {}
        self._in_flight: deque[Call] = deque()
        self._stream: Stream | None = None
        self._error: PeerError | None = None
        self._timer: TimerHandle | None = None
        self._timer_ms = _NEVER_MS
        self._attempt: Cancellable = runtime.network.connect(endpoint.host, endpoint.port, connect_timeout_ms, self)

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    @property
    def has_ended(self) -> bool:
        return self._error is not None

    def submit(self, call: Call) -> None:
        """Sends it now; only while `is_ready`. A version that the peer does not speak fails at once."""
        assert self.is_ready
        version = call.version
        if version is None:
            version = self._best_version(call.request)
            if version is None:
                api = ApiKey(call.request.schema.key or 0).name
                call.done(None, PeerError(Problem.PROTOCOL, f"{self._peer} speaks no version of {api} that we speak"))
                return
        self._send(call, version)

    def end(self, error: PeerError) -> None:
        """The one way in which it ends; whatever was under way fails with `error`."""
        if self._error is not None:
            return
        self._error = error
        self.is_ready = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._stream is None:
            self._attempt.cancel()
        else:
            self._stream.abort()
        failed, self._in_flight = self._in_flight, deque()
        for call in failed:
            call.done(None, error)
        self._on_end(error)

    # -- requests

    @property
    def _peer(self) -> str:
        return f"{self.endpoint.host}:{self.endpoint.port}"

    def _best_version(self, request: Message) -> int | None:
        key = request.schema.key
        assert key is not None, f"{request.__class__.__name__} is not a request"
        low, high = version_range(key)
        theirs = self._versions.get(key)
        if theirs is None:
            return None
        best = min(high, theirs[1])
        return best if best >= max(low, theirs[0]) else None

    def _send(self, call: Call, version: int) -> None:
        assert self._stream is not None
        _, pieces = self._machine.send(call.request, version, self._client_id)
        self._in_flight.append(call)
        self._watch(call.deadline_ms)
        self._stream.write(pieces)

    def _negotiate(self, deadline_ms: int) -> None:
        request = ApiVersionsRequest(client_software_name=_SOFTWARE_NAME, client_software_version=__version__)
        version = version_range(ApiKey.API_VERSIONS)[1]
        self._send(Call(request, version, deadline_ms, self._on_versions), version)

    def _on_versions(self, response: Any, error: PeerError | None) -> None:
        if error is not None:
            return  # the connection has ended, and said so
        if response.error_code != ErrorCode.NONE:
            self.end(PeerError(Problem.PROTOCOL, f"{self._peer} refuses ApiVersions with error {response.error_code}"))
            return
        self._versions = {key.api_key: (key.min_version, key.max_version) for key in response.api_keys}
        self.is_ready = True
        self._on_ready()

    # -- deadlines

    def _watch(self, deadline_ms: int) -> None:
        """One timer for the earliest deadline. One that an answered request left behind is good enough."""
        if deadline_ms >= self._timer_ms:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer_ms = deadline_ms
        delay_ms = max(deadline_ms - self._runtime.clock.monotonic_ms(), 0)
        self._timer = self._runtime.timers.call_after_ms(delay_ms, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._timer_ms = _NEVER_MS
        if not self._in_flight:
            return
        deadline_ms = min(call.deadline_ms for call in self._in_flight)
        if deadline_ms <= self._runtime.clock.monotonic_ms():
            self.end(PeerError(Problem.TIMED_OUT, f"{self._peer} did not answer in time"))
        else:
            self._watch(deadline_ms)

    # -- what the network says (`ports.StreamReceiver`)

    def opened(self, stream: Stream) -> None:
        self._stream = stream
        if self._error is not None:
            stream.abort()
            return
        self._negotiate(self._runtime.clock.monotonic_ms() + _NEGOTIATION_MS)

    def get_buffer(self, sizehint: int) -> memoryview:
        del sizehint
        return self._frames.get_buffer()

    def buffer_updated(self, count: int) -> None:
        if self._error is not None:
            return
        try:
            self._frames.buffer_updated(count)
        except ProtocolError as error:
            self.end(PeerError(Problem.PROTOCOL, f"{self._peer} broke the protocol: {error}"))

    def closed(self, error: OSError | None) -> None:
        reason = f": {error.strerror or error}" if error is not None else ""
        if self._stream is not None:
            self.end(PeerError(Problem.CLOSED, f"{self._peer} closed the connection{reason}"))
        elif isinstance(error, ConnectionRefusedError):
            self.end(PeerError(Problem.REFUSED, f"nobody listens at {self._peer}"))
        else:
            self.end(PeerError(Problem.UNREACHABLE, f"{self._peer} cannot be reached{reason}"))

    def _on_frame(self, frame: memoryview) -> None:
        if self._error is not None:
            return
        _, message = self._machine.receive_frame(frame)
        self._in_flight.popleft().done(message, None)
