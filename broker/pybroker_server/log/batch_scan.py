"""Batches of a segment's file, one after the other: for recovery, look-ups and rebuilding.

Rules of this file: reads only, large pieces at a time; never on the path of a usual fetch or produce. Nothing in a
file is believed: a header that cannot be one ends the scan, and the caller decides what that means.
"""

from __future__ import annotations

from collections.abc import Iterator

from pybroker_protocol.errors import ProtocolError
from pybroker_protocol.records.batch import (
    BATCH_OVERHEAD,
    CONTROL,
    LOG_OVERHEAD,
    MAGIC,
    BatchHeader,
    parse_batch_header,
)
from pybroker_protocol.records.record import iter_records
from pybroker_server.runtime.ports import File

SCAN_BYTES = 1024 * 1024
LOOKUP_BYTES = 16 * 1024
_CONTROL_BYTES_MAX = 64 * 1024
_MARKER_KEY_BYTES = 4
_MARKER_VALUE_BYTES_MIN = 6
_ABORT = 0
_COMMIT = 1


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
    buffer = bytearray(min(chunk_bytes, max(end - start, BATCH_OVERHEAD)))
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
            if got < BATCH_OVERHEAD:
                return  # the file is shorter than it was said to be
            # One batch is larger than the buffer. The old one may still be seen by the caller: a new one.
            buffer = bytearray(size)


def read_batch(file: File, position: int, header: BatchHeader) -> memoryview:
    """The whole batch whose header lies at `position`. Waits for the device if it must."""
    view = memoryview(bytearray(header.size_bytes))
    got = file.read_into(position, view)
    return view[:got]


class EndMarker:
    """What a transaction marker says (KIP-98)."""

    __slots__ = ("aborted", "coordinator_epoch", "timestamp")

    def __init__(self, aborted: bool, coordinator_epoch: int, timestamp: int) -> None:
        self.aborted = aborted
        self.coordinator_epoch = coordinator_epoch
        self.timestamp = timestamp


def parse_end_marker(batch: memoryview, header: BatchHeader) -> EndMarker | None:
    """The marker in a control batch; None for another kind of control batch or an emptied one.

    Key: int16 version, int16 type (0 abort, 1 commit). Value: int16 version, int32 coordinator epoch, and from
    version 1 on more that is not needed here. Raises ProtocolError.
    """
    assert header.attributes & CONTROL
    for record in iter_records(batch, max_bytes=_CONTROL_BYTES_MAX):
        key, value = record.key, record.value
        if key is None or len(key) < _MARKER_KEY_BYTES:
            raise ProtocolError("a control record without a type")
        kind = int.from_bytes(key[2:4], "big")
        if kind not in (_ABORT, _COMMIT):
            return None
        if value is None or len(value) < _MARKER_VALUE_BYTES_MIN:
            raise ProtocolError("a transaction marker without a coordinator epoch")
        epoch = int.from_bytes(value[2:6], "big", signed=True)
        return EndMarker(kind == _ABORT, epoch, record.timestamp)
    return None
