"""Control records, judged by a marker that Kafka wrote."""

from __future__ import annotations

import struct

import pytest
from tests.support import golden_batches

from pybroker_protocol.errors import ProtocolError
from pybroker_protocol.records.batch import parse_batch_header, verify_crc
from pybroker_protocol.records.builder import RecordBatchBuilder
from pybroker_protocol.records.control import (
    ControlType,
    build_end_transaction_marker,
    control_type,
    read_control_batch,
    read_marker,
)


def test_kafkas_marker_is_read():
    batch = golden_batches.ABORT_MARKER
    header = parse_batch_header(batch)
    assert header.is_control
    assert header.is_transactional
    assert (header.producer_id, header.producer_epoch, header.base_sequence) == (4000, 7, -1)
    record = read_control_batch(batch)
    assert record.offset == 9
    assert read_marker(record) == (ControlType.ABORT, 3)


def test_ours_is_byte_for_byte_kafkas():
    batch = build_end_transaction_marker(
        ControlType.ABORT,
        timestamp=golden_batches.TIMESTAMP,
        producer_id=4000,
        producer_epoch=7,
        coordinator_epoch=3,
    )
    assert batch[16:] == golden_batches.ABORT_MARKER[16:]
    assert verify_crc(batch)


def control_record(key: bytes | None, value: bytes | None = b""):
    builder = RecordBatchBuilder(is_control=True)
    builder.append(0, key, value)
    return read_control_batch(builder.build())


def test_types_of_the_future_are_unknown_but_no_error():
    assert control_type(control_record(struct.pack(">hh", 0, 2))) is ControlType.LEADER_CHANGE
    assert control_type(control_record(struct.pack(">hh", 0, 77))) is ControlType.UNKNOWN
    assert control_type(control_record(struct.pack(">hhq", 1, 1, 5))) is ControlType.COMMIT


@pytest.mark.parametrize("key", [None, b"", b"\x00\x00\x00"])
def test_a_control_record_without_a_type_is_refused(key):
    with pytest.raises(ProtocolError):
        control_type(control_record(key))


@pytest.mark.parametrize("value", [None, b"", b"\x00\x00\x00"])
def test_a_marker_cut_short_is_refused(value):
    with pytest.raises(ProtocolError):
        read_marker(control_record(struct.pack(">hh", 0, 1), value))


def test_a_control_batch_has_one_record():
    builder = RecordBatchBuilder(is_control=True)
    builder.append(0, b"\x00\x00\x00\x00", b"")
    builder.append(0, b"\x00\x00\x00\x00", b"")
    with pytest.raises(ProtocolError):
        read_control_batch(builder.build())


def test_only_the_end_of_a_transaction_is_a_marker():
    with pytest.raises(ProtocolError):
        read_marker(control_record(struct.pack(">hh", 0, 2)))
