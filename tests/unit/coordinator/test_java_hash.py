"""Java's string hash, and the partition that Kafka computes from it."""

from __future__ import annotations

import pytest

from pybroker_server.coordinator.java_hash import java_string_hash, partition_for


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", 0),
        ("a", 97),
        ("hello", 99162322),
        ("polygenelubricants", -(2**31)),
        ("Grüße", 69215351),
        ("𝄞", 1772394),
        ("g-classic", 486_458_668),
    ],
)
def test_the_hash_is_that_of_java(text: str, value: int) -> None:
    assert java_string_hash(text) == value


@pytest.mark.parametrize(
    ("key", "count", "partition"),
    [
        ("hello", 50, 22),
        ("polygenelubricants", 50, 0),
        ("polygenelubricants", 7, 0),
        ("my-group", 50, 12),
        ("zählgruppe", 50, 31),
        ("zählgruppe", 7, 6),
        ("consumer-7", 50, 0),
        ("g-classic", 50, 18),
        ("g-consumer", 50, 32),
        ("my-group", 1, 0),
    ],
)
def test_the_partition_is_that_of_kafka(key: str, count: int, partition: int) -> None:
    """`g-classic` and `g-consumer` were seen in the offsets topic of Apache Kafka 4.3.0."""
    assert partition_for(key, count) == partition
