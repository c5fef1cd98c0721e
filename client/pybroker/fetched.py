"""One partition's answer to a fetch, and the records in it. Pure.

Rules: a batch is decoded when its records are asked for, a chunk at a time. What a reader must not see is left out
here: records before the position (a fetch begins at a batch), control batches, and with read_committed those of
aborted transactions (KIP-98). Offsets that nobody sees still move the position on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pybroker.codecs import Codec, Raw
from pybroker.errors import CorruptData
from pybroker.metadata import TopicPartition
from pybroker.record import Origin, RawRecord, Record, Replier
from pybroker_protocol.errors import ProtocolError
from pybroker_protocol.records.batch import CONTROL, TRANSACTIONAL, BatchHeader, TimestampType, iter_batches, verify_crc
from pybroker_protocol.records.control import ControlType, control_type, read_control_batch
from pybroker_protocol.records.record import RecordReader

__all__ = ["Decoder", "Fetched"]

_INFLATED_BYTES_MIN: Final = 64 * 1024 * 1024
_INFLATED_RATIO_MAX: Final = 200


class Decoder:
    """How a consumer wants its records: codecs, isolation, whether checksums are checked."""

    __slots__ = ("checks_crc", "key_codec", "read_committed", "record_type", "replier", "value_codec")

    def __init__(
        self,
        key_codec: Codec[Any],
        value_codec: Codec[Any],
        *,
        read_committed: bool,
        checks_crc: bool,
        replier: Replier | None = None,
    ) -> None:
        self.replier = replier
        self.key_codec = key_codec
        self.value_codec = value_codec
        self.read_committed = read_committed
        self.checks_crc = checks_crc
        is_raw = isinstance(key_codec, Raw) and isinstance(value_codec, Raw)
        self.record_type: type[Record] = RawRecord if is_raw else Record


class Fetched:
    """Records of one partition, from `position` on. `next_offset` is where the fetch after this one begins."""

    __slots__ = (
        "_aborted",
        "_aborting",
        "_batches",
        "_decoder",
        "_reader",
        "_records",
        "last_epoch",
        "next_offset",
        "position",
        "size_bytes",
        "tp",
    )

    def __init__(
        self,
        tp: TopicPartition,
        position: int,
        records: memoryview,
        aborted: list[tuple[int, int]],
        decoder: Decoder,
    ) -> None:
        """`aborted`: (producer id, first offset). Raises `CorruptData` when there is not even one whole batch."""
        self.tp = tp
        self.position = position
        self.size_bytes = len(records)
        self._records = records
        self._decoder = decoder
        self._aborted = sorted(aborted, key=lambda entry: entry[1], reverse=True)
        self._aborting: set[int] = set()
        self._reader: RecordReader[Record] | None = None
        try:
            found = list(iter_batches(records))
        except ProtocolError as error:
            raise CorruptData(f"{tp} from offset {position}: {error}") from None
        if not found:
            raise CorruptData(f"{tp} from offset {position}: {len(records)} bytes without a whole batch")
        last = found[-1][1]
        self.next_offset = max(position, last.next_offset)
        self.last_epoch = last.partition_leader_epoch
        self._batches: Iterator[tuple[int, BatchHeader]] = iter(found)

    def read(self, count: int) -> list[Record]:
        """The next records, at most `count`; empty when none is left. Raises `CorruptData`."""
        try:
            while True:
                reader = self._reader
                if reader is None or not reader.left:
                    reader = self._reader = self._next_reader()
                    if reader is None:
                        self.position = max(self.position, self.next_offset)
                        return []
                records = reader.read(count)
                if records and records[0].offset < self.position:
                    records = [record for record in records if record.offset >= self.position]
                if records:
                    self.position = records[-1].offset + 1
                    return records
        except ProtocolError as error:
            raise CorruptData(
                f"{self.tp} cannot be read at offset {self.position}: {error}. Seek past it to go on"
            ) from None

    def _next_reader(self) -> RecordReader[Record] | None:
        decoder = self._decoder
        for position, header in self._batches:
            if header.next_offset <= self.position:
                continue
            if decoder.checks_crc and not verify_crc(self._records, position):
                raise ProtocolError(f"the checksum of the batch at offset {header.base_offset} is wrong")
            if self._is_left_out(position, header):
                self.position = header.next_offset
                continue
            origin = Origin(
                self.tp.topic,
                self.tp.partition,
                header.partition_leader_epoch,
                header.timestamp_type is TimestampType.LOG_APPEND_TIME,
                decoder.key_codec,
                decoder.value_codec,
                decoder.replier,
            )
            batch = self._records[position : position + header.size_bytes]
            limit = max(_INFLATED_BYTES_MIN, _INFLATED_RATIO_MAX * len(batch))
            return RecordReader(batch, header, decoder.record_type, origin, max_bytes=limit)
        return None

    def _is_left_out(self, position: int, header: BatchHeader) -> bool:
        """Control batches, and what belongs to an aborted transaction."""
        if self._decoder.read_committed and header.producer_id >= 0:
            while self._aborted and self._aborted[-1][1] <= header.last_offset:
                self._aborting.add(self._aborted.pop()[0])
            if header.attributes & CONTROL:
                if header.record_count and self._is_abort(position, header):
                    self._aborting.discard(header.producer_id)
                return True
            return bool(header.attributes & TRANSACTIONAL) and header.producer_id in self._aborting
        return bool(header.attributes & CONTROL)

    def _is_abort(self, position: int, header: BatchHeader) -> bool:
        batch = self._records[position : position + header.size_bytes]
        return control_type(read_control_batch(batch)) is ControlType.ABORT
