"""Producer snapshots: Kafka's format with the older batches behind it, and never half of what was written."""

import struct

import pytest
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from pybroker_server.log.producer_snapshot import SnapshotCorrupt, format_snapshot, parse_snapshot
from pybroker_server.log.producer_state import ProducerEntry, ProducerState

TIMES = st.integers(-1, 2**60)


@st.composite
def states(draw: st.DrawFn) -> ProducerState:
    """Producers as batches and markers leave them."""
    state = ProducerState()
    offset = draw(st.integers(0, 2**40))
    for _ in range(draw(st.integers(0, 12))):
        producer_id, epoch = draw(st.integers(0, 3)), draw(st.integers(0, 2))
        entry = state.get(producer_id)
        epoch = max(epoch, entry.epoch if entry else 0)
        if draw(st.booleans()):
            first = draw(st.sampled_from([-1, 0, 7, 2**31 - 1]))
            count = draw(st.integers(1, 5))
            last = -1 if first < 0 else (first + count - 1) & (2**31 - 1)
            end = offset + count - 1
            state.apply_data(producer_id, epoch, first, last, offset, end, draw(TIMES), draw(st.booleans()))
            offset = end
        else:
            state.apply_marker(producer_id, epoch, draw(st.integers(0, 9)), offset, draw(TIMES), draw(st.booleans()))
        offset += 1
    return state


def identities(entries: object) -> list[tuple[object, ...]]:
    return [entry.identity for entry in entries]  # type: ignore[attr-defined]


@given(states())
def test_what_is_written_is_read(state: ProducerState) -> None:
    assert identities(parse_snapshot(format_snapshot(state), 0, 100)) == identities(state)


@given(states(), st.data())
def test_no_byte_can_be_lost_or_changed_unnoticed(state: ProducerState, data: st.DataObject) -> None:
    whole = format_snapshot(state)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(SnapshotCorrupt):
        parse_snapshot(whole[:cut], 0, 100)
    changed = bytearray(whole)
    changed[cut] ^= data.draw(st.integers(1, 255))
    with pytest.raises(SnapshotCorrupt):
        parse_snapshot(bytes(changed), 0, 100)


def kafkas(*producers: tuple[int, int, int, int, int, int, int, int], count: int | None = None) -> bytes:
    """A snapshot as Kafka writes it: id, epoch, sequence, offset, delta, timestamp, coordinator epoch, first offset."""
    rows = b"".join(struct.pack(">qhiqiqiq", *row) for row in producers)
    body = struct.pack(">i", len(producers) if count is None else count) + rows
    return struct.pack(">hI", 1, crc32c(body)) + body


def test_kafkas_own_is_read_with_the_one_batch_that_it_knows() -> None:
    [entry] = parse_snapshot(kafkas((7, 3, 9, 105, 4, 1234, 2, 90)), 0, 100)
    assert entry.identity == (7, 3, 2, 1234, 90, ((5, 9, 101, 105, 1234),))
    [empty] = parse_snapshot(kafkas((7, 3, -1, -1, 0, 55, 2, -1)), 0, 100)
    assert empty.identity == (7, 3, 2, 55, -1, ())


def test_a_producer_with_one_batch_is_written_as_kafka_does() -> None:
    state = ProducerState()
    state.apply_data(7, 3, 5, 9, 101, 105, 1234, True)
    assert format_snapshot(state) == kafkas((7, 3, 9, 105, 4, 1234, -1, 101))


def test_a_sequence_that_went_round_is_read_as_it_was() -> None:
    [entry] = parse_snapshot(kafkas((7, 3, 1, 105, 4, 1234, 2, -1)), 0, 100)
    assert entry.batches[0][:2] == (2**31 - 3, 1)


@pytest.mark.parametrize("count", [2, 2**31 - 1])
def test_a_count_that_is_larger_than_the_file_is_corrupt(count: int) -> None:
    with pytest.raises(SnapshotCorrupt):
        parse_snapshot(kafkas((7, 3, 9, 105, 4, 1234, 2, 90), count=count), 0, 100)


def test_another_version_is_corrupt() -> None:
    with pytest.raises(SnapshotCorrupt, match="version 2"):
        parse_snapshot(b"\0\2" + format_snapshot([])[2:], 0, 100)


@given(st.binary(max_size=120))
def test_any_bytes_are_corrupt(data: bytes) -> None:
    with pytest.raises(SnapshotCorrupt):
        parse_snapshot(data, 0, 100)


@pytest.mark.parametrize(("timestamp", "active"), [(1000, 1000), (980, 980), (0, 950), (-1, 950), (5000, 1000)])
def test_an_idle_producer_has_half_its_time_left_and_none_lives_for_ever(timestamp: int, active: int) -> None:
    entry = ProducerEntry(1, 0, 0)
    entry.last_timestamp = timestamp
    [read] = parse_snapshot(format_snapshot([entry]), 1000, 100)
    assert read.last_active_ms == active
