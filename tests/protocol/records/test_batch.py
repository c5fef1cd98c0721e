"""Batch headers: read, checked and patched where they lie."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.batches import batch_bytes, kafka_python_batch, read_by_kafka_python, record_bytes

from pybroker_protocol.errors import ProtocolError
from pybroker_protocol.records.batch import (
    BATCH_OVERHEAD,
    BatchHeader,
    TimestampType,
    iter_batches,
    pack_batch_header,
    parse_batch_header,
    patch_log_append_time,
    patch_max_timestamp,
    patch_offset_and_epoch,
    verify_crc,
)


def some_batch(count: int = 3) -> bytearray:
    return bytearray(batch_bytes(b"".join(record_bytes(delta) for delta in range(count)), count))


def test_every_field_is_read_from_its_place():
    raw = struct.pack(">qiibIhiqqqhii", 7, 49, 2, 2, 0xFFFFFFFF, 0x7C, 9, -1, 3, 4000, 5, 11, 10)
    header = parse_batch_header(b"xx" + raw, 2)
    assert header == (7, 49, 2, 2, 0xFFFFFFFF, 0x7C, 9, -1, 3, 4000, 5, 11, 10)
    assert header.size_bytes == 61
    assert (header.last_offset, header.next_offset, header.last_sequence) == (16, 17, 20)
    assert (header.codec, header.timestamp_type) == (4, TimestampType.LOG_APPEND_TIME)
    assert header.is_transactional
    assert header.is_control
    assert header.has_delete_horizon
    assert header.has_producer_id


@pytest.mark.parametrize(
    ("base", "delta", "last"), [(-1, 4, -1), (0, 0, 0), (2**31 - 1, 0, 2**31 - 1), (2**31 - 1, 1, 0), (2**31 - 2, 3, 1)]
)
def test_sequences_wrap_to_zero(base, delta, last):
    header = parse_batch_header(some_batch())._replace(base_sequence=base, last_offset_delta=delta)
    assert header.last_sequence == last


@given(st.binary(max_size=80))
def test_a_header_cut_short_is_a_protocol_error(data):
    if len(data) < BATCH_OVERHEAD:
        with pytest.raises(ProtocolError):
            parse_batch_header(data)
    else:
        assert bytes(packed(parse_batch_header(data))) == data[:BATCH_OVERHEAD]


def packed(header: BatchHeader) -> bytearray:
    out = bytearray(BATCH_OVERHEAD)
    pack_batch_header(header, out)
    return out


def test_batches_are_found_one_after_the_other_and_a_cut_one_is_left_out():
    first, second = some_batch(1), some_batch(5)
    data = bytes(first + second)
    found = list(iter_batches(memoryview(data)))
    assert [(position, header.record_count) for position, header in found] == [(0, 1), (len(first), 5)]
    for cut in range(len(data)):
        whole = [position for position, _ in iter_batches(data[:cut])]
        assert whole == ([] if cut < len(first) else [0])


@pytest.mark.parametrize(("at", "value"), [(8, 48), (8, 0), (8, -1), (8, -(2**31))])
def test_a_length_below_the_header_is_refused(at, value):
    batch = some_batch()
    struct.pack_into(">i", batch, at, value)
    with pytest.raises(ProtocolError):
        list(iter_batches(batch))
    assert not verify_crc(batch)


@pytest.mark.parametrize("magic", [0, 1, 3, -1])
def test_another_format_is_refused(magic):
    batch = some_batch()
    struct.pack_into(">b", batch, 16, magic)
    with pytest.raises(ProtocolError, match=str(magic)):
        list(iter_batches(batch))


def test_the_checksum_covers_everything_after_itself():
    batch = some_batch()
    assert verify_crc(batch)
    assert verify_crc(b"junk" + batch, 4)
    for at in range(17, len(batch)):
        for bit in (1, 128):
            batch[at] ^= bit
            assert not verify_crc(batch), at
            batch[at] ^= bit
    for cut in range(len(batch)):
        assert not verify_crc(batch[:cut])


def test_offset_and_epoch_are_patched_without_touching_the_rest():
    batch = some_batch()
    data = bytearray(b"....") + batch
    patch_offset_and_epoch(memoryview(data), 4, 2**40, 17)
    header = parse_batch_header(data, 4)
    assert (header.base_offset, header.partition_leader_epoch) == (2**40, 17)
    assert verify_crc(data, 4)
    assert data[4 + 16 :] == batch[16:]


def test_log_append_time_is_what_every_record_of_the_batch_then_has():
    rows = [(1000 + index, b"k", b"v", []) for index in range(3)]
    data = bytearray(b"..") + kafka_python_batch(0, rows)
    patch_log_append_time(data, 2, 123456789)
    assert verify_crc(data, 2)
    header = parse_batch_header(data, 2)
    assert (header.timestamp_type, header.max_timestamp) == (TimestampType.LOG_APPEND_TIME, 123456789)
    assert [row[0] for row in read_by_kafka_python(bytes(data[2:]))] == [123456789] * 3
    patch_max_timestamp(data, 2, 1002, TimestampType.CREATE_TIME)
    assert verify_crc(data, 2)
    assert read_by_kafka_python(bytes(data[2:])) == rows
