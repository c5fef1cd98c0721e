"""Work off the loop: results and errors come back on the loop, in bounded threads, and none is lost at
close."""

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest

from pybroker_server.runtime.blocking_threads import BlockingThreads


@pytest.fixture
async def pool() -> AsyncIterator[BlockingThreads]:
    made = BlockingThreads(asyncio.get_running_loop(), max_threads=2)
    yield made
    made.close()


async def test_result_of_run_comes_back(pool: BlockingThreads) -> None:
    assert await pool.run(threading.get_ident) != threading.get_ident()
    assert pool.in_flight == 0


async def test_error_of_run_comes_back(pool: BlockingThreads) -> None:
    def fail() -> None:
        raise OSError(5, "broken")

    with pytest.raises(OSError, match="broken"):
        await pool.run(fail)


async def test_submit_calls_back_on_the_loop(pool: BlockingThreads) -> None:
    called: asyncio.Future[tuple[int, int | None, BaseException | None]] = asyncio.Future()

    def done(result: int | None, error: BaseException | None) -> None:
        called.set_result((threading.get_ident(), result, error))

    pool.submit(lambda: 42, done)
    assert await called == (threading.get_ident(), 42, None)


async def test_threads_are_bounded_and_started_only_when_needed(pool: BlockingThreads) -> None:
    await pool.run(lambda: None)
    await pool.run(lambda: None)
    assert len(pool._threads) == 1
    used = await asyncio.gather(*(pool.run(threading.get_ident) for _ in range(50)))
    assert len(set(used)) <= 2
    assert len(pool._threads) == 2


async def test_many_results_share_a_wake_up() -> None:
    loop = asyncio.get_running_loop()
    wake_ups = 0

    class CountingLoop:
        """The loop, with its wake-ups from threads counted."""

        create_future = staticmethod(loop.create_future)

        @staticmethod
        def call_soon_threadsafe(callback: object) -> None:
            nonlocal wake_ups
            wake_ups += 1
            loop.call_soon_threadsafe(callback)  # type: ignore[arg-type]

    pool = BlockingThreads(CountingLoop(), max_threads=1)  # type: ignore[arg-type]
    release = threading.Event()
    held = pool.run(release.wait)
    rest = [pool.run(lambda: None) for _ in range(20)]
    release.set()
    pool._threads[0].join(timeout=0)
    while pool._work.qsize():  # the loop looks only after the thread has done everything
        threading.Event().wait(0.001)
    await asyncio.gather(held, *rest)
    pool.close()
    assert wake_ups <= 2


async def test_cancelled_caller_does_not_disturb_the_pool(pool: BlockingThreads) -> None:
    release = threading.Event()
    waiting = pool.run(release.wait)
    waiting.cancel()
    release.set()
    assert await pool.run(lambda: "next") == "next"


async def test_close_delivers_what_was_given_before() -> None:
    pool = BlockingThreads(asyncio.get_running_loop())
    results: list[int | None] = []
    for number in range(10):
        pool.submit(lambda n=number: n, lambda result, error: results.append(result))
    pool.close()
    assert sorted(r for r in results if r is not None) == list(range(10))
    with pytest.raises(AssertionError):
        pool.submit(lambda: 1, lambda result, error: None)
