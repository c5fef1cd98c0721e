"""Cuts what a peer sends into frames.

Rules of this file: bytes only. Small frames are gathered in a buffer of the connection and copied out; a large one is
received straight into a buffer of the pool. Whoever keeps a part of a frame keeps its buffer from being used again
(`runtime/buffers.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING, Final

from pybroker_protocol.errors import ProtocolError
from pybroker_server.runtime.buffers import BufferPool

if TYPE_CHECKING:
    import mmap

_SIZE: Final = Struct(">i")
_SIZE_BYTES: Final = 4
_SCRATCH_BYTES: Final = 32 * 1024


class FrameReceiver:
    """`on_frame(frame)` is called for each whole frame, without its size; ProtocolError ends the stream."""

    __slots__ = ("_buffer", "_frame", "_limit_bytes", "_on_frame", "_pool", "_received", "_scratch")

    def __init__(self, pool: BufferPool, limit_bytes: int, on_frame: Callable[[memoryview], None]) -> None:
        self._pool = pool
        self._limit_bytes = limit_bytes
        self._on_frame = on_frame
        self._scratch = memoryview(bytearray(_SCRATCH_BYTES))
        self._received = 0
        """In the frame of its own if there is one, else in the scratch buffer."""
        self._frame: memoryview | None = None
        self._buffer: mmap.mmap | None = None

    def get_buffer(self) -> memoryview:
        return (self._scratch if self._frame is None else self._frame)[self._received :]

    def buffer_updated(self, count: int) -> None:
        """Raises ProtocolError for a frame of an impossible size, and what `on_frame` raises."""
        self._received += count
        if self._frame is None:
            self._cut()
        elif self._received == len(self._frame):
            frame, buffer = self._frame, self._buffer
            assert buffer is not None
            self._frame = self._buffer = None
            self._received = 0
            self._on_frame(frame)
            self._pool.release(buffer)

    def _cut(self) -> None:
        scratch, end, start = self._scratch, self._received, 0
        while end - start >= _SIZE_BYTES:
            size: int = _SIZE.unpack_from(scratch, start)[0]
            if not 0 <= size <= self._limit_bytes:
                raise ProtocolError(f"a frame of {size} bytes; at most {self._limit_bytes} are allowed")
            body = start + _SIZE_BYTES
            if body + size > end:
                if _SIZE_BYTES + size > _SCRATCH_BYTES:
                    self._begin_own(size, scratch[body:end])
                    return
                break
            start = body + size
            self._on_frame(memoryview(bytes(scratch[body:start])))
        self._received = end - start
        if start and self._received:
            scratch[: self._received] = bytes(scratch[start:end])

    def _begin_own(self, size: int, head: memoryview) -> None:
        self._buffer = self._pool.acquire(size)
        self._frame = memoryview(self._buffer)[:size]
        self._frame[: len(head)] = head
        self._received = len(head)
