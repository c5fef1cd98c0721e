"""A disk that dies with its process after a number of changes: whatever is tried later fails and changes nothing.

Or, with an error of its own, one that refuses a single change.

It stands between the code under test and a real disk (or one that undoes what was not synced, `power_cut.py`), so that
a test can end a process between any two changes of the file system and look at what the next one makes of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_CHANGES = frozenset({"make_dirs", "rename", "remove", "remove_tree", "sync_dir", "write_atomic"})
_FILE_CHANGES = frozenset({"append", "truncate", "sync"})


class Died(Exception):
    """The process ended here."""


class DyingDisk:
    """`ports.Disk`. Lives for ever until `left` is set to how many changes are still made.

    `fails_once(name of the change, its arguments)`: the first change for which it says so raises `error`.
    """

    def __init__(self, inner: Any, error: OSError | None = None) -> None:
        self._inner = inner
        self._error = error
        self.left: int | None = None
        self.fails_once: Callable[[str, tuple[Any, ...]], bool] | None = None

    def step(self, name: str = "", arguments: tuple[Any, ...] = ()) -> None:
        if self._error is not None and self.fails_once is not None and self.fails_once(name, arguments):
            self.fails_once = None
            raise self._error
        if self.left is not None:
            if self.left == 0:
                raise Died
            self.left -= 1

    def open(self, path: str, *, create: bool = False) -> DyingFile:
        if create and not self._inner.exists(path):
            self.step()
        return DyingFile(self._inner.open(path, create=create), self)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return _counted(found, self) if name in _CHANGES else found


class DyingFile:
    def __init__(self, inner: Any, disk: DyingDisk) -> None:
        self._inner = inner
        self._disk = disk

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return _counted(found, self._disk) if name in _FILE_CHANGES else found


def _counted(change: Any, disk: DyingDisk) -> Any:
    def counted(*args: Any, **kwargs: Any) -> Any:
        disk.step(change.__name__, args)
        return change(*args, **kwargs)

    return counted
