"""The shell around coordinator state: loads it where this broker leads, runs operations on it, lets it go (design D8).

Rules of this file: the event loop only; one state per led partition of one internal topic. An operation runs to
completion, its records are appended as one batch and replayed at once, and its answers are given when the high
watermark has reached the end that the log had then: nobody is told of what could still be lost. An operation without
records waits the same way, since it may have seen what is not committed yet.

While a partition is loading its keys are answered COORDINATOR_LOAD_IN_PROGRESS; keys of partitions led elsewhere
NOT_COORDINATOR. A new leader epoch loads anew, also on the same broker: what the last one appended and could not commit
may be gone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, Generic, NamedTuple, TypeVar

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.records.builder import RECORD_OVERHEAD_MAX, RecordBatchBuilder
from pybroker_protocol.records.compression import Codec
from pybroker_server.config.views import BrokerConfig
from pybroker_server.coordinator.effects import Effects, Operation, Reply
from pybroker_server.coordinator.end_marker import EndMarker, append_marker
from pybroker_server.coordinator.java_hash import partition_for
from pybroker_server.coordinator.loading import Loaded, LoadStep, Marker, read_step
from pybroker_server.coordinator.records import CoordinatorRecord, RecordTypes
from pybroker_server.coordinator.state import CoordinatorState
from pybroker_server.log.validator import AppendOrigin
from pybroker_server.metadata.image import MetadataImage
from pybroker_server.replica.manager import ReplicaManager
from pybroker_server.replica.partition import ACKS_ALL, Partition
from pybroker_server.replica.purgatory import DelayedProduce
from pybroker_server.runtime.ports import TimerHandle
from pybroker_server.telemetry.events import get_logger

S = TypeVar("S", bound=CoordinatorState)
R = TypeVar("R")

Ask = Callable[[S, Effects, Reply[R]], None]
"""What a request does: reads the state, fills in effects, answers the reply now or later. May raise KafkaError."""


class Led(NamedTuple):
    """In which term of its leader a state is kept, and how it gets operations run later."""

    leader_epoch: int
    perform: Callable[[Operation], None]
    """Does nothing once the state is let go."""


MakeState = Callable[[BrokerConfig, MetadataImage, Led], S]


class Tuning(NamedTuple):
    """The settings of one internal topic."""

    codec: Codec
    load_buffer_bytes: int
    commit_timeout_ms: int
    """How long answers wait for the replicas."""


def offsets_tuning(config: BrokerConfig) -> Tuning:
    """Those of `__consumer_offsets`."""
    return Tuning(
        Codec(config.offsets_topic_compression_codec), config.offsets_load_buffer_size, config.offsets_commit_timeout_ms
    )


_LOAD_STEP_BYTES: Final = 256 * 1024
"""Read and replayed at a time, so that loading holds up the event loop for milliseconds only."""
_BATCH_OVERHEAD: Final = 128

_TO_CLIENT: Final = {
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_ENOUGH_REPLICAS: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.REQUEST_TIMED_OUT: ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_LEADER_OR_FOLLOWER: ErrorCode.NOT_COORDINATOR,
    ErrorCode.KAFKA_STORAGE_ERROR: ErrorCode.NOT_COORDINATOR,
    ErrorCode.MESSAGE_TOO_LARGE: ErrorCode.UNKNOWN_SERVER_ERROR,
    ErrorCode.RECORD_LIST_TOO_LARGE: ErrorCode.UNKNOWN_SERVER_ERROR,
}
"""Trouble with the internal topic, in the words that a coordinator's clients understand."""

_log = get_logger("pybroker.coordinator")


class _Shard(Generic[S]):
    """One led partition and its state."""

    __slots__ = ("deadline_ms", "index", "is_active", "leader_epoch", "partition", "replayed", "state", "timer")

    def __init__(self, partition: Partition, leader_epoch: int, state: S) -> None:
        self.partition = partition
        self.index = partition.index
        self.leader_epoch = leader_epoch
        self.state = state
        self.is_active = False
        self.replayed = 0
        self.timer: TimerHandle | None = None
        self.deadline_ms: int | None = None


class CoordinatorHost(Generic[S]):
    """See the head of this file. `topic` is the internal topic's name."""

    def __init__(
        self,
        topic: str,
        types: RecordTypes,
        make_state: MakeState[S],
        replicas: ReplicaManager,
        config: BrokerConfig,
        tuning: Callable[[BrokerConfig], Tuning] = offsets_tuning,
    ) -> None:
        self.topic = topic
        self._types = types
        self._make_state = make_state
        self._replicas = replicas
        self._config = config
        self._tuning_of = tuning
        self._tuning = tuning(config)
        self._shards: dict[int, _Shard[S]] = {}
        self._outbox: deque[tuple[Reply[Any], Any]] = deque()

    # Requests

    def partition_of(self, key: str) -> int | None:
        """Which partition keeps `key`; None while the topic does not exist."""
        topic = self._replicas.image.topics_by_name.get(self.topic)
        return None if topic is None else partition_for(key, len(topic.partitions))

    def run(self, key: str, ask: Ask[S, R], reply: Reply[R]) -> None:
        """Runs `ask` on the state that keeps `key`; whatever comes of it, `reply` is answered once."""
        index = self.partition_of(key)
        if index is None:
            reply.fail(ErrorCode.NOT_COORDINATOR)
        else:
            self.run_at(index, ask, reply)

    def run_at(self, index: int, ask: Ask[S, R], reply: Reply[R]) -> None:
        """The same for what belongs to a whole partition."""
        shard = self._shards.get(index)
        if shard is None or not self._is_serving(shard):
            reply.fail(ErrorCode.NOT_COORDINATOR)
        elif not shard.is_active:
            reply.fail(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
        else:
            effects = self._effects()
            try:
                ask(shard.state, effects, reply)
            except KafkaError as error:
                reply.fail_with(error)
                self._arm(shard)
                return
            self._settle(shard, effects, reply)

    def end_transaction(self, index: int, marker: EndMarker, reply: Reply[ErrorCode]) -> None:
        """Ends a producer's transaction in one partition: its marker is appended, and the state told."""

        def write(state: S, effects: Effects, own: Reply[ErrorCode]) -> None:
            effects.marker = marker
            effects.answer(own, ErrorCode.NONE)

        self.run_at(index, write, reply)

    @property
    def partitions(self) -> list[int]:
        """Those that this broker coordinates, loading ones included, in order."""
        return sorted(self._shards)

    @property
    def states(self) -> list[S]:
        """What is loaded and served here, for whoever looks at all of it."""
        return [shard.state for shard in self._active()]

    # What happens to the broker

    def on_image(self, old: MetadataImage, new: MetadataImage) -> None:
        """Subscribed to the metadata publisher, behind the replica manager."""
        hosted = self._replicas.topics.get(self.topic)
        partitions = hosted.partitions.values() if hosted is not None else ()
        led = {partition.index: partition for partition in partitions if partition.is_serving_leader}
        for shard in list(self._shards.values()):
            partition = led.get(shard.index)
            if partition is not shard.partition or partition.state.leader_epoch != shard.leader_epoch:
                self._unload(shard)
        if old.topics_by_id is not new.topics_by_id or old.group_configs is not new.group_configs:
            for shard in self._active():
                self._perform(shard, lambda effects, state=shard.state: state.on_image(effects, new))  # type: ignore[misc]
        for index, partition in led.items():
            if index not in self._shards:
                self._load(partition)

    def on_config(self, config: BrokerConfig) -> None:
        """The broker's settings changed."""
        self._config = config
        self._tuning = self._tuning_of(config)
        for shard in self._active():
            shard.state.on_config(config)

    def stop(self) -> None:
        """Answers what waits with NOT_COORDINATOR: clients look for the next coordinator."""
        for shard in list(self._shards.values()):
            self._unload(shard)

    # Loading

    def _active(self) -> Iterable[_Shard[S]]:
        return [shard for shard in self._shards.values() if shard.is_active]

    def _load(self, partition: Partition) -> None:
        leader_epoch = partition.state.leader_epoch
        led = Led(leader_epoch, partial(self._perform_later, partition.index, leader_epoch))
        shard = _Shard(partition, leader_epoch, self._make_state(self._config, self._replicas.image, led))
        self._shards[partition.index] = shard
        self._read_from(shard, partition.log.log_start_offset)

    def _read_from(self, shard: _Shard[S], offset: int) -> None:
        log = shard.partition.log
        if offset >= log.log_end_offset:
            self._activate(shard)
            return
        step_bytes = min(self._tuning.load_buffer_bytes, _LOAD_STEP_BYTES)
        work = partial(read_step, log, self._types, offset, step_bytes, log.end_position)
        self._replicas.blocking.submit(work, partial(self._on_read, shard))

    def _on_read(self, shard: _Shard[S], step: LoadStep | None, error: BaseException | None) -> None:
        if self._shards.get(shard.index) is not shard:
            return
        if isinstance(error, KafkaError) and error.code is ErrorCode.OFFSET_OUT_OF_RANGE:
            self._read_from(shard, shard.partition.log.log_start_offset)
            return
        if isinstance(error, OSError):
            shard.partition.go_offline(error)
            self._unload(shard)
            _log.error("coordinator_not_loaded", topic=self.topic, partition=shard.index, error=str(error))
            return
        if error is not None:
            raise error
        assert step is not None
        for loaded in step.entries:
            _replay(shard.state, loaded)
        shard.replayed += len(step.entries)
        if step.damaged:
            _log.error("coordinator_records_damaged", topic=self.topic, partition=shard.index, records=step.damaged)
        self._read_from(shard, step.next_offset)

    def _activate(self, shard: _Shard[S]) -> None:
        shard.is_active = True

        def begin(effects: Effects) -> None:
            shard.state.on_config(self._config)
            shard.state.on_image(effects, self._replicas.image)
            shard.state.on_loaded(effects)

        self._perform(shard, begin)
        _log.debug(
            "coordinator_loaded",
            topic=self.topic,
            partition=shard.index,
            leader_epoch=shard.leader_epoch,
            records=shard.replayed,
        )

    def _unload(self, shard: _Shard[S]) -> None:
        del self._shards[shard.index]
        shard.is_active = False
        if shard.timer is not None:
            shard.timer.cancel()
        shard.state.timeouts.clear()
        shard.state.on_unloaded()

    def _is_serving(self, shard: _Shard[S]) -> bool:
        """A partition whose storage failed is let go when that is noticed: metadata will say who has it next."""
        if shard.partition.is_serving_leader:
            return True
        self._unload(shard)
        return False

    # Operations

    def _effects(self) -> Effects:
        clock = self._replicas.clock
        return Effects(clock.monotonic_ms(), clock.wall_ms())

    def _perform(self, shard: _Shard[S], operation: Operation) -> None:
        """An operation that no request asked for. A KafkaError from it would be a mistake of ours."""
        effects = self._effects()
        operation(effects)
        self._settle(shard, effects, None)

    def _perform_later(self, index: int, leader_epoch: int, operation: Operation) -> None:
        """For the state itself, when something that it waited for has come about."""
        shard = self._shards.get(index)
        if shard is None or shard.leader_epoch != leader_epoch or not shard.is_active:
            return
        if self._is_serving(shard):
            self._perform(shard, operation)

    def _settle(self, shard: _Shard[S], effects: Effects, own: Reply[Any] | None) -> None:
        """Appends and replays what the operation wants written, then sees to its answers. `own` is the asker's."""
        if effects.records or effects.marker is not None:
            try:
                self._append(shard, effects)
            except KafkaError as error:
                self._fail(shard, effects, _TO_CLIENT.get(error.code, error.code))
                return
        if effects.answers:
            self._answer(shard, effects, own)
        self._arm(shard)

    def _append(self, shard: _Shard[S], effects: Effects) -> None:
        """Raises KafkaError; of an operation that is one batch nothing was appended or replayed then."""
        state, partition = shard.state, shard.partition
        if partition.state.leader_epoch != shard.leader_epoch:
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        if effects.marker is not None:
            assert not effects.records, "a marker stands alone"
            marker = effects.marker
            append_marker(partition, marker, effects.now_ms, effects.wall_ms)
            state.replay_marker(marker.producer_id, marker.producer_epoch, is_commit=marker.is_commit)
            return
        for batch, records in self._batches(effects, partition.log.config.max_message_bytes):
            partition.append(
                memoryview(batch),
                ACKS_ALL,
                effects.now_ms,
                effects.wall_ms,
                AppendOrigin.COORDINATOR,
                verification=effects.verification,
            )
            for record, replays in records:
                if replays:
                    state.replay(record, effects.producer_id, effects.producer_epoch)

    def _batches(
        self, effects: Effects, max_bytes: int
    ) -> Iterable[tuple[bytearray, list[tuple[CoordinatorRecord, bool]]]]:
        builder, taken, size = self._builder(effects), list[tuple[CoordinatorRecord, bool]](), _BATCH_OVERHEAD
        for record, replays in effects.records:
            key, value = self._types.encode(record)
            record_bytes = len(key) + len(value or b"") + RECORD_OVERHEAD_MAX
            if taken and not effects.is_atomic and size + record_bytes > max_bytes:
                yield builder.build(), taken
                builder, taken, size = self._builder(effects), [], _BATCH_OVERHEAD
            builder.append(effects.wall_ms, key, value)
            taken.append((record, replays))
            size += record_bytes
        yield builder.build(), taken

    def _builder(self, effects: Effects) -> RecordBatchBuilder:
        return RecordBatchBuilder(
            codec=self._tuning.codec,
            producer_id=effects.producer_id,
            producer_epoch=effects.producer_epoch,
            is_transactional=effects.producer_id >= 0,
        )

    def _fail(self, shard: _Shard[S], effects: Effects, code: ErrorCode) -> None:
        for reply, _ in effects.answers:
            reply.fail(code)
        if effects.failures:
            undone = self._effects()
            for undo in effects.failures:
                undo(code, undone)
            assert not undone.records, "an operation that failed cannot write"
            for reply, response in undone.answers:
                reply.complete(response)
        self._arm(shard)

    # Answers

    def _answer(self, shard: _Shard[S], effects: Effects, own: Reply[Any] | None) -> None:
        partition = shard.partition
        required = partition.log.log_end_offset
        if partition.high_watermark >= required:
            self._give(effects.answers, own)
            return
        waiting = DelayedProduce(partial(self._on_committed, effects.answers))
        waiting.add(None, required, partition.waiting)
        self._replicas.watch(waiting, effects.now_ms + self._tuning.commit_timeout_ms)

    def _give(self, answers: Iterable[tuple[Reply[Any], Any]], own: Reply[Any] | None) -> None:
        """The asker at once; others after the current call, so that no request runs inside another."""
        for reply, response in answers:
            if reply is own:
                reply.complete(response)
                continue
            if not self._outbox:
                self._replicas.timers.call_soon(self._empty_outbox)
            self._outbox.append((reply, response))

    def _empty_outbox(self) -> None:
        waiting, self._outbox = self._outbox, deque()
        for reply, response in waiting:
            reply.complete(response)

    def _on_committed(self, answers: list[tuple[Reply[Any], Any]], operation: DelayedProduce) -> None:
        failures = operation.failures
        if not failures:
            for reply, response in answers:
                reply.complete(response)
            return
        error = failures[0][1]
        for reply, _ in answers:
            reply.fail(_TO_CLIENT.get(error, error))

    # Deadlines

    def _arm(self, shard: _Shard[S]) -> None:
        """A timer that is early finds nothing and is set anew: cheaper than to move it with every heartbeat."""
        deadline_ms = shard.state.timeouts.next_deadline_ms
        if deadline_ms is None or not shard.is_active:
            return
        if shard.timer is not None:
            if shard.deadline_ms is not None and shard.deadline_ms <= deadline_ms:
                return
            shard.timer.cancel()
        shard.deadline_ms = deadline_ms
        delay_ms = max(deadline_ms - self._replicas.clock.monotonic_ms(), 0)
        shard.timer = self._replicas.timers.call_after_ms(delay_ms, partial(self._on_deadline, shard))

    def _on_deadline(self, shard: _Shard[S]) -> None:
        shard.timer = None
        shard.deadline_ms = None
        if not self._is_serving(shard):
            return
        for operation in shard.state.timeouts.expire(self._replicas.clock.monotonic_ms()):
            if shard.is_active:
                self._perform(shard, operation)
        if shard.is_active:
            self._arm(shard)


def _replay(state: CoordinatorState, loaded: Loaded) -> None:
    if isinstance(loaded.entry, Marker):
        state.replay_marker(loaded.producer_id, loaded.producer_epoch, is_commit=loaded.entry.is_commit)
    else:
        state.replay(loaded.entry, loaded.producer_id, loaded.producer_epoch)
