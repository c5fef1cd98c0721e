"""Reading: whole batches from any offset within any size, nothing past the bound, and records by time."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.compaction import batch
from tests.support.partition_logs import NOW_MS, SMALL, end_transaction, new_log, put

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.records.batch import iter_batches
from pybroker_protocol.records.builder import RecordBatchBuilder
from pybroker_protocol.records.control import ControlType
from pybroker_server.log.log_config import LOG_APPEND_TIME, LogConfig
from pybroker_server.log.log_reader import Segments
from pybroker_server.log.partition_log import PartitionLog
from pybroker_server.log.position import LogPosition, ReadResult

BATCHES = 30
RECORDS = 2


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> PartitionLog:
    """Batches of two records in several segments, an index entry for every few."""
    made = new_log(tmp_path_factory.mktemp("log"), replace(SMALL, segment_bytes=900, index_interval_bytes=150))
    for number in range(BATCHES):
        put(made, b"%d" % number, b"x" * number, timestamp=NOW_MS + 10 * number)
    assert len(made.segments) > 3
    return made


def read(log: PartitionLog, offset: int, max_bytes: int, upper: LogPosition, *, min_one: bool) -> ReadResult:
    result = log.read(offset, max_bytes, upper, min_one=min_one, nowait=False)
    assert result is not None
    return result


@settings(max_examples=300)
@given(data=st.data(), max_bytes=st.integers(0, 1500), min_one=st.booleans())
def test_a_read_is_whole_batches_in_order_from_the_offset_to_the_bound(
    log: PartitionLog, data: st.DataObject, max_bytes: int, min_one: bool
) -> None:
    offset = data.draw(st.integers(0, BATCHES * RECORDS))
    upper = log.position_of(data.draw(st.integers(0, BATCHES)) * RECORDS)
    result = read(log, offset, max_bytes, upper, min_one=min_one)
    headers = [header for _, header in iter_batches(result.records)]
    assert sum(header.size_bytes for header in headers) == len(result.records)
    if not headers:
        first = batch((b"k", b"0"), (b"k", b""))
        assert offset >= upper.offset or (not min_one and max_bytes < len(first) + 40)
        return
    assert offset < upper.offset
    assert headers[0].base_offset == offset - offset % RECORDS == result.start.offset
    assert [header.base_offset for header in headers] == list(
        range(headers[0].base_offset, headers[-1].next_offset, RECORDS)
    )
    assert headers[-1].next_offset <= upper.offset
    assert len(result.records) <= max_bytes or (min_one and len(headers) == 1)


@pytest.mark.parametrize("max_bytes", [1, 100, 250, 10_000])
def test_who_reads_on_from_where_a_read_ended_sees_everything_once(log: PartitionLog, max_bytes: int) -> None:
    seen: list[int] = []
    offset = 0
    while offset < log.log_end_offset:
        result = read(log, offset, max_bytes, log.end_position, min_one=True)
        bases = [header.base_offset for _, header in iter_batches(result.records)]
        assert bases
        seen += bases
        offset = bases[-1] + RECORDS
    assert seen == list(range(0, BATCHES * RECORDS, RECORDS))
    assert not read(log, offset, max_bytes, log.end_position, min_one=True).records


@pytest.mark.parametrize("offset", [-1, BATCHES * RECORDS + 1])
def test_an_offset_that_is_not_in_the_log_is_out_of_range(log: PartitionLog, offset: int) -> None:
    with pytest.raises(KafkaError) as caught:
        log.read(offset, 100, log.end_position, min_one=True, nowait=False)
    assert caught.value.code is ErrorCode.OFFSET_OUT_OF_RANGE


def test_every_offset_has_a_position_from_which_it_is_read(log: PartitionLog) -> None:
    for offset in range(BATCHES * RECORDS):
        found = log.position_of(offset)
        segment = next(one for one in log.segments if one.base_offset == found.segment_base_offset)
        view = memoryview(bytearray(61))
        segment.file().read_into(found.position, view)
        assert int.from_bytes(view[:8], "big") == offset - offset % RECORDS
    assert log.position_of(log.log_end_offset) == log.end_position


def test_a_read_that_may_not_wait_says_when_an_index_must_be_read_first(log: PartitionLog) -> None:
    for _ in range(2):
        log.close_idle_files()
    assert log.read(3, 100, log.end_position, min_one=True, nowait=True) is None
    assert read(log, 3, 100, log.end_position, min_one=True).records


def test_what_was_handed_out_stays_as_it_is(tmp_path: Path) -> None:
    """Buffers are pooled: one is lent again only when nobody looks at it."""
    small = new_log(tmp_path)
    put(small, b"first")
    put(small, b"second")
    first = read(small, 0, 1, small.end_position, min_one=True)
    before = bytes(first.records)
    for _ in range(5):
        read(small, 1, 1, small.end_position, min_one=True)
    assert bytes(first.records) == before


def test_a_read_goes_on_through_a_truncation_that_happens_meanwhile(tmp_path: Path) -> None:
    log = new_log(tmp_path)
    for number in range(12):
        put(log, b"%d" % number)
    reader = log._reader
    gone = reader.segments.all[0]
    real = gone.file()

    class Vanishing:
        """The first look finds the segment dropped, as a thread may that was overtaken by retention."""

        path = real.path

        def read_into(self, *_: object, **__: object) -> int:
            gone._file = real
            reader.forget_positions()
            raise ValueError("closed")

    gone._file = Vanishing()  # type: ignore[assignment]
    result = read(log, 0, 1, log.end_position, min_one=True)
    assert result.start.offset == 0


# -- by time


@settings(max_examples=150)
@given(time=st.integers(NOW_MS - 5, NOW_MS + 10 * BATCHES + 5), upper=st.integers(0, BATCHES * RECORDS))
def test_the_first_record_that_is_not_older(log: PartitionLog, time: int, upper: int) -> None:
    expected = next(
        (
            (NOW_MS + 10 * (offset // RECORDS), offset)
            for offset in range(upper)
            if NOW_MS + 10 * (offset // RECORDS) >= time
        ),
        None,
    )
    assert log.offset_for_timestamp(time, upper) == expected


TIMES = st.lists(st.lists(st.integers(1, 50), min_size=1, max_size=3), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(times=TIMES, asked=st.integers(0, 51), data=st.data())
def test_by_time_any_order_of_timestamps_is_searched(
    tmp_path_factory: pytest.TempPathFactory, times: list[list[int]], asked: int, data: st.DataObject
) -> None:
    log = new_log(tmp_path_factory.mktemp("times"))
    rows: list[tuple[int, int]] = []
    for stamps in times:
        builder = RecordBatchBuilder()
        for stamp in stamps:
            builder.append(stamp, b"k", b"v" * 20)
            rows.append((stamp, len(rows)))
        log.append_as_leader(memoryview(builder.build()), 0, NOW_MS)
    upper = data.draw(st.integers(0, len(rows)))
    start = data.draw(st.integers(0, len(rows)))
    log.delete_records_before(start)
    visible = [row for row in rows[:upper] if row[1] >= start]
    assert log.offset_for_timestamp(asked, upper) == next((row for row in visible if row[0] >= asked), None)
    log = new_log(tmp_path_factory.mktemp("times"))
    for stamps in times:
        builder = RecordBatchBuilder()
        for stamp in stamps:
            builder.append(stamp, b"k", b"v" * 20)
        log.append_as_leader(memoryview(builder.build()), 0, NOW_MS)
    largest = max(rows[:upper], key=lambda row: (row[0], -row[1]), default=None)
    assert log.max_timestamp_record(upper) == largest


def test_with_log_append_time_the_first_of_a_batch_has_it(tmp_path: Path) -> None:
    log = new_log(tmp_path, LogConfig(message_timestamp_type=LOG_APPEND_TIME))
    put(log, b"a", b"b", timestamp=1, now_ms=NOW_MS)
    put(log, b"c", b"d", timestamp=1, now_ms=NOW_MS + 5)
    assert log.offset_for_timestamp(NOW_MS + 1, 4) == (NOW_MS + 5, 2)
    assert log.max_timestamp_record(4) == (NOW_MS + 5, 2)
    assert log.max_timestamp_record(2) == (NOW_MS, 0)


def test_a_batch_that_cannot_be_read_is_a_corrupt_message(tmp_path: Path) -> None:
    log = new_log(tmp_path, LogConfig())
    builder = RecordBatchBuilder()
    for time in (NOW_MS, NOW_MS + 1):
        builder.append(time, b"k", b"v")
    body = builder.build()
    log.append_as_leader(memoryview(body), 0, NOW_MS)
    path = Path(log.directory) / f"{0:020d}.log"
    data = bytearray(path.read_bytes())
    data[61] = 0xFF
    path.write_bytes(data)
    with pytest.raises(KafkaError) as caught:
        log.offset_for_timestamp(NOW_MS, 2)
    assert caught.value.code is ErrorCode.CORRUPT_MESSAGE


# -- transactions, segments


def test_aborted_transactions_are_found_in_the_segments_after_the_read(tmp_path: Path) -> None:
    log = new_log(tmp_path)
    put(log, producer=(1, 0, 0), transactional=True)  # 0
    put(log, producer=(2, 0, 0), transactional=True)  # 1
    log.roll(NOW_MS)
    end_transaction(log, ControlType.ABORT, 2)  # 2
    log.roll(NOW_MS)
    end_transaction(log, ControlType.ABORT, 1)  # 3
    put(log)  # 4
    assert log.aborted_transactions(0, 1) == [(1, 0)]
    assert sorted(log.aborted_transactions(0, 5)) == [(1, 0), (2, 1)]
    assert log.aborted_transactions(3, 5) == [(1, 0)]
    assert log.aborted_transactions(4, 5) == []


def test_the_segment_of_an_offset(log: PartitionLog) -> None:
    segments = Segments(log.segments)
    bases = [segment.base_offset for segment in log.segments]
    for number, base in enumerate(bases):
        assert segments.number_of(base) == number
        assert segments.number_of(base + 1) == number
    assert segments.number_of(-1) == 0
    assert segments.number_of(10**9) == len(bases) - 1
    assert segments.active is log.segments[-1]
