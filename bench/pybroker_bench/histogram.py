"""Latencies counted in log-linear buckets, as HDR histograms do: every value to within 0.8 %, in constant memory.

Rules: values are whole nanoseconds (any whole number does). A bucket is found from the bit length, so recording is a
few operations and needs no table. Histograms of many processes are added up bucket by bucket; nothing is sampled or
thrown away, so percentiles of the whole are exact to a bucket. Pure.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

SUB_BUCKET_BITS: Final = 7
"""128 buckets for each doubling: a value is known to within 1/128."""
VALUE_MAX: Final = (1 << 44) - 1
"""Close to five hours in nanoseconds; what is larger is counted in the last bucket (`max` stays true)."""
PERCENTILES: Final[Mapping[str, float]] = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99_9": 99.9, "p99_99": 99.99}

_HALF: Final = 1 << SUB_BUCKET_BITS
_BUCKETS: Final = (44 - SUB_BUCKET_BITS) * _HALF + _HALF


def bucket_of(value: int) -> int:
    """The index of the bucket that holds `value`, 0 or more."""
    shift = value.bit_length() - SUB_BUCKET_BITS - 1
    return value if shift <= 0 else (shift << SUB_BUCKET_BITS) + (value >> shift)


def highest_of(bucket: int) -> int:
    """The largest value that falls into the bucket."""
    if bucket < 2 * _HALF:
        return bucket
    shift = (bucket >> SUB_BUCKET_BITS) - 1
    return ((bucket - (shift << SUB_BUCKET_BITS) + 1) << shift) - 1


class Histogram:
    """How often which value was seen, with the smallest, the largest and the sum kept exactly."""

    __slots__ = ("count", "counts", "max", "min", "sum")

    def __init__(self) -> None:
        self.counts = array("Q", bytes(8 * _BUCKETS))
        self.count = 0
        self.sum = 0
        self.min = 0
        self.max = 0

    def record(self, value: int, times: int = 1) -> None:
        """Count `value`; below zero (a clock that stepped back) counts as zero."""
        value = max(value, 0)
        self.counts[bucket_of(min(VALUE_MAX, value))] += times
        if not self.count or value < self.min:
            self.min = value
        if value > self.max:
            self.max = value
        self.count += times
        self.sum += value * times

    def record_all(self, values: Iterable[int]) -> None:
        for value in values:
            self.record(value)

    def add(self, other: Histogram) -> None:
        """Take in everything that `other` has counted."""
        if not other.count:
            return
        for bucket, times in other.buckets():
            self.counts[bucket] += times
        self.min = min(self.min, other.min) if self.count else other.min
        self.max = max(self.max, other.max)
        self.count += other.count
        self.sum += other.sum

    def buckets(self) -> Iterator[tuple[int, int]]:
        """(bucket, count) of those that hold something, in order of value."""
        return ((bucket, times) for bucket, times in enumerate(self.counts) if times)

    def percentile(self, percent: float) -> int:
        """The value that `percent` of all values do not exceed, to within a bucket; 0 when nothing was counted."""
        wanted = max(1, -(-int(self.count * percent * 1000) // 100_000))
        seen = 0
        for bucket, times in self.buckets():
            seen += times
            if seen >= wanted:
                return min(highest_of(bucket), self.max)
        return self.max

    @property
    def mean(self) -> float:
        return self.sum / self.count if self.count else 0.0

    def summary_ms(self) -> dict[str, float]:
        """Count, mean, the percentiles and the extremes of nanoseconds, as milliseconds."""
        figures: dict[str, float] = {"count": self.count, "mean": round(self.mean / 1e6, 4)}
        figures |= {name: round(self.percentile(percent) / 1e6, 4) for name, percent in PERCENTILES.items()}
        return figures | {"min": round(self.min / 1e6, 4), "max": round(self.max / 1e6, 4)}

    def to_json(self) -> dict[str, Any]:
        """Whole: `from_json` gives it back."""
        buckets = [list(pair) for pair in self.buckets()]
        return {"min": self.min, "max": self.max, "sum": self.sum, "buckets": buckets}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Histogram:
        histogram = cls()
        for bucket, times in stored["buckets"]:
            histogram.counts[bucket] = times
            histogram.count += times
        histogram.min, histogram.max, histogram.sum = stored["min"], stored["max"], stored["sum"]
        return histogram
