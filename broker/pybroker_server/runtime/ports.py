"""The runtime port: every way in which the broker touches the outside world.

Rules of this file: interfaces only, no implementation, no import of ours. Production binds them to the
operating system (`clock.py`, `disk_os.py`, `blocking_threads.py`, ...); the simulator and the tests bind
them to seeded fakes. Nothing else in `pybroker_server` may import `time`, `random`, `uuid`, `os` file calls
or `threading`.

Synchronous `File` calls go to the page cache and may be made on the event loop (`append`, `read_into` with
`nowait=True`); everything that may wait for a device (`sync`, cold reads, directory changes of any size) goes
through `Blocking.run`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar
from uuid import UUID

Buffer = bytes | bytearray | memoryview
T = TypeVar("T")


class Clock(Protocol):
    """Time as the broker sees it. Pure logic never holds a clock: it is handed `now_ms`."""

    def monotonic_ms(self) -> int:
        """Milliseconds that never go back; for timeouts, leases and intervals."""

    def monotonic_us(self) -> int:
        """Microseconds that never go back; for latency histograms."""

    def wall_ms(self) -> int:
        """Milliseconds since the Unix epoch; for record timestamps and retention, never for safety."""


class Entropy(Protocol):
    """All randomness."""

    def uuid(self) -> UUID: ...

    def token_bytes(self, count: int) -> bytes:
        """`count` bytes fit for secrets."""

    def jitter_ms(self, low_ms: int, high_ms: int) -> int:
        """A whole number of milliseconds, `low_ms` and `high_ms` included."""

    def choice_index(self, count: int) -> int:
        """An index in `range(count)`."""


class File(Protocol):
    """One open file. `append` and `read_into` never move a shared position, so readers need no lock."""

    @property
    def path(self) -> str: ...

    def size(self) -> int:
        """Bytes, kept by the object: costs no system call."""

    def append(self, buffers: Sequence[Buffer]) -> int:
        """Writes all buffers at the end into the page cache; returns the position of the first byte.

        Raises OSError; after one, the file's end is where it was before the call (a partial write is cut
        off).
        """

    def read_into(self, position: int, target: memoryview, *, nowait: bool = False) -> int:
        """Reads up to `len(target)` bytes; returns how many, 0 at the end of the file.

        With `nowait`, returns -1 instead of waiting for a device (RWF_NOWAIT): the caller then asks again
        from `Blocking.run`. A platform without that flag answers -1 unless it knows the bytes are cached.
        """

    def truncate(self, size: int) -> None: ...

    def sync(self) -> None:
        """fdatasync: blocks; call it through `Blocking.run` or the flusher. Never retried after a failure."""

    def close(self) -> None: ...


class Disk(Protocol):
    """The file system below the log directories. Paths are strings, joined with `/`."""

    def open(self, path: str, *, create: bool = False) -> File: ...

    def exists(self, path: str) -> bool: ...

    def list(self, path: str) -> list[str]:
        """Names in a directory, sorted."""

    def is_dir(self, path: str) -> bool: ...

    def make_dirs(self, path: str) -> bool:
        """Whether it was not there before."""

    def rename(self, source: str, target: str) -> None:
        """Atomic replacement; durable only after `sync_dir` of the parent."""

    def remove(self, path: str) -> None: ...

    def remove_tree(self, path: str) -> None: ...

    def sync_dir(self, path: str) -> None: ...

    def read_bytes(self, path: str) -> bytes: ...

    def write_atomic(self, path: str, data: bytes) -> None:
        """Temporary file, write, sync, rename, sync of the directory: readers see the old bytes or the
        new."""

    def file_size(self, path: str) -> int: ...

    def modified_ms(self, path: str) -> int: ...

    def lock(self, path: str) -> None:
        """Takes an exclusive lock for the life of the process; raises BlockingIOError when another holds
        it."""

    def free_bytes(self, path: str) -> int:
        """Bytes that this process may still write on the volume of `path`."""

    def total_bytes(self, path: str) -> int:
        """Size of the volume of `path`."""


class Blocking(Protocol):
    """Work that may wait for a device, run off the event loop in a bounded pool."""

    def run(self, work: Callable[[], T]) -> Awaitable[T]: ...

    def submit(self, work: Callable[[], T], done: Callable[[T | None, BaseException | None], None]) -> None:
        """Runs `work` in the pool and calls `done(result, error)` on the event loop: no future, no task."""

    @property
    def in_flight(self) -> int:
        """Pieces of work that are not finished; for metrics."""


class TimerHandle(Protocol):
    def cancel(self) -> None: ...


class Timers(Protocol):
    """Deadlines on the event loop, in terms of `Clock.monotonic_ms`."""

    def call_after_ms(self, delay_ms: int, callback: Callable[[], None]) -> TimerHandle: ...

    def call_soon(self, callback: Callable[[], None]) -> None: ...


class Cancellable(Protocol):
    def cancel(self) -> object: ...


class Stream(Protocol):
    """The sending half of a connection that this process opened."""

    def write(self, buffers: Sequence[Buffer]) -> None:
        """Sends these, after what was written before; never waits. Nothing happens once the stream is closed."""

    def abort(self) -> None:
        """Ends the connection at once; `closed` follows."""


class StreamReceiver(Protocol):
    """What a connection tells its owner. `opened` at most once; `closed` once, unless the attempt was cancelled."""

    def opened(self, stream: Stream) -> None: ...

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes are to go; not empty."""

    def buffer_updated(self, count: int) -> None:
        """`count` bytes stand in the buffer that was given last."""

    def closed(self, error: OSError | None) -> None:
        """The connection is gone, or could not be made: ConnectionRefusedError, TimeoutError, ... None: the peer
        ended it, or `abort` did."""


class Network(Protocol):
    """Connections to elsewhere. Listeners are the network room's own."""

    def connect(self, host: str, port: int, timeout_ms: int, receiver: StreamReceiver) -> Cancellable:
        """Begins to connect; the receiver is not called before this returns. Cancelling ends the attempt without a
        further call, and does nothing once it is over."""
