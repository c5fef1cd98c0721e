"""The offset index: Kafka's bytes, look-ups that never lead past what is looked for, damage that is noticed."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybroker_server.log.offset_index import ENTRY_BYTES, RELATIVE_OFFSET_MAX, IndexCorrupt, OffsetIndex

BASE = 1000
LOG_BYTES = 1 << 31


@st.composite
def entries(draw: st.DrawFn, min_size: int = 0) -> list[tuple[int, int]]:
    """(last offset, position), rising."""
    positions = sorted(draw(st.sets(st.integers(1, LOG_BYTES - 1), min_size=min_size, max_size=10)))
    count = len(positions)
    offsets = sorted(draw(st.sets(st.integers(BASE, BASE + RELATIVE_OFFSET_MAX), min_size=count, max_size=count)))
    return list(zip(offsets, positions, strict=True))


def index_of(rows: list[tuple[int, int]]) -> OffsetIndex:
    index = OffsetIndex(BASE)
    for offset, position in rows:
        index.append(offset, position)
    return index


def packed(*words: int) -> bytes:
    return struct.pack(f">{len(words)}I", *words)


@given(entries(), st.integers(0, 3))
def test_what_is_written_is_read_whatever_zeros_follow(rows: list[tuple[int, int]], zeros: int) -> None:
    """Kafka gives its index files their full size when it makes them."""
    data = index_of(rows).to_bytes()
    assert data == b"".join(packed(offset - BASE, position) for offset, position in rows)
    read = OffsetIndex.from_bytes(BASE, data + bytes(zeros * ENTRY_BYTES), LOG_BYTES)
    assert read.entries() == rows
    assert len(read) == len(rows)


@given(entries(), st.integers(BASE, BASE + RELATIVE_OFFSET_MAX))
def test_a_look_up_leads_to_the_last_batch_that_ends_at_or_before(rows: list[tuple[int, int]], offset: int) -> None:
    expected = max((position for last, position in rows if last <= offset), default=0)
    assert index_of(rows).position_before(offset) == expected


@given(entries(), st.integers(0, LOG_BYTES))
def test_a_boundary_is_never_after_the_position(rows: list[tuple[int, int]], position: int) -> None:
    expected = max((known for _, known in rows if known <= position), default=0)
    assert index_of(rows).boundary_at_or_before(position) == expected


@given(entries(), st.integers(BASE, BASE + RELATIVE_OFFSET_MAX), st.integers(0, LOG_BYTES))
def test_truncation_drops_what_lies_at_or_after(rows: list[tuple[int, int]], offset: int, position: int) -> None:
    by_offset, by_position = index_of(rows), index_of(rows)
    by_offset.truncate_to_offset(offset)
    by_position.truncate_to_position(position)
    assert by_offset.entries() == [row for row in rows if row[0] < offset]
    assert by_position.entries() == [row for row in rows if row[1] < position]


@given(entries(min_size=1), st.data())
def test_the_rest_can_be_written_behind_what_the_file_has(rows: list[tuple[int, int]], data: st.DataObject) -> None:
    index = index_of(rows)
    written = data.draw(st.integers(0, len(rows)))
    assert index.to_bytes()[: written * ENTRY_BYTES] + index.to_bytes(written) == index.to_bytes()


def test_a_reader_that_holds_the_index_is_not_disturbed_by_a_truncation() -> None:
    index = index_of([(1000, 10), (1001, 20)])
    held = index.entries()
    index.truncate_to_offset(1000)
    index.append(1005, 10)
    assert held == [(1000, 10), (1001, 20)]
    assert index.entries() == [(1005, 10)]
    assert index.last_position == 10


@pytest.mark.parametrize(
    "data",
    [
        packed(1, 10)[:-1],
        packed(1, 10, 1, 20),
        packed(2, 10, 1, 20),
        packed(1, 10, 2, 10),
        packed(1, 20, 2, 10),
        packed(0, 0, 1, 10),
        packed(1, 10, 0, 0, 2, 20, 0, 0),
        packed(1, 10, 2, 100),
    ],
    ids=[
        "torn",
        "offset twice",
        "offsets fall",
        "position twice",
        "positions fall",
        "position 0",
        "a hole",
        "past end",
    ],
)
def test_what_cannot_be_an_index_is_corrupt(data: bytes) -> None:
    with pytest.raises(IndexCorrupt):
        OffsetIndex.from_bytes(BASE, data, 100)


@given(st.binary(max_size=64), st.integers(0, 1 << 32))
def test_any_bytes_are_an_index_within_the_log_or_corrupt(data: bytes, log_bytes: int) -> None:
    try:
        index = OffsetIndex.from_bytes(BASE, data, log_bytes)
    except IndexCorrupt:
        return
    assert all(0 < position < log_bytes for _, position in index.entries())
    assert index.to_bytes() == data[: len(index) * ENTRY_BYTES]
