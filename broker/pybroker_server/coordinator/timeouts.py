"""Deadlines of coordinator state: sessions, rebalances, expiry.

Rules of this file: pure; the host arms one timer for `next_deadline_ms`. A deadline that moves to later, as a session's
does with every heartbeat, costs a dictionary entry: its place in the heap is corrected when it comes up.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterator

from pybroker_server.coordinator.effects import Operation


class Timeouts:
    """One deadline per key; `operation` runs once, after it, unless it was set anew or cancelled."""

    def __init__(self) -> None:
        self._entries: dict[Hashable, tuple[int, Operation, int]] = {}
        """(deadline, operation, the number of the call of `set`)"""
        self._heap: list[tuple[int, int, Hashable]] = []
        self._sequence = 0
        self._pushes = 0
        self._queued: dict[Hashable, int] = {}
        """The deadline under which each key stands in the heap."""

    def __contains__(self, key: Hashable) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def deadline_ms(self, key: Hashable) -> int | None:
        """None when there is none."""
        entry = self._entries.get(key)
        return None if entry is None else entry[0]

    def set(self, key: Hashable, deadline_ms: int, operation: Operation) -> None:
        """In the place of what the key had."""
        self._sequence += 1
        self._entries[key] = (deadline_ms, operation, self._sequence)
        queued = self._queued.get(key)
        if queued is None or deadline_ms < queued:
            self._push(key, deadline_ms)

    def cancel(self, key: Hashable) -> None:
        """No error when there is none."""
        self._entries.pop(key, None)

    def clear(self) -> None:
        self._entries.clear()
        self._heap.clear()
        self._queued.clear()

    @property
    def next_deadline_ms(self) -> int | None:
        """None when nothing waits."""
        self._settle()
        return self._heap[0][0] if self._heap else None

    def expire(self, now_ms: int) -> Iterator[Operation]:
        """The operations whose time has come, by deadline. Each is looked for when the one before it has run, which
        may have cancelled it; what a running one sets anew waits for the next call.
        """
        last = self._sequence
        while True:
            self._settle()
            if not self._heap or self._heap[0][0] > now_ms:
                return
            key = self._heap[0][2]
            _, operation, number = self._entries[key]
            if number > last:
                return
            heapq.heappop(self._heap)
            del self._queued[key], self._entries[key]
            yield operation

    def _push(self, key: Hashable, deadline_ms: int) -> None:
        self._pushes += 1
        self._queued[key] = deadline_ms
        heapq.heappush(self._heap, (deadline_ms, self._pushes, key))

    def _settle(self) -> None:
        """Until the head of the heap is a deadline in force."""
        while self._heap:
            deadline_ms, _, key = self._heap[0]
            if self._queued.get(key) != deadline_ms:
                heapq.heappop(self._heap)  # the key stands elsewhere in the heap
                continue
            entry = self._entries.get(key)
            if entry is not None and entry[0] == deadline_ms:
                return
            heapq.heappop(self._heap)
            del self._queued[key]
            if entry is not None:
                self._push(key, entry[0])
