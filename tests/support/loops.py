"""Runs an asynchronous test on both event loops that the broker may run on: uvloop and asyncio's own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from pybroker_server.runtime.loop import new_event_loop

TIME_LIMIT_S = 20


def on_both_loops(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Decorates a test without arguments. A test that hangs fails after `TIME_LIMIT_S`."""

    @pytest.mark.parametrize("loop_factory", [new_event_loop, asyncio.new_event_loop], ids=["uvloop", "asyncio"])
    def run(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
        async def limited() -> None:
            async with asyncio.timeout(TIME_LIMIT_S):
                await test()

        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(limited())

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    run.__module__ = test.__module__
    return run
