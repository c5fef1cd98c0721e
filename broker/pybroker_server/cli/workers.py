"""`pybroker serve --workers N`: starts N brokers, each a process, and keeps them running until it is told to stop.

Rules of this file: a worker is a broker as any other; nothing is shared with it but the terminal's output. One that
ends is started again after a pause that doubles; one that ends with an error before it can have served ends them all,
as it would the next time. The workers end with this process, however it ends, and signals reach them from it alone: a
second one would end them at once.
"""

from __future__ import annotations

import asyncio
import ctypes
import signal
import sys
from collections.abc import Sequence
from typing import Final

import click

from pybroker_server.cli.errors import EXIT_OK
from pybroker_server.cli.worker_plan import Worker
from pybroker_server.runtime import loop
from pybroker_server.runtime.signals import StopSignals
from pybroker_server.runtime.tasks import TaskOwner
from pybroker_server.telemetry.events import get_logger

PAUSE_FIRST_S: Final = 0.5
PAUSE_MAX_S: Final = 30.0
SETTLED_S: Final = 60.0
"""A worker that ran this long has served: its end is no reason to give up."""
_PR_SET_PDEATHSIG: Final = 1
_log = get_logger("pybroker.workers")


class Supervisor:
    """Runs the workers; `commands` are their command lines in the same order."""

    def __init__(self, workers: Sequence[Worker], commands: Sequence[Sequence[str]]) -> None:
        self._workers = list(zip(workers, commands, strict=True))
        self._processes: dict[int, asyncio.subprocess.Process] = {}
        self._stopping = asyncio.Event()
        self._failed = asyncio.Event()
        self._code = EXIT_OK

    async def run(self) -> int:
        """Until SIGTERM or SIGINT, or until a worker cannot be started; the exit code."""
        signals = StopSignals()
        signals.install()
        try:
            async with TaskOwner("workers") as owner:
                for worker, command in self._workers:
                    owner.spawn(f"node-{worker.node_id}", self._keep(worker, command))
                stopped = owner.spawn("stop", signals.wait())
                failed = owner.spawn("failed", self._failed.wait())
                await asyncio.wait([stopped, failed], return_when=asyncio.FIRST_COMPLETED)
                await self._stop()
                owner.cancel()
        finally:
            signals.remove()
        return self._code

    async def _keep(self, worker: Worker, command: Sequence[str]) -> None:
        now = asyncio.get_running_loop().time
        pause_s = PAUSE_FIRST_S
        has_served = False
        while not self._stopping.is_set():
            began_s = now()
            process = await asyncio.create_subprocess_exec(
                *command, start_new_session=True, preexec_fn=_end_with_parent
            )
            self._processes[worker.node_id] = process
            code = await process.wait()
            del self._processes[worker.node_id]
            if self._stopping.is_set():
                self._code = self._code or code
                return
            has_served = has_served or now() - began_s >= SETTLED_S
            _log.error("worker_ended", node_id=worker.node_id, code=code)
            if code > 0 and not has_served:
                self._code = code
                self._failed.set()
                return
            pause_s = PAUSE_FIRST_S if now() - began_s >= SETTLED_S else min(pause_s * 2, PAUSE_MAX_S)
            await asyncio.sleep(pause_s)

    async def _stop(self) -> None:
        self._stopping.set()
        running = list(self._processes.values())
        for process in running:
            process.terminate()
        await asyncio.gather(*(process.wait() for process in running))


def run_workers(workers: Sequence[Worker], commands: Sequence[Sequence[str]]) -> int:
    nodes = ", ".join(str(worker.node_id) for worker in workers)
    click.echo(f"{len(workers)} workers: nodes {nodes}")
    sys.stdout.flush()
    return loop.run(lambda: Supervisor(workers, commands).run())


def _end_with_parent() -> None:
    """In the child, before it becomes the worker: the system ends it when the supervisor is killed (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
