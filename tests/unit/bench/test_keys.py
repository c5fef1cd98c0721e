"""Keys decide the partition as Kafka's own producer would, and each way of choosing them is what it says."""

from __future__ import annotations

from collections import Counter

import pytest

from pybroker.partitioner import partition_for_key
from pybroker_bench.keys import KEYS, Spread


def _drawn(distributor: str, count: int = 20_000, seed: int = 1) -> list[tuple[int, bytes]]:
    spread, found = Spread(distributor, 6, 0, seed), []
    for _ in range(count // 100):
        for partition, indexes, keys in spread.groups(100):
            assert keys is not None
            assert len(indexes) == len(keys)
            assert indexes == sorted(indexes)
            found += [(partition, key) for key in keys]
    return found


@pytest.mark.parametrize("distributor", ["KEY_ROUND_ROBIN", "RANDOM_NANO", "ZIPF"])
def test_a_key_goes_where_kafkas_partitioner_sends_it(distributor: str) -> None:
    assert all(partition == partition_for_key(key, 6) for partition, key in _drawn(distributor))


def test_in_turn_means_each_key_as_often_as_the_others() -> None:
    assert set(Counter(key for _, key in _drawn("KEY_ROUND_ROBIN", 2 * KEYS)).values()) == {2}


def test_zipf_has_a_few_keys_that_come_far_more_often_than_most() -> None:
    counts = Counter(key for _, key in _drawn("ZIPF")).most_common()
    assert sum(count for _, count in counts[:100]) > 0.4 * 20_000


def test_without_keys_the_partitions_take_turns_a_list_at_a_time() -> None:
    spread = Spread("NO_KEY", 3, 0, 1)
    assert [spread.groups(10) for _ in range(4)] == [[(n % 3, list(range(10)), None)] for n in (1, 2, 3, 4)]
