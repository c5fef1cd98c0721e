"""A broker in the test's own process and event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from pybroker_server.broker import Broker
from pybroker_server.config.views import broker_config
from pybroker_server.runtime.blocking_threads import BlockingThreads
from pybroker_server.runtime.runtime import system_runtime
from pybroker_server.runtime.tasks import TaskOwner


@asynccontextmanager
async def broker_in(path: Path, **settings: str) -> AsyncIterator[Broker]:
    """Not started; settings with underscores for dots. Whatever the block leaves is stopped as after a crash."""
    given = {key.replace("_", "."): value for key, value in settings.items()}
    defaults = {"log.dirs": str(path), "listeners": "PLAINTEXT://127.0.0.1:0", "admin.listener": ""}
    config = broker_config({**defaults, **given})
    blocking = BlockingThreads(asyncio.get_running_loop(), 2)
    try:
        async with TaskOwner("broker") as tasks:
            runtime = system_runtime(tasks, blocking)
            broker = Broker(config, runtime)
            try:
                yield broker
            finally:
                await broker.stop(clean=False)
                runtime.disk._locks.clear()  # type: ignore[attr-defined]  # a process gives them back by ending
            tasks.cancel()
    finally:
        blocking.close()
