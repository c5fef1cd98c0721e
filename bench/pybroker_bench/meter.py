"""What a broker process costs: CPU seconds and resident memory, from /proc (Linux)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    user_seconds: float
    system_seconds: float
    rss_bytes: int
    peak_rss_bytes: int

    @property
    def cpu_seconds(self) -> float:
        return self.user_seconds + self.system_seconds


def usage(pid: int) -> Usage:
    """Raises FileNotFoundError when there is no such process, or no /proc."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return Usage(
        user_seconds=int(fields[11]) / _TICKS_PER_SECOND,
        system_seconds=int(fields[12]) / _TICKS_PER_SECOND,
        rss_bytes=int(status["VmRSS"].split()[0]) * 1024,
        peak_rss_bytes=int(status["VmHWM"].split()[0]) * 1024,
    )
