"""A batch of records on its way to one partition: from the first record until all are delivered or given up. Pure.

Rules: a batch ends exactly once, by `succeed`, `fail` or `become`, and then tells its callbacks. Its stamp (producer
id, epoch, sequence) is what lets a broker recognise it when it is sent again: it may be changed only while no attempt
can have been appended (`maybe_appended`). See accumulator.py for who decides what.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

from pybroker.errors import KafkaError
from pybroker.metadata import TopicPartition
from pybroker_protocol.records.builder import Headers, RecordBatchBuilder, stamp_producer
from pybroker_protocol.records.compression import Codec
from pybroker_protocol.records.record import iter_records

__all__ = ["Batch", "Stamp"]

log = logging.getLogger("pybroker")


class Stamp(NamedTuple):
    """What identifies a batch to a partition's leader (KIP-98)."""

    producer_id: int
    producer_epoch: int
    base_sequence: int


class Batch:
    """Records for one partition. `now` is in seconds of any steady clock."""

    __slots__ = (
        "_builder",
        "_callbacks",
        "_codec",
        "_data",
        "_is_transactional",
        "_level",
        "_retrieved",
        "append_time",
        "attempts",
        "base_offset",
        "created",
        "error",
        "is_done",
        "is_sealed",
        "lost_sequence",
        "maybe_appended",
        "number",
        "parts",
        "record_count",
        "reserved_bytes",
        "size_bytes",
        "stamp",
        "tp",
    )

    def __init__(
        self,
        tp: TopicPartition,
        number: tuple[int, ...],
        now: float,
        codec: Codec,
        level: int | None,
        *,
        is_transactional: bool = False,
    ) -> None:
        self.tp = tp
        self.number = number  # the order within the partition; the halves of (7,) are (7, 0) and (7, 1)
        self.created = now
        self.stamp: Stamp | None = None
        self.attempts = 0
        self.maybe_appended = False
        self.lost_sequence = False  # the last attempt was refused for its sequence
        self.is_sealed = False
        self.is_done = False
        self.record_count = 0
        self.size_bytes = 0
        self.reserved_bytes = 0
        self.base_offset = -1
        self.append_time = -1
        self.error: KafkaError | None = None
        self.parts: list[Batch] | None = None  # what became of it when it was too large
        self._codec = codec
        self._level = level
        self._is_transactional = is_transactional
        self._builder: RecordBatchBuilder | None = RecordBatchBuilder(
            codec=codec, level=level, is_transactional=is_transactional
        )
        self._data: bytearray | None = None
        self._callbacks: list[Callable[[Batch], None]] = []
        self._retrieved = 0

    def append(self, timestamp: int, key: bytes | None, value: bytes | None, headers: Headers | None) -> int:
        """Add a record and return its index. Only before `seal`."""
        builder = self._builder
        assert builder is not None
        assert not self.is_sealed
        index = builder.append(timestamp, key, value, headers)
        self.record_count = index + 1
        self.size_bytes = builder.size_bytes_estimate
        return index

    def extend_values(self, timestamp: int, values: Sequence[bytes]) -> None:
        """Add many values without keys and headers."""
        builder = self._builder
        assert builder is not None
        assert not self.is_sealed
        builder.extend_values(timestamp, values)
        self.record_count = builder.record_count
        self.size_bytes = builder.size_bytes_estimate

    def seal(self) -> None:
        """No more records."""
        self.is_sealed = True

    def wire(self, stamp: Stamp | None) -> memoryview:
        """The bytes to send, with this stamp. A batch that may have been appended keeps the stamp it had."""
        assert self.is_sealed
        assert not self.maybe_appended or stamp == self.stamp, "a batch that may be in the log was stamped anew"
        if self._data is None:
            assert self._builder is not None
            producer_id, epoch, sequence = stamp or (-1, -1, -1)
            self._data = self._builder.build(producer_id=producer_id, producer_epoch=epoch, base_sequence=sequence)
            self._builder = None
        elif stamp is not None and stamp != self.stamp:
            stamp_producer(self._data, *stamp)
        self.stamp = stamp
        return memoryview(self._data)

    def when_done(self, callback: Callable[[Batch], None]) -> None:
        """Call `callback(batch)` once the batch has ended; at once if it has."""
        if self.is_done:
            callback(self)
        else:
            self._callbacks.append(callback)

    def succeed(self, base_offset: int, append_time: int) -> None:
        self.base_offset = base_offset
        self.append_time = append_time
        self._end()

    def fail(self, error: KafkaError) -> None:
        self.error = error
        self._end()

    def split(self) -> list[Batch]:
        """Two batches of half the records each; this one ends by becoming them."""
        assert self.record_count > 1
        assert self._data is not None
        assert not self.maybe_appended
        half = (self.record_count + 1) // 2
        parts = [
            Batch(
                self.tp,
                (*self.number, part),
                self.created,
                self._codec,
                self._level,
                is_transactional=self._is_transactional,
            )
            for part in (0, 1)
        ]
        for index, record in enumerate(iter_records(self._data, max_bytes=_SPLIT_BYTES_MAX)):
            parts[index >= half].append(record.timestamp, record.key, record.value, record.headers)
        for part in parts:
            part.seal()
            part.attempts = self.attempts
        parts[0].reserved_bytes = self.reserved_bytes // 2
        parts[1].reserved_bytes = self.reserved_bytes - parts[0].reserved_bytes
        self.reserved_bytes = 0
        self.parts = parts
        self._end()
        return parts

    def retrieve(self, count: int = 1) -> None:
        """Somebody looked at what became of `count` records, so a failure need not be logged for them."""
        self._retrieved += count

    def leaf(self, index: int) -> tuple[Batch, int]:
        """The batch that the record of this index is in by now, and its index there."""
        batch = self
        while batch.parts is not None:
            first, second = batch.parts
            if index < first.record_count:
                batch = first
            else:
                batch, index = second, index - first.record_count
        return batch, index

    def leaves(self) -> list[Batch]:
        """The batch itself, or what it was split into."""
        return [self] if self.parts is None else [leaf for part in self.parts for leaf in part.leaves()]

    def _end(self) -> None:
        assert not self.is_done, f"batch {self.number} of {self.tp} ended twice"
        self.is_done = True
        self._builder = None
        self._data = None
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(self)

    def __del__(self) -> None:
        missed = self.record_count - self._retrieved
        if self.error is not None and missed > 0:
            log.error("%d records for %s were not delivered, and nobody asked: %s", missed, self.tp, self.error)


_SPLIT_BYTES_MAX = 1 << 31
