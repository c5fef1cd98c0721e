"""Which key the next record has, and so which partition it goes to, by Kafka's own partitioner. Pure.

`NO_KEY` fills one partition's batch after the other's; `KEY_ROUND_ROBIN` uses the keys in turn; `RANDOM_NANO` any of
them; `ZIPF` some far more often than others (the key of rank n with weight 1/n).
"""

from __future__ import annotations

import random
from itertools import accumulate
from typing import Final

from pybroker.partitioner import partition_for_key

KEYS: Final = 10_000
_SEQUENCE: Final = 8_192

Group = tuple[int, list[int], list[bytes] | None]
"""(partition, which of the records in hand, their keys)"""


class Spread:
    """Where the records of one producer go."""

    def __init__(self, distributor: str, partitions: int, producer: int, seed: int) -> None:
        self._partitions = partitions
        self._turn = producer  # producers begin at different partitions
        self._keys: list[tuple[bytes, int]] = []
        if distributor == "NO_KEY":
            return
        choose = random.Random(seed * 1_000_003 + producer)
        keys = [b"key-%06d" % number for number in range(KEYS)]
        if distributor == "KEY_ROUND_ROBIN":
            order = keys
        elif distributor == "ZIPF":
            weights = list(accumulate(1 / rank for rank in range(1, KEYS + 1)))
            order = choose.choices(keys, cum_weights=weights, k=_SEQUENCE)
        else:
            order = choose.choices(keys, k=_SEQUENCE)
        self._keys = [(key, partition_for_key(key, partitions)) for key in order]

    def groups(self, count: int) -> list[Group]:
        """Parts the next `count` records by partition, keeping their order in each."""
        if not self._keys:
            self._turn += 1
            return [(self._turn % self._partitions, list(range(count)), None)]
        found: dict[int, tuple[list[int], list[bytes]]] = {}
        for index in range(count):
            key, partition = self._keys[(self._turn + index) % len(self._keys)]
            indexes, keys = found.setdefault(partition, ([], []))
            indexes.append(index)
            keys.append(key)
        self._turn += count
        return [(partition, indexes, keys) for partition, (indexes, keys) in found.items()]
