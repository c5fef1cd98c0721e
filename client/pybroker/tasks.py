"""Background work of the SDK: every task has an owner, and its failure reaches whoever uses that owner.

Rules: the only place of the SDK that creates tasks. A task that fails does not vanish: the owner keeps the first
error, tells `on_failure`, and every later use of the owner raises it. An owner may be entered in one task and left in
another (web frameworks and test fixtures do that), which `asyncio.TaskGroup` does not allow.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from pybroker.errors import Closed, Fatal

__all__ = ["TaskOwner"]

log = logging.getLogger("pybroker")


class TaskOwner:
    """A set of named tasks that live as long as their owner."""

    def __init__(self, name: str, on_failure: Callable[[BaseException], None] | None = None) -> None:
        self.name = name
        self._on_failure = on_failure
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closed = False
        self.failure: BaseException | None = None

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start `work` as a task of this owner. Raises `Closed` after `close`."""
        if self._is_closed:
            work.close()
            raise Closed(f"{self.name} is closed")
        task = asyncio.get_running_loop().create_task(work, name=f"pybroker/{self.name}/{name}")
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        return task

    def check(self) -> None:
        """Raise what ended the owner: the failure of a task, or `Closed`."""
        if self.failure is not None:
            raise Fatal(f"{self.name} has failed: {self.failure!r}") from self.failure
        if self._is_closed:
            raise Closed(f"{self.name} is closed")

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    @property
    def task_count(self) -> int:
        return len(self._tasks)

    def cancel(self) -> None:
        """Cancel every task, and take no more."""
        self._is_closed = True
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()

    async def close(self) -> None:
        """Cancel every task and wait until all have ended. Harmless when repeated."""
        self.cancel()
        tasks = self._tasks - {asyncio.current_task()}
        if tasks:
            await asyncio.wait(tasks)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            return
        log.error("task %s failed", task.get_name(), exc_info=error)
        if self.failure is None:
            self.failure = error
            if self._on_failure is not None:
                self._on_failure(error)
