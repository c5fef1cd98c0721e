"""What hot code counts with: plain numbers in plain objects, read when somebody asks for metrics.

Rules of this file: nothing is locked, nothing is formatted, no library is called. One thread writes an object (the
event loop's); whoever reads it may be a moment behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

_BUCKETS: Final = 64
_FIRST_BOUND: Final = 6
_LAST_BOUND: Final = 25
_US_PER_SECOND: Final = 1_000_000

BOUNDS_S: Final = tuple((1 << exponent) / _US_PER_SECOND for exponent in range(_FIRST_BOUND, _LAST_BOUND + 1))
"""Upper bounds of the buckets that are told, in seconds: powers of two from 64 µs to 33.5 s."""


class Durations:
    """A histogram of times in microseconds. Bucket `n` holds those of `n` bits: below `2**n` µs, and no less than half.

    Adding to it inline, where a call would be felt: `d.buckets[us.bit_length()] += 1; d.total_us += us`.
    """

    __slots__ = ("buckets", "total_us")

    def __init__(self) -> None:
        self.buckets = [0] * _BUCKETS
        self.total_us = 0

    def add(self, duration_us: int) -> None:
        """Counts one duration; not negative."""
        self.buckets[duration_us.bit_length()] += 1
        self.total_us += duration_us

    @property
    def count(self) -> int:
        return sum(self.buckets)

    @property
    def total_s(self) -> float:
        return self.total_us / _US_PER_SECOND

    def cumulative(self) -> list[int]:
        """How many lie below each of `BOUNDS_S`, and last how many there are."""
        counts: list[int] = []
        below = sum(self.buckets[:_FIRST_BOUND])
        for bits in range(_FIRST_BOUND, _LAST_BOUND + 1):
            below += self.buckets[bits]
            counts.append(below)
        counts.append(below + sum(self.buckets[_LAST_BOUND + 1 :]))
        return counts

    @classmethod
    def merged(cls, parts: Iterable[Durations]) -> Durations:
        """All of them together, as they are now."""
        whole = cls()
        for part in parts:
            whole.buckets = [ours + theirs for ours, theirs in zip(whole.buckets, part.buckets, strict=True)]
            whole.total_us += part.total_us
        return whole


class ErrorCounts:
    """Errors told to clients, by API key and error code."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[tuple[int, int], int] = {}

    def add(self, api_key: int, error_code: int) -> None:
        key = (api_key, error_code)
        self._counts[key] = self._counts.get(key, 0) + 1

    def __iter__(self) -> Iterator[tuple[int, int, int]]:
        """(API key, error code, how many), in order."""
        return iter([(api_key, code, count) for (api_key, code), count in sorted(self._counts.items())])
