"""Takes the end of a log away, or all of it: what a follower does with records that its leader does not have.

Rules of this file: blocks, so it runs in a thread, while nobody appends and the log is out of `LogManager`'s table. The
files are cut and synced before anything is written behind the cut: else a power cut could bring back an old batch
after a new one. Newest first: whoever dies in between finds a shorter log, not one with a hole. Everything else
(producers, epochs, indexes) is then read from the files as after a crash, by the same code.

The recovery point that is written down must not lie above the cut before this begins: recovery believes what lies below
it.
"""

from __future__ import annotations

from pybroker_server.log.batch_scan import scan_batches
from pybroker_server.log.files import LOG_SUFFIX, SNAPSHOT_SUFFIX, parse_segment_file
from pybroker_server.log.loader import load_log
from pybroker_server.log.partition_log import PartitionLog
from pybroker_server.log.segment import Segment
from pybroker_server.runtime.ports import Disk
from pybroker_server.runtime.shared_buffers import SharedBufferPool


def truncated(
    log: PartitionLog, offset: int, disk: Disk, pool: SharedBufferPool, *, log_start_offset: int, now_wall_ms: int
) -> PartitionLog:
    """The log that is left of `log`: batches whose records all lie below `offset`, which is not below its first
    segment. `log` itself must not be used any more. Raises OSError.
    """
    retire(log)
    later = [segment for segment in log.segments[1:] if segment.base_offset >= offset]
    for segment in reversed(later):
        segment.remove_files()
    kept = log.segments[: len(log.segments) - len(later)]
    last = kept[-1]
    file = disk.open(last.path(LOG_SUFFIX))
    try:
        for position, header, _ in scan_batches(file, 0, file.size(), whole=False):
            if header.next_offset > offset:
                file.truncate(position)
                break
        file.sync()
    finally:
        file.close()
    last.discard_leftovers()
    _remove_others(log, disk, {segment.base_offset for segment in kept}, snapshots_above=offset)
    return _reopened(log, disk, pool, min(log.recovery_point, offset), log_start_offset, now_wall_ms)


def emptied(log: PartitionLog, offset: int, disk: Disk, pool: SharedBufferPool, *, now_wall_ms: int) -> PartitionLog:
    """A log without records that begins, and goes on, at `offset`. Raises OSError."""
    retire(log)
    for segment in reversed(log.segments):
        segment.remove_files()
    _remove_others(log, disk, set(), snapshots_above=-1)
    return _reopened(log, disk, pool, offset, offset, now_wall_ms)


def retire(log: PartitionLog) -> None:
    """Its files may vanish under whoever still holds it, and that is no failure."""
    for segment in log.segments:
        segment.deleted = True


def _remove_others(log: PartitionLog, disk: Disk, bases: set[int], *, snapshots_above: int) -> None:
    """Removes segments that retention has dropped and not come to rename, and snapshots of producers that know of
    records that are gone.
    """
    for name in disk.list(log.directory):
        parsed = parse_segment_file(name)
        if parsed is None:
            continue
        if parsed[1] == LOG_SUFFIX and parsed[0] not in bases:
            Segment(disk, log.directory, parsed[0]).remove_files()
        elif parsed[1] == SNAPSHOT_SUFFIX and parsed[0] > snapshots_above:
            disk.remove(f"{log.directory}/{name}")
    disk.sync_dir(log.directory)


def _reopened(
    log: PartitionLog,
    disk: Disk,
    pool: SharedBufferPool,
    recovery_point: int,
    log_start_offset: int,
    now_wall_ms: int,
) -> PartitionLog:
    fresh = load_log(
        disk,
        pool,
        log.directory,
        log.topic,
        log.partition,
        log.config,
        was_clean=False,
        recovery_point=recovery_point,
        log_start_offset=log_start_offset,
        now_wall_ms=now_wall_ms,
    )
    log.close()
    return fresh
