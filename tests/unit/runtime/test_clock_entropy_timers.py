"""The small bindings of the runtime port: what their callers rely on."""

import asyncio
import time
from uuid import UUID

import pytest

from pybroker_server.runtime.clock import SystemClock
from pybroker_server.runtime.entropy import SystemEntropy
from pybroker_server.runtime.loop import new_event_loop
from pybroker_server.runtime.timers import LoopTimers


def test_clock_units_agree_with_the_system() -> None:
    clock = SystemClock()
    assert abs(clock.monotonic_ms() - time.monotonic() * 1000) < 1000
    assert abs(clock.monotonic_us() - time.monotonic() * 1e6) < 1e6
    assert abs(clock.wall_ms() - time.time() * 1000) < 1000


def test_ids_never_read_as_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = UUID(bytes=bytes([62 << 2]) + bytes(15))
    good = UUID(int=1 << 120)
    drawn = iter([bad, UUID(int=0), UUID(int=1), good])
    monkeypatch.setattr("pybroker_server.runtime.entropy.uuid.uuid4", lambda: next(drawn))
    assert SystemEntropy().uuid() == good


def test_entropy_keeps_its_ranges() -> None:
    entropy = SystemEntropy()
    assert {entropy.jitter_ms(3, 5) for _ in range(200)} == {3, 4, 5}
    assert {entropy.choice_index(3) for _ in range(200)} == {0, 1, 2}
    assert len(entropy.token_bytes(24)) == 24


@pytest.mark.parametrize("factory", [new_event_loop, asyncio.new_event_loop], ids=["installed", "asyncio"])
def test_a_timer_never_fires_early(factory: object) -> None:
    clock = SystemClock()

    async def measure() -> int:
        timers = LoopTimers(asyncio.get_running_loop())
        fired: asyncio.Future[int] = asyncio.Future()
        start = clock.monotonic_ms()
        timers.call_after_ms(5, lambda: fired.set_result(clock.monotonic_ms() - start))
        cancelled = timers.call_after_ms(1, lambda: fired.set_result(-1))
        cancelled.cancel()
        return await fired

    with asyncio.Runner(loop_factory=factory) as runner:  # type: ignore[arg-type]
        assert runner.run(measure()) >= 5
