"""Runtimes for tests: real files and threads; time that moves only when the test says so, or the real one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.support.manual_time import ManualTime

from pybroker_server.runtime.blocking_threads import BlockingThreads
from pybroker_server.runtime.buffers import BufferPool
from pybroker_server.runtime.disk_os import OsDisk
from pybroker_server.runtime.entropy import SystemEntropy
from pybroker_server.runtime.network_os import OsNetwork
from pybroker_server.runtime.runtime import Runtime, system_runtime
from pybroker_server.runtime.tasks import TaskOwner


@asynccontextmanager
async def manual_runtime(time: ManualTime) -> AsyncIterator[Runtime]:
    """Ends its tasks when the block is left; a task that failed makes the block fail."""
    blocking = BlockingThreads(asyncio.get_running_loop(), 2)
    try:
        async with TaskOwner("test") as tasks:
            yield Runtime(
                clock=time,
                entropy=SystemEntropy(),
                disk=OsDisk(),
                blocking=blocking,
                timers=time,
                tasks=tasks,
                buffers=BufferPool(),
                network=OsNetwork(asyncio.get_running_loop(), tasks),
            )
            tasks.cancel()
    finally:
        blocking.close()


@asynccontextmanager
async def real_runtime() -> AsyncIterator[Runtime]:
    """The runtime of a broker, with real time; ends its tasks when the block is left."""
    blocking = BlockingThreads(asyncio.get_running_loop(), 2)
    try:
        async with TaskOwner("test") as tasks:
            yield system_runtime(tasks, blocking)
            tasks.cancel()
    finally:
        blocking.close()
