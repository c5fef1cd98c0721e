"""Bugs in handlers, in the log: with a traceback, and not once per request.

Rules of this file: it implements `dispatcher.DispatchEvents`. The same failure of the same API is logged
once in each interval, with how many there were in between.
"""

from __future__ import annotations

from pybroker_server.handlers.request import RequestContext
from pybroker_server.runtime.ports import Clock
from pybroker_server.telemetry.events import LineLimiter, Logger, get_logger


class FailureLog:
    def __init__(self, clock: Clock, logger: Logger | None = None) -> None:
        self._clock = clock
        self._logger = get_logger("pybroker.network") if logger is None else logger
        self._limiter = LineLimiter()

    def handler_failed(self, api: str, context: RequestContext, error: BaseException) -> None:
        held_back = self._limiter.admit((api, type(error).__name__), self._clock.monotonic_ms())
        if held_back is None:
            return
        more = {"more_like_it": held_back} if held_back else {}
        self._logger.error(
            "request_failed",
            api=api,
            client_id=context.client_id,
            correlation_id=context.correlation_id,
            peer=f"{context.connection.peer_host}:{context.connection.peer_port}",
            exc_info=error,
            **more,
        )
