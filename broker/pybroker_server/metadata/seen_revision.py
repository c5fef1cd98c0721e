"""The newest revision of the metadata store that this broker saw, kept in its data directory.

Rules of this file: a store that is older at the next start was restored from a copy, and is refused (reliability.md
R12). The file may lag behind by seconds: it is a net, not a promise.
"""

from __future__ import annotations

from functools import partial

from pybroker_server.metadata.image import MetadataImage
from pybroker_server.runtime.ports import Disk
from pybroker_server.runtime.runtime import Runtime
from pybroker_server.telemetry.events import get_logger

FILE_NAME = "metadata-revision"
_DELAY_MS = 5_000
_DIGITS_MAX = 19
"""Of an int64. Python refuses to read numbers without end, and a damaged file may hold one."""
_logger = get_logger("pybroker.metadata")


def read_seen_revision(disk: Disk, directory: str) -> int:
    """0 when there is none, or none that can be read."""
    try:
        text = disk.read_bytes(f"{directory}/{FILE_NAME}").decode("ascii", "replace").strip()
    except FileNotFoundError:
        return 0
    return int(text) if text.isdecimal() and len(text) <= _DIGITS_MAX else 0


class SeenRevision:
    """Subscribed to the publisher; writes some seconds after a change, once for many."""

    def __init__(self, runtime: Runtime, directory: str) -> None:
        self._runtime = runtime
        self._path = f"{directory}/{FILE_NAME}"
        self._revision = 0
        self._is_scheduled = False
        self._is_closed = False

    def on_image(self, old: MetadataImage, new: MetadataImage) -> None:
        self._revision = new.revision
        self._schedule()

    def write(self) -> None:
        """Blocks. Raises OSError."""
        self._runtime.disk.write_atomic(self._path, f"{self._revision}\n".encode())

    def close(self) -> None:
        """No write begins after this; the caller makes the last one."""
        self._is_closed = True

    def _schedule(self) -> None:
        if not self._is_scheduled and not self._is_closed:
            self._is_scheduled = True
            self._runtime.timers.call_after_ms(_DELAY_MS, self._write_later)

    def _write_later(self) -> None:
        if not self._is_closed:
            self._runtime.blocking.submit(self.write, partial(self._written, self._revision))

    def _written(self, revision: int, _: None, error: BaseException | None) -> None:
        # Only now: two writes at the same time would share the temporary file.
        self._is_scheduled = False
        if self._revision != revision:
            self._schedule()
        if isinstance(error, OSError):
            _logger.warning("checkpoint_not_written", file=self._path, error=str(error))
        elif error is not None:
            raise error
