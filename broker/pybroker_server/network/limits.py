"""How many connections a broker takes, in total, from one address, and how fast.

Rules of this file: pure; the listener asks before and tells after. Keys are Kafka's: `max.connections`,
`max.connections.per.ip`, `max.connections.per.ip.overrides`, `max.connection.creation.rate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

_RATE_WINDOW_MS = 1_000


@dataclass(slots=True)
class ConnectionLimits:
    """Counts live connections. Exceeding a count closes the newcomer; exceeding the rate makes it wait."""

    max_connections: int
    max_per_ip: int
    max_per_second: int
    per_ip_overrides: Mapping[str, int] = field(default_factory=dict)
    total: int = 0
    _by_ip: dict[str, int] = field(default_factory=dict)
    _allowance: float = -1.0
    """Connections that may come at once now; at most one second's worth. Negative until the first is asked
    for."""
    _allowance_at_ms: int = 0

    def wait_ms(self, now_ms: int) -> int:
        """How long the next connection has to wait for its turn; 0: it may be taken now."""
        if self._allowance < 0:
            self._allowance = self.max_per_second
        else:
            gained = (now_ms - self._allowance_at_ms) * self.max_per_second / _RATE_WINDOW_MS
            self._allowance = min(self._allowance + gained, float(self.max_per_second))
        self._allowance_at_ms = now_ms
        if self._allowance >= 1:
            return 0
        return max(1, round((1 - self._allowance) * _RATE_WINDOW_MS / self.max_per_second))

    def accepted(self) -> None:
        """Counts a connection against the rate, whether it is then kept or not."""
        self._allowance -= 1

    def refusal_for(self, ip: str) -> str | None:
        """Why a connection from `ip` may not be taken now; None: it may."""
        if self.total >= self.max_connections:
            return f"the broker has max.connections={self.max_connections} connections"
        allowed = self.per_ip_overrides.get(ip, self.max_per_ip)
        if self._by_ip.get(ip, 0) >= allowed:
            return f"{ip} has max.connections.per.ip={allowed} connections"
        return None

    def opened(self, ip: str) -> None:
        self.total += 1
        self._by_ip[ip] = self._by_ip.get(ip, 0) + 1

    def closed(self, ip: str) -> None:
        self.total -= 1
        left = self._by_ip[ip] - 1
        if left:
            self._by_ip[ip] = left
        else:
            del self._by_ip[ip]
        assert self.total >= 0
        assert left >= 0
