"""The records inside a batch.

Rules: a record is a tuple made in one step, because consumers make millions of them; headers stay bytes until
somebody asks for them. `RecordReader` decodes a chunk at a time, so that records die young and in cache. Lengths
are the peer's claims: what does not add up to exactly the batch is a `ProtocolError`, never another exception.

    length varint, attributes i8, timestamp delta varlong, offset delta varint, key length varint, key,
    value length varint, value, header count varint, headers (key length varint, key, value length varint, value)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Generic, NamedTuple, TypeVar

from pybroker_protocol.errors import ProtocolError
from pybroker_protocol.records import Buffer
from pybroker_protocol.records.batch import BATCH_OVERHEAD, BatchHeader, TimestampType, parse_batch_header
from pybroker_protocol.records.compression import decompress
from pybroker_protocol.records.runs import RUN_RECORDS_MIN, read_run
from pybroker_protocol.records.varint import ONE_BYTE, decode_varint

__all__ = ["CHUNK_RECORDS", "Header", "Record", "RecordFields", "RecordReader", "decode_headers", "iter_records"]

Header = tuple[str, bytes | None]

CHUNK_RECORDS: Final = 256
"""A good number of records to read at a time: few enough to stay in cache and below a garbage collection."""

_RECORD_BYTES_MIN: Final = 7
_ALL_ZERO: Final = (0,) * 128


class RecordFields(NamedTuple):
    """What a reader fills in. `source` is whatever the reader was told to put there, shared by its records."""

    source: Any
    offset: int
    timestamp_ms: int
    raw_key: bytes | None
    raw_value: bytes | None
    raw_headers: bytes


class Record(RecordFields):
    """A record with its absolute offset and timestamp (ms); `source` is the header of its batch."""

    __slots__ = ()
    timestamp = RecordFields.timestamp_ms
    key = RecordFields.raw_key
    value = RecordFields.raw_value

    @property
    def offset_delta(self) -> int:
        delta: int = self.offset - self.source.base_offset
        return delta

    @property
    def timestamp_delta(self) -> int:
        delta: int = self.timestamp_ms - self.source.base_timestamp
        return delta

    @property
    def headers(self) -> list[Header]:
        """(key, value) in the order in which they were sent; keys may repeat. May raise `ProtocolError`."""
        return decode_headers(self.raw_headers)


RecordT = TypeVar("RecordT", bound=RecordFields)


def iter_records(batch_view: Buffer, *, max_bytes: int) -> Iterator[Record]:
    """The records of the batch at the start of `batch_view`, control records included. The CRC is not checked.

    `max_bytes` caps what the batch may decompress to. Raises `ProtocolError`, `DecompressionTooLarge` for a bomb.
    """
    header = parse_batch_header(batch_view)
    reader = RecordReader(batch_view, header, Record, header, max_bytes=max_bytes)
    while chunk := reader.read(CHUNK_RECORDS):
        yield from chunk


def decode_headers(raw: bytes) -> list[Header]:
    """The headers of a record, from their count on. Keys that are not UTF-8 have their bad bytes replaced."""
    if not raw:
        return []
    headers: list[Header] = []
    try:
        count, position = decode_varint(raw, 0)
        if not 0 <= count <= len(raw) // 2:
            raise ProtocolError(f"{count} headers in {len(raw)} bytes")
        for _ in range(count):
            length, position = decode_varint(raw, position)
            key, position = _payload(raw, position, length)
            if key is None:
                raise ProtocolError("a header key may not be null")
            length, position = decode_varint(raw, position)
            value, position = _payload(raw, position, length)
            headers.append((key.decode("utf-8", "replace"), value))
    except IndexError:
        raise ProtocolError("the headers of a record are cut short") from None
    if position != len(raw):
        raise ProtocolError("the headers of a record do not fill it")
    return headers


class RecordReader(Generic[RecordT]):
    """Decodes the records of one batch, a chunk at a time.

    The records are of `record_type` (a `RecordFields`), each with `source` in front. A batch is decompressed at
    construction, to at most `max_bytes`; `batch_view` is not used after it.
    """

    __slots__ = (
        "_base_offset",
        "_base_timestamp",
        "_data",
        "_is_append_time",
        "_left",
        "_position",
        "_record_type",
        "_source",
    )

    def __init__(
        self, batch_view: Buffer, header: BatchHeader, record_type: type[RecordT], source: Any, *, max_bytes: int
    ) -> None:
        body = memoryview(batch_view)[BATCH_OVERHEAD : header.size_bytes]
        if len(body) != header.size_bytes - BATCH_OVERHEAD:
            raise ProtocolError(f"a batch of {header.size_bytes} bytes, of which {len(batch_view)} are there")
        self._data = decompress(header.codec, body, max_bytes=max_bytes) if header.codec else bytes(body)
        self._position = 0
        self._left = header.record_count
        self._record_type: Any = record_type
        self._source = source
        self._base_offset = header.base_offset
        self._is_append_time = header.timestamp_type is TimestampType.LOG_APPEND_TIME
        self._base_timestamp = header.max_timestamp if self._is_append_time else header.base_timestamp
        if not 0 <= self._left <= len(self._data) // _RECORD_BYTES_MIN:
            raise ProtocolError(f"{self._left} records in {len(self._data)} bytes")

    @property
    def left(self) -> int:
        """How many records have not been read yet."""
        return self._left

    def read(self, count: int) -> list[RecordT]:
        """The next records: at least one unless none is left, at most `count`. Raises `ProtocolError`."""
        records: list[RecordT] | None = None
        count = min(count, self._left)
        try:
            if count >= RUN_RECORDS_MIN:
                records = self._read_run(count)
            if records is None:
                records = self._read_each(count)
        except IndexError:
            raise ProtocolError("the records of a batch are cut short") from None
        self._left -= len(records)
        if not self._left and self._position != len(self._data):
            raise ProtocolError(f"{len(self._data) - self._position} bytes of a batch belong to no record")
        return records

    def _read_run(self, count: int) -> list[RecordT] | None:
        run = read_run(
            self._data,
            self._position,
            count,
            self._record_type,
            self._source,
            self._base_offset,
            self._base_timestamp,
            self._is_append_time,
        )
        if run is None:
            return None
        self._position = run[1]
        return run[0]

    def _read_each(self, count: int) -> list[RecordT]:  # noqa: C901 (a call per field would double its time)
        """Records of any shape, one after the other, with no call for what nearly every record holds."""
        data, position = self._data, self._position
        base_offset, base_timestamp = self._base_offset, self._base_timestamp
        new, record_type, source, one_byte = tuple.__new__, self._record_type, self._source, ONE_BYTE
        timestamp_delta = _ALL_ZERO if self._is_append_time else ONE_BYTE
        records: list[RecordT] = []
        append = records.append
        for _ in range(count):
            if (byte := data[position]) < 128:
                doubled_end = (position := position + 1) * 2 + byte  # odd, hence never reached, for a negative length
            elif (second := data[position + 1]) < 128:
                doubled_end = (position := position + 2) * 2 + (byte & 127 | second << 7)
            else:
                length, position = decode_varint(data, position)
                doubled_end = (position + length) * 2
            if (byte := data[position + 1]) < 128:  # past the attributes, of which none is in use
                position += 2
                timestamp = base_timestamp + timestamp_delta[byte]
            else:
                delta, position = decode_varint(data, position + 1, 64)
                timestamp = base_timestamp if self._is_append_time else base_timestamp + delta
            if (byte := data[position]) < 128:
                position += 1
                offset = base_offset + one_byte[byte]
            elif not byte & 1 and (second := data[position + 1]) < 128:
                position += 2
                offset = base_offset + ((byte & 127 | second << 7) >> 1)
            else:
                delta, position = decode_varint(data, position)
                offset = base_offset + delta
            if (byte := data[position]) == 1:
                position += 1
                key = None
            elif byte < 128 and not byte & 1:
                key = data[position + 1 : (position := position + 1 + (byte >> 1))]
            else:
                length, position = decode_varint(data, position)
                key, position = _payload(data, position, length)
            if (byte := data[position]) < 128:
                length = one_byte[byte]
                position += 1
            elif not byte & 1 and (second := data[position + 1]) < 128:
                length = (byte & 127 | second << 7) >> 1
                position += 2
            else:
                length, position = decode_varint(data, position)
            if length < 0:
                value, position = _payload(data, position, length)
            else:
                value = data[position : (position := position + length)]
            if data[position]:
                headers, position = _raw_headers(data, position, doubled_end >> 1)
            else:
                headers, position = b"", position + 1
            if doubled_end != position + position:
                raise ProtocolError("the length of a record is not that of its fields")
            append(new(record_type, (source, offset, timestamp, key, value, headers)))
        self._position = position
        return records


def _payload(data: bytes, position: int, length: int) -> tuple[bytes | None, int]:
    """The bytes of a key or value (None for length -1) and the position after them."""
    if length == -1:
        return None, position
    end = position + length
    if length < 0 or end > len(data):
        raise ProtocolError(f"a length of {length} in a record, {len(data) - position} bytes before the end")
    return data[position:end], end


def _raw_headers(data: bytes, position: int, end: int) -> tuple[bytes, int]:
    if not position < end <= len(data):
        raise ProtocolError("the length of a record is not that of its fields")
    return data[position:end], end
