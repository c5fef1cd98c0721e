"""Every task has an owner that fails with it."""

import asyncio

import pytest

from pybroker_server.runtime.tasks import TaskOwner


async def forever() -> None:
    await asyncio.Event().wait()


async def test_a_failing_task_ends_its_owner_and_the_others() -> None:
    async def fail() -> None:
        raise ValueError("broken part")

    others: list[asyncio.Task[None]] = []

    async def serve() -> None:
        async with TaskOwner("broker") as owner:
            others.append(owner.spawn("other", forever()))
            owner.spawn("failing", fail())
            await forever()

    with pytest.raises(ExceptionGroup) as raised:
        await serve()
    assert raised.group_contains(ValueError, match="broken part")
    assert others[0].cancelled()


async def test_tasks_are_named_after_their_owner() -> None:
    async with TaskOwner("broker") as owner:
        owner.spawn("watch", forever())
        owner.spawn("flush", forever())
        assert owner.task_names == ["broker/flush", "broker/watch"]
        owner.cancel()
    assert owner.task_names == []


async def test_nothing_starts_after_the_end() -> None:
    async with TaskOwner("broker") as owner:
        pass
    late = forever()
    with pytest.raises(AssertionError, match="outside its owner's life"):
        owner.spawn("late", late)
    late.close()


async def test_result_is_available() -> None:
    async def answer() -> int:
        return 42

    async with TaskOwner("broker") as owner:
        task = owner.spawn("answer", answer())
    assert task.result() == 42
