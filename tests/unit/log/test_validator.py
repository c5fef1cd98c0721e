"""Which batches may be stored, and which code a client is given for each that may not (Kafka's checks, KIP-467)."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.batches import batch_bytes, record_bytes
from tests.support.compaction import batch

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.records.batch import CONTROL, LOG_APPEND_TIME, parse_batch_header, verify_crc, write_crc
from pybroker_protocol.records.builder import RecordBatchBuilder
from pybroker_protocol.records.compression import Codec
from pybroker_protocol.records.control import ControlType, build_end_transaction_marker
from pybroker_protocol.records.record import iter_records
from pybroker_server.log.log_config import COMPACT, LogConfig
from pybroker_server.log.validator import AppendOrigin, check_batch, prepare_records

NOW_MS = 1_700_000_000_000
CLIENT = AppendOrigin.CLIENT
ONE = record_bytes(0)
TWO = record_bytes(0) + record_bytes(1)


def code_of(records: bytes | memoryview, config: LogConfig | None = None, origin: AppendOrigin = CLIENT) -> ErrorCode:
    view = memoryview(bytearray(records))
    with pytest.raises(KafkaError) as caught:
        header = check_batch(view, config or LogConfig(), origin)
        prepare_records(view, header, config or LogConfig(), NOW_MS)
    return caught.value.code


def prepared(records: bytes | memoryview, **config: Any) -> tuple[memoryview, int]:
    """What is stored, and the append time that the client is told."""
    view = memoryview(bytearray(records))
    used = LogConfig(**config)
    stored, header, append_time = prepare_records(view, check_batch(view, used, CLIENT), used, NOW_MS)
    assert parse_batch_header(stored) == header
    assert verify_crc(stored[: header.size_bytes])
    return stored, append_time


def stamped(*timestamps: int, codec: Codec = Codec.NONE, key: bytes | None = b"k") -> bytes:
    builder = RecordBatchBuilder(codec=codec)
    for timestamp in timestamps:
        builder.append(timestamp, key, b"v" * 50)
    return bytes(builder.build())


def changed(at: int, value: bytes, *, crc: bool = True) -> bytes:
    """A good batch of two records with other bytes at `at`."""
    data = bytearray(batch((b"k", b"v"), (b"k", b"w")))
    data[at : at + len(value)] = value
    if crc:
        write_crc(data, 0, len(data))
    return bytes(data)


GOOD = bytes(batch((b"k", b"v"), (b"k", b"w")))
REFUSED: dict[str, tuple[Callable[[], bytes], ErrorCode]] = {
    "nothing": (lambda: b"", ErrorCode.INVALID_RECORD),
    "half a header": (lambda: GOOD[:30], ErrorCode.INVALID_RECORD),
    "a few bytes": (lambda: GOOD[:5], ErrorCode.INVALID_RECORD),
    "half a header of nonsense": (lambda: b"\xff" * 30, ErrorCode.CORRUPT_MESSAGE),
    "torn": (lambda: GOOD[:-1], ErrorCode.INVALID_RECORD),
    "two batches": (lambda: GOOD + GOOD, ErrorCode.INVALID_RECORD),
    "format 1": (lambda: changed(16, b"\1"), ErrorCode.INVALID_RECORD),
    "format 3": (lambda: changed(16, b"\3"), ErrorCode.CORRUPT_MESSAGE),
    "a length below any format's": (lambda: changed(8, b"\0\0\0\1"), ErrorCode.CORRUPT_MESSAGE),
    "a length below its header": (lambda: changed(8, b"\0\0\0\x20"), ErrorCode.CORRUPT_MESSAGE),
    "a base offset": (lambda: changed(7, b"\1"), ErrorCode.INVALID_RECORD),
    "a wrong checksum": (lambda: changed(70, b"\xff", crc=False), ErrorCode.CORRUPT_MESSAGE),
    "no records": (lambda: batch_bytes(b"", 0), ErrorCode.INVALID_RECORD),
    "a count below the last delta": (lambda: batch_bytes(TWO, 1, last_delta=1), ErrorCode.INVALID_RECORD),
    "a count above the last delta": (lambda: batch_bytes(TWO, 2, last_delta=0), ErrorCode.INVALID_RECORD),
    "a negative count": (lambda: batch_bytes(TWO, -1, last_delta=-2), ErrorCode.INVALID_RECORD),
    "a control batch": (lambda: batch_bytes(ONE, 1, attributes=CONTROL), ErrorCode.INVALID_RECORD),
    "a producer without sequence": (
        lambda: bytes(batch((b"k", b"v"), producer=(1, 0, -1))),
        ErrorCode.INVALID_RECORD,
    ),
    "a codec that is none": (lambda: batch_bytes(ONE, 1, attributes=5), ErrorCode.CORRUPT_MESSAGE),
    "a codec and no data": (lambda: batch_bytes(b"", 1, attributes=1), ErrorCode.CORRUPT_MESSAGE),
    "more records than fit": (lambda: batch_bytes(ONE, 100), ErrorCode.INVALID_RECORD),
    "bytes after the record": (lambda: batch_bytes(ONE + b"\0", 1), ErrorCode.INVALID_RECORD),
    "a record that is too long": (lambda: batch_bytes(b"\x40" + ONE[1:], 1), ErrorCode.INVALID_RECORD),
    "a length of six bytes": (lambda: batch_bytes(b"\xff" * 6 + ONE, 1), ErrorCode.INVALID_RECORD),
    "a wrong offset delta": (lambda: batch_bytes(record_bytes(1), 1), ErrorCode.INVALID_RECORD),
    "a key of length -2": (lambda: batch_bytes(ONE[:4] + b"\3" + ONE[5:], 1), ErrorCode.INVALID_RECORD),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_batch_that_may_not_be_stored_is_refused_with_kafkas_code(what: str) -> None:
    records, code = REFUSED[what]
    assert code_of(records()) is code


@settings(max_examples=400)
@given(st.data())
def test_whatever_bytes_come_they_are_a_batch_or_refused(data: st.DataObject) -> None:
    """With a right checksum, so that the checks behind it are reached."""
    records = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 4))):
        records[data.draw(st.integers(0, len(records) - 1))] = data.draw(st.integers(0, 255))
    write_crc(records, 0, len(records))
    config = LogConfig(validate_records=True)
    view = memoryview(records)
    try:
        header = check_batch(view, config, CLIENT)
        stored, header, _ = prepare_records(view, header, config, NOW_MS)
    except KafkaError:
        return
    found = list(iter_records(stored[: header.size_bytes], max_bytes=1 << 20))
    assert [record.offset for record in found] == list(range(header.record_count))


def test_bytes_after_the_batch_that_begin_no_other_are_ignored() -> None:
    view = memoryview(bytearray(GOOD + b"\0" * 10))
    assert check_batch(view, LogConfig(), CLIENT).size_bytes == len(GOOD)


def test_max_message_bytes_is_the_largest_size_that_is_taken() -> None:
    check_batch(memoryview(GOOD), LogConfig(max_message_bytes=len(GOOD)), CLIENT)
    assert code_of(GOOD, LogConfig(max_message_bytes=len(GOOD) - 1)) is ErrorCode.MESSAGE_TOO_LARGE


def test_markers_and_coordinators_are_trusted_with_what_clients_are_not() -> None:
    marker = build_end_transaction_marker(
        ControlType.ABORT, timestamp=NOW_MS, producer_id=1, producer_epoch=0, coordinator_epoch=0
    )
    assert check_batch(memoryview(marker), LogConfig(), AppendOrigin.MARKER).is_control
    assert code_of(bytes(marker)) is ErrorCode.INVALID_RECORD
    without = batch((b"k", b"v"), producer=(1, 0, -1))
    assert check_batch(without, LogConfig(), AppendOrigin.COORDINATOR).producer_id == 1


# -- what is stored


def test_a_usual_batch_is_stored_as_it_came() -> None:
    for codec in Codec:
        records = stamped(NOW_MS, NOW_MS - 1, codec=codec)
        stored, append_time = prepared(records)
        assert (bytes(stored), append_time) == (records, -1)


@pytest.mark.parametrize("codec", list(Codec))
def test_log_append_time_is_written_into_the_header(codec: Codec) -> None:
    stored, append_time = prepared(stamped(5, 6, codec=codec), message_timestamp_type="LogAppendTime")
    header = parse_batch_header(stored)
    assert append_time == header.max_timestamp == NOW_MS
    assert header.attributes & LOG_APPEND_TIME
    assert [record.timestamp for record in iter_records(stored, max_bytes=1 << 20)] == [NOW_MS, NOW_MS]


@pytest.mark.parametrize(
    ("off", "is_refused"), [(0, False), (3_600_000, False), (3_600_001, True), (-10, False), (-11, True)]
)
@pytest.mark.parametrize("codec", [Codec.NONE, Codec.LZ4])
def test_a_timestamp_out_of_bounds_names_its_records(codec: Codec, off: int, is_refused: bool) -> None:
    config = LogConfig(message_timestamp_before_max_ms=10)
    view = memoryview(bytearray(stamped(NOW_MS, NOW_MS + off, NOW_MS, codec=codec)))
    header = check_batch(view, config, CLIENT)
    if not is_refused:
        prepare_records(view, header, config, NOW_MS)
        return
    with pytest.raises(KafkaError) as caught:
        prepare_records(view, header, config, NOW_MS)
    assert caught.value.code is ErrorCode.INVALID_TIMESTAMP
    assert [index for index, _ in caught.value.record_errors] == [1]
    prepare_records(view, header, replace(config, message_timestamp_type="LogAppendTime"), NOW_MS)


def test_a_record_without_timestamp_is_within_any_bounds() -> None:
    stored, _ = prepared(stamped(-1), message_timestamp_before_max_ms=10)
    assert parse_batch_header(stored).max_timestamp == -1


def test_a_compacted_topic_takes_no_record_without_a_key() -> None:
    view = memoryview(bytearray(stamped(NOW_MS, NOW_MS, key=None)))
    config = LogConfig(cleanup_policy=frozenset({COMPACT}))
    with pytest.raises(KafkaError) as caught:
        prepare_records(view, check_batch(view, config, CLIENT), config, NOW_MS)
    assert caught.value.code is ErrorCode.INVALID_RECORD
    assert [index for index, _ in caught.value.record_errors] == [0, 1]
    prepared(stamped(NOW_MS), cleanup_policy=frozenset({COMPACT}))


@pytest.mark.parametrize(
    ("compression_type", "codec"),
    [
        ("uncompressed", Codec.NONE),
        ("gzip", Codec.GZIP),
        ("snappy", Codec.SNAPPY),
        ("lz4", Codec.LZ4),
        ("zstd", Codec.ZSTD),
    ],
)
@pytest.mark.parametrize("sent", [Codec.NONE, Codec.GZIP])
def test_a_topic_with_a_codec_of_its_own_stores_that(sent: Codec, compression_type: str, codec: Codec) -> None:
    records = stamped(NOW_MS, NOW_MS - 7, codec=sent)
    stored, _ = prepared(records, compression_type=compression_type)
    assert parse_batch_header(stored).codec == codec
    expected = [(r.timestamp, r.key, r.value) for r in iter_records(memoryview(records), max_bytes=1 << 20)]
    assert [(r.timestamp, r.key, r.value) for r in iter_records(stored, max_bytes=1 << 20)] == expected


def test_what_recompression_makes_too_large_is_refused() -> None:
    records = stamped(*[NOW_MS] * 20, codec=Codec.GZIP)
    config = LogConfig(compression_type="uncompressed", max_message_bytes=len(records))
    assert code_of(records, config) is ErrorCode.MESSAGE_TOO_LARGE


def test_a_body_that_its_codec_cannot_open_is_corrupt_where_it_is_opened() -> None:
    records = batch_bytes(b"no gzip at all", 1, attributes=1)
    assert code_of(records, LogConfig(validate_records=True)) is ErrorCode.CORRUPT_MESSAGE
    assert code_of(records, LogConfig(compression_type="zstd")) is ErrorCode.CORRUPT_MESSAGE


def test_a_header_that_lies_about_the_largest_timestamp_is_put_right_where_records_are_looked_at() -> None:
    records = bytearray(stamped(NOW_MS - 5, NOW_MS - 3))
    records[35:43] = (NOW_MS + 1000).to_bytes(8, "big")
    write_crc(records, 0, len(records))
    stored, _ = prepared(bytes(records), validate_records=True)
    assert parse_batch_header(stored).max_timestamp == NOW_MS - 3


def test_a_claim_of_log_append_time_is_refused_where_the_broker_sets_it_and_taken_back_elsewhere() -> None:
    """As in Kafka, whose check is an `else` of the one for bounds."""
    records = bytearray(stamped(NOW_MS))
    records[22] |= LOG_APPEND_TIME
    write_crc(records, 0, len(records))
    config = LogConfig(message_timestamp_type="LogAppendTime")
    assert code_of(bytes(records), config) is ErrorCode.INVALID_TIMESTAMP
    stored, append_time = prepared(bytes(records))
    assert append_time == -1
    assert not parse_batch_header(stored).attributes & LOG_APPEND_TIME
