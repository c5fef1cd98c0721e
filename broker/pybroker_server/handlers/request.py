"""What a handler is given and what it may give back.

A hot handler is a plain function that runs to completion on the connection's data callback (design D13): it
returns a response message, or a `Pending` that the flusher, the purgatory or a coordinator completes later,
or `NO_RESPONSE` (Produce with acks=0). Admin handlers may be coroutines. The connection keeps responses in
request order by slot, whatever completes first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

R = TypeVar("R")


@dataclass(slots=True)
class ConnectionInfo:
    """One client connection as handlers may see it; changed by ApiVersions and (later) authentication
    only."""

    connection_id: int
    listener: str
    local_host: str
    local_port: int
    peer_host: str
    peer_port: int
    principal: str = "User:ANONYMOUS"
    client_software_name: str = "unknown"
    client_software_version: str = "unknown"
    is_inter_broker: bool = False
    throttle_ms: int = 0


@dataclass(slots=True)
class RequestContext:
    """One request. `received_us` is `Clock.monotonic_us`, `now_ms` is `Clock.monotonic_ms`, when it came."""

    api_key: int
    api_version: int
    correlation_id: int
    client_id: str
    connection: ConnectionInfo
    received_us: int
    now_ms: int
    wall_ms: int


class Pending(Generic[R]):
    """A response that comes later. Completed once, by whoever holds it; a second completion is a bug.

    `abandoned` is set when the connection closed first: completing is then harmless and does nothing, and
    `on_abandon` lets the owner drop what it keeps for it (a purgatory entry, say).

    Either end of it lets go of both sides: a cycle would keep the answer's buffers until a garbage collection.

    `is_ordered`: nothing that follows on the connection may be handled before this is answered, though its API is
    pipelined: the request's effect is still to come. `NO_RESPONSE` may be given as well, and `CloseConnection` where a
    handler would raise it.
    """

    __slots__ = ("_callback", "abandoned", "completed", "is_ordered", "on_abandon", "on_hurry", "response")

    def __init__(self) -> None:
        self._callback: Callable[[R], None] | None = None
        self.response: R | None = None
        self.completed = False
        self.abandoned = False
        self.is_ordered = False
        self.on_abandon: Callable[[], None] | None = None
        self.on_hurry: Callable[[], None] | None = None
        """What answers it at once with what there is; None for what cannot be hurried."""

    def complete(self, response: R) -> None:
        assert not self.completed, "a response was given twice"
        self.completed = True
        callback, self._callback = self._callback, None
        self.on_abandon = self.on_hurry = None
        if self.abandoned:
            return
        if callback is None:
            self.response = response
        else:
            callback(response)

    def attach(self, callback: Callable[[R], None]) -> None:
        """Called once by the connection; fires at once when the response is already there."""
        if self.completed and self.response is not None:
            callback(self.response)
            self.response = None
        elif not self.completed:
            self._callback = callback

    def hurry(self) -> None:
        """The peer has more to say: whoever only waits for something new waits no longer."""
        if not self.completed and not self.abandoned and self.on_hurry is not None:
            self.on_hurry()

    def abandon(self) -> None:
        self.abandoned = True
        on_abandon, self.on_abandon = self.on_abandon, None
        self._callback = self.on_hurry = None
        if not self.completed and on_abandon is not None:
            on_abandon()


class _NoResponse:
    __slots__ = ()


NO_RESPONSE: Final = _NoResponse()
"""Produce with acks=0 that succeeded: nothing is sent, the next response takes the slot."""


class CloseConnection(Exception):
    """Raised by a handler when Kafka would close the connection instead of answering (acks=0 with an
    error)."""


Reply = Any
"""A message object, a `Pending`, `NO_RESPONSE`, or a coroutine that returns a message object."""
