"""Finds the aborted transactions of a segment again when its `.txnindex` is lost (KIP-98).

Rules of this file: reads only; blocks. A marker does not say where its transaction began, so producers are followed
from the newest snapshot at or before the segment through every batch since, as Kafka does when it loads a damaged
segment. What changes meanwhile (retention, compaction) raises FileNotFoundError rather than giving half an answer.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from pybroker_protocol.errors import ProtocolError
from pybroker_protocol.records.batch import CONTROL, BatchHeader
from pybroker_server.log.batch_scan import read_batch, scan_batches
from pybroker_server.log.files import LOG_SUFFIX, SNAPSHOT_SUFFIX, parse_segment_file, segment_file
from pybroker_server.log.producer_replay import apply_batch
from pybroker_server.log.producer_snapshot import SnapshotCorrupt, parse_snapshot
from pybroker_server.log.producer_state import ProducerState
from pybroker_server.log.transaction_index import AbortedTransaction
from pybroker_server.runtime.ports import Disk, File
from pybroker_server.telemetry.events import get_logger

_logger = get_logger("pybroker.log")


def find_aborted(disk: Disk, directory: str, base_offset: int, below: int) -> list[AbortedTransaction]:
    """Aborted transactions whose marker lies in the segment of `base_offset`, at an offset less than `below`.

    Raises OSError.
    """
    parsed = [found for name in disk.list(directory) if (found := parse_segment_file(name))]
    snapshots = [offset for offset, suffix in parsed if suffix == SNAPSHOT_SUFFIX and offset <= base_offset]
    bases = sorted(offset for offset, suffix in parsed if suffix == LOG_SUFFIX and offset <= base_offset)
    state, at = _state_before(disk, directory, snapshots)
    aborted = []
    for base in bases[max(bisect_right(bases, at) - 1, 0) :]:
        file = disk.open(f"{directory}/{segment_file(base, LOG_SUFFIX)}")
        try:
            for position, header, _ in scan_batches(file, 0, file.size(), whole=False):
                if header.base_offset >= below:
                    break
                if header.base_offset < at:
                    continue  # the snapshot has it, or compaction is about to take the file away that repeats it
                at = header.next_offset
                entry = _apply(state, file, position, header)
                if entry is not None and base == base_offset:
                    aborted.append(entry)
        finally:
            file.close()
    return aborted


def _state_before(disk: Disk, directory: str, snapshots: Iterable[int]) -> tuple[ProducerState, int]:
    """Producers as of the newest snapshot that can be read, and its offset; (none, 0) without any."""
    state = ProducerState()
    for offset in sorted(snapshots, reverse=True):
        try:
            data = disk.read_bytes(f"{directory}/{segment_file(offset, SNAPSHOT_SUFFIX)}")
            state.load(parse_snapshot(data, 0, 0))
        except (FileNotFoundError, SnapshotCorrupt):
            continue
        return state, offset
    return state, 0


def _apply(state: ProducerState, file: File, position: int, header: BatchHeader) -> AbortedTransaction | None:
    if header.producer_id < 0:
        return None
    batch = read_batch(file, position, header) if header.attributes & CONTROL else memoryview(b"")
    try:
        completed = apply_batch(state, batch, header, header.base_offset)
    except ProtocolError as error:
        _logger.error("control_batch_unreadable", file=file.path, at=position, reason=str(error))
        return None
    if completed is None or not completed.aborted:
        return None
    return AbortedTransaction(
        completed.producer_id, completed.first_offset, completed.last_offset, completed.last_stable_offset
    )
