"""Who gets the markers of decided transactions, and until when: everybody, until it is written (KIP-98).

Rules of this file: the event loop only. A job is done when every partition has its marker or is gone for good with its
topic. Whatever else a leader answers, and a partition without a leader, is tried again: soon, and at once when the
metadata change. Two answers end a job undone, as in Kafka: the partition knows a later term of the coordinator, or a
later epoch of the producer; then somebody else coordinates this transactional id by now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Final, Protocol

from pybroker_protocol.errors import ErrorCode
from pybroker_server.coordinator.end_marker import EndMarker
from pybroker_server.coordinator.transaction.transaction import TopicPartition
from pybroker_server.metadata.image import MetadataImage
from pybroker_server.runtime.ports import TimerHandle, Timers
from pybroker_server.telemetry.events import get_logger

RETRY_MS: Final = 100

Marked = Callable[[Mapping[TopicPartition, ErrorCode]], None]

_FENCED: Final = frozenset((ErrorCode.INVALID_PRODUCER_EPOCH, ErrorCode.TRANSACTION_COORDINATOR_FENCED))
_WRITTEN: Final = frozenset((ErrorCode.NONE, ErrorCode.UNSUPPORTED_FOR_MESSAGE_FORMAT))

_log = get_logger("pybroker.transactions")


class MarkerSink(Protocol):
    """A way to partition leaders: those of this broker, or those of another."""

    def write(self, marker: EndMarker, partitions: Iterable[TopicPartition], done: Marked) -> None:
        """Has the marker written to each of the partitions; `done` is told their codes, once, now or later."""


class MarkerJob:
    """The markers of one transaction. `remaining` are the partitions without one."""

    __slots__ = ("_on_done", "is_over", "marker", "remaining", "transactional_id")

    def __init__(
        self,
        transactional_id: str,
        marker: EndMarker,
        partitions: Iterable[TopicPartition],
        on_done: Callable[[], None],
    ) -> None:
        self.transactional_id = transactional_id
        self.marker = marker
        self.remaining = set(partitions)
        self.is_over = False
        """Done, cancelled, or fenced."""
        self._on_done = on_done

    def cancel(self) -> None:
        """What is on its way is not called back; `on_done` is not called."""
        self.is_over = True

    def settle(self, partitions: Iterable[TopicPartition]) -> None:
        """These partitions need no marker any more."""
        self.remaining.difference_update(partitions)
        if not self.remaining and not self.is_over:
            self.is_over = True
            self._on_done()


class MarkerQueue:
    """One per broker. `remote` gives the way to another broker."""

    def __init__(
        self,
        node_id: int,
        image: MetadataImage,
        local: MarkerSink,
        remote: Callable[[int], MarkerSink],
        timers: Timers,
    ) -> None:
        self._node_id = node_id
        self._image = image
        self._local = local
        self._remote = remote
        self._timers = timers
        self._retries: list[tuple[MarkerJob, TopicPartition]] = []
        self._timer: TimerHandle | None = None

    def send(self, job: MarkerJob) -> None:
        """Calls the job's `on_done` when all of it is written, perhaps now."""
        self._send(job, list(job.remaining))

    def on_image(self, old: MetadataImage, new: MetadataImage) -> None:
        """Subscribed to the metadata publisher, behind the replica manager."""
        self._image = new
        if old.topics_by_id is not new.topics_by_id or old.brokers is not new.brokers:
            self._retry()

    def stop(self) -> None:
        """Nothing is sent any more."""
        self._retries.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _send(self, job: MarkerJob, partitions: Iterable[TopicPartition]) -> None:
        by_leader: dict[int, list[TopicPartition]] = {}
        gone: list[TopicPartition] = []
        for partition in partitions:
            found = self._image.partition(*partition)
            if found is None:
                gone.append(partition)
            else:
                by_leader.setdefault(found.leader, []).append(partition)
        job.settle(gone)
        for leader, led in by_leader.items():
            sink = self._sink(leader)
            if sink is None:
                self._again(job, led)
            else:
                sink.write(job.marker, led, partial(self._on_answer, job))

    def _sink(self, leader: int) -> MarkerSink | None:
        if leader == self._node_id:
            return self._local
        broker = self._image.brokers.get(leader)
        return None if broker is None or broker.fenced else self._remote(leader)

    def _on_answer(self, job: MarkerJob, codes: Mapping[TopicPartition, ErrorCode]) -> None:
        if job.is_over:
            return
        refused = next((where for where, code in codes.items() if code in _FENCED), None)
        if refused is not None:
            job.cancel()
            _log.error(
                "transaction_markers_refused",
                transactional_id=job.transactional_id,
                topic=refused[0],
                partition=refused[1],
                error=codes[refused].name,
            )
            return
        failed = [where for where, code in codes.items() if code not in _WRITTEN]
        if failed:
            self._again(job, failed)
        job.settle(where for where in codes if codes[where] in _WRITTEN)

    def _again(self, job: MarkerJob, partitions: Iterable[TopicPartition]) -> None:
        self._retries += [(job, partition) for partition in partitions]
        if self._timer is None:
            self._timer = self._timers.call_after_ms(RETRY_MS, self._retry)

    def _retry(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._retries = self._retries, []
        jobs: dict[int, tuple[MarkerJob, list[TopicPartition]]] = {}
        for job, partition in waiting:
            if not job.is_over:
                jobs.setdefault(id(job), (job, []))[1].append(partition)
        for job, partitions in jobs.values():
            self._send(job, partitions)
