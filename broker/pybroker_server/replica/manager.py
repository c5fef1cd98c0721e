"""All partitions of this broker: which there are, what waits on them, and what is done to them periodically.

Rules of this file: the event loop only. Partitions come and go with the metadata image (`on_image`); nobody else makes
one. What completes while a partition is being changed is answered after the current call (`finish`), in order, so
that no handler runs inside another and no stack grows with the number of clients.

Lookups are two dictionaries, by topic name and by topic id, for requests of either kind; a lookup that fails asks the
metadata why (`missing`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID

import structlog

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_server.config.views import BrokerConfig
from pybroker_server.metadata.image import MetadataImage, PartitionImage, TopicImage
from pybroker_server.replica.follower_parts import FollowerParts
from pybroker_server.replica.followers import Followers
from pybroker_server.replica.log_configs import log_config_for
from pybroker_server.replica.log_starts import Done as LogStartsWritten
from pybroker_server.replica.log_starts import LogStartWriter
from pybroker_server.replica.partition import Partition
from pybroker_server.replica.partition_state import NO_EPOCH, IsrChange, PartitionState
from pybroker_server.replica.purgatory import DelayedOperation, Purgatory, WaitList
from pybroker_server.replica.throttle import FOLLOWERS_KEY, LEADERS_KEY, ReplicationQuota, throttled_partitions
from pybroker_server.runtime.ports import Blocking, Clock, TimerHandle, Timers

if TYPE_CHECKING:
    from pybroker_server.log.flusher import Flusher
    from pybroker_server.log.log_config import LogConfig
    from pybroker_server.log.manager import LogManager
    from pybroker_server.log.partition_log import PartitionLog
    from pybroker_server.peers.peers import Peers
    from pybroker_server.runtime.runtime import Runtime

OnIsrChange = Callable[[Partition, IsrChange], None]
"""Has a proposed change of an ISR written to the metadata store."""
MAX_WAITING_OPERATIONS = 100_000
"""Then fetches are answered with what there is and acks=all produces are refused (see `purgatory.py`)."""

_NEVER_MS = 1 << 62
_log = structlog.get_logger("pybroker.replica")


class HostedTopic:
    """A topic of which this broker has partitions."""

    __slots__ = ("config", "image", "is_internal", "name", "partitions", "topic_id")

    def __init__(self, image: TopicImage, config: LogConfig) -> None:
        self.name = image.name
        self.topic_id = image.topic_id
        self.is_internal = image.is_internal
        self.image = image
        self.config = config
        self.partitions: dict[int, Partition] = {}


class ReplicaManager:
    """`topics` (by name) and `topics_by_id` (by the id as a number) are open for reading to hot handlers."""

    def __init__(
        self,
        node_id: int,
        config: BrokerConfig,
        logs: LogManager,
        flusher: Flusher,
        *,
        clock: Clock,
        timers: Timers,
        blocking: Blocking,
    ) -> None:
        self.node_id = node_id
        self.image = MetadataImage()
        self.topics: dict[str, HostedTopic] = {}
        self.topics_by_id: dict[int, HostedTopic] = {}
        self.purgatory = Purgatory(MAX_WAITING_OPERATIONS)
        self.clock = clock
        self.timers = timers
        self.blocking = blocking
        self._config = config
        self._logs = logs
        self._flusher = flusher
        self._log_starts = LogStartWriter(blocking, logs.write_log_start_offsets)
        self._eligible_brokers: dict[int, int] = {}
        """Shared with every partition's state and changed in place."""
        self.followers: Followers | None = None
        """Set by `follow_leaders`, before the first image."""
        self.leader_quota = ReplicationQuota(config.leader_replication_throttled_rate)
        self.follower_quota = ReplicationQuota(config.follower_replication_throttled_rate)
        self._on_isr_change: OnIsrChange | None = None
        self._isr_timer: TimerHandle | None = None
        self._failed: set[tuple[str, int]] = set()
        """Partitions whose log could not be opened: answered with KAFKA_STORAGE_ERROR."""
        self._is_fenced = False
        self.lease_ends_ms = _NEVER_MS
        """From then on, by `clock`, nothing may be served as a leader that another broker could lead."""
        self.on_lease_over: Callable[[], None] = self.on_fenced
        self._finished: deque[DelayedOperation] = deque()
        self._deadline_timer: TimerHandle | None = None
        self._deadline_ms = _NEVER_MS

    # Looking up

    def partition(self, topic: str, index: int) -> Partition:
        """Raises KafkaError with what `missing` says."""
        hosted = self.topics.get(topic)
        found = hosted.partitions.get(index) if hosted is not None else None
        if found is None:
            raise KafkaError(self.missing(topic, index))
        return found

    def partition_by_id(self, topic_id: UUID, index: int) -> Partition:
        """Raises KafkaError with what `missing_by_id` says."""
        hosted = self.topics_by_id.get(topic_id.int)
        found = hosted.partitions.get(index) if hosted is not None else None
        if found is None:
            raise KafkaError(self.missing_by_id(topic_id, index))
        return found

    def missing(self, topic: str, index: int) -> ErrorCode:
        """Why this broker has no such partition: unknown, on other brokers, or its log cannot be opened."""
        if self.image.partition(topic, index) is None:
            return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        if (topic, index) in self._failed:
            return ErrorCode.KAFKA_STORAGE_ERROR
        return ErrorCode.NOT_LEADER_OR_FOLLOWER

    def missing_by_id(self, topic_id: UUID, index: int) -> ErrorCode:
        """The same for requests that name topics by id; an unknown id is UNKNOWN_TOPIC_ID."""
        topic = self.image.topics_by_id.get(topic_id)
        return ErrorCode.UNKNOWN_TOPIC_ID if topic is None else self.missing(topic.name, index)

    def topic_name(self, topic_id: UUID) -> str:
        """Empty when unknown."""
        topic = self.image.topics_by_id.get(topic_id)
        return "" if topic is None else topic.name

    def leader_of(self, topic: str, index: int) -> tuple[int, int]:
        """(leader, leader epoch) by the newest metadata; -1 for what is not known, or not any more."""
        registration = self.image.partition(topic, index)
        if registration is None or self.may_have_lost(registration):
            return -1, -1
        return registration.leader, registration.leader_epoch

    def may_have_lost(self, partition: PartitionImage) -> bool:
        """Whether the metadata names this broker the leader, but is too old to be believed: the lease is over, so that
        another may have been elected."""
        return self._is_fenced and partition.leader == self.node_id and len(partition.replicas) > 1

    def all_partitions(self) -> list[Partition]:
        return [partition for hosted in self.topics.values() for partition in hosted.partitions.values()]

    # Waiting

    def watch(self, operation: DelayedOperation, deadline_ms: int) -> None:
        """Parks an operation; it is answered by an event of its partitions, or at its deadline."""
        self.purgatory.watch(operation, deadline_ms)
        if deadline_ms < self._deadline_ms:
            self._arm(deadline_ms)

    def finish(self, operations: Sequence[DelayedOperation]) -> None:
        """Has these answered after the current call. They are complete: the purgatory has let them go."""
        if not operations:
            return
        if not self._finished:
            self.timers.call_soon(self._answer_finished)
        self._finished.extend(operations)

    def _answer_finished(self) -> None:
        finished, self._finished = self._finished, deque()
        try:
            while finished:
                finished.popleft().finish()
        finally:
            # One that fails is a bug and climbs to the loop; the others must not wait for ever because of it.
            self.finish(finished)

    def _arm(self, deadline_ms: int) -> None:
        if self._deadline_timer is not None:
            self._deadline_timer.cancel()
        self._deadline_ms = deadline_ms
        delay_ms = max(deadline_ms - self.clock.monotonic_ms(), 0)
        self._deadline_timer = self.timers.call_after_ms(delay_ms, self._on_deadline)

    def _on_deadline(self) -> None:
        self._deadline_timer = None
        self._deadline_ms = _NEVER_MS
        self.finish(self.purgatory.expire(self.clock.monotonic_ms()))
        following = self.purgatory.next_deadline_ms
        if following is not None:
            self._arm(following)

    def deletions_of(self, partition: Partition) -> WaitList:
        """What waits on its low watermark."""
        if partition.deletions is None:
            partition.deletions = self.purgatory.new_wait_list()
        return partition.deletions

    def persist_log_starts(self, done: LogStartsWritten) -> None:
        """Calls `done(error)` when the log starts as they are now are on the device."""
        self._log_starts.request(done)

    # Other brokers

    def follow_leaders(self, peers: Peers, runtime: Runtime, on_isr_change: OnIsrChange) -> None:
        """Replicates with other brokers from now on; call it before the first image. `on_isr_change` has a change
        written to the metadata store."""
        parts = FollowerParts(
            node_id=self.node_id,
            peers=peers,
            runtime=runtime,
            config=self._config,
            broker_epoch=self._broker_epoch,
            truncate=self._truncate,
            start_anew=self._start_anew,
            quota=self.follower_quota,
        )
        self.followers = Followers(parts)
        self._on_isr_change = on_isr_change
        self._arm_isr_check()

    def stop_following(self) -> None:
        if self.followers is not None:
            self.followers.stop()
        if self._isr_timer is not None:
            self._isr_timer.cancel()

    def _broker_epoch(self) -> int:
        me = self.image.brokers.get(self.node_id)
        return me.epoch if me is not None else NO_EPOCH

    def _arm_isr_check(self) -> None:
        delay_ms = max(self._config.replica_lag_time_max_ms // 2, 1)
        self._isr_timer = self.timers.call_after_ms(delay_ms, self._shrink_isrs)

    def _shrink_isrs(self) -> None:
        """Who has not caught up for `replica.lag.time.max.ms` holds nobody up any longer."""
        now_ms = self.clock.monotonic_ms()
        for partition in self.all_partitions():
            if partition.state.followers:
                partition.shrink_isr(now_ms)
        self._arm_isr_check()

    async def _truncate(self, partition: Partition, offset: int) -> bool:
        return await self._replace_log(partition, partial(self._logs.truncate, offset=offset))

    async def _start_anew(self, partition: Partition, offset: int) -> bool:
        return await self._replace_log(partition, partial(self._logs.start_anew, offset=offset))

    async def _replace_log(
        self, partition: Partition, replace: Callable[[PartitionLog], Awaitable[PartitionLog | None]]
    ) -> bool:
        """Meanwhile its role does not change: what the metadata says is taken over afterwards."""
        flushed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done() -> None:
            if not flushed.done():
                flushed.set_result(None)

        partition.when_flushed(done)
        await flushed
        if partition.error is not ErrorCode.NONE or partition.state.is_leader or partition.is_resting:
            return False
        partition.is_resting = True
        try:
            fresh = await replace(partition.log)
        finally:
            partition.is_resting = False
        hosted = self.topics_by_id.get(partition.topic_id.int)
        if hosted is None or hosted.partitions.get(partition.index) is not partition:
            self._logs.delete(partition.topic, partition.index, partition.topic_id)  # it was dropped meanwhile
            return False
        if fresh is not None:
            partition.replace_log(fresh)
            fresh.update_config(hosted.config)
        self._apply_partition(partition, hosted.image.partitions[partition.index], self.clock.monotonic_ms())
        return fresh is not None

    # Metadata

    def on_image(self, old: MetadataImage, new: MetadataImage) -> None:
        """Subscribed to the metadata publisher: opens, changes, reconfigures and deletes partitions."""
        self.image = new
        if old.brokers is not new.brokers:
            self._eligible_brokers.clear()
            for broker in new.brokers.values():
                if not broker.fenced and not broker.shutting_down:
                    self._eligible_brokers[broker.node_id] = broker.epoch
        if old.topics_by_id is not new.topics_by_id:
            for topic_id, topic in old.topics_by_id.items():
                if topic_id not in new.topics_by_id:
                    self._remove(topic)
            for topic_id, topic in new.topics_by_id.items():
                if old.topics_by_id.get(topic_id) is not topic:
                    self._apply(topic)

    def on_config(self, config: BrokerConfig) -> None:
        """The broker's configuration changed, and with it perhaps the defaults of topics."""
        self._config = config
        self.leader_quota.bytes_per_second = config.leader_replication_throttled_rate
        self.follower_quota.bytes_per_second = config.follower_replication_throttled_rate
        if self.followers is not None:
            self.followers.on_config(config)
        now_ms = self.clock.monotonic_ms()
        for hosted in self.topics.values():
            self._configure(hosted, hosted.image, now_ms)

    def check_lease(self, now_ms: int) -> None:
        """Before anything is served as a leader: a process that stood still may see a request before its timers."""
        if now_ms >= self.lease_ends_ms:
            self.lease_ends_ms = _NEVER_MS
            self.on_lease_over()

    def on_fenced(self) -> None:
        """This broker's lease ran out: another may lead what it leads, so it serves nothing as a leader that another
        could have (R13). What it is the only replica of it goes on serving.
        """
        self._is_fenced = True
        for partition in self.all_partitions():
            partition.suspend()

    def on_unfenced(self) -> None:
        """It is registered (again), and the metadata is up to date."""
        self._is_fenced = False
        now_ms = self.clock.monotonic_ms()
        for partition in self.all_partitions():
            partition.resume(now_ms)

    def on_logs_failed(self, lost: Sequence[tuple[str, int]]) -> None:
        """The directory of these logs failed: whoever waits on them or comes gets KAFKA_STORAGE_ERROR."""
        for name, index in lost:
            hosted = self.topics.get(name)
            partition = hosted.partitions.get(index) if hosted is not None else None
            if partition is not None:
                partition.go_offline(None)
                if self.followers is not None:
                    self.followers.on_role(partition)

    def _apply(self, topic: TopicImage) -> None:
        hosted = self.topics_by_id.get(topic.topic_id.int)
        mine = [p for p in topic.partitions if self.node_id in p.replicas]
        if hosted is None:
            if not mine:
                return
            hosted = HostedTopic(topic, log_config_for(self._config, topic.configs))
            self.topics[topic.name] = hosted
            self.topics_by_id[topic.topic_id.int] = hosted
        now_ms = self.clock.monotonic_ms()
        if hosted.image.configs is not topic.configs:
            self._configure(hosted, topic, now_ms)
            for hosted_partition in hosted.partitions.values():
                self._throttle(hosted_partition, topic)
        before, hosted.image = hosted.image.partitions, topic
        for registration in mine:
            partition = hosted.partitions.get(registration.index)
            if partition is not None and before[registration.index] is registration:
                continue
            partition = partition or self._open(hosted, registration)
            if partition is not None:
                self._apply_partition(partition, registration, now_ms)
        kept = {registration.index for registration in mine}
        for index in [i for i in hosted.partitions if i not in kept]:
            self._drop(hosted, index, ErrorCode.NOT_LEADER_OR_FOLLOWER)

    def _apply_again(self, hosted: HostedTopic) -> None:
        """The files of an earlier topic of that name are free at last."""
        if self.topics_by_id.get(hosted.topic_id.int) is hosted:
            self._apply(hosted.image)

    def _apply_partition(self, partition: Partition, registration: PartitionImage, now_ms: int) -> None:
        if partition.is_resting:
            return
        partition.apply(registration, now_ms)
        if self._is_fenced:
            partition.suspend()
        if self.followers is not None:
            self.followers.on_role(partition)

    def _configure(self, hosted: HostedTopic, topic: TopicImage, now_ms: int) -> None:
        config = log_config_for(self._config, topic.configs)
        if config == hosted.config:
            return
        hosted.config = config
        for partition in hosted.partitions.values():
            partition.update_config(config, now_ms)

    def _open(self, hosted: HostedTopic, registration: PartitionImage) -> Partition | None:
        """Takes over the log found on disk, or creates one; None when the disk refuses."""
        name, index = hosted.name, registration.index
        if self._logs.wait_until_free(name, index, lambda: self._apply_again(hosted)):
            return None
        try:
            log = self._log_of(hosted, index)
        except OSError as error:
            self._failed.add((name, index))
            _log.error("partition_not_opened", topic=name, partition=index, error=str(error))
            return None
        self._failed.discard((name, index))
        checkpoint = self._logs.high_watermark(name, index)
        state = PartitionState(
            self.node_id,
            high_watermark=min(max(checkpoint, log.log_start_offset), log.log_end_offset),
            durable=hosted.config.is_durable,
            min_insync_replicas=hosted.config.min_insync_replicas,
            replica_lag_ms=self._config.replica_lag_time_max_ms,
        )
        state.eligible_brokers = self._eligible_brokers
        partition = Partition(
            log, state, self.purgatory.new_wait_list(), self._flusher, self.finish, self.clock.monotonic_ms
        )
        partition.on_isr_change = self._on_isr_change
        self._throttle(partition, hosted.image)
        hosted.partitions[index] = partition
        return partition

    def _throttle(self, partition: Partition, topic: TopicImage) -> None:
        leads = throttled_partitions(topic.configs, LEADERS_KEY, self.node_id)
        follows = throttled_partitions(topic.configs, FOLLOWERS_KEY, self.node_id)
        partition.is_throttled_as_leader = leads is None or partition.index in leads
        partition.is_throttled_as_follower = follows is None or partition.index in follows

    def _log_of(self, hosted: HostedTopic, index: int) -> PartitionLog:
        found = self._logs.get(hosted.name, index)
        if found is not None and found.topic_id != hosted.topic_id:
            # Of a topic that was deleted, and made anew under its name, while this broker was away.
            self._logs.delete(hosted.name, index, found.topic_id)
            found = None
        if found is None:
            return self._logs.create(hosted.name, index, hosted.topic_id, hosted.config)
        found.update_config(hosted.config)
        return found

    def _remove(self, topic: TopicImage) -> None:
        """The topic was deleted: everything that waits is answered (gotcha 95), then the logs go."""
        hosted = self.topics_by_id.pop(topic.topic_id.int, None)
        if hosted is None:
            return
        if self.topics.get(topic.name) is hosted:
            del self.topics[topic.name]
        for index in list(hosted.partitions):
            self._drop(hosted, index, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)

    def _drop(self, hosted: HostedTopic, index: int, error: ErrorCode) -> None:
        partition = hosted.partitions.pop(index)
        partition.stop(error)
        if self.followers is not None:
            self.followers.on_role(partition)
        self._logs.delete(hosted.name, index, hosted.topic_id)
