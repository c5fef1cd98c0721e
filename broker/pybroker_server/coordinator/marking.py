"""Ends a transaction in the partitions of this broker: markers are written and answered when they are safe.

Rules of this file: the event loop only. In partitions of `__consumer_offsets` the group coordinator writes the marker,
so that what was committed in the transaction counts from that moment on. Every partition is answered once; one that is
not here is UNKNOWN_TOPIC_OR_PARTITION, one that is not led here NOT_LEADER_OR_FOLLOWER: the transaction's coordinator
looks for the leader and asks again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_server.coordinator.effects import Reply
from pybroker_server.coordinator.end_marker import EndMarker, append_marker
from pybroker_server.coordinator.group.coordinator import OFFSETS_TOPIC, GroupCoordinator
from pybroker_server.replica.manager import ReplicaManager
from pybroker_server.replica.purgatory import DelayedProduce

TopicPartition = tuple[str, int]
Marked = Callable[[Mapping[TopicPartition, ErrorCode]], None]
"""Told the code of every partition, once."""

_ASK_AGAIN = frozenset(
    {
        ErrorCode.COORDINATOR_NOT_AVAILABLE,
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode.NOT_COORDINATOR,
    }
)
"""Of the group coordinator: what a transaction coordinator is told instead is NOT_LEADER_OR_FOLLOWER."""


class MarkerWriter:
    """See the head of this file."""

    def __init__(self, replicas: ReplicaManager, groups: GroupCoordinator, timeout_ms: int) -> None:
        self._replicas = replicas
        self._groups = groups
        self._timeout_ms = timeout_ms
        """How long the replicas of a partition may take: `request.timeout.ms`."""

    def write(self, marker: EndMarker, partitions: Iterable[TopicPartition], done: Marked) -> None:
        """Writes `marker` into each of these; `done` may be called before this returns."""
        wanted = list(dict.fromkeys(partitions))
        codes: dict[TopicPartition, ErrorCode] = {}
        if not wanted:
            done(codes)
            return

        def settle(where: TopicPartition, code: ErrorCode) -> None:
            codes[where] = code
            if len(codes) == len(wanted):
                done(codes)

        waiting = DelayedProduce(partial(_on_replicated, settle))
        settled: list[tuple[TopicPartition, ErrorCode]] = []
        for where in wanted:
            topic, index = where
            if not self._is_here(where):
                settled.append((where, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION))
            elif topic == OFFSETS_TOPIC:
                self._groups.end_transaction(index, marker, Reply(partial(settle, where), _for_coordinators))
            else:
                code = self._append(marker, where, waiting)
                if code is not None:
                    settled.append((where, code))
        if waiting.waits:
            self._replicas.watch(waiting, self._replicas.clock.monotonic_ms() + self._timeout_ms)
        for where, code in settled:
            settle(where, code)

    def _is_here(self, where: TopicPartition) -> bool:
        hosted = self._replicas.topics.get(where[0])
        partition = None if hosted is None else hosted.partitions.get(where[1])
        return partition is not None and partition.error is ErrorCode.NONE

    def _append(self, marker: EndMarker, where: TopicPartition, waiting: DelayedProduce) -> ErrorCode | None:
        """What came of it, or None: that is told to `waiting`."""
        clock = self._replicas.clock
        partition = self._replicas.partition(*where)
        try:
            required = append_marker(partition, marker, clock.monotonic_ms(), clock.wall_ms())
        except KafkaError as error:
            return error.code
        if partition.high_watermark >= required:
            return partition.state.produce_outcome()
        waiting.add(where, required, partition.waiting)
        return None


def _on_replicated(settle: Callable[[TopicPartition, ErrorCode], None], operation: DelayedProduce) -> None:
    for wait in operation.waits:
        assert wait.error is not None
        settle(wait.slot, wait.error)


def _for_coordinators(code: ErrorCode) -> ErrorCode:
    return ErrorCode.NOT_LEADER_OR_FOLLOWER if code in _ASK_AGAIN else code
