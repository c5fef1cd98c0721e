"""Keys lie where every client that follows Kafka's puts them; records without a key stick, then move on."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner.default import murmur2 as kafka_python_murmur2

from pybroker.partitioner import Sticky, murmur2, partition_for_key


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_the_hash_is_that_of_kafkas_own_tests(data: bytes, expected: int) -> None:
    assert murmur2(data) == expected & 0xFFFFFFFF


@given(st.binary(max_size=70))
def test_the_hash_is_that_of_another_implementation(data: bytes) -> None:
    assert murmur2(data) == kafka_python_murmur2(data) & 0xFFFFFFFF


@given(st.binary(max_size=40), st.integers(1, 1000))
def test_a_key_has_one_partition_and_it_exists(key: bytes, count: int) -> None:
    found = partition_for_key(key, count)
    assert found == (kafka_python_murmur2(key) & 0x7FFFFFFF) % count
    assert found == partition_for_key(key, count)


def first(candidates: Sequence[int]) -> int:
    return candidates[0]


def test_a_partition_is_kept_until_told_to_move_on() -> None:
    sticky = Sticky(first)
    assert [sticky.current([4, 5, 6]) for _ in range(3)] == [4, 4, 4]
    sticky.move_on([4, 5, 6])
    assert sticky.current([4, 5, 6]) == 5


def test_a_partition_that_lost_its_leader_is_left() -> None:
    sticky = Sticky(first)
    assert sticky.current([1, 2]) == 1
    assert sticky.current([2, 3]) == 2


def test_the_only_partition_is_kept() -> None:
    sticky = Sticky(first)
    sticky.current([7])
    sticky.move_on([7])
    assert sticky.current([7]) == 7


def test_the_same_partition_never_comes_twice_in_a_row() -> None:
    sticky, chosen = Sticky(random.Random(1).choice), []
    for _ in range(200):
        chosen.append(sticky.current(range(3)))
        sticky.move_on(range(3))
    assert all(one != next_one for one, next_one in pairwise(chosen))
    assert {chosen.count(each) > 40 for each in range(3)} == {True}
