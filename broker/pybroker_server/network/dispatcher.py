"""From a frame to its handler and back: the table look-up, decoding, and the edge where everything is caught.

Rules of this file: no API is known here except ApiVersions, whose refusal has a form of its own (KIP-511).
A frame either gets an `Answer` or raises `Refused`, which closes the connection; nothing else comes out,
whatever the bytes or the handler do. This and the tasks it starts are the one place in the request path
that catches everything: a bug in a handler costs its request an error, not the broker.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from types import CoroutineType
from typing import Any, Final, Protocol

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.codec import Buffer, Decoder, decoder
from pybroker_protocol.errors import ErrorCode, KafkaError, ProtocolError
from pybroker_protocol.frame import encode_response, response_class
from pybroker_protocol.header import decode_request_header, request_class
from pybroker_protocol.messages import ApiVersionsResponse
from pybroker_server.handlers.registry import Handler
from pybroker_server.handlers.request import (
    NO_RESPONSE,
    CloseConnection,
    ConnectionInfo,
    Pending,
    RequestContext,
)
from pybroker_server.runtime.ports import Clock
from pybroker_server.runtime.tasks import TaskOwner
from pybroker_server.telemetry.counts import Durations, ErrorCounts


class Refused(Exception):
    """The connection must close without an answer to this frame. `kind` is short and stable, `reason` for
    logs."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


class DispatchEvents(Protocol):
    """Where the dispatcher reports what nobody expected."""

    def handler_failed(self, api: str, context: RequestContext, error: BaseException) -> None:
        """A bug: logged with its traceback and counted."""


class Later:
    """A response that is not there yet, and its place in the connection's order.

    `buffers` is None until it is; empty when there is nothing to send. `failed`: the connection must close.
    """

    __slots__ = ("_on_ready", "buffers", "failed", "pending", "pipelined")

    def __init__(self, pipelined: bool) -> None:
        self.pipelined = pipelined
        self.buffers: list[Buffer] | None = None
        self.failed = False
        self.pending: Pending[Any] | None = None
        self._on_ready: Callable[[], None] | None = None

    def when_ready(self, on_ready: Callable[[], None]) -> None:
        """Called once, by the connection, while `buffers` is None."""
        self._on_ready = on_ready

    def set(self, buffers: list[Buffer], failed: bool = False) -> None:
        self.buffers = buffers
        self.failed = failed
        self.pending = None
        on_ready, self._on_ready = self._on_ready, None
        if on_ready is not None:
            on_ready()

    @property
    def is_parked(self) -> bool:
        """Whether nothing is under way for it: it waits for an event, as a long-polling Fetch does."""
        return self.pending is not None and not self.pipelined and not self.pending.is_ordered

    @property
    def can_hurry(self) -> bool:
        """Whether it is answered early when the peer sends another request."""
        return self.pending is not None and self.pending.on_hurry is not None

    def hurry(self) -> None:
        if self.pending is not None:
            self.pending.hurry()

    def abandon(self) -> None:
        """The connection is gone. A coroutine runs on: half an admin operation helps nobody."""
        self._on_ready = None
        pending, self.pending = self.pending, None
        if pending is not None:
            pending.abandon()


Answer = list[Buffer] | Later | None
"""A response frame in pieces, or one that comes later, or None: nothing is sent (acks=0)."""


class Route:
    """One API at one version: made when first asked for, because compiling a codec takes a millisecond.

    It counts what goes through it, for metrics: requests, bytes, and the time from a request's bytes to its answer's.
    """

    __slots__ = (
        "_errors",
        "_has_error_code",
        "_now_us",
        "api_key",
        "decode",
        "durations",
        "function",
        "handler",
        "name",
        "request_bytes",
        "requests",
        "response_bytes",
        "version",
    )

    def __init__(self, handler: Handler, version: int, now_us: Callable[[], int], errors: ErrorCounts) -> None:
        self.api_key = handler.api_key
        self.version = version
        self.name = f"{ApiKey(handler.api_key).name}(v{version})"
        self.handler = handler
        self.function = handler.function
        self.decode: Decoder = decoder(request_class(handler.api_key), version)
        self.requests = 0
        self.request_bytes = 0
        self.response_bytes = 0
        self.durations = Durations()
        self._now_us = now_us
        self._errors = errors
        self._has_error_code = "error_code" in response_class(handler.api_key).__slots__

    def encode(self, context: RequestContext, response: Any) -> list[Buffer]:
        buffers = encode_response(self.api_key, self.version, context.correlation_id, response)
        self.response_bytes += len(buffers[0]) if len(buffers) == 1 else sum(map(len, buffers))
        took_us = self._now_us() - context.received_us
        durations = self.durations
        durations.buckets[took_us.bit_length()] += 1
        durations.total_us += took_us
        if self._has_error_code and response.error_code:
            self._errors.add(self.api_key, response.error_code)
        return buffers

    def error(self, context: RequestContext, request: Any, code: ErrorCode) -> list[Buffer] | None:
        """A response that says `code` in this API's own form; None when it has none and the connection
        closes."""
        make = self.handler.error_response
        if make is not None:
            return self.encode(context, make(context, request, code))
        made_class: Any = response_class(self.api_key)
        if "error_code" not in made_class.__slots__:
            return None
        return self.encode(context, made_class(error_code=int(code)))


_SHORT: Final = 0xFFFF


class Dispatcher:
    """Answers frames from the handler table. One per broker; it holds no state of any connection."""

    def __init__(
        self,
        api_table: Mapping[int, Handler],
        services: Any,
        clock: Clock,
        tasks: TaskOwner,
        events: DispatchEvents,
        errors: ErrorCounts | None = None,
    ) -> None:
        self._api_table = api_table
        self._services = services
        self._clock = clock
        self._tasks = tasks
        self._events = events
        self._routes: dict[int, Route] = {}
        self.errors = ErrorCounts() if errors is None else errors
        """Shared with the handlers that tell errors per partition (Produce, Fetch)."""
        self.trailing_bytes_requests = 0
        """Requests with bytes after their body: Kafka takes them, and so do we, but somebody counts
        wrongly."""
        self.failed_requests = 0

    def dispatch(self, frame: memoryview, connection: ConnectionInfo, now_us: int) -> Answer:
        """Handles one request frame (without its size). Raises Refused, and nothing else."""
        try:
            header, position = decode_request_header(frame)
            api_key, version, correlation_id = header.api_key, header.api_version, header.correlation_id
            route = self._routes.get(api_key << 16 | version & _SHORT)
            if route is None:
                if api_key == ApiKey.API_VERSIONS and not self._serves(api_key, version):
                    return self._refuse_api_versions(correlation_id)
                route = self._open_route(api_key, version)
            if route.handler.inter_broker_only and not connection.is_inter_broker:
                raise Refused("not-on-this-listener", f"{route.name} is served between brokers only")
            request, end = route.decode(frame, position, 0)
        except ProtocolError as error:
            raise Refused("malformed-request", str(error)) from None
        if end != len(frame):
            self.trailing_bytes_requests += 1
        route.requests += 1
        route.request_bytes += end
        context = RequestContext(
            api_key,
            version,
            correlation_id,
            header.client_id or "",
            connection,
            now_us,
            now_us // 1000,
            self._clock.wall_ms(),
        )
        try:
            reply = route.function(self._services, context, request)
            if reply is NO_RESPONSE:
                return None
            if isinstance(reply, Pending):
                return self._answer_later(route, context, reply)
            if isinstance(reply, CoroutineType):
                later = Later(pipelined=False)
                self._tasks.spawn(route.name, self._finish(route, context, request, reply, later))
                return later
            return route.encode(context, reply)
        except CloseConnection as close:
            raise Refused("closed-by-handler", f"{route.name}: {close}") from None
        except Exception as error:  # noqa: BLE001 - the edge: see the head of this file
            return self._answer_failure(route, context, request, error)

    def routes(self) -> list[Route]:
        """Every API and version that was asked for so far, with its counts; ordered."""
        return [route for _, route in sorted(self._routes.items())]

    def _serves(self, api_key: int, version: int) -> bool:
        handler = self._api_table.get(api_key)
        return handler is not None and handler.min_version <= version <= handler.max_version

    def _open_route(self, api_key: int, version: int) -> Route:
        if not self._serves(api_key, version):
            raise Refused("unsupported-request", f"API key {api_key} version {version} is not served")
        made = Route(self._api_table[api_key], version, self._clock.monotonic_us, self.errors)
        self._routes[api_key << 16 | version & _SHORT] = made
        return made

    def _refuse_api_versions(self, correlation_id: int) -> Answer:
        """KIP-511: a version 0 body with the error and the one range that lets the client ask again."""
        handler = self._api_table[ApiKey.API_VERSIONS]
        offered = ApiVersionsResponse.ApiVersion(
            api_key=handler.api_key, min_version=handler.advertised_min_version, max_version=handler.max_version
        )
        refusal = ApiVersionsResponse(error_code=int(ErrorCode.UNSUPPORTED_VERSION), api_keys=[offered])
        return encode_response(ApiKey.API_VERSIONS, 0, correlation_id, refusal)

    def _answer_later(self, route: Route, context: RequestContext, pending: Pending[Any]) -> Later:
        later = Later(route.handler.pipelined and not pending.is_ordered)
        later.pending = pending

        def deliver(response: Any) -> None:
            if response is NO_RESPONSE or isinstance(response, CloseConnection):
                later.set([], failed=response is not NO_RESPONSE)
                return
            try:
                later.set(route.encode(context, response))
            except Exception as error:  # noqa: BLE001 - the edge: whoever completes it has other clients to serve
                self.failed_requests += 1
                self._events.handler_failed(route.name, context, error)
                later.set([], failed=True)

        pending.attach(deliver)
        return later

    async def _finish(
        self,
        route: Route,
        context: RequestContext,
        request: Any,
        work: Coroutine[Any, Any, Any],
        later: Later,
    ) -> None:
        try:
            later.set(route.encode(context, await work))
        except CloseConnection:
            later.set([], failed=True)
        except Exception as error:  # noqa: BLE001 - the edge: see the head of this file
            try:
                later.set(self._answer_failure(route, context, request, error))
            except Refused:
                later.set([], failed=True)

    def _answer_failure(self, route: Route, context: RequestContext, request: Any, error: Exception) -> list[Buffer]:
        code = ErrorCode.UNKNOWN_SERVER_ERROR
        if isinstance(error, KafkaError):
            code = error.code
        else:
            self.failed_requests += 1
            self._events.handler_failed(route.name, context, error)
        try:
            buffers = route.error(context, request, code)
        except Exception as second:  # noqa: BLE001 - the edge: an error response that cannot be made is a bug too
            self._events.handler_failed(route.name, context, second)
            buffers = None
        if buffers is None:
            raise Refused("failed-request", f"{route.name} failed and has no error response")
        return buffers
