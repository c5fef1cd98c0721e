"""The event loop of the process: which one, and how the garbage collector is set beside it.

Rules of this file: process-wide settings, made once by `run`, never by a test or by code that is imported.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

GC_THRESHOLDS = (50_000, 20, 50)
"""Requests make no cycles, so a collection finds next to nothing: let it come seldom. The first generation is
looked at every 50,000 net new containers instead of 700; each look costs in proportion to what is young."""


def new_event_loop() -> asyncio.AbstractEventLoop:
    """uvloop's where it is installed, else asyncio's own: same behaviour, two to four times the work per
    byte."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Runs `main()` to its end on a new event loop and closes the loop."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main())


@contextmanager
def held_garbage_collector() -> Iterator[None]:
    """Around a broker's life, its imports included: a start makes 50,000 objects that all stay, and looking for garbage
    among them again and again takes a tenth of its time. `settle_garbage_collector` lets it work again."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def settle_garbage_collector() -> None:
    """Call once when everything is loaded: what lives now lives for good and is never looked at again."""
    gc.enable()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
