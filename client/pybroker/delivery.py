"""What a sender gets back: a promise for one record, and an account of many.

Rules: waiting never owns a batch. A wait that is cancelled only stops waiting: the records stay on their way, and a
failure that nobody hears of then is logged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pybroker.batch import Batch
from pybroker.errors import KafkaError

__all__ = ["BatchResult", "Delivery", "FailedRecords", "RecordMetadata", "SendManyFailed", "Share", "wait_done"]


class RecordMetadata(NamedTuple):
    """Where an acknowledged record is. `offset` is -1 when the broker did not say (acks=0)."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int

    @property
    def timestamp(self) -> datetime:
        return datetime.fromtimestamp(self.timestamp_ms / 1000, UTC)


async def wait_done(batch: Batch) -> None:
    """Until the batch has ended, however. Being cancelled does nothing to the batch."""
    if batch.is_done:
        return
    done = asyncio.get_running_loop().create_future()
    batch.when_done(lambda _: None if done.done() else done.set_result(None))
    await done


class Delivery:
    """The delivery of one record, under way or over. Await it for its `RecordMetadata`, or the error.

    One that nobody awaits is not lost: should it fail, that is logged.
    """

    __slots__ = ("_batch", "_index", "_timestamp_ms", "_was_retrieved")

    def __init__(self, batch: Batch, index: int, timestamp_ms: int) -> None:
        self._batch = batch
        self._index = index
        self._timestamp_ms = timestamp_ms
        self._was_retrieved = False

    def __await__(self) -> Generator[Any, None, RecordMetadata]:
        return self._wait().__await__()

    @property
    def topic(self) -> str:
        return self._batch.tp.topic

    @property
    def partition(self) -> int:
        return self._batch.tp.partition

    def share(self) -> Share:
        """The record as a share of the batch that it was put into."""
        return Share(self._batch, self._index, 1, self._timestamp_ms)

    def join(self, share: Share) -> bool:
        """Make this record part of a share that it directly follows, if it does."""
        if (share.batch, share.first + share.count, share.timestamp_ms) != (
            self._batch,
            self._index,
            self._timestamp_ms,
        ):
            return False
        share.count += 1
        return True

    @property
    def is_done(self) -> bool:
        """Whether `result` has something to say."""
        return self._batch.leaf(self._index)[0].is_done

    def result(self) -> RecordMetadata:
        """The metadata of the delivered record; raises why it was not delivered, or `InvalidStateError` if not over."""
        batch, index = self._batch.leaf(self._index)
        if not batch.is_done:
            raise asyncio.InvalidStateError("the delivery is still under way")
        if not self._was_retrieved:
            self._was_retrieved = True
            batch.retrieve()
        if batch.error is not None:
            raise batch.error.with_traceback(None)  # one error, many deliveries: their stacks must not add up
        offset = batch.base_offset + index if batch.base_offset >= 0 else -1
        timestamp = batch.append_time if batch.append_time >= 0 else self._timestamp_ms
        return RecordMetadata(batch.tp.topic, batch.tp.partition, offset, timestamp)

    def __repr__(self) -> str:
        state = "under way" if not self.is_done else "over"
        return f"<Delivery to {self._batch.tp}, {state}>"

    async def _wait(self) -> RecordMetadata:
        batch, _ = self._batch.leaf(self._index)
        while not batch.is_done:
            await wait_done(batch)
            batch, _ = self._batch.leaf(self._index)
        return self.result()


@dataclass(slots=True)
class Share:
    """What one sender has in a batch, which others may share: `count` records from index `first` on, of one time."""

    batch: Batch
    first: int
    count: int
    timestamp_ms: int

    def leaves(self) -> Iterator[tuple[Batch, int, int]]:
        """Where these records are by now: (batch, index of the first, count)."""
        index, end = self.first, self.first + self.count
        while index < end:
            leaf, at = self.batch.leaf(index)
            count = min(end - index, leaf.record_count - at)
            yield leaf, at, count
            index += count


@dataclass(frozen=True, slots=True)
class FailedRecords:
    """Some of the records of a `send_many` that were not delivered."""

    topic: str
    partition: int
    count: int
    error: KafkaError


@dataclass(frozen=True, slots=True)
class BatchResult(Sequence[RecordMetadata]):
    """What became of the records of a `send_many`: how many were delivered and where.

    As a sequence it is the metadata of the delivered records, batch by batch, made when looked at.
    """

    delivered: int
    failed: tuple[FailedRecords, ...]
    _spans: tuple[tuple[str, int, int, int, int], ...]  # topic, partition, first offset, count, timestamp

    @classmethod
    def of(cls, shares: Iterable[Share]) -> BatchResult:
        """The account of batches that have all ended."""
        spans: list[tuple[str, int, int, int, int]] = []
        failed: dict[Batch, int] = {}
        for share in shares:
            for batch, first, count in share.leaves():
                if batch.error is not None:
                    batch.retrieve(count)
                    failed[batch] = failed.get(batch, 0) + count
                    continue
                offset = batch.base_offset + first if batch.base_offset >= 0 else -1
                time = batch.append_time if batch.append_time >= 0 else share.timestamp_ms
                spans.append((*batch.tp, offset, count, time))
        failures = [FailedRecords(*batch.tp, count, batch.error) for batch, count in failed.items() if batch.error]
        return cls(sum(span[3] for span in spans), tuple(failures), tuple(spans))

    @property
    def offsets(self) -> dict[int, list[range]]:
        """The offsets written, by partition."""
        offsets: dict[int, list[range]] = {}
        for _, partition, first, count, _ in self._spans:
            offsets.setdefault(partition, []).append(range(first, first + count))
        return offsets

    def __len__(self) -> int:
        return self.delivered

    def __iter__(self) -> Iterator[RecordMetadata]:
        for topic, partition, first, count, timestamp in self._spans:
            for index in range(count):
                yield RecordMetadata(topic, partition, first + index if first >= 0 else -1, timestamp)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return list(self)[index]
        position = index + self.delivered if index < 0 else index
        for topic, partition, first, count, timestamp in self._spans:
            if 0 <= position < count:
                return RecordMetadata(topic, partition, first + position if first >= 0 else -1, timestamp)
            position -= count
        raise IndexError(index)


class SendManyFailed(KafkaError):
    """Some records of a `send_many` were not delivered; `result` says how many, and why for each batch."""

    def __init__(self, result: BatchResult) -> None:
        self.result = result
        count = sum(failed.count for failed in result.failed)
        first = result.failed[0].error
        super().__init__(
            f"{count} of {count + result.delivered} records were not delivered; the first error: {first.message}",
            code=first.code,
        )
