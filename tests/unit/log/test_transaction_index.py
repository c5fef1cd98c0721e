"""The index of aborted transactions: Kafka's bytes, and every transaction that a read could touch."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybroker_server.log.offset_index import IndexCorrupt
from pybroker_server.log.transaction_index import ENTRY_BYTES, AbortedTransaction, TransactionIndex

BASE = 100
OFFSETS = st.integers(0, 60)


@st.composite
def entries(draw: st.DrawFn) -> list[AbortedTransaction]:
    """As a log makes them: markers rise, and a last stable offset is never past what comes after the marker."""
    found = []
    for marker in sorted(draw(st.sets(st.integers(BASE, BASE + 60), max_size=8))):
        first = draw(st.integers(0, marker - 1))
        stable = draw(st.integers(found[-1].last_stable_offset if found else 0, marker + 1))
        found.append(AbortedTransaction(draw(st.integers(0, 2**63 - 1)), first, marker, stable))
    return found


@given(entries())
def test_what_is_written_is_read(rows: list[AbortedTransaction]) -> None:
    data = TransactionIndex(rows).to_bytes()
    assert data == b"".join(struct.pack(">hqqqq", 0, *row) for row in rows)
    read = TransactionIndex.from_bytes(BASE, data)
    assert list(read.entries) == rows
    assert len(read) * ENTRY_BYTES == len(data)
    assert read.to_bytes(1) == data[ENTRY_BYTES:]


@given(entries(), st.integers(0, BASE + 70), st.integers(0, 30))
def test_a_read_is_told_every_transaction_with_records_in_its_range(
    rows: list[AbortedTransaction], start: int, length: int
) -> None:
    upper = start + length
    found, is_complete = TransactionIndex(rows).overlapping(start, upper)
    # One that began before the last stable offset of an earlier marker had to be open then: rows that no log makes.
    ends = next((n for n, row in enumerate(rows) if row.last_stable_offset >= upper), len(rows) - 1)
    assert found == [row for row in rows[: ends + 1] if row.last_offset >= start and row.first_offset < upper]
    assert is_complete == any(row.last_stable_offset >= upper for row in rows)


@given(entries(), st.integers(BASE, BASE + 70))
def test_truncation_drops_the_markers_that_are_gone(rows: list[AbortedTransaction], offset: int) -> None:
    index = TransactionIndex(rows)
    index.truncate_to_offset(offset)
    assert list(index.entries) == [row for row in rows if row.last_offset < offset]


def test_who_holds_the_entries_is_not_disturbed_by_an_append() -> None:
    index = TransactionIndex()
    held = index.entries
    index.append(AbortedTransaction(1, 2, 101, 102))
    assert held == ()
    assert len(index) == 1


def packed(*rows: tuple[int, ...]) -> bytes:
    return b"".join(struct.pack(">hqqqq", *row) for row in rows)


@pytest.mark.parametrize(
    "data",
    [
        packed((0, 1, 2, 101, 5))[:-1],
        packed((1, 1, 2, 101, 5)),
        packed((0, -1, 2, 101, 5)),
        packed((0, 1, 2, 99, 5)),
        packed((0, 1, 2, 101, 5), (0, 1, 3, 101, 5)),
        bytes(ENTRY_BYTES),
    ],
    ids=["torn", "version", "producer", "before the segment", "marker twice", "zeros"],
)
def test_what_cannot_be_an_index_is_corrupt(data: bytes) -> None:
    with pytest.raises(IndexCorrupt):
        TransactionIndex.from_bytes(BASE, data)
