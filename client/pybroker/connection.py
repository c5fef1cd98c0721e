"""One connection to one broker: asyncio's transport around the protocol's `ClientConnection`.

Rules: requests are answered in order; one timer watches the earliest deadline. Whatever goes wrong (a cut, a broken
frame, a late answer) ends the connection and every request on it: after that nobody could tell which answer is whose.
A frame is received into memory of its own, once its length is known and within bounds; records in a response are
slices of it.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple, cast

from pybroker.errors import ConnectionFailed, KafkaError, TimedOut, UnsupportedVersion
from pybroker.version import __version__
from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.connection import ClientConnection
from pybroker_protocol.errors import ErrorCode, ProtocolError
from pybroker_protocol.frame import version_range
from pybroker_protocol.messages import ApiVersionsRequest, ApiVersionsResponse
from pybroker_protocol.schema.classes import Message

__all__ = ["Address", "BrokerConnection", "VersionRange"]

_SIZE = struct.Struct(">i")
_SCRATCH_BYTES = 64 * 1024
_SOFTWARE_NAME = "pybroker"


class Address(NamedTuple):
    """Where a broker listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class VersionRange(NamedTuple):
    low: int
    high: int


class _Waiting(NamedTuple):
    answer: asyncio.Future[Any]
    deadline: float


class BrokerConnection(asyncio.BufferedProtocol):
    """Made by `open`, which also learns what versions the broker speaks."""

    def __init__(self, address: Address, *, client_id: str | None, frame_bytes_max: int) -> None:
        self.address = address
        self.versions: dict[int, VersionRange] = {}
        self.features: dict[str, int] = {}
        """Of the cluster, with the level in force (KIP-584): "transaction.version" for one."""
        self.on_lost: Callable[[], None] | None = None
        self._client_id = client_id
        self._frame_bytes_max = frame_bytes_max
        self._machine = ClientConnection(frame_bytes_max)
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[_Waiting] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._error: KafkaError | None = None
        self._lost = self._loop.create_future()
        self._scratch = memoryview(bytearray(_SCRATCH_BYTES))
        self._scratch_used = 0
        self._frame: memoryview | None = None
        self._frame_used = 0

    @classmethod
    async def open(
        cls, address: Address, *, client_id: str | None, time_limit: float, frame_bytes_max: int
    ) -> BrokerConnection:
        """Connect and negotiate versions. Raises `ConnectionFailed` or `UnsupportedVersion`."""
        connection = cls(address, client_id=client_id, frame_bytes_max=frame_bytes_max)
        try:
            async with asyncio.timeout(time_limit):
                await connection._loop.create_connection(lambda: connection, address.host, address.port)
                await connection._negotiate(time_limit)
        except TimeoutError:
            connection.abort()
            raise ConnectionFailed(f"{address} did not answer within {time_limit:g} s") from None
        except OSError as error:
            raise ConnectionFailed(f"{address}: {error.strerror or error}") from error
        except BaseException:
            connection.abort()
            raise
        return connection

    @property
    def is_open(self) -> bool:
        return self._error is None and self._transport is not None

    @property
    def in_flight(self) -> int:
        return len(self._waiting)

    def version_for(self, api: ApiKey, highest: int | None = None) -> int:
        """The newest version both sides speak, at most `highest`. Raises `UnsupportedVersion`."""
        low, high = version_range(api)
        theirs = self.versions.get(api)
        if theirs is None:
            raise UnsupportedVersion(f"{self.address} does not serve {api.name}")
        best = min(high, theirs.high, high if highest is None else highest)
        if best < max(low, theirs.low):
            raise UnsupportedVersion(
                f"{self.address} serves {api.name} {theirs.low} to {theirs.high}, we need {low} to {min(high, best)}"
            )
        return best

    def submit(
        self, request: Message, version: int, time_limit: float, *, expects_response: bool = True
    ) -> asyncio.Future[Any]:
        """Send now; the future gives the response, or the error that ended the connection.

        A request without a response (acks=0) is done once it is handed to the transport.
        """
        if self._error is not None or self._transport is None:
            raise self._error or ConnectionFailed(f"{self.address}: not connected")
        _, pieces = self._machine.send(request, version, self._client_id, expects_response=expects_response)
        answer: asyncio.Future[Any] = self._loop.create_future()
        if expects_response:
            deadline = self._loop.time() + time_limit
            self._waiting.append(_Waiting(answer, deadline))
            self._watch(deadline)
        else:
            answer.set_result(None)
        self._transport.writelines(pieces)
        return answer

    async def request(self, request: Message, version: int, time_limit: float) -> Any:
        """Send and wait. Cancelling the wait leaves the request under way and its answer unread."""
        return await self.submit(request, version, time_limit)

    def abort(self) -> None:
        """Drop the connection at once; what waits on it fails with `ConnectionFailed`."""
        self._fail(ConnectionFailed(f"{self.address}: the connection was closed by us"))

    async def close(self) -> None:
        """Drop the connection and wait until the socket is gone."""
        self.abort()
        if self._transport is not None:
            await asyncio.shield(self._lost)

    async def _negotiate(self, time_limit: float) -> None:
        """ApiVersions, with the fallback of KIP-511: a broker that knows a lower version says which."""
        api = ApiKey.API_VERSIONS
        version = version_range(api)[1]
        while True:
            request = ApiVersionsRequest(client_software_name=_SOFTWARE_NAME, client_software_version=__version__)
            response: ApiVersionsResponse = await self.request(request, version, time_limit)
            code = response.error_code
            offered = {key.api_key: VersionRange(key.min_version, key.max_version) for key in response.api_keys}
            if code == ErrorCode.NONE:
                self.versions = offered
                self.features = {each.name: each.max_version_level for each in response.finalized_features}
                return
            if code != ErrorCode.UNSUPPORTED_VERSION or version == 0:
                raise UnsupportedVersion(f"{self.address} refuses ApiVersions {version} with error {code}")
            theirs = offered.get(api, VersionRange(0, 0))
            version = max(0, min(version - 1, theirs.high))

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self._error is not None:
            self._transport.abort()

    def get_buffer(self, sizehint: int) -> memoryview:
        if self._frame is not None:
            return self._frame[self._frame_used :]
        return self._scratch[self._scratch_used :]

    def buffer_updated(self, nbytes: int) -> None:
        if self._error is not None:
            return
        try:
            if self._frame is None:
                self._scratch_used += nbytes
                self._cut_frames()
            else:
                self._frame_used += nbytes
                if self._frame_used == len(self._frame):
                    frame, self._frame = self._frame, None
                    self._answer(frame)
        except ProtocolError as error:
            self._fail(ConnectionFailed(f"{self.address} broke the protocol: {error}"))

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        reason = f": {exc}" if exc is not None else ""
        self._fail(ConnectionFailed(f"{self.address} closed the connection{reason}"))
        if not self._lost.done():
            self._lost.set_result(None)

    def _cut_frames(self) -> None:
        """Answer every frame that the scratch buffer holds whole; give a larger one memory of its own."""
        scratch, used, start = self._scratch, self._scratch_used, 0
        while used - start >= 4:
            size: int = _SIZE.unpack_from(scratch, start)[0]
            if not 0 <= size <= self._frame_bytes_max:
                raise ProtocolError(f"a frame of {size} bytes; at most {self._frame_bytes_max} are allowed")
            stop = start + 4 + size
            if stop <= used:
                self._answer(memoryview(bytes(scratch[start + 4 : stop])))
                start = stop
                continue
            if 4 + size > _SCRATCH_BYTES:
                frame = memoryview(bytearray(size))
                self._frame_used = used - start - 4
                frame[: self._frame_used] = scratch[start + 4 : used]
                self._frame, start = frame, used
            break
        self._scratch_used = used - start
        if start and self._scratch_used:
            scratch[: self._scratch_used] = scratch[start:used]

    def _answer(self, frame: memoryview) -> None:
        _, message = self._machine.receive_frame(frame)
        answer = self._waiting.popleft().answer
        if not answer.done():
            answer.set_result(message)

    def _on_timer(self) -> None:
        self._timer = None
        if not self._waiting:
            return
        deadline = min(each.deadline for each in self._waiting)
        if deadline <= self._loop.time():
            self._fail(TimedOut(f"{self.address} did not answer a request in time"))
        else:
            self._watch(deadline)

    def _watch(self, deadline: float) -> None:
        """Look at the deadlines then, or before. A timer that a request long answered has left is good enough."""
        if self._timer is not None:
            if self._timer.when() <= deadline:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._on_timer)

    def _fail(self, error: KafkaError) -> None:
        """The one way in which a connection ends."""
        if self._error is not None:
            return
        self._error = error
        self._frame = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._transport is not None:
            self._transport.abort()
        waiting, self._waiting = self._waiting, deque()
        for each in waiting:
            if not each.answer.done():
                each.answer.set_exception(error)
                each.answer.exception()  # a request nobody waits for any more is no news
        if self.on_lost is not None:
            self.on_lost()
