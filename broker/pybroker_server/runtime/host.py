"""What this process can know of the machine or container it runs in.

Rules of this file: questions with a plain answer, asked once at start; whatever cannot be found out has a
default.
"""

from __future__ import annotations

import os
import socket

from pybroker_server.runtime.ports import Disk

_CGROUP_LIMIT = "/sys/fs/cgroup/memory.max"
_CONTAINER_MARKS = ("/.dockerenv", "/run/.containerenv")
_ROUTES = "/proc/net/route"
_UNKNOWN_MEMORY_BYTES = 1 << 30


def memory_bytes(disk: Disk) -> int:
    """Memory this process may use: the machine's, or the container's limit if that is less."""
    try:
        machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        machine = _UNKNOWN_MEMORY_BYTES
    limit = _text(disk, _CGROUP_LIMIT).strip()
    return min(machine, int(limit)) if limit.isdecimal() else machine


def container_routes(disk: Disk) -> str:
    """The routing table (Linux's text form) inside a container; empty outside of one."""
    return _text(disk, _ROUTES) if any(disk.exists(mark) for mark in _CONTAINER_MARKS) else ""


def host_name() -> str:
    """This machine's name as others may look it up."""
    return socket.gethostname()


def _text(disk: Disk, path: str) -> str:
    try:
        return disk.read_bytes(path).decode("ascii", "replace")
    except OSError:
        return ""
