"""Batches of a segment's file, one after the other: for recovery, look-ups and rebuilding.

Rules of this file: reads only, large pieces at a time; never on the path of a usual fetch or produce. Nothing in a
file is believed: a header that cannot be one ends the scan, and the caller decides what that means.
"""

from __future__ import annotations

from collections.abc import Iterator

from pybroker_protocol.records.batch import (
    BATCH_OVERHEAD,
    LOG_OVERHEAD,
    MAGIC,
    BatchHeader,
    parse_batch_header,
)
from pybroker_protocol.records.control import (
    ControlType,
    EndTransactionMarker,
    control_type,
    read_control_batch,
    read_marker,
)
from pybroker_server.runtime.ports import File

SCAN_BYTES = 1024 * 1024
LOOKUP_BYTES = 16 * 1024


class ColdRead(Exception):
    """The bytes are not in memory and the caller did not want to wait: it asks again from `Blocking`."""


def scan_batches(
    file: File, start: int, end: int, *, chunk_bytes: int = SCAN_BYTES, whole: bool = True, nowait: bool = False
) -> Iterator[tuple[int, BatchHeader, memoryview]]:
    """(position, header, bytes) of each batch from `start` on that lies in the file up to `end`.

    Ends before the first header that cannot be one (wrong magic, impossible length) or whose batch would pass
    `end`. With `whole=False` the view may hold no more than the header, and batches are skipped over instead of
    read. The view is good until the next one is asked for. Raises ColdRead (only with `nowait`) and OSError.
    """
    buffer = bytearray(max(min(chunk_bytes, end - start), BATCH_OVERHEAD))
    position = start
    while end - position >= BATCH_OVERHEAD:
        view = memoryview(buffer)
        got = file.read_into(position, view[: min(len(buffer), end - position)], nowait=nowait)
        if got < 0:
            raise ColdRead
        at = 0
        while got - at >= BATCH_OVERHEAD:
            header = parse_batch_header(view, at)
            size = header.batch_length + LOG_OVERHEAD
            if header.magic != MAGIC or size < BATCH_OVERHEAD or position + at + size > end:
                return
            if at + size > got and whole:
                break
            yield position + at, header, view[at : at + size]
            at += size
        position += at
        if at == 0:
            if got < BATCH_OVERHEAD or len(buffer) >= size:
                return  # the file is shorter than it was said to be
            # One batch is larger than the buffer. The old one may still be seen by the caller: a new one.
            buffer = bytearray(size)


def read_batch(file: File, position: int, header: BatchHeader) -> memoryview:
    """The whole batch whose header lies at `position`. Waits for the device if it must."""
    view = memoryview(bytearray(header.size_bytes))
    got = file.read_into(position, view)
    return view[:got]


def read_end_marker(batch: memoryview) -> EndTransactionMarker | None:
    """The marker in a control batch; None for another kind, or one that compaction emptied (KIP-98, KIP-534).

    Raises ProtocolError for a control batch that is none.
    """
    if parse_batch_header(batch).record_count == 0:
        return None
    record = read_control_batch(batch)
    if control_type(record) not in (ControlType.ABORT, ControlType.COMMIT):
        return None
    return read_marker(record)
