"""The time index: Kafka's bytes, look-ups that miss no batch, damage that is noticed."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybroker_server.log.offset_index import IndexCorrupt
from pybroker_server.log.time_index import ENTRY_BYTES, TimeIndex

BASE = 1000
TIMES = st.integers(1, 2**63 - 1)


@st.composite
def entries(draw: st.DrawFn) -> list[tuple[int, int]]:
    """(timestamp, offset): timestamps rise, offsets do not fall."""
    times = sorted(draw(st.sets(TIMES, max_size=10)))
    offsets = sorted(draw(st.lists(st.integers(BASE, BASE + 2**31 - 1), min_size=len(times), max_size=len(times))))
    return list(zip(times, offsets, strict=True))


def index_of(rows: list[tuple[int, int]]) -> TimeIndex:
    index = TimeIndex(BASE)
    for time, offset in rows:
        index.maybe_append(time, offset)
    return index


def packed(*rows: tuple[int, int]) -> bytes:
    return b"".join(struct.pack(">qI", *row) for row in rows)


@given(entries(), st.integers(0, 3))
def test_what_is_written_is_read_whatever_zeros_follow(rows: list[tuple[int, int]], zeros: int) -> None:
    data = index_of(rows).to_bytes()
    assert data == packed(*((time, offset - BASE) for time, offset in rows))
    read = TimeIndex.from_bytes(BASE, data + bytes(ENTRY_BYTES * zeros * bool(rows)))
    assert read.entries() == rows
    assert TimeIndex.last_of_bytes(BASE, data) == read.last == (rows[-1] if rows else (-1, BASE))


def test_a_file_of_zeros_has_no_entries_but_a_record_of_1970_is_one() -> None:
    assert len(TimeIndex.from_bytes(BASE, bytes(3 * ENTRY_BYTES))) == 0
    assert TimeIndex.from_bytes(BASE, packed((0, 0))).entries() == [(0, BASE)]


@given(entries(), TIMES)
def test_a_look_up_leads_to_the_last_entry_that_is_older(rows: list[tuple[int, int]], time: int) -> None:
    expected = max((offset for known, offset in rows if known < time), default=BASE)
    assert index_of(rows).offset_before(time) == expected


@given(entries(), st.integers(BASE, BASE + 2**31 - 1))
def test_truncation_drops_what_lies_at_or_after(rows: list[tuple[int, int]], offset: int) -> None:
    index = index_of(rows)
    index.truncate_to_offset(offset)
    assert index.entries() == [row for row in rows if row[1] < offset]


def test_a_timestamp_that_is_not_larger_makes_no_entry() -> None:
    index = index_of([(5, BASE), (5, BASE + 1), (4, BASE + 2), (-1, BASE + 3), (6, BASE + 4)])
    assert index.entries() == [(5, BASE), (6, BASE + 4)]
    assert len(index) == 2
    assert index.to_bytes(1) == packed((6, 4))


def test_records_without_timestamps_make_no_entry() -> None:
    assert index_of([(-1, BASE), (-1, BASE + 1)]).entries() == []


@pytest.mark.parametrize(
    "data",
    [packed((5, 1))[:-1], packed((5, 1), (4, 2)), packed((5, 1), (5, 2)), packed((5, 2), (6, 1))],
    ids=["torn", "time falls", "time twice", "offset falls"],
)
def test_what_cannot_be_an_index_is_corrupt(data: bytes) -> None:
    with pytest.raises(IndexCorrupt):
        TimeIndex.from_bytes(BASE, data)


@given(st.binary(max_size=60))
def test_any_bytes_are_an_index_or_corrupt(data: bytes) -> None:
    try:
        index = TimeIndex.from_bytes(BASE, data)
    except IndexCorrupt:
        return
    times = [time for time, _ in index.entries()]
    assert times == sorted(set(times))


def test_too_few_bytes_say_nothing_of_the_last_entry() -> None:
    assert TimeIndex.last_of_bytes(BASE, b"\0" * (ENTRY_BYTES - 1)) == (-1, BASE)
