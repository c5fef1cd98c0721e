"""The file system of the machine, behind `ports.Disk` and `ports.File`.

Rules of this file: the only place of the broker that makes file calls. Positional calls only (`pread`,
`pwrite`): no file has a shared position, so readers need no lock. A descriptor closes when its last user is
done with it, not when `close` is called: a cold read under way in a thread can never find its number reused
by another file. A failed sync is raised and never tried again (the kernel may have dropped the pages; a
second sync would lie).
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Sequence
from contextlib import suppress

from pybroker_server.runtime.ports import Buffer

_IOV_MAX = 1024
_RWF_NOWAIT: int = getattr(os, "RWF_NOWAIT", 0)
_CACHED_TAIL_BYTES = 8 * 1024 * 1024
"""Where the kernel cannot be asked whether bytes are cached: what this process appended last surely is."""

_WOULD_BLOCK = (errno.EAGAIN, errno.EWOULDBLOCK)
_NO_SUCH_FLAG = (errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL, errno.ENOSYS)

_sync_data = getattr(os, "fdatasync", os.fsync)


class _Descriptor:
    """A file descriptor that closes with its last reference."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        with suppress(OSError):
            os.close(self.number)


class OsFile:
    """`ports.File` over one descriptor. One thread appends; any thread may read and sync."""

    __slots__ = ("_appended_from", "_descriptor", "_knows_nowait", "_path", "_size")

    def __init__(self, path: str, number: int) -> None:
        self._descriptor: _Descriptor | None = _Descriptor(number)
        self._path = path
        self._size = os.fstat(number).st_size
        self._appended_from = self._size
        self._knows_nowait = _RWF_NOWAIT != 0

    @property
    def path(self) -> str:
        return self._path

    def size(self) -> int:
        return self._size

    def append(self, buffers: Sequence[Buffer]) -> int:
        descriptor = self._open_descriptor()
        position = self._size
        try:
            if len(buffers) == 1:
                wanted = len(buffers[0])
                written = os.pwrite(descriptor.number, buffers[0], position)
            else:
                wanted = sum(map(len, buffers))
                written = os.pwritev(descriptor.number, buffers[:_IOV_MAX], position)
            if written != wanted:
                _write_rest(descriptor.number, buffers, position, written)
        except OSError:
            # What was written lies behind the end that we keep: the next append goes over it.
            with suppress(OSError):
                os.ftruncate(descriptor.number, position)
            raise
        self._size = position + wanted
        return position

    def read_into(self, position: int, target: memoryview, *, nowait: bool = False) -> int:
        descriptor = self._open_descriptor()
        if not nowait:
            return _read_fully(descriptor.number, position, target)
        if not self._knows_nowait:
            return self._read_if_appended_lately(descriptor, position, target)
        try:
            count = os.preadv(descriptor.number, (target,), position, _RWF_NOWAIT)
        except OSError as error:
            if error.errno in _WOULD_BLOCK:
                return -1
            if error.errno in _NO_SUCH_FLAG:
                self._knows_nowait = False
                return self._read_if_appended_lately(descriptor, position, target)
            raise
        # Fewer bytes than asked, and not because the file ends: the rest is not in the page cache.
        if count < len(target) and position + count < self._size:
            return -1
        return count

    def truncate(self, size: int) -> None:
        os.ftruncate(self._open_descriptor().number, size)
        self._size = size
        self._appended_from = min(self._appended_from, size)

    def sync(self) -> None:
        _sync_data(self._open_descriptor().number)

    def close(self) -> None:
        self._descriptor = None

    def _open_descriptor(self) -> _Descriptor:
        descriptor = self._descriptor
        if descriptor is None:
            raise ValueError(f"{self._path} is closed")
        return descriptor

    def _read_if_appended_lately(self, descriptor: _Descriptor, position: int, target: memoryview) -> int:
        if position < max(self._appended_from, self._size - _CACHED_TAIL_BYTES):
            return -1
        return _read_fully(descriptor.number, position, target)


def _write_rest(number: int, buffers: Sequence[Buffer], start: int, written: int) -> None:
    """Writes what a short write (a full disk, a signal, too many buffers for one call) left over."""
    position = start
    for buffer in buffers:
        end = position + len(buffer)
        done = start + written
        while done < end:
            rest = memoryview(buffer)[max(done - position, 0) :]
            count = os.pwrite(number, rest, done)
            if count == 0:
                raise OSError(errno.EIO, "the device takes no more bytes")
            written += count
            done += count
        position = end


def _read_fully(number: int, position: int, target: memoryview) -> int:
    count = os.preadv(number, (target,), position)
    while 0 < count < len(target):
        more = os.preadv(number, (target[count:],), position + count)
        if more == 0:
            break
        count += more
    return count


class OsDisk:
    """`ports.Disk` over the operating system."""

    __slots__ = ("_locks",)

    def __init__(self) -> None:
        self._locks: dict[str, _Descriptor] = {}
        """Held for the life of this object: a lock goes with its descriptor."""

    def open(self, path: str, *, create: bool = False) -> OsFile:
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        return OsFile(path, os.open(path, flags, 0o644))

    def exists(self, path: str) -> bool:
        return os.path.exists(path)

    def list(self, path: str) -> list[str]:
        return sorted(os.listdir(path))

    def is_dir(self, path: str) -> bool:
        return os.path.isdir(path)

    def make_dirs(self, path: str) -> bool:
        try:
            os.mkdir(path)
        except FileNotFoundError:
            os.makedirs(path, exist_ok=True)
        except FileExistsError:
            if not os.path.isdir(path):
                raise
            return False
        return True

    def rename(self, source: str, target: str) -> None:
        os.replace(source, target)

    def remove(self, path: str) -> None:
        os.unlink(path)

    def remove_tree(self, path: str) -> None:
        import shutil  # for deletions of whole directories only: not worth the time of a start

        shutil.rmtree(path)

    def sync_dir(self, path: str) -> None:
        number = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(number)
        finally:
            os.close(number)

    def read_bytes(self, path: str) -> bytes:
        with open(path, "rb") as file:
            return file.read()

    def write_atomic(self, path: str, data: bytes) -> None:
        temporary = f"{path}.tmp"
        number = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            done = 0
            while done < len(data):
                done += os.write(number, data[done:])
            os.fsync(number)
        finally:
            os.close(number)
        os.replace(temporary, path)
        self.sync_dir(os.path.dirname(path) or ".")

    def file_size(self, path: str) -> int:
        return os.stat(path).st_size

    def modified_ms(self, path: str) -> int:
        return os.stat(path).st_mtime_ns // 1_000_000

    def lock(self, path: str) -> None:
        key = os.path.realpath(path)
        if key in self._locks:
            raise BlockingIOError(errno.EWOULDBLOCK, "already locked by this process", path)
        descriptor = _Descriptor(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644))
        fcntl.flock(descriptor.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._locks[key] = descriptor

    def free_bytes(self, path: str) -> int:
        state = os.statvfs(path)
        return state.f_bavail * state.f_frsize

    def total_bytes(self, path: str) -> int:
        state = os.statvfs(path)
        return state.f_blocks * state.f_frsize
