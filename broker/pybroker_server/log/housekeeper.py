"""What is done to all logs now and then: retention, checkpoints, flushes by time, closing what is idle.

Rules of this file: one task for each duty, owned by the broker; between two logs the event loop may turn, so that ten
thousand partitions do not stand in the way of one request. Intervals are Kafka's settings.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping

from pybroker_server.config.views import BrokerConfig
from pybroker_server.log.checkpoints import TopicPartition
from pybroker_server.log.files import LOG_SUFFIX
from pybroker_server.log.log_config import LONG_MAX
from pybroker_server.log.manager import LogManager
from pybroker_server.log.partition_log import PartitionLog
from pybroker_server.log.pauses import Pauses
from pybroker_server.log.retention import count_deletable
from pybroker_server.log.segment import Segment
from pybroker_server.runtime.runtime import Runtime
from pybroker_server.telemetry.events import get_logger

HighWatermarks = Callable[[], Mapping[TopicPartition, int]]
"""The high watermark of every partition that is open now."""

PersistLogStarts = Callable[[Callable[[BaseException | None], None]], None]
"""Has all log starts written and calls back; one writer for all, so that an older state never follows a newer."""

IDLE_CHECK_MS = 30_000
_LOGS_PER_TURN = 100
_LONGEST_MS = 24 * 3600 * 1000
_logger = get_logger("pybroker.log")


class Housekeeper:
    def __init__(
        self,
        logs: LogManager,
        config: BrokerConfig,
        runtime: Runtime,
        high_watermarks: HighWatermarks,
        persist_log_starts: PersistLogStarts,
    ) -> None:
        self._logs = logs
        self._config = config
        self._runtime = runtime
        self._high_watermarks = high_watermarks
        self._persist_log_starts = persist_log_starts
        self._tasks: list[asyncio.Task[None]] = []
        self._pauses = Pauses(runtime.timers)
        self._stopping = False
        self._first_ms = 0
        """How long after the start the first round of any duty begins, when that is later than its interval."""

    def start(self) -> None:
        config = self._config
        self._first_ms = config.log_initial_task_delay_ms
        self._every("retention", config.log_retention_check_interval_ms, self.apply_retention)
        self._every("recovery-points", config.log_flush_offset_checkpoint_interval_ms, self.checkpoint)
        self._every("log-starts", config.log_flush_start_offset_checkpoint_interval_ms, self.write_log_starts)
        self._every("high-watermarks", config.replica_high_watermark_checkpoint_interval_ms, self.write_high_watermarks)
        self._every("producer-expiry", config.producer_id_expiration_check_interval_ms, self.expire_producers)
        self._every("idle-files", IDLE_CHECK_MS, self.close_idle_files)
        self._every("flush-by-time", config.log_flush_scheduler_interval_ms, self.flush_by_time)

    def _every(self, name: str, interval_ms: int, work: Callable[[], Awaitable[None]]) -> None:
        if 0 < interval_ms < LONG_MAX:
            self._tasks.append(self._runtime.tasks.spawn(name, self._repeat(min(interval_ms, _LONGEST_MS), work)))

    async def stop(self) -> None:
        """Returns when no duty is under way any more: what it wrote in a thread could not be called back."""
        self._stopping = True
        self._pauses.end()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _repeat(self, interval_ms: int, work: Callable[[], Awaitable[None]]) -> None:
        delay_ms = max(interval_ms, self._first_ms)
        while not self._stopping:
            await self._pauses.wait(delay_ms)
            delay_ms = interval_ms
            if not self._stopping:
                await work()

    # -- duties

    async def apply_retention(self) -> None:
        """Deletes segments that are too old or too much."""
        high_watermarks = self._high_watermarks()
        waiting = await self._retain_all(self._logs.all_logs(), high_watermarks)
        # What a start would learn of producers from the records (sequences, open transactions) must be in a snapshot
        # on the device before they go.
        await self._logs.checkpoint(waiting)
        await self._retain_all(waiting, high_watermarks)

    async def _retain_all(
        self, logs: Iterable[PartitionLog], high_watermarks: Mapping[TopicPartition, int]
    ) -> list[PartitionLog]:
        """Those of which there is more to go, once they have a checkpoint."""
        waiting = []
        for number, log in enumerate(logs):
            if self._retain(log, high_watermarks):
                waiting.append(log)
            if number % _LOGS_PER_TURN == 0:
                await asyncio.sleep(0)
        return waiting

    def _retain(self, log: PartitionLog, high_watermarks: Mapping[TopicPartition, int]) -> bool:
        """Whether there are more to go, which lie above the recovery point."""
        high_watermark = high_watermarks.get((log.topic, log.partition))
        # One whose segments are being replaced has its turn next time.
        is_open = high_watermark is not None and self._logs.get(log.topic, log.partition) is log
        if high_watermark is None or not is_open or log.is_swapping:
            return False
        now_wall_ms = self._runtime.clock.wall_ms()
        wanted = count_deletable(
            log.segments,
            log.config,
            log_start_offset=log.log_start_offset,
            log_end_offset=log.log_end_offset,
            high_watermark=high_watermark,
            now_wall_ms=now_wall_ms,
            modified_ms=self._modified_ms,
        )
        try:
            if wanted == len(log.segments):
                log.roll(now_wall_ms)
        except OSError as error:
            self._logs.on_flush_failure(log, error)
            return False
        count = wanted
        while count and log.segments[count].base_offset > log.recovery_point:
            count -= 1
        if count:
            self._drop(log, count)
        return count < wanted

    def _drop(self, log: PartitionLog, count: int) -> None:
        dropped = log.drop_segments(count)
        _logger.info(
            "segments_deleted",
            topic=log.topic,
            partition=log.partition,
            segments=count,
            log_start_offset=log.log_start_offset,
        )
        self._logs.removal.remove_segments(dropped, log.config.file_delete_delay_ms)

    def _modified_ms(self, segment: Segment) -> int:
        return self._runtime.disk.modified_ms(segment.path(LOG_SUFFIX))

    async def checkpoint(self) -> None:
        """Moves recovery points: what comes after them is read at the next start, unless it is a clean one."""
        await self._logs.checkpoint(self._logs.all_logs())
        await self._write(self._logs.write_recovery_points())

    async def write_log_starts(self) -> None:
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(error: BaseException | None) -> None:
            if not written.done():
                written.set_result(None)
            if error is not None:
                _logger.warning("checkpoint_not_written", error=str(error))

        self._persist_log_starts(done)
        await written

    async def write_high_watermarks(self) -> None:
        await self._write(self._logs.write_high_watermarks(dict(self._high_watermarks())))

    async def _write(self, written: Awaitable[None]) -> None:
        try:
            await written
        except OSError as error:
            # Nothing is lost by a checkpoint that is out of date; a device that is broken shows with the next flush.
            _logger.warning("checkpoint_not_written", error=str(error))

    async def expire_producers(self) -> None:
        """Forgets producers that were idle for `producer.id.expiration.ms`."""
        now_wall_ms = self._runtime.clock.wall_ms()
        for number, log in enumerate(self._logs.all_logs()):
            log.producer_state.remove_expired(now_wall_ms, log.config.producer_id_expiration_ms)
            if number % _LOGS_PER_TURN == 0:
                await asyncio.sleep(0)

    async def close_idle_files(self) -> None:
        for number, log in enumerate(self._logs.all_logs()):
            log.close_idle_files()
            if number % _LOGS_PER_TURN == 0:
                await asyncio.sleep(0)

    async def flush_by_time(self) -> None:
        """Kafka's `flush.ms`, for topics that do not flush before they acknowledge."""
        due = [log for log in self._logs.all_logs() if log.config.flush_ms < LONG_MAX and log.is_dirty]
        await self._logs.checkpoint(due)
