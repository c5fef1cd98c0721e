"""An advisory claim on a file of this host: one holder, or several that agreed to share (flock).

Kept by the open file, so it ends with the process however that ends. Both ways exclude each other.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable


class HostClaim:
    """Made by `take`; `release` gives it back."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, path: str, *, shared: bool, initialise: Callable[[], None]) -> HostClaim:
        """Claims `path` (created if missing) and runs `initialise` while nobody else can be in it.

        Blocks while another sharer initialises. Raises BlockingIOError when the claim is held in the other
        way.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if shared:
                _initialise_shared(descriptor, initialise)
            else:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                initialise()
        except BaseException:
            os.close(descriptor)
            raise
        return cls(descriptor)

    def release(self) -> None:
        os.close(self._descriptor)


def _initialise_shared(descriptor: int, initialise: Callable[[], None]) -> None:
    """Record locks (by process) serialise the sharers; the flock (by open file) tells sharers from a sole
    owner.
    """
    fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    fcntl.lockf(descriptor, fcntl.LOCK_EX)
    try:
        initialise()
    finally:
        fcntl.lockf(descriptor, fcntl.LOCK_UN)
