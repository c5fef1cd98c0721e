"""What is done to all logs now and then, and how it ends."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.compaction import CompactedLogs, compacted_logs
from tests.support.dying_disk import DyingDisk
from tests.support.partition_logs import put, reload

from pybroker_server.config.views import broker_config
from pybroker_server.log.checkpoints import TopicPartition
from pybroker_server.log.housekeeper import Housekeeper
from pybroker_server.log.log_config import LogConfig

NAME = ("t", 0)


class House:
    def __init__(self, logs: CompactedLogs, settings: dict[str, str]) -> None:
        self.logs = logs
        self.high_watermarks: dict[TopicPartition, int] | None = None
        self.starts_asked: list[Callable[[BaseException | None], None]] = []
        self.keeper = Housekeeper(
            logs.manager,
            broker_config(settings),
            logs.runtime,
            self._high_watermarks,
            self.starts_asked.append,
        )

    def _high_watermarks(self) -> dict[TopicPartition, int]:
        if self.high_watermarks is not None:
            return self.high_watermarks
        return {(log.topic, log.partition): log.log_end_offset for log in self.logs.manager.all_logs()}


@asynccontextmanager
async def house(path: Path, settings: dict[str, str] | None = None, **how: Any) -> AsyncIterator[House]:
    async with compacted_logs(path, **how) as logs:
        yield House(logs, settings or {})


def fill(h: House, config: LogConfig, count: int = 4) -> None:
    """A log with a segment for each of `count` records, all written now."""
    log = h.logs.create(config)
    for _ in range(count):
        put(log, timestamp=h.logs.time.wall_ms())
        h.logs.roll()


async def test_segments_that_are_too_old_are_deleted_with_their_files(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        fill(h, LogConfig(retention_ms=1000))
        await h.keeper.apply_retention()
        assert h.logs.log.log_start_offset == 0
        h.logs.time.advance_ms(1001)
        await h.keeper.apply_retention()
        assert (h.logs.log.log_start_offset, h.logs.log.log_end_offset) == (4, 4)
        async with asyncio.timeout(5):
            while (Path(h.logs.log.directory) / f"{0:020d}.log").exists():
                await asyncio.sleep(0)


async def test_the_active_segment_is_rolled_before_it_goes(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        put(h.logs.create(LogConfig(retention_ms=1000)), timestamp=h.logs.time.wall_ms())
        h.logs.time.advance_ms(1001)
        await h.keeper.apply_retention()
        assert [segment.base_offset for segment in h.logs.log.segments] == [1]
        assert put(h.logs.log).base_offset == 1


async def test_nothing_is_deleted_past_the_high_watermark_or_of_a_partition_that_is_not_open(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        fill(h, LogConfig(retention_bytes=0))
        h.high_watermarks = {}
        await h.keeper.apply_retention()
        assert h.logs.log.log_start_offset == 0
        h.high_watermarks = {NAME: 2}
        await h.keeper.apply_retention()
        assert h.logs.log.log_start_offset == 2


async def test_a_log_whose_segments_are_being_replaced_has_its_turn_later(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        fill(h, LogConfig(retention_bytes=0))
        h.logs.log.is_swapping = True
        await h.keeper.apply_retention()
        assert h.logs.log.log_start_offset == 0
        h.logs.log.is_swapping = False
        await h.keeper.apply_retention()
        assert h.logs.log.log_start_offset == 4


@pytest.mark.parametrize("recovery_point", [None, 0])
async def test_a_crash_forgets_nothing_of_producers_whose_records_retention_took(
    tmp_path: Path, recovery_point: int | None
) -> None:
    """Be the recovery point written down (None) or not."""
    async with house(tmp_path) as h:
        log = h.logs.create(LogConfig(retention_ms=1000))
        put(log, producer=(1, 0, 0), transactional=True, timestamp=h.logs.time.wall_ms())
        put(log, producer=(2, 0, 0), timestamp=h.logs.time.wall_ms())
        h.logs.time.advance_ms(1001)
        await h.keeper.apply_retention()
        assert log.log_start_offset == 2
        put(log, producer=(2, 0, 1))
        again = reload(log, recovery_point=recovery_point)
        assert again.producer_state.ongoing_transactions == {0: 1}
        assert put(again, producer=(2, 0, 1)).duplicate


async def test_checkpoints_are_written(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        fill(h, LogConfig())
        await h.keeper.checkpoint()
        await h.keeper.write_high_watermarks()
        [directory] = h.logs.manager.directories
        assert directory.read_recovery_points() == {NAME: 4}
        assert directory.read_high_watermarks() == {NAME: 4}
        assert not h.logs.log.is_dirty


async def test_a_checkpoint_file_that_cannot_be_written_ends_nothing(tmp_path: Path) -> None:
    disks: list[DyingDisk] = []

    def wrap(disk: Any) -> DyingDisk:
        disks.append(DyingDisk(disk, OSError(28, "No space left on device")))
        return disks[0]

    async with house(tmp_path, wrap=wrap) as h:
        fill(h, LogConfig())
        disks[0].fails_once = lambda name, _: name == "write_atomic"
        await h.keeper.write_high_watermarks()
        [directory] = h.logs.manager.directories
        assert directory.is_online
        assert directory.read_high_watermarks() == {}
        await h.keeper.write_high_watermarks()
        assert directory.read_high_watermarks() == {NAME: 4}


async def test_log_starts_are_left_to_their_one_writer(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        for error in (None, OSError(5, "Input/output error")):
            task = asyncio.ensure_future(h.keeper.write_log_starts())
            await asyncio.sleep(0)
            assert not task.done()
            h.starts_asked.pop()(error)
            await asyncio.wait_for(task, 1)


async def test_idle_producers_are_forgotten(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        log = h.logs.create(LogConfig(producer_id_expiration_ms=1000))
        put(log, producer=(1, 0, 0), now_ms=h.logs.time.wall_ms())
        h.logs.time.advance_ms(999)
        await h.keeper.expire_producers()
        assert len(log.producer_state) == 1
        h.logs.time.advance_ms(1)
        await h.keeper.expire_producers()
        assert len(log.producer_state) == 0


async def test_idle_files_are_closed(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        fill(h, LogConfig())
        for _ in range(2):
            await h.keeper.close_idle_files()
        assert not any(segment.is_loaded for segment in h.logs.log.segments[:-1])


async def test_only_topics_that_ask_for_it_are_flushed_by_time(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        fill(h, LogConfig())
        await h.keeper.flush_by_time()
        assert h.logs.log.flushed_offset == 0
        h.logs.log.update_config(replace(h.logs.log.config, flush_ms=1))
        await h.keeper.flush_by_time()
        assert h.logs.log.flushed_offset == 4


async def test_duties_come_again_at_their_intervals_until_they_are_stopped(tmp_path: Path) -> None:
    settings = {"log.retention.check.interval.ms": "1000", "log.initial.task.delay.ms": "5000"}
    async with house(tmp_path, settings) as h:
        fill(h, LogConfig(retention_ms=1))
        h.keeper.start()
        await asyncio.sleep(0)
        h.logs.time.advance_ms(4999)
        for _ in range(10):
            await asyncio.sleep(0)
        assert h.logs.log.log_start_offset == 0, "the first round waits for log.initial.task.delay.ms"
        h.logs.time.advance_ms(1)
        async with asyncio.timeout(5):
            while h.logs.log.log_start_offset == 0:
                await asyncio.sleep(0)
        put(h.logs.log, timestamp=h.logs.time.wall_ms())
        async with asyncio.timeout(5):
            while h.logs.log.log_start_offset == 4:
                h.logs.time.advance_ms(1000)
                await asyncio.sleep(0)
        async with asyncio.timeout(5):
            stopping = asyncio.ensure_future(h.keeper.stop())
            while not stopping.done():
                while h.starts_asked:
                    h.starts_asked.pop()(None)
                await asyncio.sleep(0)
