"""Which partition a record goes to: by its key as Java's client does, else to one partition for a while. Pure.

Rules: the hash and its use are those of Kafka's own producer, so that producers in any language that follow it agree
where a key lives. Records without a key stick to one partition until its batch is gone, which makes larger batches
than spreading each record (KIP-480).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Final

__all__ = ["Sticky", "murmur2", "partition_for_key"]

_SEED: Final = 0x9747B28C
_MULTIPLIER: Final = 0x5BD1E995
_MASK: Final = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """MurmurHash2 (32 bits, Kafka's seed) of `data`, as an unsigned number."""
    length = len(data)
    words = length // 4
    state = _SEED ^ length
    for word in struct.unpack_from(f"<{words}I", data):
        mixed = word * _MULTIPLIER & _MASK
        mixed ^= mixed >> 24
        state = (state * _MULTIPLIER & _MASK) ^ (mixed * _MULTIPLIER & _MASK)
    if rest := data[words * 4 :]:
        state = (state ^ int.from_bytes(rest, "little")) * _MULTIPLIER & _MASK
    state = (state ^ state >> 13) * _MULTIPLIER & _MASK
    return state ^ state >> 15


_cached_murmur2 = lru_cache(maxsize=8192)(murmur2)


def partition_for_key(key: bytes, partition_count: int) -> int:
    """The partition of a key; depends on the number of partitions, so growing a topic moves keys."""
    return (_cached_murmur2(key) & 0x7FFFFFFF) % partition_count


class Sticky:
    """The partition that records without a key go to at the moment.

    `choose(candidates)` picks one (at random, in production). A new one is picked on `move_on`, when the candidates
    change so that the old one is not among them, and never the same twice in a row if there is another.
    """

    __slots__ = ("_choose", "_current")

    def __init__(self, choose: Callable[[Sequence[int]], int]) -> None:
        self._choose = choose
        self._current = -1

    def current(self, candidates: Sequence[int]) -> int:
        """The partition to use; `candidates` are those with a leader, or all when none has one; never empty."""
        if self._current not in candidates:
            self._current = self._choose(candidates)
        return self._current

    def move_on(self, candidates: Sequence[int]) -> None:
        """A batch of the current partition is full or gone: the next records go elsewhere."""
        others = [partition for partition in candidates if partition != self._current]
        if others:
            self._current = self._choose(others)
