"""Leader epochs: what replicas are told before they truncate (KIP-101, KIP-279)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybroker_server.log.checkpoints import CheckpointCorrupt
from pybroker_server.log.leader_epochs import LeaderEpochs


def epochs(*entries: tuple[int, int]) -> LeaderEpochs:
    made = LeaderEpochs()
    for epoch, start_offset in entries:
        assert made.assign(epoch, start_offset)
    return made


@st.composite
def rising(draw: st.DrawFn) -> list[tuple[int, int]]:
    numbers = st.sets(st.integers(0, 2**31 - 1), max_size=8)
    first = sorted(draw(numbers))
    second = sorted(draw(st.sets(st.integers(0, 2**63 - 1), min_size=len(first), max_size=len(first))))
    return list(zip(first, second, strict=True))


@given(rising())
def test_what_is_written_is_read(entries: list[tuple[int, int]]) -> None:
    assert LeaderEpochs.from_bytes(epochs(*entries).to_bytes()).entries == entries


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9))))
def test_whatever_is_assigned_epochs_and_offsets_rise(assigned: list[tuple[int, int]]) -> None:
    made = LeaderEpochs()
    for epoch, start_offset in assigned:
        made.assign(epoch, start_offset)
    numbers, offsets = [list(column) for column in zip(*made.entries, strict=True)] or [[], []]
    assert numbers == sorted(set(numbers))
    assert offsets == sorted(set(offsets))
    assert LeaderEpochs.from_bytes(made.to_bytes()).entries == made.entries


@given(rising(), st.integers(0, 2**63 - 1))
def test_an_offset_lies_in_the_epoch_that_began_last_before_it(entries: list[tuple[int, int]], offset: int) -> None:
    expected = max((epoch for epoch, start in entries if start <= offset), default=-1)
    assert epochs(*entries).epoch_of_offset(offset) == expected


@pytest.mark.parametrize(
    "lines", ["1 0\n1 5", "2 0\n1 5", "1 5\n2 5", "1 5\n2 4", "-1 0\n1 5", "1 -1\n2 5", "x 0\n2 5", "1 0\n2 y"]
)
def test_a_file_whose_entries_cannot_be_is_corrupt(lines: str) -> None:
    with pytest.raises(CheckpointCorrupt):
        LeaderEpochs.from_bytes(f"0\n2\n{lines}\n".encode())


def test_an_epoch_that_goes_on_is_no_news() -> None:
    made = epochs((3, 10))
    before = made.changes
    assert not made.assign(3, 20)
    assert made.entries == [(3, 10)]
    assert made.changes == before


def test_a_later_start_for_an_older_epoch_drops_what_contradicts_it() -> None:
    made = epochs((1, 0), (2, 10), (4, 20))
    assert made.assign(3, 15)
    assert made.entries == [(1, 0), (2, 10), (3, 15)]
    assert made.assign(5, 10)
    assert made.entries == [(1, 0), (5, 10)]


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        (-1, (-1, -1)),
        (0, (0, 5)),
        (1, (1, 10)),
        (2, (1, 10)),
        (3, (3, 20)),
        (4, (4, 33)),
        (5, (-1, -1)),
    ],
)
def test_where_an_epoch_ended(asked: int, answer: tuple[int, int]) -> None:
    """Kafka's `endOffsetFor`: the largest epoch not above the one asked for, and the start of the next one."""
    assert epochs((1, 5), (3, 10), (4, 20)).end_offset_for(asked, 33) == answer


def test_nothing_is_said_of_an_empty_log() -> None:
    made = LeaderEpochs()
    assert made.latest == -1
    assert made.end_offset_for(0, 0) == (-1, -1)
    assert made.epoch_of_offset(0) == -1
    assert made.start_offset_of(0) == -1


def test_where_an_epoch_began() -> None:
    made = epochs((1, 5), (3, 10))
    assert [made.start_offset_of(epoch) for epoch in (0, 1, 2, 3, 4)] == [-1, 5, -1, 10, -1]


@pytest.mark.parametrize(
    ("end", "left"),
    [(21, [(1, 5), (3, 10), (4, 20)]), (20, [(1, 5), (3, 10)]), (11, [(1, 5), (3, 10)]), (10, [(1, 5)]), (0, [])],
)
def test_truncation_forgets_the_epochs_whose_records_are_gone(end: int, left: list[tuple[int, int]]) -> None:
    made = epochs((1, 5), (3, 10), (4, 20))
    made.truncate_from_end(end)
    assert made.entries == left


@pytest.mark.parametrize(
    ("start", "left"),
    [
        (0, [(1, 5), (3, 10), (4, 20)]),
        (5, [(1, 5), (3, 10), (4, 20)]),
        (7, [(1, 7), (3, 10), (4, 20)]),
        (10, [(3, 10), (4, 20)]),
        (15, [(3, 15), (4, 20)]),
        (99, [(4, 99)]),
    ],
)
def test_a_raised_log_start_keeps_the_epoch_that_holds_it(start: int, left: list[tuple[int, int]]) -> None:
    made = epochs((1, 5), (3, 10), (4, 20))
    made.truncate_from_start(start)
    assert made.entries == left


def test_changes_rise_with_changes_only() -> None:
    made = epochs((1, 5), (3, 10))
    before = made.changes
    made.truncate_from_end(11)
    made.truncate_from_start(5)
    assert made.changes == before
    made.truncate_from_end(10)
    made.truncate_from_start(6)
    made.clear()
    assert made.changes == before + 3
    made.clear()
    assert made.changes == before + 3
    assert made.entries == []
