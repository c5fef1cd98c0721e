"""The client's side of a connection, as a machine over bytes: no sockets, no clock.

Rules: a broker answers in the order of the requests (Kafka mutes a connection while it works on a request),
so the oldest request in flight is the one that the next frame must answer; anything else is a ProtocolError,
after which the machine refuses all further use.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final, NamedTuple

from pybroker_protocol.codec import Buffer
from pybroker_protocol.errors import ProtocolError
from pybroker_protocol.frame import SIZE_BYTES, decode_response, encode_request
from pybroker_protocol.schema.classes import Message

FRAME_BYTES_MAX: Final = 256 * 1024 * 1024
_CORRELATION_ID_MAX: Final = 2**31 - 1


class InFlight(NamedTuple):
    """A request that waits for its answer."""

    correlation_id: int
    api_key: int
    version: int


class ClientConnection:
    """Numbers requests, cuts the byte stream into frames, and pairs responses with requests."""

    def __init__(self, frame_bytes_max: int = FRAME_BYTES_MAX) -> None:
        self._frame_bytes_max = frame_bytes_max
        self._next_correlation_id = 1
        self._in_flight: deque[InFlight] = deque()
        self._received = bytearray()
        self._broken = False

    @property
    def in_flight(self) -> int:
        """How many requests wait for an answer."""
        return len(self._in_flight)

    def send(
        self, message: Message, version: int, client_id: str | None = None, *, expects_response: bool = True
    ) -> tuple[int, list[Buffer]]:
        """The frame of a request: (correlation id, its pieces).

        A Produce request with acks=0 is never answered: say so by `expects_response=False`.
        """
        self._check_usable()
        api_key = message.schema.key
        assert api_key is not None, f"{message.__class__.__name__} is not a request"
        correlation_id = self._next_correlation_id
        pieces = encode_request(api_key, version, correlation_id, client_id, message)
        self._next_correlation_id = 1 if correlation_id == _CORRELATION_ID_MAX else correlation_id + 1
        if expects_response:
            self._in_flight.append(InFlight(correlation_id, api_key, version))
        return correlation_id, pieces

    def receive_data(self, data: Buffer) -> list[tuple[int, Any]]:
        """Takes what the socket gave and returns the responses it completes: (correlation id, message).

        Raises ProtocolError for a broken frame; responses before it in `data` are lost with the connection.
        """
        self._check_usable()
        received = self._received
        received += data
        responses = []
        start = 0
        while len(received) - start >= SIZE_BYTES:
            stop = start + SIZE_BYTES + self._frame_size(received, start)
            if stop > len(received):
                break
            # A copy of its own: records are slices of it and may outlive what is received next.
            frame = memoryview(bytes(memoryview(received)[start + SIZE_BYTES : stop]))
            responses.append(self.receive_frame(frame))
            start = stop
        if start:
            self._received = received[start:]
        return responses

    def receive_frame(self, frame: memoryview) -> tuple[int, Any]:
        """Takes one whole frame without its size, for callers that read frames into buffers of their own.

        Records in the message are slices of `frame`.
        """
        self._check_usable()
        try:
            if not self._in_flight:
                raise ProtocolError("a response that no request asked for")
            request = self._in_flight.popleft()
            correlation_id, message = decode_response(request.api_key, request.version, frame)
            if correlation_id != request.correlation_id:
                raise ProtocolError(f"response {correlation_id} where {request.correlation_id} was due")
        except ProtocolError:
            self._broken = True
            raise
        return correlation_id, message

    def _frame_size(self, received: bytearray, start: int) -> int:
        size = int.from_bytes(received[start : start + SIZE_BYTES], "big", signed=True)
        if not 0 <= size <= self._frame_bytes_max:
            self._broken = True
            raise ProtocolError(f"a frame of {size} bytes; 0 to {self._frame_bytes_max} are allowed")
        return size

    def _check_usable(self) -> None:
        if self._broken:
            raise ProtocolError("the connection broke the protocol before")
