"""Pauses end when their time is up, when they are ended, and leave nothing behind when their task is cancelled."""

import asyncio

from tests.support.manual_time import ManualTime

from pybroker_server.log.pauses import Pauses


async def waiting(pauses: Pauses, delay_ms: int) -> asyncio.Task[None]:
    task = asyncio.ensure_future(pauses.wait(delay_ms))
    await asyncio.sleep(0)
    return task


async def test_a_pause_lasts_as_long_as_it_is_said() -> None:
    time = ManualTime()
    task = await waiting(Pauses(time), 100)
    time.advance_ms(99)
    await asyncio.sleep(0)
    assert not task.done()
    time.advance_ms(1)
    await asyncio.wait_for(task, 1)


async def test_the_end_ends_the_pauses_of_the_moment_and_leaves_no_later_one() -> None:
    """A task may be at its work when the end comes: nobody is to wait for its next pause."""
    pauses = Pauses(ManualTime())
    tasks = [await waiting(pauses, delay_ms) for delay_ms in (100, 200)]
    pauses.end()
    await asyncio.wait_for(asyncio.gather(*tasks), 1)
    await asyncio.wait_for(pauses.wait(100), 1)


async def test_a_cancelled_pause_is_forgotten() -> None:
    time = ManualTime()
    pauses = Pauses(time)
    task = await waiting(pauses, 100)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    time.advance_ms(100)
    pauses.end()
