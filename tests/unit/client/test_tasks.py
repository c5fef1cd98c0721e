"""Every task has an owner: it ends with it, and a failure reaches whoever uses the owner."""

from __future__ import annotations

import asyncio

import pytest

from pybroker.errors import Closed, Fatal
from pybroker.tasks import TaskOwner


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


async def test_tasks_end_with_their_owner() -> None:
    owner = TaskOwner("test")
    tasks = [owner.spawn(f"task {index}", forever()) for index in range(3)]
    assert owner.task_count == 3
    await owner.close()
    await owner.close()
    assert all(task.cancelled() for task in tasks)
    assert owner.task_count == 0
    with pytest.raises(Closed, match="test is closed"):
        owner.check()
    with pytest.raises(Closed):
        owner.spawn("late", forever())


async def test_a_failure_is_logged_told_and_raised_to_every_user(caplog: pytest.LogCaptureFixture) -> None:
    told: list[BaseException] = []
    owner = TaskOwner("test", told.append)

    async def fail() -> None:
        raise ZeroDivisionError("oops")

    await asyncio.wait([owner.spawn("bad", fail()), owner.spawn("bad too", fail())])
    assert len(told) == 1
    for _ in range(2):
        with pytest.raises(Fatal, match="test has failed: ZeroDivisionError") as caught:
            owner.check()
        assert caught.value.__cause__ is told[0]
    assert [record.getMessage() for record in caplog.records] == [
        "task pybroker/test/bad failed",
        "task pybroker/test/bad too failed",
    ]
    await owner.close()


async def test_a_task_may_close_its_owner() -> None:
    owner = TaskOwner("test")
    other = owner.spawn("other", forever())
    await asyncio.wait([owner.spawn("closer", owner.close())])
    assert other.cancelled()
