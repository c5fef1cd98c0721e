"""Records in and out of batches, judged by Kafka's bytes and by two other implementations."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support import golden_batches
from tests.support.batches import (
    aiokafka_batch,
    batch_bytes,
    kafka_python_batch,
    read_by_aiokafka,
    read_by_kafka_python,
    record_bytes,
)

from pybroker_protocol.records.batch import parse_batch_header, patch_log_append_time, verify_crc
from pybroker_protocol.records.builder import RecordBatchBuilder, stamp_producer
from pybroker_protocol.records.compression import Codec
from pybroker_protocol.records.record import Record, RecordReader, iter_records

LIMIT = 1 << 24
GOLDEN = {
    Codec.NONE: golden_batches.NONE,
    Codec.GZIP: golden_batches.GZIP,
    Codec.SNAPPY: golden_batches.SNAPPY,
    Codec.LZ4: golden_batches.LZ4,
    Codec.ZSTD: golden_batches.ZSTD,
}

payloads = st.none() | st.binary(max_size=300)
headers = st.lists(st.tuples(st.text(max_size=8), st.none() | st.binary(max_size=20)), max_size=4)
timestamps = st.integers(0, 2**48)
rows_of_any_kind = st.lists(st.tuples(timestamps, payloads, payloads, headers), min_size=1, max_size=40)


def built(rows, **options) -> bytearray:
    builder = RecordBatchBuilder(**options)
    for timestamp, key, value, row_headers in rows:
        builder.append(timestamp, key, value, row_headers)
    return builder.build()


def rows_of(batch) -> list:
    return [
        (record.timestamp, record.key, record.value, record.headers) for record in iter_records(batch, max_bytes=LIMIT)
    ]


@pytest.mark.parametrize("codec", Codec)
def test_kafkas_own_batches_are_read(codec):
    batch = GOLDEN[codec]
    header = parse_batch_header(batch)
    assert verify_crc(batch)
    assert (header.base_offset, header.partition_leader_epoch, header.record_count) == (5, 2, 3)
    assert (header.producer_id, header.producer_epoch, header.base_sequence) == (4000, 7, 11)
    assert header.codec == codec
    assert rows_of(batch) == golden_batches.ROWS
    records = list(iter_records(batch, max_bytes=LIMIT))
    assert [record.offset for record in records] == [5, 6, 7]
    assert [record.offset_delta for record in records] == [0, 1, 2]
    assert [record.timestamp_delta for record in records] == [0, -1000, 1]


def test_what_we_build_is_byte_for_byte_what_kafka_builds():
    batch = built(golden_batches.ROWS, producer_id=4000, producer_epoch=7, base_sequence=11)
    assert batch[16:] == golden_batches.NONE[16:]  # base offset and leader epoch are the broker's to set
    assert len(batch) == len(golden_batches.NONE)


@pytest.mark.parametrize("codec", Codec)
@pytest.mark.parametrize("read", [read_by_kafka_python, read_by_aiokafka])
@given(rows=rows_of_any_kind)
@settings(max_examples=40)
def test_others_read_what_we_build(codec, read, rows):
    assert read(bytes(built(rows, codec=codec))) == rows


@pytest.mark.parametrize("codec", Codec)
@pytest.mark.parametrize("build", [kafka_python_batch, aiokafka_batch])
@given(rows=rows_of_any_kind)
@settings(max_examples=40)
def test_we_read_what_others_build(codec, build, rows):
    batch = build(codec, rows)
    assert verify_crc(batch)
    assert rows_of(batch) == rows


values_of_few_lengths = st.lists(st.binary(max_size=3), min_size=1, max_size=3).flatmap(
    lambda values: st.lists(st.sampled_from(values), min_size=1, max_size=300)
)


@given(values=values_of_few_lengths, first=st.integers(0, 70))
def test_many_values_at_once_are_the_same_batch_as_one_by_one(values, first):
    bulk, single = RecordBatchBuilder(), RecordBatchBuilder()
    for builder in (bulk, single):
        for _ in range(first):
            builder.append(1000, b"k", b"v")
    bulk.extend_values(1000, values)
    for value in values:
        single.append(1000, None, value)
    assert bulk.record_count == single.record_count == first + len(values)
    assert bulk.size_bytes_estimate == single.size_bytes_estimate
    batch = bulk.build()
    assert batch == single.build()
    assert [row[2] for row in rows_of(batch)][first:] == values


@pytest.mark.parametrize("count", [1, 63, 64, 65, 8191, 8192, 8193, 9000])
@pytest.mark.parametrize("lengths", [(100,), (0, 1, 63, 64, 127, 128, 8191, 8192)])
def test_offsets_and_lengths_of_every_width(count, lengths):
    values = [bytes(lengths[index % len(lengths)]) for index in range(count)]
    builder = RecordBatchBuilder()
    builder.extend_values(7, values)
    size = builder.size_bytes_estimate
    batch = builder.build()
    assert len(batch) == size
    records = list(iter_records(batch, max_bytes=1 << 26))
    assert [record.value for record in records] == values
    assert [record.offset for record in records] == list(range(count))
    assert batch == built([(7, None, value, []) for value in values])


def test_values_at_another_time_than_the_first_keep_their_time():
    builder = RecordBatchBuilder()
    builder.append(1000, None, b"first")
    builder.extend_values(1005, [b"second"] * 20)
    builder.extend_values(990, [b"third"])
    builder.extend_values(990, [])
    batch = builder.build()
    assert [row[0] for row in rows_of(batch)] == [1000] + [1005] * 20 + [990]
    header = parse_batch_header(batch)
    assert (header.base_timestamp, header.max_timestamp) == (1000, 1005)


@pytest.mark.parametrize("timestamp", [0, 1, 2**62, -1])
def test_extreme_timestamps(timestamp):
    rows = [(timestamp, None, b"v", []), (0, None, b"v", []), (2**62, None, b"v", [])]
    assert rows_of(built(rows)) == rows


def test_large_payloads():
    rows = [(5, bytes(1 << 20), bytes(3 << 20), [("h", bytes(1 << 18))])]
    assert rows_of(built(rows)) == rows
    assert read_by_aiokafka(bytes(built(rows, codec=Codec.ZSTD))) == rows


run_rows = st.tuples(
    st.sampled_from([None, 0, 5, 200]),
    st.sampled_from([None, 0, 5, 200]),
    st.integers(1, 400),
    st.sampled_from([0, 1, 90]),
)


@given(shape=run_rows, odd_at=st.none() | st.integers(0, 399), odd=st.tuples(timestamps, payloads, payloads, headers))
def test_runs_of_one_shape_read_like_anything_else(shape, odd_at, odd):
    """With one record of another shape among them, or none."""
    key_bytes, value_bytes, count, step = shape
    rows = [
        (
            10**12 + index * step,
            None if key_bytes is None else bytes([index % 251]) * key_bytes,
            None if value_bytes is None else bytes([index % 241]) * value_bytes,
            [],
        )
        for index in range(count)
    ]
    if odd_at is not None and odd_at < count:
        rows[odd_at] = odd
    batch = built(rows)
    assert rows_of(batch) == rows
    assert [record.offset for record in iter_records(batch, max_bytes=LIMIT)] == list(range(count))


def test_offsets_with_gaps_as_compaction_leaves_them():
    deltas = [0, *range(3, 60), *range(70, 200, 2), 8191, 8192, 9000, 1_000_000]
    batch = batch_bytes(b"".join(map(record_bytes, deltas)), len(deltas), base_offset=100, last_delta=1_000_010)
    assert [record.offset for record in iter_records(batch, max_bytes=LIMIT)] == [100 + delta for delta in deltas]


@pytest.mark.parametrize("count", [3, 100])
@pytest.mark.parametrize("step", [0, 1, 1000])
def test_append_time_replaces_the_time_of_every_record(count, step):
    batch = built([(1000 + step * index, b"k", b"v", []) for index in range(count)])
    patch_log_append_time(batch, 0, 77)
    assert {row[0] for row in rows_of(batch)} == {77}


def test_a_batch_without_records_is_left_by_compaction_and_has_none():
    assert rows_of(batch_bytes(b"", 0, last_delta=9)) == []


def test_a_reader_hands_out_chunks_until_nothing_is_left():
    batch = built([(5, None, str(index).encode(), []) for index in range(500)])
    source = object()
    reader = RecordReader(batch, parse_batch_header(batch), Record, source, max_bytes=LIMIT)
    seen = []
    while reader.left:
        chunk = reader.read(37)
        assert 1 <= len(chunk) <= 37
        seen += chunk
    assert reader.read(37) == []
    assert [record.value for record in seen] == [str(index).encode() for index in range(500)]
    assert all(record.source is source for record in seen)


def test_a_producer_can_be_stamped_later():
    batch = built(golden_batches.ROWS)
    stamp_producer(batch, 4000, 7, 11)
    assert batch[16:] == golden_batches.NONE[16:]


def test_producer_numbers_may_come_at_the_end():
    builder = RecordBatchBuilder(producer_id=1, producer_epoch=2, base_sequence=3, is_transactional=True)
    builder.append(0, None, None)
    header = parse_batch_header(builder.build(producer_epoch=5))
    assert (header.producer_id, header.producer_epoch, header.base_sequence) == (1, 5, 3)
    assert header.is_transactional
    assert not header.is_control


def test_an_empty_batch_is_not_built():
    with pytest.raises(ValueError, match="record"):
        RecordBatchBuilder().build()
