"""The hash by which Kafka, its tools and this broker agree on a group's partition."""

from __future__ import annotations

import pytest

from pybroker_server.coordinator.java_hash import java_string_hash, partition_for


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", 0),
        ("a", 97),
        ("g-classic", 486_458_668),
        ("polygenelubricants", -(2**31)),
        ("\U0001f600", 1_772_899),
        ("größe", 98_762_257),
    ],
)
def test_it_is_that_of_javas_strings(text: str, value: int) -> None:
    assert java_string_hash(text) == value


@pytest.mark.parametrize(("group", "partition"), [("g-classic", 18), ("g-consumer", 32), ("polygenelubricants", 0)])
def test_partitions_are_those_that_kafka_writes_to(group: str, partition: int) -> None:
    """The first two were seen in the offsets topic of Apache Kafka 4.3.0 with 50 partitions."""
    assert partition_for(group, 50) == partition
