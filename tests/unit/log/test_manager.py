"""All logs of a broker over several directories: loading, making, deleting, failing, and the end."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from tests.support.compaction import rows_of
from tests.support.dying_disk import DyingDisk
from tests.support.manual_time import ManualTime
from tests.support.partition_logs import SMALL, TOPIC_ID, put
from tests.support.runtimes import manual_runtime

from pybroker_server.log.checkpoints import MetaProperties, TopicPartition
from pybroker_server.log.log_directory import DirectoryError
from pybroker_server.log.manager import AllDirectoriesFailed, LogManager

OTHER_ID = UUID(int=8)


@asynccontextmanager
async def manager_of(*paths: Path, disk: Any = None, time: ManualTime | None = None) -> AsyncIterator[LogManager]:
    """One life with all logs loaded. Locks are left out: this process has them until it ends."""
    async with manual_runtime(time or ManualTime()) as runtime:
        if disk is not None:
            disk._inner = runtime.disk
            runtime = replace(runtime, disk=disk)
        manager = LogManager(map(str, paths), runtime)
        for path in paths:
            path.mkdir(parents=True, exist_ok=True)
        manager.take_clean_marks()
        await manager.load(lambda _: SMALL)
        yield manager


async def test_what_was_made_is_loaded_and_a_clean_end_needs_no_recovery(tmp_path: Path) -> None:
    async with manager_of(tmp_path) as manager:
        for partition in range(3):
            log = manager.create("t", partition, TOPIC_ID, SMALL)
            for _ in range(partition):
                put(log, producer=(1, 0, log.log_end_offset))
        await manager.close({("t", 2): 1}, 5, is_clean=True)
    async with manager_of(tmp_path) as manager:
        assert manager.directories[0].was_clean
        ends = {(log.topic, log.partition): log.log_end_offset for log in manager.all_logs()}
        assert ends == {("t", 0): 0, ("t", 1): 1, ("t", 2): 2}
        assert all(log.recovery_point == log.log_end_offset for log in manager.all_logs())
        assert (manager.high_watermark("t", 2), manager.high_watermark("t", 1)) == (1, 0)
        await manager.close({}, 5, is_clean=False)


async def test_a_new_log_goes_where_the_fewest_are(tmp_path: Path) -> None:
    async with manager_of(tmp_path / "a", tmp_path / "b") as manager:
        made = [manager.create("t", partition, TOPIC_ID, SMALL) for partition in range(4)]
        assert [Path(log.directory).parent.name for log in made] == ["a", "b", "a", "b"]
        manager.directories[0].is_online = False
        assert Path(manager.create("t", 4, TOPIC_ID, SMALL).directory).parent.name == "b"
        manager.directories[1].is_online = False
        with pytest.raises(OSError, match="no log directory is online"):
            manager.create("t", 5, TOPIC_ID, SMALL)


async def test_a_deleted_log_is_out_of_the_way_at_once_and_gone_later(tmp_path: Path) -> None:
    time = ManualTime()
    async with manager_of(tmp_path, time=time) as manager:
        log = manager.create("t", 0, TOPIC_ID, SMALL)
        manager.note_cleaned(log, 1)
        put(log, b"old")
        manager.delete("t", 0, OTHER_ID)
        assert manager.get("t", 0) is log, "another topic of that name is not meant"
        manager.delete("t", 0, TOPIC_ID)
        manager.delete("t", 0, TOPIC_ID)
        assert manager.get("t", 0) is None
        again = manager.create("t", 0, OTHER_ID, SMALL)
        assert rows_of(again) == []
        assert manager.cleaned_offset(again) is None
        assert len(manager.directories[0].deleted_partitions()) == 1
        time.advance_ms(SMALL.file_delete_delay_ms)
        async with asyncio.timeout(5):
            while manager.directories[0].deleted_partitions():
                await asyncio.sleep(0)


async def test_what_was_deleted_when_the_broker_died_is_removed_at_the_next_start(tmp_path: Path) -> None:
    (tmp_path / f"t-0.{'0' * 32}-delete").mkdir()
    time = ManualTime()
    async with manager_of(tmp_path, time=time) as manager:
        time.advance_ms(0)
        async with asyncio.timeout(5):
            while manager.directories[0].deleted_partitions():
                await asyncio.sleep(0)
        assert manager.all_logs() == []


async def test_logs_of_topics_that_are_gone_are_deleted(tmp_path: Path) -> None:
    async with manager_of(tmp_path) as manager:
        manager.create("kept", 0, TOPIC_ID, SMALL)
        manager.create("gone", 0, OTHER_ID, SMALL)
        manager.delete_strays(lambda log: log.topic == "kept")
        assert [log.topic for log in manager.all_logs()] == ["kept"]


async def test_a_partition_in_two_directories_is_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        async with manager_of(tmp_path / name) as manager:
            manager.create("t", 0, TOPIC_ID, SMALL)
    with pytest.raises(BaseExceptionGroup) as caught:
        async with manager_of(tmp_path / "a", tmp_path / "b"):
            raise AssertionError("it was taken")
    assert caught.group_contains(DirectoryError, match="t-0 lies in")


async def test_directories_of_different_owners_are_refused(tmp_path: Path) -> None:
    for name, node_id in (("a", 1), ("b", 2)):
        (tmp_path / name).mkdir()
        owner = MetaProperties("cluster", node_id, TOPIC_ID)
        (tmp_path / name / "meta.properties").write_bytes(owner.to_bytes())
    async with manual_runtime(ManualTime()) as runtime:
        manager = LogManager([str(tmp_path / "a"), str(tmp_path / "b")], runtime)
        with pytest.raises(DirectoryError, match="different clusters or nodes"):
            manager.claim()


async def test_directories_tell_whose_they_are_and_new_ones_nothing(tmp_path: Path) -> None:
    async with manual_runtime(ManualTime()) as runtime:
        manager = LogManager([str(tmp_path / "a")], runtime)
        assert manager.claim() is None
        manager.write_identity("cluster", 3)
    (tmp_path / "a" / ".lock").unlink()
    async with manual_runtime(ManualTime()) as runtime:
        assert LogManager([str(tmp_path / "b"), str(tmp_path / "a")], runtime).claim() == ("cluster", 3)


async def test_a_directory_that_fails_takes_its_logs_and_no_others(tmp_path: Path) -> None:
    async with manager_of(tmp_path / "a", tmp_path / "b") as manager:
        lost: list[list[TopicPartition]] = []
        manager.on_directory_failure(lost.append)
        logs = [manager.create("t", partition, TOPIC_ID, SMALL) for partition in range(4)]
        manager.on_flush_failure(logs[0], OSError(5, "Input/output error"))
        manager.on_flush_failure(logs[2], OSError(5, "Input/output error"))
        assert lost == [[("t", 0), ("t", 2)]], "it is told once"
        assert [directory.is_online for directory in manager.directories] == [False, True]
        await manager.checkpoint(manager.all_logs())
        assert [log.is_dirty for log in logs] == [True, False, True, False]


async def test_when_the_last_directory_fails_the_broker_ends(tmp_path: Path) -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        async with manager_of(tmp_path) as manager:
            log = manager.create("t", 0, TOPIC_ID, SMALL)
            manager.on_flush_failure(log, OSError(5, "Input/output error"))
            await asyncio.Event().wait()
    assert caught.group_contains(AllDirectoriesFailed, match="Input/output error")


async def test_a_checkpoint_that_fails_takes_the_directory_offline(tmp_path: Path) -> None:
    disk = DyingDisk(None, OSError(5, "Input/output error"))
    async with manager_of(tmp_path / "a", tmp_path / "b", disk=disk) as manager:
        log = manager.create("t", 0, TOPIC_ID, SMALL)
        put(log)
        disk.fails_once = lambda name, _: name == "sync"
        await manager.checkpoint(manager.all_logs())
        assert [directory.is_online for directory in manager.directories] == [False, True]
        assert log.recovery_point == 0


async def test_log_starts_are_written_where_they_say_more_than_the_segments(tmp_path: Path) -> None:
    async with manager_of(tmp_path) as manager:
        for partition in range(2):
            log = manager.create("t", partition, TOPIC_ID, SMALL)
            put(log)
            put(log)
        log.delete_records_before(1)
        manager.write_log_start_offsets()
        assert manager.directories[0].read_log_starts() == {("t", 1): 1}


async def test_checkpoints_that_are_written_at_the_same_time_do_not_meet(tmp_path: Path) -> None:
    async with manager_of(tmp_path / "a") as manager:
        log = manager.create("t", 0, TOPIC_ID, SMALL)
        [directory] = manager.directories
        for _ in range(50):
            log.recovery_point += 1
            await asyncio.gather(*(manager.write_recovery_points() for _ in range(4)))
            assert directory.read_recovery_points() == {("t", 0): log.recovery_point}
