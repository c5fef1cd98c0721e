"""Compacts logs, the dirtiest first: of each key the last record stays (Kafka's log cleaner).

Rules of this file: one task, owned by the broker, that picks a log and has a pass made over it (`compaction_pass.py`).
A log that cannot be compacted is left alone until the next start, with one line that says why; the others go on. A
pass that was given up is none.

What a pass needs is imported with the first one: a start need not wait for it.

Which part may be compacted: `compaction_pick.py`. Which records stay: `compaction_filter.py`. What a crash leaves:
`compaction_swap.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import UUID

from pybroker_protocol.errors import KafkaError, ProtocolError
from pybroker_server.config.views import BrokerConfig
from pybroker_server.log.checkpoints import TopicPartition
from pybroker_server.log.files import LOG_SUFFIX
from pybroker_server.log.log_config import LONG_MAX
from pybroker_server.log.manager import LogManager
from pybroker_server.log.partition_log import PartitionLog
from pybroker_server.log.pauses import Pauses
from pybroker_server.log.segment import Segment
from pybroker_server.runtime.runtime import Runtime
from pybroker_server.telemetry.events import get_logger

if TYPE_CHECKING:
    from pybroker_server.log.compaction_pick import Dirt

StableOffsets = Callable[[], Mapping[TopicPartition, int]]
"""The last stable offset of every partition that is open now; it is never above the high watermark."""

_LOGS_PER_TURN: Final = 100
_LONGEST_MS: Final = 24 * 3600 * 1000
_logger = get_logger("pybroker.log")


class _Task(NamedTuple):
    log: PartitionLog
    dirt: Dirt


class Cleaner:
    def __init__(self, logs: LogManager, config: BrokerConfig, runtime: Runtime, stable_offsets: StableOffsets) -> None:
        self._logs = logs
        self._config = config
        self._runtime = runtime
        self._stable_offsets = stable_offsets
        self._pauses = Pauses(runtime.timers)
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self._uncleanable: set[tuple[str, int, UUID]] = set()
        self.passes = 0
        """That came to their end; with the next two, for metrics."""
        self.bytes_before = 0
        self.bytes_after = 0
        self._free_from_ms = 0.0
        """When the bytes that went through so far are paid for, by `log.cleaner.io.max.bytes.per.second`."""

    def start(self) -> None:
        if self._config.log_cleaner_enable:
            self._task = self._runtime.tasks.spawn("log-cleaner", self._run())

    @property
    def uncleanable_count(self) -> int:
        """Logs that are left alone until the next start."""
        return len(self._uncleanable)

    def on_config(self, config: BrokerConfig) -> None:
        """The broker's configuration changed."""
        self._config = config

    async def stop(self) -> None:
        """Returns when nothing is under way any more; what was half done is undone, or left for the next start."""
        self._stopping = True
        self._pauses.end()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while not self._stopping:
            if not await self.clean_dirtiest() and not self._stopping:
                await self._write_checkpoint()
                await self._pauses.wait(min(max(self._config.log_cleaner_backoff_ms, 1), _LONGEST_MS))

    # -- which log

    async def clean_dirtiest(self) -> bool:
        """Compacts the log that needs it most; False when there was none, or it did not come to an end."""
        task = await self._pick()
        if task is None:
            return False
        from pybroker_server.log.compaction_filter import CompactionError
        from pybroker_server.log.compaction_pass import PassGivenUp, SwapFailed

        log = task.log
        try:
            cleaned_offset = await self._clean(task)
        except PassGivenUp:
            return False
        except SwapFailed as error:
            self._logs.on_flush_failure(log, error.__cause__ or error)
            return False
        except (OSError, ValueError, KafkaError, ProtocolError, CompactionError) as error:
            # A log that is deleted meanwhile fails in any way it likes.
            if self._is_served(log):
                self._uncleanable.add((log.topic, log.partition, log.topic_id))
                _logger.error("log_not_compacted", topic=log.topic, partition=log.partition, error=str(error))
            return True
        if self._is_served(log):
            self._logs.note_cleaned(log, cleaned_offset)
        await self._write_checkpoint()
        return True

    async def _pick(self) -> _Task | None:
        compacted = [log for log in self._logs.all_logs() if log.config.is_compacted]
        stable_offsets = self._stable_offsets() if compacted else {}
        best: _Task | None = None
        for number, log in enumerate(compacted):
            stable = stable_offsets.get((log.topic, log.partition))
            identity = (log.topic, log.partition, log.topic_id)
            if stable is not None and identity not in self._uncleanable:
                dirt = await self._measure(log, stable)
                if dirt is not None and (best is None or dirt.ratio > best.dirt.ratio):
                    best = _Task(log, dirt)
            if number % _LOGS_PER_TURN == 0:
                await asyncio.sleep(0)
        return best

    async def _measure(self, log: PartitionLog, stable: int) -> Dirt | None:
        """The dirt of a log that is due."""
        from pybroker_server.log.compaction_pick import first_dirty_offset, measure

        segments = log.segments
        first_dirty = first_dirty_offset(self._logs.cleaned_offset(log), log.log_start_offset, log.log_end_offset)
        if log.config.max_compaction_lag_ms < LONG_MAX:
            unknown = [
                s for s in segments[:-1] if s.first_timestamp is None and s.base_offset >= first_dirty and s.size
            ]
            try:
                for segment in unknown:
                    await self._runtime.blocking.run(segment.read_first_timestamp)
            except (OSError, ValueError):
                return None  # dropped by retention meanwhile, or a device that others will notice
        dirt = measure(
            segments,
            log.config,
            first_dirty=first_dirty,
            last_stable_offset=stable,
            now_wall_ms=self._runtime.clock.wall_ms(),
            modified_ms=self._modified_ms,
        )
        return dirt if dirt.is_due(log.config.min_cleanable_dirty_ratio) else None

    def _modified_ms(self, segment: Segment) -> int:
        return self._runtime.disk.modified_ms(segment.path(LOG_SUFFIX))

    # -- one log

    async def _clean(self, task: _Task) -> int:
        """One pass; the offset up to which the log is compacted then."""
        from pybroker_server.log.compaction_pass import CompactionPass

        log, dirt = task
        config = self._config
        work = CompactionPass(
            log,
            dirt,
            self._runtime,
            self._logs.removal,
            map_bytes=int(config.log_cleaner_dedupe_buffer_size * config.log_cleaner_io_buffer_load_factor),
            is_served=partial(self._is_served, log),
            may_go_on=lambda: not self._stopping and log.config.is_compacted and self._is_served(log),
            pay=self._pay,
        )
        end_offset, bytes_before, bytes_after = await work.run()
        self.passes += 1
        self.bytes_before += bytes_before
        self.bytes_after += bytes_after
        _logger.info(
            "log_compacted",
            topic=log.topic,
            partition=log.partition,
            from_offset=dirt.first_dirty_offset,
            to_offset=end_offset,
            bytes_before=bytes_before,
            bytes_after=bytes_after,
        )
        return end_offset

    def _is_served(self, log: PartitionLog) -> bool:
        return self._logs.get(log.topic, log.partition) is log

    async def _pay(self, moved_bytes: int) -> None:
        """Waits until so many bytes more are within the limit per second."""
        now_ms = self._runtime.clock.monotonic_ms()
        per_second = max(self._config.log_cleaner_io_max_bytes_per_second, 1.0)
        self._free_from_ms = max(self._free_from_ms, now_ms) + moved_bytes * 1000 / per_second
        wait_ms = int(self._free_from_ms - now_ms)
        if wait_ms > 0 and not self._stopping:
            await self._pauses.wait(wait_ms)

    async def _write_checkpoint(self) -> None:
        try:
            await self._logs.write_cleaned_offsets()
        except OSError as error:
            # What was compacted is compacted once more.
            _logger.warning("checkpoint_not_written", error=str(error))
