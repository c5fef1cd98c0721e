"""A truncated log is the log that never had what was taken away: records, producers, epochs, also after a restart."""

import asyncio
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.partition_logs import SMALL, TOPIC_ID, put
from tests.unit.log.test_manager import manager_of

from pybroker_protocol.records.batch import iter_batches
from pybroker_server.log.manager import LogManager
from pybroker_server.log.partition_log import PartitionLog


def content(log: PartitionLog) -> bytes:
    found = b""
    offset = log.log_start_offset
    while offset < log.log_end_offset:
        result = log.read(offset, 1 << 20, log.end_position, min_one=True, nowait=False)
        assert result is not None
        found += bytes(result.records)
        offset = list(iter_batches(result.records))[-1][1].next_offset
    return found


def filled(manager: LogManager, batches: int, partition: int = 0, *, rows: int = 1) -> PartitionLog:
    """`batches` of `rows` records, two to a leader epoch."""
    log = manager.create("t", partition, TOPIC_ID, SMALL)
    for number in range(batches):
        sequence = number * rows
        put(log, *[b"v%d" % number] * rows, epoch=number // 2, producer=(1, 0, sequence))
    return log


@settings(max_examples=25, deadline=None)
@given(batches=st.integers(1, 12), cut=st.integers(0, 40), rows=st.integers(1, 3), checkpointed=st.booleans())
async def test_it_is_as_if_what_is_gone_had_never_been(
    tmp_path_factory: pytest.TempPathFactory, batches: int, cut: int, rows: int, checkpointed: bool
) -> None:
    path = tmp_path_factory.mktemp("logs")
    async with manager_of(path) as manager:
        log = filled(manager, batches, rows=rows)
        kept = min(cut // rows, batches)
        model = filled(manager, kept, partition=1, rows=rows)
        if checkpointed:
            await manager.checkpoint([log])
        if cut >= log.log_end_offset:
            cut = log.log_end_offset
        fresh = await manager.truncate(log, cut)
        assert fresh is not None
        assert manager.get("t", 0) is fresh
        assert fresh.log_end_offset == model.log_end_offset == kept * rows
        assert content(fresh) == content(model)
        assert fresh.latest_epoch == model.latest_epoch
        assert [e.identity for e in fresh.producer_state] == [e.identity for e in model.producer_state]
        assert fresh.recovery_point <= fresh.log_end_offset
        for one in (fresh, model):
            put(one, b"after", epoch=99, producer=(1, 0, kept * rows))
        await manager.close({}, 1, is_clean=checkpointed)
    async with manager_of(path) as manager:
        again, model_again = manager.get("t", 0), manager.get("t", 1)
        assert again is not None
        assert model_again is not None
        assert content(again) == content(model_again)
        assert again.end_offset_for_epoch(99) == model_again.end_offset_for_epoch(99)
        await manager.close({}, 1, is_clean=False)


async def test_a_log_begun_anew_goes_on_where_it_is_told_and_a_restart_finds_it_there(tmp_path: Path) -> None:
    async with manager_of(tmp_path) as manager:
        log = filled(manager, 8)
        await manager.checkpoint([log])
        fresh = await manager.start_anew(log, 1_000)
        assert fresh is not None
        assert (fresh.log_start_offset, fresh.log_end_offset, fresh.latest_epoch) == (1_000, 1_000, -1)
        put(fresh, b"after", epoch=5)
        assert content(fresh)
        await manager.checkpoint([fresh])
        await manager.write_recovery_points()
        await manager.close({}, 1, is_clean=False)
    async with manager_of(tmp_path) as manager:
        again = manager.get("t", 0)
        assert again is not None
        assert (again.log_start_offset, again.log_end_offset) == (1_000, 1_001)
        await manager.close({}, 1, is_clean=False)


async def test_a_cut_before_the_first_segment_is_a_beginning_there(tmp_path: Path) -> None:
    async with manager_of(tmp_path) as manager:
        log = filled(manager, 8)
        manager.removal.remove_segments(log.drop_segments(1), 60_000)
        fresh = await manager.truncate(log, 1)
        assert fresh is not None
        assert (fresh.log_start_offset, fresh.log_end_offset) == (1, 1)
        await manager.close({}, 1, is_clean=False)


async def test_what_was_written_down_never_says_that_more_is_whole_than_there_is(tmp_path: Path) -> None:
    async with manager_of(tmp_path) as manager:
        log = filled(manager, 8)
        await manager.checkpoint([log])
        await manager.write_recovery_points()
        assert await manager.truncate(log, 3) is not None
        written = manager.directories[0].read_recovery_points()
        assert written["t", 0] <= 3
        await manager.close({}, 1, is_clean=False)


async def test_a_log_that_is_out_of_use_is_left_alone(tmp_path: Path) -> None:
    async with manager_of(tmp_path) as manager:
        log = filled(manager, 3)
        log.is_swapping = True
        assert await manager.truncate(log, 1) is None
        log.is_swapping = False
        manager.delete("t", 0, TOPIC_ID)
        assert await manager.truncate(log, 1) is None
        await manager.close({}, 1, is_clean=False)


async def test_a_checkpoint_or_flush_that_was_under_way_for_the_old_one_changes_nothing(tmp_path: Path) -> None:
    async with manager_of(tmp_path) as manager:
        log = filled(manager, 8)
        flush = log.start_flush()
        assert flush is not None
        fresh = await manager.truncate(log, 3)
        assert fresh is not None
        flush.sync()
        log.finish_flush(flush)
        await manager.checkpoint([log])
        assert fresh.flushed_offset <= 3
        names = [path.name for path in (tmp_path / "t-0").iterdir() if path.name.endswith(".log")]
        assert max(names) <= "00000000000000000003.log"
        await manager.close({}, 1, is_clean=False)


async def test_a_topic_made_anew_while_its_old_log_is_cut_gets_a_log_of_its_own(tmp_path: Path) -> None:
    new_id = UUID(int=9)
    async with manager_of(tmp_path) as manager:
        cutting = asyncio.create_task(manager.truncate(filled(manager, 8), 3))
        await asyncio.sleep(0)  # from here on its files are in the hands of a thread
        manager.delete("t", 0, TOPIC_ID)
        assert manager.wait_until_free("t", 0, lambda: put(manager.create("t", 0, new_id, SMALL)))
        assert await cutting is None
        made = manager.get("t", 0)
        assert made is not None
        assert (made.topic_id, made.log_end_offset) == (new_id, 1)
        assert not manager.wait_until_free("t", 0, lambda: None)
        await manager.close({}, 1, is_clean=False)


async def test_a_log_that_is_deleted_while_it_is_cut_is_gone_afterwards(tmp_path: Path) -> None:
    async with manager_of(tmp_path) as manager:
        cutting = asyncio.create_task(manager.truncate(filled(manager, 8), 3))
        await asyncio.sleep(0)
        manager.delete("t", 0, TOPIC_ID)
        assert await cutting is None
        assert manager.get("t", 0) is None
        assert not (tmp_path / "t-0").exists()
        await manager.close({}, 1, is_clean=False)
