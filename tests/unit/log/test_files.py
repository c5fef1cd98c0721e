"""Names of files and directories: Kafka's, told apart from everything else that may lie there."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybroker_server.log.files import (
    SEGMENT_SUFFIXES,
    SNAPSHOT_SUFFIX,
    deleted_directory,
    is_deleted_directory,
    parse_partition_directory,
    parse_segment_file,
    partition_directory,
    segment_file,
)

TOPICS = st.text("abcXYZ019._-", min_size=1, max_size=249)


@given(st.integers(0, 2**63 - 1), st.sampled_from([*SEGMENT_SUFFIXES, SNAPSHOT_SUFFIX]))
def test_a_segments_file_is_read_back(base_offset: int, suffix: str) -> None:
    assert parse_segment_file(segment_file(base_offset, suffix)) == (base_offset, suffix)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "42.log",
        "00000000000000000042.log.deleted",
        "00000000000000000042.log.swap",
        "00000000000000000042.log.cleaned",
        "000000000000000000042.log",
        "x00000000000000000042.log",
        "00000000000000000042.lock",
        "00000000000000000042.log\n",
        "leader-epoch-checkpoint",
    ],
)
def test_no_other_file_is_a_segments(name: str) -> None:
    assert parse_segment_file(name) is None


@given(TOPICS, st.integers(0, 2**31 - 1))
def test_a_partitions_directory_is_read_back(topic: str, partition: int) -> None:
    name = partition_directory(topic, partition)
    assert parse_partition_directory(name) == (topic, partition)
    assert not is_deleted_directory(name)


@pytest.mark.parametrize("name", ["", "t", "t-", "-1", "t-x", "t-0.extra", "meta.properties", "t-1\n"])
def test_no_other_directory_is_a_partitions(name: str) -> None:
    assert parse_partition_directory(name) is None


@given(TOPICS, st.integers(0, 2**31 - 1), st.uuids())
def test_a_deleted_partition_is_known_as_such_and_no_name_is_too_long(topic: str, partition: int, unique: UUID) -> None:
    name = deleted_directory(topic, partition, unique)
    assert is_deleted_directory(name)
    assert parse_partition_directory(name) is None
    assert len(name) <= 255


def test_a_topic_may_be_called_as_if_it_were_deleted() -> None:
    name = partition_directory("old-delete", 0)
    assert parse_partition_directory(name) == ("old-delete", 0)
    assert not is_deleted_directory("old-0-delete")
