"""A buffer pool that several threads may use: cold reads fill their buffers in the threads of `Blocking`.

Rules of this file: `BufferPool`'s, under a lock. An uncontended lock costs a tenth of a microsecond, so the
log needs one kind of pool only, whichever thread reads.
"""

from __future__ import annotations

import mmap
import threading

from pybroker_server.runtime.buffers import BufferPool


class SharedBufferPool:
    """Lends one writable buffer at a time to each caller: fill it, and keep views of it as long as needed."""

    __slots__ = ("_lock", "_pool")

    def __init__(self, pool: BufferPool | None = None) -> None:
        self._pool = pool or BufferPool()
        self._lock = threading.Lock()

    def acquire(self, size_bytes: int) -> mmap.mmap:
        """A buffer of at least `size_bytes`, owned by the caller until it gives it to `release`."""
        with self._lock:
            return self._pool.acquire(size_bytes)

    def release(self, buffer: mmap.mmap) -> None:
        """The caller writes no more; views of the buffer live on, and it is not lent again before they
        end."""
        with self._lock:
            self._pool.release(buffer)
