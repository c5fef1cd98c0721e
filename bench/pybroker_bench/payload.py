"""What a record of a measurement carries: where it belongs, who sent it as which, when it was due, and a checksum.

Layout, big-endian, 28 bytes, then filling up to the record's size:

    crc32c  u32   of everything that follows
    topic   u16   index of the topic in the run
    partition u16
    producer u32  the run's tag in the upper half, the producer's number in the lower
    sequence u64  counts up by one for each producer and partition
    due_ns  u64   when the record was to be sent, on the machine's steady clock

Rules: records are made and read a list at a time; the filling is taken from a pool made once from the seed. Without
verification one record is stamped for each list and repeated, so that making records costs nothing. Pure.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import accumulate
from struct import Struct
from typing import Final

from crc32c import crc32c

STAMP_BYTES: Final = 28
STAMP: Final = Struct(">IHHIQQ")
_HEAD: Final = Struct(">HHIQQ")
_CRC: Final = Struct(">I")
_DUE: Final = Struct(">Q")
_DUE_AT: Final = 20
_POOL: Final = 512


class Fillings:
    """The bytes behind the stamps: as many different ones as the pool has, used in turn."""

    def __init__(self, sizes: Sequence[tuple[int, float]], random_ratio: float, seed: int) -> None:
        """`sizes`: record sizes in bytes with their weights. `random_ratio`: how much of a filling cannot be
        compressed, 0 to 1."""
        choose = random.Random(seed)
        bounds = list(accumulate(weight for _, weight in sizes))
        chosen = choose.choices([size for size, _ in sizes], cum_weights=bounds, k=_POOL if len(sizes) > 1 else 1)
        if len(sizes) == 1 and random_ratio:
            chosen *= 64
        self.record_bytes = chosen
        self.pool = [_filling(max(size - STAMP_BYTES, 0), random_ratio, choose) for size in chosen]
        self.mean_record_bytes = sum(chosen) / len(chosen)
        self.smallest_record_bytes = min(size for size, _ in sizes)


def _filling(size: int, random_ratio: float, choose: random.Random) -> bytes:
    count = int(size * random_ratio)
    return choose.randbytes(count) + b"x" * (size - count)


class Stamper:
    """Makes the records of one producer."""

    def __init__(self, producer: int, fillings: Fillings) -> None:
        self._producer = producer
        self._fillings = fillings

    def records(self, topic: int, partition: int, first: int, due_ns: Sequence[int]) -> list[bytes]:
        """One record for each time in `due_ns`, with sequence numbers from `first` on."""
        pack_head, pack_crc, producer = _HEAD.pack, _CRC.pack, self._producer
        pool = self._fillings.pool
        if len(pool) == 1:
            filling = pool[0]
            rests = [pack_head(topic, partition, producer, first + i, due) + filling for i, due in enumerate(due_ns)]
        else:
            size = len(pool)
            rests = [
                pack_head(topic, partition, producer, sequence, due) + pool[sequence % size]
                for sequence, due in enumerate(due_ns, first)
            ]
        return [pack_crc(crc32c(rest)) + rest for rest in rests]

    def repeated(self, topic: int, partition: int, first: int, due_ns: int, count: int) -> list[bytes]:
        """`count` times the same record; without a stamp when it is too small for one."""
        if self._fillings.smallest_record_bytes < STAMP_BYTES:
            sizes = self._fillings.record_bytes
            return [b"x" * sizes[index % len(sizes)] for index in range(count)]
        if len(self._fillings.pool) == 1:
            return self.records(topic, partition, first, (due_ns,)) * count
        some = self.records(topic, partition, first, (due_ns,) * min(count, len(self._fillings.pool)))
        return (some * (count // len(some) + 1))[:count]


def due_of(record: bytes) -> int:
    """When the record was due, in nanoseconds of the steady clock."""
    due: int = _DUE.unpack_from(record, _DUE_AT)[0]
    return due
