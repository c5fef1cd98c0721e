"""What a broker's process costs: CPU seconds and resident memory, from /proc (Linux). Elsewhere: nothing is known."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_LISTENING = "0A"


@dataclass(frozen=True, slots=True)
class Usage:
    """Of all processes of a target together."""

    user_s: float = 0.0
    system_s: float = 0.0
    rss_bytes: int = 0
    peak_rss_bytes: int = 0

    @property
    def cpu_s(self) -> float:
        return self.user_s + self.system_s

    def __add__(self, other: Usage) -> Usage:
        return Usage(*(mine + theirs for mine, theirs in zip(_values(self), _values(other), strict=True)))


def _values(usage: Usage) -> Iterable[Any]:
    return asdict(usage).values()


def usage_of(pid: int) -> Usage:
    """Raises FileNotFoundError when there is no such process, or no /proc."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return Usage(
        user_s=int(fields[11]) / _TICKS_PER_SECOND,
        system_s=int(fields[12]) / _TICKS_PER_SECOND,
        rss_bytes=int(status["VmRSS"].split()[0]) * 1024,
        peak_rss_bytes=int(status["VmHWM"].split()[0]) * 1024,
    )


def usage_of_all(pids: Iterable[int]) -> Usage | None:
    """The sum; None without any process, or when one has gone."""
    total: Usage | None = None
    try:
        for pid in pids:
            total = usage_of(pid) + (total or Usage())
    except (FileNotFoundError, ProcessLookupError):
        return None
    return total


def forget_peak(pid: int) -> bool:
    """Starts the peak of resident memory anew; False where this is not allowed."""
    try:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def listener_pid(host: str, port: int) -> int | None:
    """The process on this machine that listens on a port; None when it is elsewhere, or cannot be seen."""
    if not _is_local(host):
        return None
    inodes = set()
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{fields[9]}]")
    if not inodes:
        return None
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(os.readlink(fd) in inodes for fd in (process / "fd").iterdir()):
                return int(process.name)
    return None


def _is_local(host: str) -> bool:
    """Whether an address is one of this machine's: nothing else can be bound here."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.bind(address)
    except OSError:
        return False
    return True


def machine() -> dict[str, Any]:
    """What a figure is worth nothing without."""
    import platform

    found: dict[str, Any] = {
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "processor": platform.processor() or "unknown",
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
    }
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                found["processor"] = line.partition(":")[2].strip()
                break
    return found


def drop_from_page_cache(pids: Iterable[int]) -> int:
    """Has the kernel forget what it keeps in memory of the segment files that these processes have open.

    How many files it was: 0 when they cannot be seen. They are flushed first: what is dirty cannot be dropped.
    """
    paths: set[Path] = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for fd in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    target = os.readlink(fd)
                    if target.endswith(".log"):
                        paths.update(Path(target).parent.glob("*.log"))
    dropped = 0
    for path in paths:
        with contextlib.suppress(OSError), path.open("rb") as file:
            os.fdatasync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            dropped += 1
    return dropped
