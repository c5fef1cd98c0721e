"""Which API keys are served, at which versions, by which function. ApiVersions is answered from here.

One file per API key registers itself with `@handles`; `load_all()` imports every handler module once. What is
advertised therefore cannot differ from what is implemented.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pybroker_protocol.errors import ErrorCode
from pybroker_server.handlers.request import Reply, RequestContext

HandlerFunction = Callable[[Any, RequestContext, Any], Reply]
"""(services, context, request message) -> reply; `services` is `handlers.services.Services`."""

ErrorResponse = Callable[[RequestContext, Any, ErrorCode], Any]
"""(context, request message, code) -> a response that says `code` of everything asked."""


@dataclass(frozen=True, slots=True)
class Handler:
    api_key: int
    min_version: int
    max_version: int
    function: HandlerFunction
    advertised_min_version: int
    """Lower than `min_version` where Kafka advertises versions it refuses (Produce 0-2, KAFKA-18659)."""
    inter_broker_only: bool = False
    pipelined: bool = False
    """While a `Pending` of this API waits, the connection's next requests are already handled. For appends
    (Produce, offset commits): their effect is done when the handler returns, only the answer waits. All
    others hold the connection until they are answered, as Kafka does for every request."""
    error_response: ErrorResponse | None = None
    """How to answer when a handler fails in a way nobody expected. None: a response whose top-level
    `error_code` says UNKNOWN_SERVER_ERROR where the API has one, else the connection closes."""


_handlers: dict[int, Handler] = {}


def handles(
    api_key: int,
    min_version: int,
    max_version: int,
    *,
    advertised_min_version: int | None = None,
    inter_broker_only: bool = False,
    pipelined: bool = False,
    error_response: ErrorResponse | None = None,
) -> Callable[[HandlerFunction], HandlerFunction]:
    """Registers a handler for one API key; a key has one handler."""

    def register(function: HandlerFunction) -> HandlerFunction:
        assert api_key not in _handlers, f"API key {api_key} has two handlers"
        low = min_version if advertised_min_version is None else advertised_min_version
        _handlers[api_key] = Handler(
            api_key, min_version, max_version, function, low, inter_broker_only, pipelined, error_response
        )
        return function

    return register


def load_all() -> dict[int, Handler]:
    """Imports every module of this package that serves an API and returns the table, by ascending key."""
    import pybroker_server.handlers as package

    for module in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")
    return dict(sorted(_handlers.items()))
