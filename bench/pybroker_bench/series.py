"""What happened in each second of a measurement, put together from what the workers tell along the way. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pybroker_bench.histogram import Histogram


@dataclass(slots=True)
class Second:
    produced: int = 0
    produced_bytes: int = 0
    consumed: int = 0
    consumed_bytes: int = 0
    latencies: dict[str, Histogram] = field(default_factory=dict)

    def add(self, told: Mapping[str, Any]) -> None:
        """Take in a worker's progress."""
        for flow in told["produced"]:
            self.produced += flow["records"]
            self.produced_bytes += flow["bytes"]
        for flow in told["consumed"]:
            self.consumed += flow["records"]
            self.consumed_bytes += flow["bytes"]
        for flow in (*told["produced"], *told["consumed"]):
            for name, stored in flow["latencies"].items():
                self.latencies.setdefault(name, Histogram()).add(Histogram.from_json(stored))

    def to_json(self, second: int) -> dict[str, Any]:
        found: dict[str, Any] = {
            "second": second,
            "produced": self.produced,
            "produced_bytes": self.produced_bytes,
            "consumed": self.consumed,
            "consumed_bytes": self.consumed_bytes,
        }
        for name, histogram in self.latencies.items():
            found[f"{name}_p50_ms"] = round(histogram.percentile(50) / 1e6, 4)
            found[f"{name}_p99_ms"] = round(histogram.percentile(99) / 1e6, 4)
        return found


class Series:
    """Seconds since the first that anything was told."""

    def __init__(self) -> None:
        self._seconds: dict[int, Second] = {}
        self._first_ns = 0

    def add(self, at_ns: int, told: Mapping[str, Any]) -> Second:
        """The second that it fell into."""
        if not self._first_ns:
            self._first_ns = at_ns
        second = self._seconds.setdefault(int((at_ns - self._first_ns) // 1_000_000_000), Second())
        second.add(told)
        return second

    def last_whole(self) -> Second | None:
        """The second before the present one."""
        return self._seconds.get(max(self._seconds, default=0) - 1)

    def to_json(self) -> list[dict[str, Any]]:
        return [self._seconds[number].to_json(number) for number in sorted(self._seconds)]
