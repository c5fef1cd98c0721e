"""Which records of a batch stay, bit for bit: the rules of Kafka's log cleaner."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.batches import read_by_kafka_python
from tests.support.compaction import INFLATED_MAX, Row, batch

from pybroker_protocol.errors import ProtocolError
from pybroker_protocol.records.batch import (
    BatchHeader,
    TimestampType,
    parse_batch_header,
    patch_max_timestamp,
    patch_offset_and_epoch,
    verify_crc,
    write_crc,
)
from pybroker_protocol.records.builder import RecordBatchBuilder
from pybroker_protocol.records.compression import Codec
from pybroker_protocol.records.control import ControlType, build_end_transaction_marker
from pybroker_protocol.records.record import Record, iter_records
from pybroker_server.log.compaction_filter import ActiveProducer, BatchFilter, CompactionError
from pybroker_server.log.compaction_map import OffsetMap
from pybroker_server.log.compaction_transactions import TransactionTracker
from pybroker_server.log.transaction_index import AbortedTransaction

NOW_MS = 5_000_000
RETENTION_MS = 1000


def at(offset: int, view: memoryview | bytearray) -> memoryview:
    """A batch with its place in the log."""
    patch_offset_and_epoch(view, 0, offset, 3)
    return memoryview(view)


def known(*keys: tuple[bytes, int], latest: int = 1000) -> OffsetMap:
    offsets = OffsetMap(1 << 20)
    offsets.add([Record(None, offset, 0, key, b"", b"") for key, offset in keys], 0)
    offsets.reach(latest)
    return offsets


def filter_of(offsets: OffsetMap, now_ms: int = NOW_MS, **given: Any) -> BatchFilter:
    return BatchFilter(
        offsets,
        TransactionTracker(given.get("aborted", ())),
        given.get("producers", {}),
        end_offset=given.get("end_offset", 10_000),
        delete_retention_ms=RETENTION_MS,
        now_ms=now_ms,
    )


def clean(view: memoryview, cleaner: BatchFilter) -> memoryview | None:
    left = cleaner.clean(parse_batch_header(view), view)
    return left if left is None or isinstance(left, memoryview) else memoryview(left)


def rows(view: memoryview) -> list[tuple[int, bytes | None, bytes | None]]:
    assert verify_crc(view)
    return [(r.offset, r.key, r.value) for r in iter_records(view, max_bytes=INFLATED_MAX)]


def header_of(view: memoryview | None) -> BatchHeader:
    assert view is not None
    return parse_batch_header(view)


def test_what_loses_nothing_is_handed_back_itself() -> None:
    view = at(10, batch((b"a", b"1"), (b"b", b"2")))
    assert filter_of(known((b"a", 10), (b"b", 11))).clean(parse_batch_header(view), view) is view


@pytest.mark.parametrize("codec", list(Codec))
def test_what_stays_keeps_its_bytes_and_the_batch_its_ends(codec: Codec) -> None:
    view = at(10, batch((b"a", b"1"), (b"b", b"2"), (b"c", b"3"), codec=codec, producer=(7, 1, 40)))
    left = clean(view, filter_of(known((b"a", 99), (b"b", 11), (b"c", 99))))
    assert left is not None
    assert rows(left) == [(11, b"b", b"2")]
    before, after = parse_batch_header(view), parse_batch_header(left)
    same = {"batch_length", "crc", "record_count"}
    assert {k: v for k, v in before._asdict().items() if k not in same} == {
        k: v for k, v in after._asdict().items() if k not in same
    }
    assert after.record_count == 1
    assert [(key, value) for _, key, value, _ in read_by_kafka_python(bytes(left))] == [(b"b", b"2")]


def test_headers_and_time_distances_survive() -> None:
    builder = RecordBatchBuilder()
    for number in range(5):
        builder.append(1000 + 100 * number, b"%d" % number, b"v", [("h", b"%d" % number), ("null", None)])
    view = at(0, builder.build())
    left = clean(view, filter_of(known((b"1", 50), (b"3", 51), (b"4", 52))))
    assert left is not None
    found = list(iter_records(left, max_bytes=INFLATED_MAX))
    assert [(r.offset, r.timestamp, r.headers) for r in found] == [
        (0, 1000, [("h", b"0"), ("null", None)]),
        (2, 1200, [("h", b"2"), ("null", None)]),
    ]
    assert header_of(left).max_timestamp == 1200


def test_a_batch_of_nothing_goes() -> None:
    assert clean(at(5, batch((b"a", b"1"))), filter_of(known((b"a", 9)))) is None


def test_records_without_a_key_go_as_far_as_the_map_reaches() -> None:
    view = at(5, batch((None, b"1"), (None, b"2"), (b"k", b"3")))
    left = clean(view, filter_of(known(latest=5)))
    assert left is not None
    assert rows(left) == [(6, None, b"2"), (7, b"k", b"3")]
    assert clean(view, filter_of(known(latest=4))) is view


# -- tombstones


def test_a_tombstone_gets_a_horizon_once_and_goes_when_it_has_passed() -> None:
    view = at(5, batch((b"a", None), (b"b", b"1"), timestamp=77))
    marked = clean(view, filter_of(known((b"a", 5))))
    assert marked is not None
    header = parse_batch_header(marked)
    assert header.has_delete_horizon
    assert header.base_timestamp == NOW_MS + RETENTION_MS
    assert header.max_timestamp == 77
    assert [r.timestamp for r in iter_records(marked, max_bytes=INFLATED_MAX)] == [77, 77]
    assert clean(marked, filter_of(known(), NOW_MS + RETENTION_MS - 1)) is marked
    left = clean(marked, filter_of(known(), NOW_MS + RETENTION_MS))
    assert left is not None
    assert rows(left) == [(6, b"b", b"1")]
    assert parse_batch_header(left).has_delete_horizon
    assert [r.timestamp for r in iter_records(left, max_bytes=INFLATED_MAX)] == [77]


def test_a_tombstone_beyond_the_map_waits_for_the_pass_that_reaches_it() -> None:
    view = at(5, batch((b"a", b"1"), (b"b", None)))
    left = clean(view, filter_of(known((b"a", 5), latest=5)))
    assert left is view


def test_the_append_time_of_a_batch_is_that_of_its_records_whatever_goes() -> None:
    view = at(5, batch((b"a", None), (b"b", b"1"), timestamp=77))
    patch_max_timestamp(view, 0, 900, TimestampType.LOG_APPEND_TIME)
    left = clean(view, filter_of(known((b"b", 50))))
    assert left is not None
    assert [(r.key, r.timestamp) for r in iter_records(left, max_bytes=INFLATED_MAX)] == [(b"a", 900)]


# -- producers and ends


def test_the_last_batch_of_an_active_producer_stays_without_records() -> None:
    view = at(5, batch((b"a", b"1"), (b"a", b"2"), producer=(7, 1, 40), codec=Codec.GZIP))
    cleaner = filter_of(known((b"a", 9)), producers={7: ActiveProducer(6, 1)})
    left = clean(view, cleaner)
    header = header_of(left)
    assert left is not None
    assert len(left) == 61
    assert rows(left) == []
    assert (header.base_offset, header.last_offset, header.base_sequence, header.last_sequence) == (5, 6, 40, 41)
    assert (header.producer_id, header.producer_epoch, header.codec) == (7, 1, Codec.NONE)
    assert clean(left, cleaner) is left
    assert clean(left, filter_of(known((b"a", 9)), producers={7: ActiveProducer(20, 1)})) is None


def test_the_last_batch_of_the_section_stays_so_that_its_end_is_known() -> None:
    view = at(5, batch((b"a", b"1"), (b"a", b"2")))
    left = clean(view, filter_of(known((b"a", 9)), end_offset=7))
    assert header_of(left).record_count == 0
    assert header_of(left).next_offset == 7


# -- markers


def marker(kind: ControlType, offset: int, epoch: int = 0) -> memoryview:
    built = build_end_transaction_marker(kind, timestamp=77, producer_id=7, producer_epoch=epoch, coordinator_epoch=2)
    return at(offset, built)


def data(offset: int, *given: Row) -> memoryview:
    return at(offset, batch(*given, producer=(7, 0, offset), transactional=True))


def test_aborted_data_goes_and_its_marker_stays_this_time() -> None:
    cleaner = filter_of(known((b"a", 5)), aborted=[AbortedTransaction(7, 5, 8, 9)])
    assert clean(data(5, (b"a", b"1")), cleaner) is None
    abort = marker(ControlType.ABORT, 8)
    assert clean(abort, cleaner) is abort
    later = data(9, (b"a", b"2"))
    assert clean(later, cleaner) is later, "the next transaction of the same producer"


@pytest.mark.parametrize("kind", [ControlType.ABORT, ControlType.COMMIT])
def test_a_marker_without_data_gets_a_horizon_and_goes_when_it_has_passed(kind: ControlType) -> None:
    marked = clean(marker(kind, 8), filter_of(known()))
    assert header_of(marked).has_delete_horizon
    assert header_of(marked).base_timestamp == NOW_MS + RETENTION_MS
    assert marked is not None
    assert [r.timestamp for r in iter_records(marked, max_bytes=INFLATED_MAX)] == [77]
    assert clean(marked, filter_of(known(), NOW_MS + RETENTION_MS - 1)) is marked
    assert clean(marked, filter_of(known(), NOW_MS + RETENTION_MS)) is None


def test_a_marker_that_fences_stays_without_its_record() -> None:
    producers = {7: ActiveProducer(None, 4)}
    marked = clean(marker(ControlType.COMMIT, 8, epoch=4), filter_of(known(), producers=producers))
    assert marked is not None
    left = clean(marked, filter_of(known(), NOW_MS + RETENTION_MS, producers=producers))
    assert header_of(left).record_count == 0
    assert (header_of(left).is_control, header_of(left).producer_epoch) == (True, 4)
    assert left is not None
    assert clean(left, filter_of(known())) is None
    older = clean(marker(ControlType.COMMIT, 8, epoch=3), filter_of(known(), producers=producers))
    assert older is not None
    assert clean(older, filter_of(known(), NOW_MS + RETENTION_MS, producers=producers)) is None


def test_a_committed_transactions_marker_stays_with_an_empty_batch_of_it() -> None:
    producers = {7: ActiveProducer(5, 0)}
    cleaner = filter_of(known((b"a", 50)), producers=producers)
    emptied = clean(data(5, (b"a", b"1")), cleaner)
    assert header_of(emptied).is_transactional
    commit = marker(ControlType.COMMIT, 6)
    assert clean(commit, cleaner) is commit
    again = filter_of(known((b"a", 50)), NOW_MS * 2, producers=producers)
    assert emptied is not None
    assert clean(emptied, again) is emptied
    assert clean(commit, again) is commit, "else the empty batch would open a transaction that never ends"


# -- damage


def test_damage_is_not_covered_up() -> None:
    view = at(5, batch((b"a", b"1"), (b"b", b"2")))
    view[70] ^= 1
    with pytest.raises(CompactionError, match="offset 5"):
        clean(view, filter_of(known((b"a", 99))))


def test_records_that_cannot_be_read_are_an_error() -> None:
    view = at(5, batch((b"a", b"1"), codec=Codec.GZIP))
    broken = bytearray(view)
    broken[80:] = bytes(len(broken) - 80)
    write_crc(broken, 0, len(broken))
    with pytest.raises(ProtocolError):
        clean(memoryview(broken), filter_of(known((b"a", 99))))


@given(
    st.lists(
        st.tuples(st.sampled_from([b"a", b"b", b"", b"long key " * 8, None]), st.binary(max_size=300) | st.none()),
        min_size=1,
        max_size=40,
    ),
    st.sampled_from(list(Codec)),
    st.integers(0, 60),
)
def test_what_is_left_of_any_batch_is_what_the_rules_say(given_rows: list[Row], codec: Codec, latest: int) -> None:
    view = at(7, batch(*given_rows, codec=codec))
    offsets = OffsetMap(1 << 20)
    before = [r for r in iter_records(view, max_bytes=INFLATED_MAX) if r.offset <= latest]
    offsets.add(before, 0)
    offsets.reach(latest)
    last = {r.key: r.offset for r in before}
    expected = [
        (7 + delta, key, value)
        for delta, (key, value) in enumerate(given_rows)
        if 7 + delta > latest or (key is not None and last[key] == 7 + delta)
    ]
    left = clean(view, filter_of(offsets))
    assert (rows(left) if left is not None else []) == expected
