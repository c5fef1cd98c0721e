"""A log manager over real files with a cleaner that runs when a test says so, and what a reader gets from its logs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

from tests.support.manual_time import ManualTime
from tests.support.runtimes import manual_runtime

from pybroker_protocol.records.batch import BatchHeader, iter_batches
from pybroker_protocol.records.builder import RecordBatchBuilder
from pybroker_protocol.records.compression import Codec
from pybroker_protocol.records.control import ControlType, build_end_transaction_marker
from pybroker_protocol.records.record import Record, iter_records
from pybroker_server.config.views import broker_config
from pybroker_server.log.checkpoints import TopicPartition
from pybroker_server.log.cleaner import Cleaner
from pybroker_server.log.log_config import COMPACT, LogConfig
from pybroker_server.log.manager import LogManager
from pybroker_server.log.partition_log import PartitionLog
from pybroker_server.log.validator import AppendOrigin
from pybroker_server.runtime.ports import Disk
from pybroker_server.runtime.runtime import Runtime

TOPIC = "t"
TOPIC_ID = UUID(int=7)
INFLATED_MAX = 1 << 24
COMPACTED = LogConfig(
    cleanup_policy=frozenset({COMPACT}), segment_bytes=1000, index_interval_bytes=0, min_cleanable_dirty_ratio=0.0
)
Row = tuple[bytes | None, bytes | None]
"""key, value"""


def batch(
    *rows: Row,
    codec: Codec = Codec.NONE,
    producer: tuple[int, int, int] = (-1, -1, -1),
    transactional: bool = False,
    timestamp: int = 1_700_000_000_000,
) -> memoryview:
    """A batch as a client sends it; `producer` is (id, epoch, base sequence)."""
    builder = RecordBatchBuilder(
        codec=codec,
        producer_id=producer[0],
        producer_epoch=producer[1],
        base_sequence=producer[2],
        is_transactional=transactional,
    )
    for key, value in rows:
        builder.append(timestamp, key, value)
    return memoryview(builder.build())


class CompactedLogs:
    """One life of a broker's logs in `path`. `log` is the one of `TOPIC` once it was made or loaded."""

    def __init__(self, path: Path, runtime: Runtime, time: ManualTime, settings: Mapping[str, str] | None) -> None:
        self.path = path
        self.runtime = runtime
        self.time = time
        self.manager = LogManager([str(path)], runtime)
        self.stable: dict[TopicPartition, int] = {}
        """Last stable offsets that are not the end of the log."""
        self.cleaner = Cleaner(self.manager, broker_config(settings), runtime, self._stable_offsets)

    def _stable_offsets(self) -> dict[TopicPartition, int]:
        ends: dict[TopicPartition, int] = {}
        for log in self.manager.all_logs():
            first_unstable = log.producer_state.first_unstable_offset
            ends[log.topic, log.partition] = log.log_end_offset if first_unstable is None else first_unstable
        return {**ends, **self.stable}

    @property
    def log(self) -> PartitionLog:
        log = self.manager.get(TOPIC, 0)
        assert log is not None
        return log

    def create(self, config: LogConfig = COMPACTED, topic: str = TOPIC) -> PartitionLog:
        return self.manager.create(topic, 0, TOPIC_ID, config)

    async def load(self, config: LogConfig = COMPACTED) -> PartitionLog:
        await self.manager.load(lambda topic: config)
        return self.log

    # -- writing

    def append(self, *rows: Row, log: PartitionLog | None = None, **how: Any) -> int:
        """Appends one batch; its base offset."""
        target = log or self.log
        info = target.append_as_leader(batch(*rows, **how), 0, self.time.wall_ms())
        target.producer_state.on_high_watermark(target.log_end_offset)
        return info.base_offset

    def end_transaction(self, kind: ControlType, producer_id: int, epoch: int = 0) -> int:
        """Appends a marker; its offset."""
        marker = build_end_transaction_marker(
            kind,
            timestamp=self.time.wall_ms(),
            producer_id=producer_id,
            producer_epoch=epoch,
            coordinator_epoch=0,
        )
        info = self.log.append_as_leader(memoryview(marker), 0, self.time.wall_ms(), origin=AppendOrigin.MARKER)
        self.log.producer_state.on_high_watermark(self.log.log_end_offset)
        return info.base_offset

    def roll(self) -> None:
        self.log.roll(self.time.wall_ms())

    async def clean(self) -> bool:
        """Rolls, so that all there is can be compacted, and compacts once."""
        self.roll()
        return await self.cleaner.clean_dirtiest()

    async def flush(self) -> None:
        """What a checkpoint does: everything there is on the device."""
        await self.manager.checkpoint(self.manager.all_logs())
        await self.manager.write_recovery_points()

    def configure(self, **changes: Any) -> None:
        self.log.update_config(replace(self.log.config, **changes))


@asynccontextmanager
async def compacted_logs(
    path: Path,
    *,
    settings: Mapping[str, str] | None = None,
    time: ManualTime | None = None,
    wrap: Callable[[Disk], Any] | None = None,
) -> AsyncIterator[CompactedLogs]:
    """`wrap`: what to put around the disk."""
    path.mkdir(parents=True, exist_ok=True)
    time = time or ManualTime()
    async with manual_runtime(time) as runtime:
        used = runtime if wrap is None else replace(runtime, disk=wrap(runtime.disk))
        yield CompactedLogs(path, used, time, settings)


def batches_from(log: PartitionLog, offset: int = 0) -> Iterator[tuple[BatchHeader, memoryview]]:
    """What a consumer that begins at `offset` is sent, by many small fetches."""
    upper = log.end_position
    while offset < upper.offset:
        result = log.read(offset, 1, upper, min_one=True, nowait=False)
        assert result is not None
        if not result.records:
            return
        for position, header in iter_batches(result.records):
            assert header.last_offset >= offset, "a batch from before what was asked for"
            yield header, result.records[position : position + header.size_bytes]
            offset = header.next_offset


def records_from(log: PartitionLog, offset: int | None = None) -> list[Record]:
    """Data records from `offset` or the log's start on, those of aborted transactions included."""
    offset = log.log_start_offset if offset is None else offset
    return [
        record
        for header, view in batches_from(log, offset)
        if not header.is_control
        for record in iter_records(view, max_bytes=INFLATED_MAX)
        if record.offset >= offset
    ]


def rows_of(log: PartitionLog) -> list[tuple[int, bytes | None, bytes | None]]:
    """(offset, key, value) of all data records."""
    return [(record.offset, record.key, record.value) for record in records_from(log)]


def last_values(rows: Sequence[tuple[int, bytes | None, bytes | None]]) -> dict[bytes | None, bytes | None]:
    """What a consumer that reads everything knows at the end; deleted keys are not in it."""
    found = {key: value for _, key, value in rows}
    return {key: value for key, value in found.items() if value is not None}


def committed_rows(log: PartitionLog) -> list[tuple[int, bytes | None, bytes | None]]:
    """What a read_committed consumer gets, going by the log's index of aborted transactions."""
    aborted = log.aborted_entries(log.log_start_offset, log.log_end_offset)
    return [
        (record.offset, record.key, record.value)
        for record in records_from(log)
        if not any(
            entry.producer_id == record.source.producer_id and entry.first_offset <= record.offset <= entry.last_offset
            for entry in aborted
        )
    ]
