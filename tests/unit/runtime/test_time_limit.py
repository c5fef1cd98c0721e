"""A bound on waiting, whose time is the port's."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.manual_time import ManualTime

from pybroker_server.runtime.time_limit import time_limit


async def test_the_block_ends_when_its_time_is_over_and_not_before() -> None:
    time = ManualTime()

    async def wait() -> None:
        async with time_limit(time, 100):
            await asyncio.get_running_loop().create_future()

    waiting = asyncio.ensure_future(wait())
    await asyncio.sleep(0)
    time.advance_ms(99)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    time.advance_ms(1)
    with pytest.raises(TimeoutError):
        await waiting


async def test_a_block_that_is_left_in_time_is_not_touched_afterwards() -> None:
    time = ManualTime()
    async with time_limit(time, 100):
        await asyncio.sleep(0)
    time.advance_ms(1_000)
    await asyncio.sleep(0)


async def test_an_error_of_the_block_stays_what_it_is() -> None:
    time = ManualTime()
    with pytest.raises(KeyError):
        async with time_limit(time, 100):
            raise KeyError
    time.advance_ms(1_000)
    await asyncio.sleep(0)
