"""One partition's log over real files, without a manager: made, written, checkpointed and loaded again by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

from tests.support.compaction import batch

from pybroker_protocol.records.control import ControlType, build_end_transaction_marker
from pybroker_server.log.loader import create_log, load_log
from pybroker_server.log.log_config import LogConfig
from pybroker_server.log.partition_log import PartitionLog
from pybroker_server.log.position import AppendInfo
from pybroker_server.log.validator import AppendOrigin
from pybroker_server.runtime.disk_os import OsDisk
from pybroker_server.runtime.ports import Disk
from pybroker_server.runtime.shared_buffers import SharedBufferPool

NOW_MS = 1_700_000_000_000
TOPIC = "t"
TOPIC_ID = UUID(int=7)
SMALL = LogConfig(segment_bytes=400, index_interval_bytes=0)
"""A handful of small batches to a segment, an index entry for every batch but the first."""


def new_log(path: Path, config: LogConfig = SMALL, *, disk: Any = None) -> PartitionLog:
    """The log of `t-0` in a new directory within `path`."""
    used: Disk = disk or OsDisk()
    return create_log(used, SharedBufferPool(), str(path / "t-0"), TOPIC, 0, TOPIC_ID, config, now_wall_ms=NOW_MS)


def reload(
    log: PartitionLog, *, clean: bool = False, disk: Any = None, recovery_point: int | None = None, log_start: int = 0
) -> PartitionLog:
    """What the next start makes of the directory; `clean` is an end with the clean-shutdown mark."""
    return load_log(
        disk or OsDisk(),
        SharedBufferPool(),
        log.directory,
        TOPIC,
        0,
        log.config,
        was_clean=clean,
        recovery_point=log.recovery_point if recovery_point is None else recovery_point,
        log_start_offset=log_start,
        now_wall_ms=NOW_MS,
    )


def put(log: PartitionLog, *values: bytes, epoch: int = 0, now_ms: int = NOW_MS, **how: Any) -> AppendInfo:
    """Appends one batch of these values (`batch` says what else there is)."""
    records = batch(*((b"k", value) for value in values or (b"v",)), **how)
    info = log.append_as_leader(records, epoch, now_ms)
    log.producer_state.on_high_watermark(log.log_end_offset)
    return info


def end_transaction(log: PartitionLog, kind: ControlType, producer_id: int, *, epoch: int = 0, **how: Any) -> int:
    """Appends a marker; its offset."""
    marker = build_end_transaction_marker(
        kind, timestamp=NOW_MS, producer_id=producer_id, producer_epoch=epoch, coordinator_epoch=how.pop("term", 0)
    )
    info = log.append_as_leader(memoryview(marker), max(log.latest_epoch, 0), NOW_MS, origin=AppendOrigin.MARKER, **how)
    log.producer_state.on_high_watermark(log.log_end_offset)
    return info.base_offset


def checkpoint(log: PartitionLog) -> None:
    """All there is gets onto the device; recovery begins at the present end."""
    ticket = log.checkpoint_ticket()
    ticket.sync()
    log.finish_checkpoint(ticket)


def file_of(log: PartitionLog, base_offset: int, suffix: str) -> Path:
    return Path(log.directory) / f"{base_offset:020d}{suffix}"
