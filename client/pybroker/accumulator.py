"""Batches waiting for and on their way to each partition: what may be sent next, and what an answer means. Pure.

Rules, all for one end: records of a partition are appended in the order in which they were sent, each once.

- Up to `in_flight_max` batches of a partition are under way at a time, each stamped with the sequence that follows the
  one before it. Brokers know the last five, hence five. But one alone until the first was accepted: a broker that knows
  nothing of a producer takes any sequence from it, so the second would be written though the first was refused.
- After a failure nothing more is sent for the partition until every batch under way has come back; then those to be
  tried again are put in front, in their order, with the stamps they had. So a retry never overtakes, and a batch that
  had been appended after all is recognised.
- A batch that ends without being appended leaves a gap that no later sequence can follow. Then the partition goes on
  with a new epoch, from sequence 0, which the broker always accepts (KIP-360) and which shuts out stragglers of the
  old one. But only when no batch left over may have been appended under its old stamp: that one is sent again as it
  is, until its fate is known.
- In a transaction a batch that ends without being appended ends the transaction: nothing more of it is sent, and when
  it was aborted every partition begins anew (`restart`).
- Without idempotence there are no stamps and one batch of a partition at a time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from pybroker.batch import Batch, Stamp
from pybroker.errors import KafkaError, TimedOut
from pybroker.metadata import TopicPartition
from pybroker.retry import Backoff, ProduceVerdict
from pybroker_protocol.records.builder import RECORD_OVERHEAD_MAX, Headers
from pybroker_protocol.records.compression import Codec

__all__ = ["Accumulator", "Identity", "PartitionQueue", "Settings"]

SEQUENCE_MAX = 0x7FFFFFFF
EPOCH_MAX = 0x7FFF


@dataclass(frozen=True, slots=True)
class Settings:
    """How batches are made. Times in seconds, sizes in bytes before compression."""

    batch_bytes: int = 256 * 1024
    linger: float = 0.005
    buffer_bytes: int = 64 * 1024 * 1024
    delivery_timeout: float = 120.0
    is_idempotent: bool = True
    is_transactional: bool = False
    in_flight_max: int = 5
    codec: Codec = Codec.NONE
    level: int | None = None

    @property
    def partition_in_flight_max(self) -> int:
        return self.in_flight_max if self.is_idempotent else 1


@dataclass(frozen=True, slots=True)
class Identity:
    """A producer id and the epoch it starts with."""

    producer_id: int
    producer_epoch: int


class PartitionQueue:
    """All batches of one partition."""

    __slots__ = (
        "_backoff",
        "_epoch",
        "_identity",
        "_in_flight",
        "_is_known",
        "_needs_epoch",
        "_next_number",
        "_next_sequence",
        "_not_before",
        "_open",
        "_queue",
        "_retry",
        "_setbacks",
        "_settings",
        "_spent_producer_id",
        "is_flushing",
        "tp",
    )

    def __init__(self, tp: TopicPartition, settings: Settings, backoff: Backoff) -> None:
        self.tp = tp
        self.is_flushing = False
        self._settings = settings
        self._backoff = backoff
        self._open: Batch | None = None
        self._queue: deque[Batch] = deque()  # sealed, in order; those in front may carry stamps of earlier attempts
        self._in_flight: list[Batch] = []
        self._retry: list[Batch] = []  # came back, wait for the rest of _in_flight
        self._identity: Identity | None = None
        self._is_known = False  # the partition's leader has taken a batch of this identity
        self._epoch = 0
        self._next_sequence = 0
        self._needs_epoch = False
        self._next_number = 0
        self._not_before = 0.0
        self._setbacks = 0
        self._spent_producer_id = -1

    # Filling.

    def append(
        self, now: float, timestamp: int, key: bytes | None, value: bytes | None, headers: Headers | None
    ) -> tuple[Batch, int]:
        """Add a record to the open batch, or to a new one if it would grow too large: (batch, index in it)."""
        batch = self._open
        if batch is not None:
            size = RECORD_OVERHEAD_MAX + (len(key) if key else 0) + (len(value) if value else 0)
            if batch.size_bytes + size > self._settings.batch_bytes:
                self.seal()
                batch = None
        if batch is None:
            batch = self._open = self.new_batch(now)
        index = batch.append(timestamp, key, value, headers)
        if batch.size_bytes >= self._settings.batch_bytes:
            self.seal()
        return batch, index

    def new_batch(self, now: float) -> Batch:
        """A batch of this partition, yet outside of the queue: `enqueue` it."""
        settings = self._settings
        return Batch(
            self.tp,
            self._take_number(),
            now,
            settings.codec,
            settings.level,
            is_transactional=settings.is_transactional,
        )

    def enqueue(self, batch: Batch) -> None:
        """Queue a batch that was filled outside, after what is here already."""
        self.seal()
        # Records that were added since it was made must not come before it.
        batch.number = self._take_number()
        batch.seal()
        self._queue.append(batch)

    def seal(self) -> None:
        """Close the open batch to further records."""
        if self._open is not None:
            self._open.seal()
            self._queue.append(self._open)
            self._open = None

    # Sending.

    @property
    def is_empty(self) -> bool:
        return self._open is None and not self._queue and not self._in_flight and not self._retry

    @property
    def is_filling(self) -> bool:
        """Whether there is a batch that takes more records."""
        return self._open is not None

    @property
    def has_unsent(self) -> bool:
        """Whether there is something to be sent, now or once the others have come back."""
        return self._open is not None or bool(self._queue) or bool(self._retry)

    def sendable_at(self, now: float) -> float | None:
        """The time from which a batch may be sent, in the past for now; None while it depends on an answer."""
        in_flight_max = self._settings.partition_in_flight_max if self._is_known else 1
        if self._retry or len(self._in_flight) >= in_flight_max:
            return None
        if self._queue:
            if self._needs_epoch and self._in_flight and self._queue[0].stamp is None:
                return None
            return self._not_before
        if self._open is None:
            return None
        if self._needs_epoch and self._in_flight:
            return None
        if self.is_flushing or not self._in_flight:
            return self._not_before
        return max(self._not_before, self._open.created + self._settings.linger)

    def take(self, identity: Identity | None) -> tuple[Batch, memoryview]:
        """The next batch and its bytes, stamped and counted as under way. `sendable_at` has said that it may."""
        if not self._queue:
            self.seal()
        batch = self._queue.popleft()
        stamp = batch.stamp
        if identity is not None and stamp is None:
            assert not self._needs_epoch, f"{self.tp}: a batch after a gap in the sequence"
            if self._identity is None:
                self._identity, self._epoch, self._next_sequence = identity, identity.producer_epoch, 0
            stamp = Stamp(self._identity.producer_id, self._epoch, self._next_sequence)
            self._next_sequence = (self._next_sequence + batch.record_count) & SEQUENCE_MAX
        data = batch.wire(stamp)
        batch.attempts += 1
        batch.lost_sequence = False
        self._in_flight.append(batch)
        if not self._queue and self._open is None:
            self.is_flushing = False
        return batch, data

    # What became of it.

    def on_accepted(self, batch: Batch, base_offset: int, append_time: int, now: float, chance: float) -> None:
        self._in_flight.remove(batch)
        self._setbacks = 0
        self._is_known = batch.stamp is not None
        batch.succeed(base_offset, append_time)
        self._settle(now, chance)

    def on_setback(self, batch: Batch, verdict: ProduceVerdict, now: float, chance: float) -> list[Batch]:
        """The attempt failed but the batch has not: it is tried again, or split. Returns what it was split into."""
        self._in_flight.remove(batch)
        if verdict is ProduceVerdict.SEQUENCE_LOST:
            batch.maybe_appended = False
            batch.lost_sequence = True
        elif verdict is ProduceVerdict.RETRY:
            batch.maybe_appended = True
        parts: list[Batch] = []
        if verdict is ProduceVerdict.SPLIT:
            parts = batch.split()
            self._needs_epoch |= batch.stamp is not None
            self._retry.extend(parts)
        else:
            self._retry.append(batch)
        self._settle(now, chance)
        return parts

    def on_failed(self, batch: Batch, error: KafkaError, now: float, chance: float) -> None:
        """The batch will not be tried again."""
        self._in_flight.remove(batch)
        self._give_up(batch, error)
        self._settle(now, chance)

    def expire(self, now: float, chance: float) -> None:
        """Give up the batches that have been here for longer than the delivery timeout and are not under way."""
        oldest = now - self._settings.delivery_timeout
        if self._open is not None and self._open.created <= oldest:
            self.seal()
        if self._retry:
            return  # soon back in the queue, when the others have come back too
        while self._queue and self._queue[0].created <= oldest:
            batch = self._queue.popleft()
            self._give_up(batch, _expired(batch, self._settings.delivery_timeout))
        self._settle(now, chance)

    def expires_at(self) -> float | None:
        """When the oldest batch that is not under way will have been here for too long."""
        if self._retry:
            return None
        oldest = self._queue[0] if self._queue else self._open
        return None if oldest is None else oldest.created + self._settings.delivery_timeout

    def refuses(self, identity: Identity) -> bool:
        """Whether all epochs of this producer id are used up here, so that it takes another to go on."""
        return self._identity is None and identity.producer_id == self._spent_producer_id

    def postpone(self, until: float) -> None:
        """Send nothing before then."""
        self._not_before = max(self._not_before, until)

    def fail_all(self, error: KafkaError) -> None:
        """End everything that has not ended."""
        self.seal()
        batches = [*self._in_flight, *self._retry, *self._queue]
        self._in_flight, self._retry = [], []
        self._queue.clear()
        for batch in sorted(batches, key=_by_number):
            batch.fail(error)

    def restart(self) -> None:
        """Begin anew, with the next identity from sequence 0. Nothing is under way and nothing is queued."""
        assert self.is_empty, f"{self.tp}: begun anew in the middle"
        self._identity, self._is_known, self._needs_epoch = None, False, False
        self._setbacks = 0
        self._not_before = 0.0

    def unfinished(self) -> Iterator[Batch]:
        """Every batch that has not ended, the open one included."""
        yield from self._in_flight
        yield from self._retry
        yield from self._queue
        if self._open is not None:
            yield self._open

    def _give_up(self, batch: Batch, error: KafkaError) -> None:
        if batch.stamp is not None:
            self._needs_epoch = True
        batch.fail(error)

    def _settle(self, now: float, chance: float) -> None:
        """When every batch under way has come back: put the retries in front, renew the epoch if due and safe."""
        if self._in_flight:
            return
        if self._retry:
            retries = sorted(self._retry, key=_by_number)
            self._retry = []
            self._queue.extendleft(reversed(retries))
            self._setbacks += 1
            self.postpone(now + self._backoff.delay(self._setbacks, chance))
            if retries[0].lost_sequence:
                self._needs_epoch = True
        if self._needs_epoch and not any(batch.maybe_appended for batch in self._queue):
            for batch in self._queue:
                batch.stamp = None
            self._renew_epoch()

    def _renew_epoch(self) -> None:
        self._needs_epoch = False
        self._next_sequence = 0
        self._epoch += 1
        if self._epoch > EPOCH_MAX and self._identity is not None:
            self._spent_producer_id, self._identity = self._identity.producer_id, None
            self._is_known = False

    def _take_number(self) -> tuple[int, ...]:
        self._next_number += 1
        return (self._next_number,)


class Accumulator:
    """The queues of all partitions, and how much they hold together."""

    def __init__(self, settings: Settings, backoff: Backoff | None = None) -> None:
        self.settings = settings
        self.buffered_bytes = 0
        self.on_room: Callable[[], None] | None = None
        self.on_failed: Callable[[Batch], None] | None = None
        """Told of each batch that was given up."""
        self._backoff = backoff or Backoff()
        self._queues: dict[TopicPartition, PartitionQueue] = {}
        self._active: dict[TopicPartition, PartitionQueue] = {}  # those that may have something to send, in turn

    def queue(self, tp: TopicPartition) -> PartitionQueue:
        queue = self._queues.get(tp)
        if queue is None:
            queue = self._queues[tp] = PartitionQueue(tp, self.settings, self._backoff)
        return queue

    @property
    def active(self) -> list[PartitionQueue]:
        """The queues with something to send, those that were served longest ago first."""
        idle = [tp for tp, queue in self._active.items() if not queue.has_unsent]
        for tp in idle:
            del self._active[tp]
        return list(self._active.values())

    @property
    def queues(self) -> list[PartitionQueue]:
        return list(self._queues.values())

    def has_room(self, size_bytes: int) -> bool:
        """Whether `size_bytes` more may be buffered. One record may be larger than the whole buffer, alone."""
        return self.buffered_bytes + size_bytes <= self.settings.buffer_bytes or not self.buffered_bytes

    def activate(self, queue: PartitionQueue) -> None:
        self._active.setdefault(queue.tp, queue)

    def served(self, queue: PartitionQueue) -> None:
        """The queue has been served: its turn comes after that of the others."""
        if self._active.pop(queue.tp, None) is not None and queue.has_unsent:
            self._active[queue.tp] = queue

    def reserve(self, batch: Batch, size_bytes: int) -> None:
        """Count bytes that a batch holds, until it ends."""
        if not batch.reserved_bytes:
            batch.when_done(self._release)
        batch.reserved_bytes += size_bytes
        self.buffered_bytes += size_bytes

    def adopt(self, parts: list[Batch]) -> None:
        """Count the bytes of a split batch as its parts' from now on."""
        for part in parts:
            self.buffered_bytes += part.reserved_bytes
            part.when_done(self._release)

    def unfinished(self) -> list[Batch]:
        return [batch for queue in self._queues.values() for batch in queue.unfinished()]

    def _release(self, batch: Batch) -> None:
        released = batch.reserved_bytes if batch.parts is None else sum(part.reserved_bytes for part in batch.parts)
        self.buffered_bytes -= released
        if batch.error is not None and self.on_failed is not None:
            self.on_failed(batch)
        if self.on_room is not None:
            self.on_room()


def _by_number(batch: Batch) -> tuple[int, ...]:
    return batch.number


def _expired(batch: Batch, delivery_timeout: float) -> TimedOut:
    what = f"a batch of {batch.record_count} records for {batch.tp}"
    if batch.maybe_appended:
        return TimedOut(f"{what} was sent but not confirmed within {delivery_timeout:g} s; it may have been written")
    return TimedOut(f"{what} could not be delivered within {delivery_timeout:g} s")
