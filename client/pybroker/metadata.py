"""What the client knows of the cluster: brokers, topics, leaders. Pure and immutable.

Rules: a view is never changed, only followed by another. Leader epochs never go back for the same topic id, however
the answers of lagging brokers arrive (KIP-320); another topic id is another topic, which starts anew (KIP-516).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import NamedTuple
from uuid import UUID

from pybroker_protocol.errors import ErrorCode, error_code
from pybroker_protocol.messages import MetadataResponse

__all__ = ["NO_LEADER", "Broker", "ClusterView", "PartitionView", "TopicPartition", "TopicView"]

NO_LEADER = -1
ZERO_ID = UUID(int=0)


class TopicPartition(NamedTuple):
    """A partition by its topic's name and its number."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}-{self.partition}"


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker and the address it advertises to us."""

    node_id: int
    host: str
    port: int
    rack: str | None = None

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class PartitionView:
    """A partition: its leader's node id (-1 without one), leader epoch (-1 when not told), replicas, ISR."""

    index: int
    leader: int = NO_LEADER
    leader_epoch: int = -1
    replicas: tuple[int, ...] = ()
    isr: tuple[int, ...] = ()
    offline: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TopicView:
    """A topic; `error` is not NONE when the broker could not describe it, and then it has no partitions here."""

    name: str
    topic_id: UUID = ZERO_ID
    partitions: tuple[PartitionView, ...] = ()
    is_internal: bool = False
    error: ErrorCode = ErrorCode.NONE

    @property
    def exists(self) -> bool:
        return self.error is ErrorCode.NONE and bool(self.partitions)


@dataclass(frozen=True, slots=True)
class ClusterView:
    """Everything known, as of the last answers."""

    cluster_id: str | None = None
    controller_id: int = -1
    brokers: Mapping[int, Broker] = field(default_factory=lambda: MappingProxyType({}))
    topics: Mapping[str, TopicView] = field(default_factory=lambda: MappingProxyType({}))

    def topic(self, name: str) -> TopicView | None:
        return self.topics.get(name)

    def partition(self, tp: TopicPartition) -> PartitionView | None:
        """The partition, or None when topic or partition are not known."""
        topic = self.topics.get(tp.topic)
        if topic is None or not 0 <= tp.partition < len(topic.partitions):
            return None
        return topic.partitions[tp.partition]

    def leader(self, tp: TopicPartition) -> int:
        """The node that leads the partition, -1 when none is known or its address is not."""
        partition = self.partition(tp)
        if partition is None or partition.leader not in self.brokers:
            return NO_LEADER
        return partition.leader

    def topic_name(self, topic_id: UUID) -> str | None:
        return next((topic.name for topic in self.topics.values() if topic.topic_id == topic_id), None)

    def updated(self, response: MetadataResponse, *, is_complete: bool = False) -> ClusterView:
        """The view after a Metadata answer. `is_complete`: it named all topics, so others are gone."""
        topics: dict[str, TopicView] = {} if is_complete else dict(self.topics)
        for answer in response.topics:
            name = answer.name
            if name is not None:
                topics[name] = _topic_after(self.topics.get(name), name, answer)
        brokers = {
            broker.node_id: Broker(broker.node_id, broker.host, broker.port, broker.rack) for broker in response.brokers
        }
        return ClusterView(
            cluster_id=response.cluster_id if response.cluster_id is not None else self.cluster_id,
            controller_id=response.controller_id,
            brokers=MappingProxyType(brokers),
            topics=MappingProxyType(topics),
        )

    def with_leader(
        self, tp: TopicPartition, leader: int, leader_epoch: int, endpoints: Iterable[Broker] = ()
    ) -> ClusterView:
        """The view after a broker, refusing a request, named the new leader (KIP-951)."""
        topic, partition = self.topics.get(tp.topic), self.partition(tp)
        if topic is None or partition is None or leader_epoch <= partition.leader_epoch:
            return self
        brokers = dict(self.brokers) | {broker.node_id: broker for broker in endpoints}
        if leader not in brokers:
            return self
        partitions = list(topic.partitions)
        partitions[tp.partition] = replace(partition, leader=leader, leader_epoch=leader_epoch)
        topics = dict(self.topics) | {tp.topic: replace(topic, partitions=tuple(partitions))}
        return replace(self, brokers=MappingProxyType(brokers), topics=MappingProxyType(topics))

    def without_topics(self, names: Iterable[str]) -> ClusterView:
        """The view after topics ceased to be of interest."""
        dropped = set(names)
        left = {name: topic for name, topic in self.topics.items() if name not in dropped}
        return replace(self, topics=MappingProxyType(left))


def _topic_after(old: TopicView | None, name: str, answer: MetadataResponse.MetadataResponseTopic) -> TopicView:
    error = error_code(answer.error_code)
    if error is not ErrorCode.NONE:
        # A topic in trouble keeps its last known shape, unless it is said to be gone.
        if old is not None and error is not ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
            return replace(old, error=error)
        return TopicView(name, error=error)
    is_same = old is not None and old.topic_id == answer.topic_id
    known = {partition.index: partition for partition in old.partitions} if old is not None and is_same else {}
    answered = sorted(answer.partitions, key=lambda partition: partition.partition_index)
    partitions = tuple(
        _partition_after(known.get(partition.partition_index), partition)
        for index, partition in enumerate(answered)
        if partition.partition_index == index
    )
    return TopicView(name, answer.topic_id, partitions, answer.is_internal)


def _partition_after(old: PartitionView | None, answer: MetadataResponse.MetadataResponsePartition) -> PartitionView:
    if old is not None and answer.leader_epoch != -1 and answer.leader_epoch < old.leader_epoch:
        return old
    return PartitionView(
        answer.partition_index,
        answer.leader_id,
        answer.leader_epoch,
        tuple(answer.replica_nodes),
        tuple(answer.isr_nodes),
        tuple(answer.offline_replicas),
    )
