"""Bytes that lie: records come out right or `ProtocolError` does, nothing else, and never more than was there."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support import golden_batches
from tests.support.batches import batch_bytes, record_bytes, varint

from pybroker_protocol.errors import DecompressionTooLarge, ProtocolError
from pybroker_protocol.records.builder import RecordBatchBuilder
from pybroker_protocol.records.compression import Codec
from pybroker_protocol.records.record import decode_headers, iter_records
from pybroker_protocol.records.varint import OFFSETS, ONE_BYTE, decode_varint, encode_varint

LIMIT = 1 << 16


def read_all(batch: bytes) -> int:
    """Reads everything, headers too; the number of records."""
    return sum(1 for record in iter_records(batch, max_bytes=LIMIT) if record.headers is not None)


def run_of(count: int) -> bytes:
    return b"".join(record_bytes(delta, b"value", key=b"key") for delta in range(count))


@pytest.mark.parametrize("batch", [golden_batches.NONE, golden_batches.LZ4, batch_bytes(run_of(40), 40)], ids=[0, 1, 2])
def test_a_batch_cut_anywhere_is_refused(batch):
    assert read_all(batch) > 0
    for cut in range(len(batch)):
        with pytest.raises(ProtocolError):
            read_all(batch[:cut])


@pytest.mark.parametrize("count", [3, 40, 80])
def test_a_body_cut_anywhere_is_refused_though_the_header_agrees(count):
    body = run_of(count)
    for cut in range(len(body)):
        with pytest.raises(ProtocolError):
            read_all(batch_bytes(body[:cut], count))


@pytest.mark.parametrize("codec", Codec)
def test_flipped_bits_bring_nothing_but_protocol_errors(codec):
    builder = RecordBatchBuilder(codec=codec)
    for index in range(20):
        builder.append(1000 + index, b"key", b"value", [("h", b"1")] if index % 3 else None)
    batch = builder.build()
    for at in range(21, len(batch)):
        for bit in range(8):
            batch[at] ^= 1 << bit
            try:
                assert read_all(batch) <= len(batch) * 1000
            except ProtocolError:
                pass
            batch[at] ^= 1 << bit


@given(body=st.binary(max_size=120), count=st.integers(-2, 40), attributes=st.integers(0, 7))
def test_garbage_brings_nothing_but_protocol_errors(body, count, attributes):
    try:
        assert read_all(batch_bytes(body, count, attributes=attributes)) == count
    except ProtocolError:
        pass


@given(
    body=st.lists(st.tuples(st.integers(-3, 300), st.binary(max_size=12)), max_size=30),
    count=st.integers(0, 40),
)
def test_records_with_lying_lengths_bring_nothing_but_protocol_errors(body, count):
    data = b"".join(varint(length) + b"\x00\x00" + rest for length, rest in body)
    try:
        assert read_all(batch_bytes(data, count)) == count
    except ProtocolError:
        pass


@pytest.mark.parametrize("count", [1, 20, 40])
@pytest.mark.parametrize("lie", [-1, 1, 2**31 - 1])
def test_a_count_that_is_not_that_of_the_records_is_refused(count, lie):
    with pytest.raises(ProtocolError):
        read_all(batch_bytes(run_of(count), lie if lie > 1 else count + lie, last_delta=count))


@pytest.mark.parametrize("count", [-1, -(2**31)])
def test_a_negative_count_is_refused(count):
    with pytest.raises(ProtocolError):
        read_all(batch_bytes(b"", count, last_delta=0))


@pytest.mark.parametrize(
    "record",
    [
        varint(-1),
        varint(6),
        varint(8) + record_bytes(0)[1:],
        varint(2**31 - 1) + record_bytes(0)[1:],
        varint(7) + b"\x00\x00\x00" + varint(-2) + varint(1) + b"v\x00",
        varint(8) + b"\x00\x00\x00" + varint(-1) + varint(-2) + b"vv\x00",
        varint(8) + b"\x00\x00\x00" + varint(100) + varint(1) + b"v\x00\x00",
        varint(8) + b"\x00\x00\x00" + varint(-1) + varint(100) + b"v\x00\x00",
        varint(7) + b"\x00\x00\x00" + varint(-1) + varint(1) + b"v" + varint(1),
        b"\xff" * 5 + record_bytes(0)[1:],
        varint(20) + b"\x00" + b"\xff" * 11 + b"\x00" * 8,
    ],
)
def test_a_record_that_does_not_add_up_is_refused(record):
    for body, count in ((record, 1), (record_bytes(0) + record, 2), (record * 20, 20)):
        with pytest.raises(ProtocolError):
            read_all(batch_bytes(body, count))


@pytest.mark.parametrize(
    "raw",
    [
        varint(1),
        varint(-1),
        varint(1000),
        varint(1) + varint(-1) + varint(0),
        varint(1) + varint(0) + varint(-2),
        varint(1) + varint(5) + b"ab",
        varint(1) + varint(1) + b"a" + varint(5) + b"ab",
        varint(1) + varint(1) + b"a" + varint(1) + b"b" + b"more",
    ],
)
def test_headers_that_do_not_add_up_are_refused(raw):
    with pytest.raises(ProtocolError):
        decode_headers(raw)


def test_header_keys_that_are_not_utf8_are_read_with_replacements():
    assert decode_headers(varint(1) + varint(2) + b"\xffa" + varint(-1)) == [("\ufffda", None)]


def test_a_bomb_stops_at_the_limit():
    builder = RecordBatchBuilder(codec=Codec.ZSTD)
    builder.append(0, None, bytes(1 << 22))
    with pytest.raises(DecompressionTooLarge):
        list(iter_records(builder.build(), max_bytes=1 << 20))


@given(st.integers(-(2**63), 2**63 - 1))
def test_varints_come_back(value):
    data = encode_varint(value)
    assert data == varint(value)
    assert decode_varint(b"x" + data, 1, 64) == (value, 1 + len(data))
    if -(2**31) <= value < 2**31:
        assert decode_varint(data, 0) == (value, len(data))
    elif len(data) > 5 or not -(2**31) <= value < 2**31:
        with pytest.raises(ProtocolError):
            decode_varint(data, 0)


def test_the_tables_say_what_the_functions_say():
    assert [encode_varint(delta) for delta in range(len(OFFSETS))] == list(OFFSETS)
    assert all(encode_varint(value) == bytes([byte]) for byte, value in enumerate(ONE_BYTE))
