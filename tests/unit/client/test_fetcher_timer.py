"""The fetcher's one timer: whatever waits for a time is looked at again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pybroker.fetcher import Fetcher


class EarlyLoop:
    """Its timers come before their time, as uvloop's do, which counts in milliseconds."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self.woken = 0

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Callable[[], None]) -> Any:
        self.timers.append((when, callback))
        return type("Handle", (), {"when": lambda _: when, "cancel": lambda _: None})()

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.woken += 1


def fetcher_on(loop: EarlyLoop) -> Fetcher:
    fetcher = object.__new__(Fetcher)
    fetcher._loop = loop  # type: ignore[assignment]
    fetcher._timer = None
    fetcher._is_stopped = fetcher._is_scheduled = False
    return fetcher


def test_a_timer_that_comes_early_is_followed_by_another() -> None:
    loop = EarlyLoop()
    fetcher = fetcher_on(loop)
    fetcher._set_timer(10.0)
    loop.now = 9.9995
    loop.timers.pop()[1]()
    assert loop.woken == 1
    fetcher._set_timer(10.0)
    assert [when for when, _ in loop.timers] == [10.0]


def test_a_timer_that_comes_soon_enough_stays() -> None:
    loop = EarlyLoop()
    fetcher = fetcher_on(loop)
    fetcher._set_timer(5.0)
    fetcher._set_timer(10.0)
    assert [when for when, _ in loop.timers] == [5.0]
