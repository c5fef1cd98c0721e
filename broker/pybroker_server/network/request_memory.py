"""How much memory half-received requests may hold, over all connections.

Rules of this file: pure counting. Bytes count when they are received, not when they are announced. Past the
budget connections stop reading in the middle of their frames, first come first served; one of them, the
favoured, may go on, so that some frame always completes and memory comes free. The key is Kafka's
`queued.max.request.bytes`.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol


class FrameOwner(Protocol):
    def memory_available(self) -> None:
        """Called once after `RequestMemory.received` said no: go on reading."""


class RequestMemory:
    """One per broker. Every byte told to `received` is given back with `released`, by the same owner."""

    __slots__ = ("_favoured", "_waiting", "budget_bytes", "held_bytes")

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self.held_bytes = 0
        self._favoured: FrameOwner | None = None
        self._waiting: deque[FrameOwner] = deque()

    def received(self, owner: FrameOwner, count: int) -> bool:
        """Counts bytes of an incomplete frame. False: stop reading until `memory_available`."""
        self.held_bytes += count
        if self.held_bytes <= self.budget_bytes or self._favoured is owner:
            return True
        if self._favoured is None:
            self._favoured = owner
            return True
        self._waiting.append(owner)
        return False

    def released(self, owner: FrameOwner, count: int) -> None:
        """The owner's frame was handled or its connection closed."""
        self.held_bytes -= count
        assert self.held_bytes >= 0
        if self._favoured is owner:
            self._favoured = None
        elif owner in self._waiting:
            self._waiting.remove(owner)
        while self._waiting and (self.held_bytes <= self.budget_bytes or self._favoured is None):
            first = self._waiting.popleft()
            if self.held_bytes > self.budget_bytes:
                self._favoured = first
            first.memory_available()

    @property
    def waiting(self) -> int:
        return len(self._waiting)
