"""`pybroker serve` without its command line: runs a broker in this process until it is told to stop.

Rules of this file: the process around the broker, no more: the event loop, signals, threads, the owner of all tasks.
What fails in any task ends the broker, and is told here in a way that a user can read.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from pybroker_server.broker import Broker, StartError
from pybroker_server.config.listeners import Listener
from pybroker_server.config.views import BrokerConfig
from pybroker_server.controller.membership import NodeIdTakenError
from pybroker_server.log.manager import AllDirectoriesFailed
from pybroker_server.metadata.publisher import StoreWentBackError
from pybroker_server.metadata.store import StoreError
from pybroker_server.runtime import loop
from pybroker_server.runtime.blocking_threads import BlockingThreads
from pybroker_server.runtime.ports import Disk
from pybroker_server.runtime.runtime import Runtime, system_runtime
from pybroker_server.runtime.signals import StopSignals
from pybroker_server.runtime.tasks import TaskOwner

__all__ = ["BrokerFailedError", "StartError", "Started", "run"]

Started = Callable[[Sequence[Listener], int], None]
"""(listeners with the ports that were opened, node id): called when the broker serves."""

_SETTLE_AFTER_S = 0.5
"""Clients that waited for the broker come first."""

_TOLD = (AllDirectoriesFailed, NodeIdTakenError, StoreWentBackError, StoreError, OSError)
"""Failures whose text says to a user what happened; any other is a bug and shows its traceback."""


class BrokerFailedError(Exception):
    """The broker could not go on; the text is for the user."""


def run(config: BrokerConfig, started: Started = lambda bound, node_id: None, *, disk: Disk | None = None) -> int:
    """Runs a broker until SIGTERM or SIGINT; the exit code.

    Raises StartError or OSError when it cannot start, BrokerFailedError when it cannot go on.
    """
    try:
        return loop.run(lambda: _serve(config, started, disk))
    except BaseExceptionGroup as group:
        failures = _leaves(group)
        start_errors = [failure for failure in failures if isinstance(failure, StartError)]
        if start_errors:
            raise start_errors[0] from None
        if all(isinstance(failure, _TOLD) for failure in failures):
            raise BrokerFailedError("; ".join(map(str, failures))) from None
        raise


async def _serve(config: BrokerConfig, started: Started, disk: Disk | None) -> int:
    signals = StopSignals()
    signals.install()
    blocking = BlockingThreads(asyncio.get_running_loop())
    try:
        async with TaskOwner("broker") as tasks:
            runtime = system_runtime(tasks, blocking)
            broker = Broker(config, runtime if disk is None else replace(runtime, disk=disk))
            is_clean = False
            try:
                await broker.start()
                started(broker.bound, broker.node_id)
                tasks.spawn("settle", _settle(runtime))
                await signals.wait()
                is_clean = True
            finally:
                await broker.stop(clean=is_clean)
            tasks.cancel()
    finally:
        blocking.close()
        signals.remove()
    return 0


async def _settle(runtime: Runtime) -> None:
    """What a start left for later: loads the parts that the first group would wait for, in a thread, then tidies up."""
    await asyncio.sleep(_SETTLE_AFTER_S)
    await runtime.blocking.run(lambda: importlib.import_module("pybroker_server.coordinator.group.shard"))
    loop.settle_garbage_collector()


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
