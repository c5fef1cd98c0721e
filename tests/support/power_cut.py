"""Power loss for a real broker process: every write since the last fsync is undone after kill -9.

`PowerCutDisk` wraps the broker's real disk and writes an undo journal beside it: before each change of a file or a
directory, what would be needed to take the change back; after each completed sync, what no longer has to be. The
journal itself lives in the page cache, which survives kill -9, so `cut_power` can be called on what the killed process
left behind. It models the worst case by default (nothing unsynced reached the device); with a seed, each file keeps a
random prefix of its unsynced bytes, cut at a random byte, and may keep unsynced directory changes: a torn write.

`write_atomic` syncs the file and its directory itself and is therefore durable when it returns. SQLite runs with
`synchronous=FULL` and does its own I/O: it is outside this model.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgpack

from pybroker_server.runtime.ports import Buffer, Disk, File


class Journal:
    """An append-only list of undo records. One `os.write` each, so that a kill cannot tear the order."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, *record: Any) -> None:
        os.write(self._fd, msgpack.packb(record))


class PowerCutFile:
    """A file whose appends and truncations can be taken back until the next sync."""

    def __init__(self, inner: File, journal: Journal) -> None:
        self._inner = inner
        self._journal = journal
        self._closed_sizes: int = inner.size()

    @property
    def path(self) -> str:
        return self._inner.path

    def size(self) -> int:
        return self._inner.size()

    def append(self, buffers: Sequence[Buffer]) -> int:
        self._journal.note("append", self.path, self._inner.size())
        return self._inner.append(buffers)

    def read_into(self, position: int, target: memoryview, *, nowait: bool = False) -> int:
        return self._inner.read_into(position, target, nowait=nowait)

    def truncate(self, size: int) -> None:
        lost = bytearray(max(0, self._inner.size() - size))
        if lost:
            self._inner.read_into(size, memoryview(lost))
        self._journal.note("truncate", self.path, size, bytes(lost))
        self._inner.truncate(size)

    def sync(self) -> None:
        # What was appended before the call is durable after it; what comes meanwhile may not be.
        size = self._inner.size()
        self._inner.sync()
        self._journal.note("synced", self.path, size)

    def close(self) -> None:
        self._inner.close()


class PowerCutDisk:
    """The broker's disk with an undo journal. Pass it to the server in place of the real one."""

    def __init__(self, inner: Disk, journal_path: str) -> None:
        self._inner = inner
        self._journal = Journal(journal_path)

    def __getattr__(self, name: str) -> Any:
        # Reads and questions go straight through; every method that changes something is below.
        if name not in {
            "exists",
            "list",
            "is_dir",
            "read_bytes",
            "file_size",
            "modified_ms",
            "lock",
            "free_bytes",
            "total_bytes",
        }:
            raise AttributeError(f"{name} changes the disk but its undo is not modelled")
        return getattr(self._inner, name)

    def open(self, path: str, *, create: bool = False) -> PowerCutFile:
        if create and not self._inner.exists(path):
            self._journal.note("create", path)
        return PowerCutFile(self._inner.open(path, create=create), self._journal)

    def make_dirs(self, path: str) -> bool:
        missing = path
        while missing and not self._inner.exists(missing):
            self._journal.note("mkdir", missing)
            missing = os.path.dirname(missing)
        return self._inner.make_dirs(path)

    def rename(self, source: str, target: str) -> None:
        replaced = None
        if self._inner.exists(target) and not self._inner.is_dir(target):
            replaced = self._inner.read_bytes(target)
        self._journal.note("rename", source, target, replaced)
        self._inner.rename(source, target)

    def remove(self, path: str) -> None:
        self._journal.note("remove", path, self._inner.read_bytes(path))
        self._inner.remove(path)

    def remove_tree(self, path: str) -> None:
        # Only ever called on what was renamed away and synced before: nothing to bring back.
        self._inner.remove_tree(path)

    def sync_dir(self, path: str) -> None:
        self._inner.sync_dir(path)
        self._journal.note("synced_dir", path)

    def write_atomic(self, path: str, data: bytes) -> None:
        self._inner.write_atomic(path, data)
        self._journal.note("written", path)


@dataclass
class _FileState:
    """What of one file is durable: `durable_size` bytes, of which a truncation may have removed some."""

    durable_size: int = 0
    restore: list[tuple[int, bytes]] = field(default_factory=list)
    dirty: bool = False


def _records(journal_path: str) -> Iterator[list[Any]]:
    with open(journal_path, "rb") as stream:
        yield from msgpack.Unpacker(stream, raw=False, max_buffer_size=0)


def cut_power(journal_path: str, seed: int | None = None) -> int:
    """Undoes everything that was not synced; returns how many files or names changed.

    The journal is emptied: what is on disk now is what the next start finds.
    """
    chance = random.Random(seed)
    records = list(_records(journal_path))
    files, names = _replay(records)
    changed = 0
    for name_change in reversed(names):
        changed += _undo_name(name_change, keep=seed is not None and chance.random() < 0.5)
    for path, state in files.items():
        if state.dirty and os.path.isfile(path):
            changed += _undo_file(path, state, None if seed is None else chance)
    os.truncate(journal_path, 0)
    return changed


def _replay(records: list[list[Any]]) -> tuple[dict[str, _FileState], list[list[Any]]]:
    """The state of each file, and the directory changes that no sync has covered, in order."""
    files: dict[str, _FileState] = {}
    names: list[list[Any]] = []
    for kind, path, *rest in records:
        if kind == "append":
            state = files.setdefault(path, _FileState(durable_size=rest[0]))
            state.dirty = True
        elif kind == "truncate":
            state = files.setdefault(path, _FileState(durable_size=rest[0] + len(rest[1])))
            state.dirty = True
            if rest[0] < state.durable_size:
                state.restore.append((rest[0], rest[1][: state.durable_size - rest[0]]))
        elif kind == "synced":
            files[path] = _FileState(durable_size=rest[0], dirty=True)
        elif kind == "written":
            files.pop(path, None)
        elif kind == "synced_dir":
            names = [n for n in names if os.path.dirname(n[1]) != path and os.path.dirname(n[-2]) != path]
        elif kind == "rename":
            if path in files:
                files[rest[0]] = files.pop(path)
            names.append([kind, path, rest[0], rest[1]])
        elif kind == "create":
            files[path] = _FileState()
            names.append([kind, path, path, None])
        else:
            names.append([kind, path, path, rest[0] if rest else None])
    return files, names


def _undo_name(change: list[Any], *, keep: bool) -> int:
    kind, source, target, content = change
    if keep:
        return 0
    if kind == "rename" and os.path.exists(target):
        os.rename(target, source)
        if content is not None:
            _write(target, content)
    elif kind == "remove" and not os.path.exists(source):
        if not os.path.isdir(os.path.dirname(source)):
            return 0
        _write(source, content)
    elif kind == "create" and os.path.isfile(source):
        os.remove(source)
    elif kind == "mkdir" and os.path.isdir(source):
        shutil.rmtree(source)
    else:
        return 0
    return 1


def _undo_file(path: str, state: _FileState, chance: random.Random | None) -> int:
    size = os.path.getsize(path)
    keep = min(state.durable_size, size)
    if chance is not None and size > state.durable_size:
        keep = chance.randint(state.durable_size, size)
    if keep == size and not state.restore:
        return 0
    os.truncate(path, keep)
    for position, content in reversed(state.restore):
        with open(path, "r+b") as stream:
            stream.seek(position)
            stream.write(content)
    return 1


def _write(path: str, content: bytes) -> None:
    with open(path, "wb") as stream:
        stream.write(content)
