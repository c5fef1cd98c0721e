"""Is this a batch that may be stored? Kafka's checks, in Kafka's order, with Kafka's error codes (KIP-98, KIP-467).

Rules of this file: pure. `check_batch` and what it calls cost the same whatever the number of records: the header,
the CRC, and what of the body can be judged without walking it. Only a batch that gives a reason (a timestamp out of
bounds, a compacted topic, a codec that must be changed) is opened, in `prepare_records`. A failure raises KafkaError
with the code for the response; nothing has been written then. Timestamps are in milliseconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from pybroker_protocol.errors import DecompressionTooLarge, ErrorCode, KafkaError, ProtocolError
from pybroker_protocol.records.batch import (
    BATCH_OVERHEAD,
    CODEC_MASK,
    CONTROL,
    LOG_APPEND_TIME,
    LOG_OVERHEAD,
    MAGIC,
    BatchHeader,
    TimestampType,
    pack_batch_header,
    parse_batch_header,
    patch_log_append_time,
    patch_max_timestamp,
    verify_crc,
    write_crc,
)
from pybroker_protocol.records.compression import Codec, compress, decompress
from pybroker_protocol.records.record import Record, RecordReader
from pybroker_server.log.log_config import LOG_APPEND_TIME as LOG_APPEND_TIME_TYPE
from pybroker_server.log.log_config import LONG_MAX, PRODUCER_CODEC, LogConfig

NO_TIMESTAMP = -1
NO_SEQUENCE = -1

_LEGACY_RECORD_OVERHEAD = 14
_MAGIC_AT = 16
_HEADER_UP_TO_MAGIC = 17
_CHUNK_RECORDS = 256
_RECORD_BYTES_MIN = 7
"""Length, attributes, two deltas, null key, null value, no headers."""
_INFLATED_BYTES_MIN = 16 * 1024 * 1024
_INFLATED_RATIO_MAX = 100
_ERRORS_SHOWN = 3
_VARLONG_BYTES_MAX = 10

_CODECS = {
    "uncompressed": Codec.NONE,
    "gzip": Codec.GZIP,
    "snappy": Codec.SNAPPY,
    "lz4": Codec.LZ4,
    "zstd": Codec.ZSTD,
}


class AppendOrigin(StrEnum):
    """Who writes: what is checked depends on it."""

    CLIENT = "client"
    COORDINATOR = "coordinator"
    """A coordinator of this broker: trusted, without sequences."""
    MARKER = "replication-marker"
    """A transaction marker on behalf of a transaction coordinator: a control batch."""


def check_batch(records: memoryview, config: LogConfig, origin: str) -> BatchHeader:
    """The header of the one batch that `records` holds (bytes after it are an unfinished second: ignored).

    Raises KafkaError: INVALID_RECORD, CORRUPT_MESSAGE, MESSAGE_TOO_LARGE.
    """
    length = len(records)
    if length < BATCH_OVERHEAD:
        raise _no_whole_batch(records)
    header = parse_batch_header(records)
    size = header.batch_length + LOG_OVERHEAD
    if header.magic != MAGIC or size != length:
        _check_extent(records, header)
    if header.base_offset and origin == AppendOrigin.CLIENT:
        raise _invalid(f"base offset {header.base_offset} instead of 0")
    if size > config.max_message_bytes:
        raise KafkaError(
            ErrorCode.MESSAGE_TOO_LARGE,
            f"a batch of {size} bytes, max.message.bytes is {config.max_message_bytes}",
        )
    if not verify_crc(records):
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, "the checksum of the batch is wrong")
    count = header.record_count
    if not header.last_offset_delta + 1 == count > 0:
        raise _invalid(f"{count} records, but the last offset delta is {header.last_offset_delta}")
    attributes = header.attributes
    if origin == AppendOrigin.CLIENT:
        if attributes & CONTROL:
            raise _invalid("clients do not write control batches")
        if header.producer_id >= 0 and header.base_sequence < 0:
            raise _invalid(f"sequence {header.base_sequence} with producer id {header.producer_id}")
    codec = attributes & CODEC_MASK
    if codec == 0:
        _check_plain_body(records, size, count)
    elif codec > Codec.ZSTD or size == BATCH_OVERHEAD:
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"no data of compression codec {codec}")
    return header


def _no_whole_batch(records: memoryview) -> KafkaError:
    """Fewer bytes than a header has. What can be read of it decides between two codes."""
    if len(records) >= _HEADER_UP_TO_MAGIC:
        _check_length_and_magic(records, 0)
    return _invalid("no whole record batch")


def _check_length_and_magic(records: memoryview, position: int) -> int:
    """The length field at `position`; CORRUPT_MESSAGE when no version of Kafka ever wrote such a header."""
    length = int.from_bytes(records[position + 8 : position + 12], "big", signed=True)
    if length < _LEGACY_RECORD_OVERHEAD:
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"a batch of length {length}")
    magic = records[position + _MAGIC_AT]
    if magic > MAGIC:
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"a batch of format {magic}")
    return length


def _check_extent(records: memoryview, header: BatchHeader) -> None:
    """Exactly one whole batch of format 2."""
    _check_length_and_magic(records, 0)
    rest = header.size_bytes
    if rest > len(records):
        raise _invalid(f"a batch of {rest} bytes, of which {len(records)} are there")
    if header.magic != MAGIC:
        raise _invalid(f"a batch of format {header.magic}; only format {MAGIC} is taken")
    if rest < BATCH_OVERHEAD:
        raise KafkaError(ErrorCode.CORRUPT_MESSAGE, f"a batch of {rest} bytes is shorter than its header")
    if len(records) - rest >= _HEADER_UP_TO_MAGIC:
        second = _check_length_and_magic(records, rest) + LOG_OVERHEAD
        if rest + second <= len(records):
            raise _invalid("more than one batch")


def _check_plain_body(records: memoryview, size: int, count: int) -> None:
    """What an uncompressed body shows at once: it is long enough, and its first record fits.

    A single record is checked whole; more of them only by `prepare_records`, where a topic asks for it.
    """
    if count * _RECORD_BYTES_MIN > size - BATCH_OVERHEAD:
        raise _invalid(f"{count} records in {size - BATCH_OVERHEAD} bytes")
    try:
        length, position = _varint(records, BATCH_OVERHEAD)
        end = position + length
        if count == 1:
            if end != size:
                raise _invalid(f"a record that ends at {end} in a batch of {size} bytes")
            _check_single_record(records, position, end)
        elif length < _RECORD_BYTES_MIN - 1 or end + (count - 1) * _RECORD_BYTES_MIN > size:
            raise _invalid(f"a first record of {length} bytes in a batch of {size} bytes")
    except IndexError:
        raise _invalid("the batch ends in the middle of a record") from None


def _check_single_record(records: memoryview, position: int, end: int) -> None:
    """The fields of the record fill it exactly. A record with headers is left to the record reader."""
    at = position + 1  # past the attributes
    last = at + _VARLONG_BYTES_MAX - 1
    while records[at] > 127:  # timestamp delta
        at += 1
        if at > last:
            raise _invalid("a timestamp delta of more than ten bytes")
    if records[at + 1]:
        raise _invalid("the only record of a batch with an offset delta other than 0")
    length, at = _varint(records, at + 2)
    if length < -1:
        raise _invalid(f"a key of length {length}")
    length, at = _varint(records, at + max(length, 0))
    if length < -1:
        raise _invalid(f"a value of length {length}")
    at += max(length, 0)
    if at + 1 == end and records[at] == 0:
        return
    if at >= end or records[at] == 0:
        raise _invalid(f"the fields of a record end at {at}, the record at {end}")
    header = parse_batch_header(records)
    try:
        for record in RecordReader(records, header, Record, None, max_bytes=end).read(1):
            record.headers  # noqa: B018 - decoding them is the check
    except ProtocolError as error:
        raise _invalid(str(error)) from None


def _varint(records: memoryview, position: int) -> tuple[int, int]:
    """A zigzag varint of at most five bytes, and the position after it."""
    byte = records[position]
    if byte < 128:
        return (byte >> 1) ^ -(byte & 1), position + 1
    value = byte & 127
    for shift in (7, 14, 21, 28):
        position += 1
        byte = records[position]
        value |= (byte & 127) << shift
        if byte < 128:
            return (value >> 1) ^ -(value & 1), position + 1
    raise _invalid("a length of more than five bytes")


def prepare_records(
    records: memoryview, header: BatchHeader, config: LogConfig, now_ms: int
) -> tuple[memoryview, BatchHeader, int]:
    """Makes a checked batch into what is stored: (bytes, its header, append time or -1).

    In nearly every case these are the bytes as they came. They are opened for records to blame (timestamps out
    of bounds), for keys on a compacted topic, for another codec, and where the topic asks for it. The time of
    the log append is written into the header, in place. Raises KafkaError: INVALID_TIMESTAMP and
    INVALID_RECORD with `record_errors`, CORRUPT_MESSAGE, MESSAGE_TOO_LARGE.
    """
    appends_time = config.message_timestamp_type == LOG_APPEND_TIME_TYPE
    claims_time = header.attributes & LOG_APPEND_TIME
    codec = _CODECS.get(config.compression_type) if config.compression_type != PRODUCER_CODEC else None
    recompress = codec is not None and codec != header.codec and not header.attributes & CONTROL
    if (
        recompress
        or config.validate_records
        or config.is_compacted
        or claims_time
        or not (appends_time or _within_bounds(header, config, now_ms))
    ):
        opened = _Opened(records, header)
        largest = opened.check_records(config, now_ms, appends_time=appends_time)
        if not appends_time and largest != header.max_timestamp:
            # What the header claims was not checked, and would keep the segment from retention.
            patch_max_timestamp(records, 0, largest, TimestampType.CREATE_TIME)
            header = parse_batch_header(records)
            opened = _Opened(records, header)
        if recompress and codec is not None:
            records, header = opened.recompress(codec, config)
            _check_size(header, config)
    if appends_time:
        patch_log_append_time(records, 0, now_ms)
        return records, parse_batch_header(records), now_ms
    if claims_time:
        patch_max_timestamp(records, 0, header.max_timestamp, TimestampType.CREATE_TIME)
        return records, parse_batch_header(records), NO_TIMESTAMP
    return records, header, NO_TIMESTAMP


def _within_bounds(header: BatchHeader, config: LogConfig, now_ms: int) -> bool:
    """Whether the header shows that all timestamps are within the topic's bounds; without timestamps (-1) they are.

    It names the newest one, not the oldest: where a topic bounds the past, records must be looked at.
    """
    newest = header.max_timestamp
    if newest - now_ms > config.message_timestamp_after_max_ms:
        return False
    return config.message_timestamp_before_max_ms == LONG_MAX or newest == NO_TIMESTAMP


def _check_size(header: BatchHeader, config: LogConfig) -> None:
    if header.size_bytes > config.max_message_bytes:
        raise KafkaError(
            ErrorCode.MESSAGE_TOO_LARGE,
            f"recompressed to {header.size_bytes} bytes, max.message.bytes is {config.max_message_bytes}",
        )


class _Opened:
    """A batch whose records must be looked at; off the default path. The body is decompressed once."""

    def __init__(self, records: memoryview, header: BatchHeader) -> None:
        self._header = header
        body = records[BATCH_OVERHEAD : header.size_bytes]
        if header.codec == Codec.NONE:
            self._body = bytes(body)
            return
        limit = max(_INFLATED_BYTES_MIN, _INFLATED_RATIO_MAX * len(body))
        try:
            self._body = decompress(header.codec, body, max_bytes=limit)
        except DecompressionTooLarge as error:
            raise KafkaError(ErrorCode.MESSAGE_TOO_LARGE, str(error)) from None
        except ProtocolError as error:
            raise KafkaError(ErrorCode.CORRUPT_MESSAGE, str(error)) from None

    def check_records(self, config: LogConfig, now_ms: int, *, appends_time: bool) -> int:
        """Every record: offsets count from 0, keys where they are needed, timestamps within bounds.

        Returns the largest timestamp.
        """
        largest = NO_TIMESTAMP
        by_key: list[tuple[int, str]] = []
        by_time: list[tuple[int, str]] = []
        claims_time = self._header.attributes & LOG_APPEND_TIME
        needs_key = config.is_compacted and not self._header.attributes & CONTROL
        earliest = now_ms - config.message_timestamp_before_max_ms
        latest = now_ms + config.message_timestamp_after_max_ms
        try:
            for index, record in enumerate(self._records()):
                if record.offset != self._header.base_offset + index:
                    raise _invalid(f"record {index} has offset delta {record.offset_delta}")
                timestamp = record.timestamp
                largest = max(largest, timestamp)
                if needs_key and record.key is None:
                    by_key.append((index, "a compacted topic takes no record without a key"))
                elif not appends_time and timestamp != NO_TIMESTAMP:
                    if not earliest <= timestamp <= latest:
                        by_time.append((index, f"timestamp {timestamp} is not within [{earliest}, {latest}]"))
                elif claims_time:
                    by_time.append((index, "LogAppendTime is the broker's to set, not the producer's"))
        except ProtocolError as error:
            raise _invalid(str(error)) from None
        _raise_record_errors(by_key, by_time)
        return largest

    def recompress(self, codec: Codec, config: LogConfig) -> tuple[memoryview, BatchHeader]:
        """The same records under another codec, in a new buffer."""
        body = compress(codec, self._body, _level(codec, config))
        header = self._header._replace(
            batch_length=BATCH_OVERHEAD - LOG_OVERHEAD + len(body),
            attributes=(self._header.attributes & ~CODEC_MASK) | codec,
        )
        packed = bytearray(BATCH_OVERHEAD) + body
        pack_batch_header(header, packed)
        write_crc(packed, 0, len(packed))
        return memoryview(packed), parse_batch_header(packed)

    def _records(self) -> Iterator[Record]:
        """The records and their headers, each decoded. Raises ProtocolError."""
        header = self._header._replace(
            batch_length=BATCH_OVERHEAD - LOG_OVERHEAD + len(self._body),
            attributes=self._header.attributes & ~CODEC_MASK,
        )
        plain = bytes(BATCH_OVERHEAD) + self._body
        reader = RecordReader(plain, header, Record, header, max_bytes=len(plain))
        while chunk := reader.read(_CHUNK_RECORDS):
            for record in chunk:
                if record.raw_headers:
                    record.headers  # noqa: B018 - decoding them is the check
                yield record


def _level(codec: Codec, config: LogConfig) -> int | None:
    """The compression level that the topic asks for; None is the codec's own."""
    if codec == Codec.GZIP and config.compression_gzip_level >= 0:
        return config.compression_gzip_level
    return config.compression_zstd_level if codec == Codec.ZSTD else None


def _raise_record_errors(by_key: list[tuple[int, str]], by_time: list[tuple[int, str]]) -> None:
    """One record that may not be stored refuses the whole batch; the first kind found names the code."""
    errors = sorted(by_key + by_time)
    if by_time:
        raise KafkaError(
            ErrorCode.INVALID_TIMESTAMP,
            f"{len(by_time)} records have a timestamp that is not allowed",
            record_errors=errors,
        )
    if by_key:
        shown = "; ".join(f"{index}: {why}" for index, why in errors[:_ERRORS_SHOWN])
        raise KafkaError(ErrorCode.INVALID_RECORD, f"{len(errors)} records are refused ({shown})", record_errors=errors)


def _invalid(why: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_RECORD, why)
