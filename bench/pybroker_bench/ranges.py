"""Sets of whole numbers kept as disjoint ranges: what was sent, acknowledged or seen, mostly one long run. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator


class Ranges:
    """A set of integers. Adding at the end, the usual case, costs a comparison."""

    __slots__ = ("_ends", "_starts")

    def __init__(self, pairs: Iterable[Iterable[int]] = ()) -> None:
        """`pairs`: (first, end) of half-open ranges."""
        self._starts: list[int] = []
        self._ends: list[int] = []
        for first, end in pairs:
            self.add(first, end)

    def add(self, first: int, end: int) -> int:
        """Take in `first` to before `end`; how many of them were in the set before."""
        if first >= end:
            return 0
        starts, ends = self._starts, self._ends
        if ends and first == ends[-1]:
            ends[-1] = end
            return 0
        if not ends or first > ends[-1]:
            starts.append(first)
            ends.append(end)
            return 0
        low = bisect_left(ends, first)
        high = bisect_right(starts, end)
        if low == high:
            starts.insert(low, first)
            ends.insert(low, end)
            return 0
        touched = list(zip(starts[low:high], ends[low:high], strict=True))
        known = sum(max(0, min(end, e) - max(first, s)) for s, e in touched)
        starts[low:high] = [min(first, starts[low])]
        ends[low:high] = [max(end, ends[high - 1])]
        return known

    def __contains__(self, number: int) -> bool:
        index = bisect_right(self._starts, number) - 1
        return index >= 0 and number < self._ends[index]

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._starts, self._ends, strict=True)

    def __len__(self) -> int:
        return sum(self._ends) - sum(self._starts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ranges) and list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def update(self, other: Ranges) -> int:
        """Take in another set; how many numbers were in both."""
        return sum(self.add(first, end) for first, end in other)

    def without(self, other: Ranges) -> Ranges:
        """What is in this set and not in the other."""
        left = Ranges()
        for first, end in self:
            index = bisect_right(other._ends, first)
            while first < end:
                if index >= len(other._starts) or other._starts[index] >= end:
                    left.add(first, end)
                    break
                left.add(first, other._starts[index])
                first = max(first, other._ends[index])
                index += 1
        return left

    def to_json(self) -> list[list[int]]:
        return [list(pair) for pair in self]
