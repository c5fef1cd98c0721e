"""Tasks that have an owner.

Rules of this file: the only place that creates tasks. Every task is named and belongs to a `TaskOwner`; a
task that fails ends its owner, which cancels the others and raises, up to the server's root: a part that
died silently would be seen by clients as a time-out much later. Work whose failure is an answer (an admin
request) catches it itself, at the edge that can answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, TypeVar

T = TypeVar("T")


class TaskOwner:
    """A group of named tasks with one end: `async with TaskOwner("broker") as owner: ...`.

    Leaving the block waits for the tasks. When one fails, the others and the block are cancelled and an
    `ExceptionGroup` with the failure is raised. `cancel()` ends tasks that would run for ever.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._open = False

    async def __aenter__(self) -> TaskOwner:
        await self._group.__aenter__()
        self._open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self._group.__aexit__(kind, error, traceback)
        finally:
            self._open = False
            # The group's exception holds its traceback, and that this frame: without the cut, a cycle.
            del error, traceback

    def spawn(self, name: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Starts `work` as a task named `<owner>/<name>`."""
        assert self._open, f"{self.name}: task {name} started outside its owner's life"
        task = self._group.create_task(work, name=f"{self.name}/{name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    @property
    def task_names(self) -> list[str]:
        """The tasks that are alive, sorted."""
        return sorted(task.get_name() for task in self._tasks)

    def cancel(self) -> None:
        """Asks every task to end; the owner's block then leaves without an error."""
        for task in tuple(self._tasks):
            task.cancel()
