"""Takes away the files of segments and partitions that are no longer part of any log.

Rules of this file: event loop only; everything slow runs in `Blocking`. Files are renamed at once, so that a crash
finds them marked, and removed after `file.delete.delay.ms`, when no reader is in them any more. What fails is logged
and left: the next start removes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from pybroker_server.log.files import DELETED_SUFFIX, SEGMENT_SUFFIXES, SNAPSHOT_SUFFIX
from pybroker_server.log.segment import Segment
from pybroker_server.runtime.ports import Blocking, Disk, Timers
from pybroker_server.telemetry.events import get_logger

_logger = get_logger("pybroker.log")


class Removal:
    def __init__(self, disk: Disk, blocking: Blocking, timers: Timers) -> None:
        self._disk = disk
        self._blocking = blocking
        self._timers = timers
        self._is_closed = False

    def remove_segments(self, segments: Sequence[Segment], delay_ms: int) -> None:
        """Segments that a log has dropped."""
        for segment in segments:
            segment.deleted = True
            segment.close()
        paths = [segment.path(suffix) for segment in segments for suffix in (*SEGMENT_SUFFIXES, SNAPSHOT_SUFFIX)]

        def mark() -> list[str]:
            return [path + DELETED_SUFFIX for path in paths if self._rename(path, path + DELETED_SUFFIX)]

        def marked(found: list[str] | None, error: BaseException | None) -> None:
            if error is not None:
                _logger.warning("segment_not_removed", file=paths[0], error=str(error))
            elif found:
                self._later(delay_ms, partial(self._remove_files, found))

        self._blocking.submit(mark, marked)

    def remove_marked(self, paths: Sequence[str], delay_ms: int) -> None:
        """Files that have their `.deleted` name already."""
        self._later(delay_ms, partial(self._remove_files, list(paths)))

    def remove_directory(self, path: str, delay_ms: int) -> None:
        """A partition's directory that has its `-delete` name already."""
        self._later(delay_ms, partial(self._disk.remove_tree, path))

    def close(self) -> None:
        """What is not removed yet waits for the next start."""
        self._is_closed = True

    def _rename(self, source: str, target: str) -> bool:
        try:
            self._disk.rename(source, target)
        except FileNotFoundError:
            return False
        return True

    def _remove_files(self, paths: list[str]) -> None:
        for path in paths:
            try:
                self._disk.remove(path)
            except FileNotFoundError:
                continue

    def _later(self, delay_ms: int, work: Callable[[], None]) -> None:
        def done(_: None, error: BaseException | None) -> None:
            if isinstance(error, OSError):
                _logger.warning("files_not_removed", error=str(error))
            elif error is not None:
                raise error

        def start() -> None:
            if not self._is_closed:
                self._blocking.submit(work, done)

        self._timers.call_after_ms(delay_ms, start)
