"""What a member of a measurement counts, whole and for the time since it last told. Pure.

Rules: only what falls into the measured time counts: acknowledgements and reads by when they came, latencies by when
the record was due. Everything is counted in nanoseconds of the steady clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pybroker_bench.histogram import Histogram

NEVER = 1 << 62


class Window:
    """The measured time: after the warm-up, until the end."""

    __slots__ = ("first_ns", "last_ns")

    def __init__(self) -> None:
        self.first_ns = NEVER
        self.last_ns = NEVER

    def set(self, first_ns: int, last_ns: int) -> None:
        self.first_ns, self.last_ns = first_ns, last_ns

    def holds(self, at_ns: int) -> bool:
        return self.first_ns <= at_ns < self.last_ns


class Flow:
    """Records that come by at one end: how many, and when; and the histograms of what they took."""

    def __init__(self, window: Window, *latencies: str) -> None:
        self.window = window
        self.records = 0
        self.bytes = 0
        self.all_records = 0
        self.failed = 0
        self.first_ns = 0
        self.last_ns = 0
        self.first_count = 0
        self.longest_pause_ns = 0
        self.latencies = {name: Histogram() for name in latencies}
        self._lately = {name: Histogram() for name in latencies}
        self._records_told = 0
        self._bytes_told = 0
        self._bytes_all = 0
        self.errors: dict[str, int] = {}

    def came(self, at_ns: int, records: int, size: int) -> None:
        if not self.first_ns:
            self.first_ns, self.first_count = at_ns, records
        elif self.window.holds(at_ns):
            self.longest_pause_ns = max(self.longest_pause_ns, at_ns - max(self.last_ns, self.window.first_ns))
        self.last_ns = at_ns
        self.all_records += records
        self._bytes_all += size
        if self.window.holds(at_ns):
            self.records += records
            self.bytes += size

    def took(self, name: str, at_ns: int, since_ns: Iterable[int]) -> None:
        """Notes how long each took that was due in the measured time."""
        first, last = self.window.first_ns, self.window.last_ns
        whole, lately = self.latencies[name], self._lately[name]
        previous, times = -1, 0
        for since in since_ns:
            if since == previous:
                times += 1
                continue
            if times and first <= previous < last:
                whole.record(at_ns - previous, times)
                lately.record(at_ns - previous, times)
            previous, times = since, 1
        if times and first <= previous < last:
            whole.record(at_ns - previous, times)
            lately.record(at_ns - previous, times)

    def went_wrong(self, records: int, why: str) -> None:
        self.failed += records
        if why in self.errors or len(self.errors) < 10:
            self.errors[why] = self.errors.get(why, 0) + 1

    def progress(self) -> dict[str, Any]:
        """What came since the last call, in the warm-up too."""
        told = {
            "records": self.all_records - self._records_told,
            "bytes": self._bytes_all - self._bytes_told,
            "latencies": {name: lately.to_json() for name, lately in self._lately.items() if lately.count},
        }
        self._records_told, self._bytes_told = self.all_records, self._bytes_all
        self._lately = {name: Histogram() for name in self._lately}
        return told

    def to_json(self) -> dict[str, Any]:
        plain = ("records", "bytes", "all_records", "failed", "first_ns", "last_ns", "first_count", "longest_pause_ns")
        found: dict[str, Any] = {name: getattr(self, name) for name in plain}
        found["latencies"] = {name: each.to_json() for name, each in self.latencies.items()}
        return found | {"errors": self.errors}


def merged(flows: Iterable[Mapping[str, Any]], name: str) -> Histogram:
    """The histogram `name` of all flows, given as their `to_json`."""
    whole = Histogram()
    for flow in flows:
        if name in flow["latencies"]:
            whole.add(Histogram.from_json(flow["latencies"][name]))
    return whole
