"""The small files of a log directory: what is written is read, in Kafka's format, and what is damaged is said to be."""

import json
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybroker_server.log.checkpoints import (
    CheckpointCorrupt,
    MetaProperties,
    format_checkpoint,
    format_clean_shutdown,
    format_offsets,
    format_partition_metadata,
    format_uuid,
    parse_checkpoint,
    parse_clean_shutdown,
    parse_offsets,
    parse_partition_metadata,
    parse_uuid,
)

TOPICS = st.text("abcXYZ019._-", min_size=1, max_size=249)
PARTITIONS = st.tuples(TOPICS, st.integers(0, 2**31 - 1))
OFFSETS = st.dictionaries(PARTITIONS, st.integers(0, 2**63 - 1))


@given(OFFSETS)
def test_offsets_are_read_as_they_were_written(offsets: dict[tuple[str, int], int]) -> None:
    assert parse_offsets(format_offsets(offsets)) == offsets


@given(st.dictionaries(PARTITIONS, st.integers(0, 2**63 - 1), min_size=1), st.data())
def test_a_file_cut_anywhere_before_its_last_field_is_corrupt(
    offsets: dict[tuple[str, int], int], data: st.DataObject
) -> None:
    whole = format_offsets(offsets)
    last_field = whole.rindex(b" ") + 1
    cut = data.draw(st.integers(0, last_field))
    with pytest.raises(CheckpointCorrupt):
        parse_offsets(whole[:cut])


@given(st.binary(max_size=200))
def test_any_bytes_are_a_checkpoint_or_corrupt(data: bytes) -> None:
    try:
        lines = parse_checkpoint(data, 1)
    except CheckpointCorrupt:
        return
    assert all(len(line) == 1 for line in lines)


@given(st.lists(st.lists(st.text("ab01", min_size=1), min_size=2, max_size=2)))
def test_lines_are_read_field_by_field(lines: list[list[str]]) -> None:
    assert parse_checkpoint(format_checkpoint([" ".join(line) for line in lines]), 2) == lines


def test_the_format_is_kafkas() -> None:
    assert format_offsets({("b", 0): 7, ("a", 10): 3, ("a", 2): 1}) == b"0\n3\na 2 1\na 10 3\nb 0 7\n"
    assert format_offsets({}) == b"0\n0\n"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"0\n",
        b"1\n0\n",
        b"0\nx\n",
        b"0\n-1\n",
        b"0\n" + b"1" * 5000 + b"\na 0 1\n",
        b"0\n2\na 0 1\n",
        b"0\n1\na 0 1\nb 0 1\n",
        b"0\n1\na 0\n",
        b"0\n1\na 0 1 2\n",
        b"0\n1\na x 1\n",
        b"0\n1\na 0 x\n",
        b"0\n1\n\xff 0 1\n",
        b"\0" * 64,
    ],
)
def test_what_is_no_list_of_offsets_is_corrupt(data: bytes) -> None:
    with pytest.raises(CheckpointCorrupt):
        parse_offsets(data)


@given(st.uuids())
def test_ids_are_read_as_they_were_written(value: UUID) -> None:
    text = format_uuid(value)
    assert len(text) == 22
    assert parse_uuid(text) == value
    assert parse_partition_metadata(format_partition_metadata(value)) == value


def test_partition_metadata_is_kafkas() -> None:
    assert format_partition_metadata(UUID(int=0)) == b"version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA"


@pytest.mark.parametrize("text", ["", "AAAA", "A" * 21, "A" * 23, "A" * 21 + "é", "A" * 44])
def test_what_is_no_id_is_corrupt(text: str) -> None:
    with pytest.raises(CheckpointCorrupt):
        parse_uuid(text)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"version: 1\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA",
        b"version: 0\n",
        b"version: 0\ntopic_id AAAAAAAAAAAAAAAAAAAAAA",
        b"version: 0\ntopic_id: short",
        b"\xff\xfe",
    ],
)
def test_what_names_no_topic_id_is_corrupt(data: bytes) -> None:
    with pytest.raises(CheckpointCorrupt):
        parse_partition_metadata(data)


@given(st.text("abcdefXYZ-_09", min_size=1), st.integers(0, 2**31 - 1), st.uuids())
def test_meta_properties_are_read_as_they_were_written(cluster_id: str, node_id: int, directory_id: UUID) -> None:
    written = MetaProperties(cluster_id, node_id, directory_id)
    assert MetaProperties.from_bytes(written.to_bytes()) == written


def test_meta_properties_may_hold_comments_blank_lines_and_more_than_we_know() -> None:
    data = b"#\n#Tue Jan 02\n\nversion = 1\nnode.id=3\ncluster.id=c\ndirectory.id=AAAAAAAAAAAAAAAAAAAAAQ\nelse=x\n"
    assert MetaProperties.from_bytes(data) == MetaProperties("c", 3, UUID(int=1))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"version=0\nbroker.id=3\ncluster.id=c\n",
        b"version=1\nnode.id=3\ncluster.id=c\n",
        b"version=1\nnode.id=x\ncluster.id=c\ndirectory.id=AAAAAAAAAAAAAAAAAAAAAQ\n",
        b"version=1\nnode.id=3\ncluster.id=c\ndirectory.id=x\n",
        b"version=1\nno property\n",
        b"\xff",
    ],
)
def test_meta_properties_that_do_not_say_whose_directory_it_is_are_corrupt(data: bytes) -> None:
    with pytest.raises(CheckpointCorrupt):
        MetaProperties.from_bytes(data)


def test_the_clean_shutdown_mark_is_kafkas() -> None:
    assert json.loads(format_clean_shutdown(12)) == {"version": 0, "brokerEpoch": 12}
    assert parse_clean_shutdown(format_clean_shutdown(12)) == 12


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b'{"brokerEpoch": null}', b'{"brokerEpoch": "x"}', b"\xff"])
def test_a_mark_that_tells_no_epoch_is_a_mark_all_the_same(data: bytes) -> None:
    assert parse_clean_shutdown(data) == -1
