"""The metadata image: an immutable snapshot of the cluster, all that handlers read (design D4).

Rules of this file: values and look-ups only. A new image is built by `delta.py` from watch events and
published by `publisher.py`; nobody changes one. `revision` is the store revision that the image shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from uuid import UUID

NO_LEADER = -1
NO_INCARNATION = UUID(int=0)
CLUSTER_DEFAULT = -1
"""In place of a node id: configuration of all brokers."""
INTERNAL_TOPICS = frozenset({"__consumer_offsets", "__transaction_state", "__share_group_state"})
_EMPTY: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What a broker tells clients of one listener."""

    listener: str
    host: str
    port: int
    security_protocol: str = "PLAINTEXT"


@dataclass(frozen=True, slots=True)
class BrokerImage:
    node_id: int
    epoch: int
    """The store revision of the registration (design D5)."""
    endpoints: tuple[Endpoint, ...]
    rack: str | None = None
    fenced: bool = False
    shutting_down: bool = False
    directory_ids: tuple[UUID, ...] = ()
    host_id: str = ""
    """Which machine: replicas of a partition are spread over hosts before brokers (design D10)."""
    incarnation_id: UUID = NO_INCARNATION
    """Which life of the process: tells a broker its own registration from one of another under its node id."""
    mod_revision: int = 0
    """Of `broker/<node id>`: what to compare so that a change holds only while this broker is registered as it is
    seen here. 0: it has no registration, and is fenced."""

    @property
    def is_active(self) -> bool:
        """May lead, join an ISR, and counts as in sync from the start."""
        return not self.fenced and not self.shutting_down

    def endpoint(self, listener: str) -> Endpoint | None:
        return next((e for e in self.endpoints if e.listener == listener), None)


@dataclass(frozen=True, slots=True)
class ControllerImage:
    """Who took the controller's seat. It is vacant when that registration is gone."""

    node_id: int
    broker_epoch: int
    mod_revision: int
    """What to compare so that a change holds only while this controller is in office."""


@dataclass(frozen=True, slots=True)
class PartitionImage:
    """One partition's registration. `partition_epoch` rises with every change, `leader_epoch` with each
    leader.
    """

    index: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    leader: int
    leader_epoch: int
    partition_epoch: int
    mod_revision: int = 0
    """The store revision to compare when changing it (design D5)."""
    eligible_leader_replicas: tuple[int, ...] = ()
    last_known_eligible_leader_replicas: tuple[int, ...] = ()
    adding_replicas: tuple[int, ...] = ()
    removing_replicas: tuple[int, ...] = ()
    recovering: bool = False


@dataclass(frozen=True, slots=True)
class TopicImage:
    topic_id: UUID
    name: str
    partitions: tuple[PartitionImage, ...]
    """By partition index, without holes."""
    configs: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    """Overrides only, as set by clients; defaults come from the broker's configuration."""
    mod_revision: int = 0
    """Of the topic's own key: rises when partitions are added, not when they or the configs change."""
    configs_mod_revision: int = 0

    @property
    def is_internal(self) -> bool:
        """One of the topics that Kafka keeps for itself; clients may read but not produce to them."""
        return self.name in INTERNAL_TOPICS


@dataclass(frozen=True, slots=True)
class MetadataImage:
    revision: int = 0
    cluster_id: str = ""
    brokers: Mapping[int, BrokerImage] = field(default_factory=lambda: MappingProxyType({}))
    """All that are known: those without a registration are there as fenced ones."""
    nodes: Mapping[int, BrokerImage] = field(default_factory=lambda: MappingProxyType({}))
    """The same brokers as they would be without a registration."""
    controller: ControllerImage | None = None
    topics_by_name: Mapping[str, TopicImage] = field(default_factory=lambda: MappingProxyType({}))
    topics_by_id: Mapping[UUID, TopicImage] = field(default_factory=lambda: MappingProxyType({}))
    topic_names_by_collision_name: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """By `keys.collision_name`: which topic stands in the way of another."""
    broker_configs: Mapping[int, Mapping[str, str]] = field(default_factory=lambda: MappingProxyType({}))
    """Dynamic overrides by node id; CLUSTER_DEFAULT holds the cluster-wide ones."""
    broker_configs_mod_revision: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))
    group_configs: Mapping[str, Mapping[str, str]] = field(default_factory=lambda: MappingProxyType({}))
    """Overrides by group id; a group need not exist."""
    group_configs_mod_revision: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    staged_partitions: Mapping[UUID, Mapping[int, PartitionImage]] = field(default_factory=lambda: MappingProxyType({}))
    """Written for a topic that does not (yet, or any more) count them: nobody may act on them."""

    def partition(self, topic: str, index: int) -> PartitionImage | None:
        found = self.topics_by_name.get(topic)
        if found is None or not 0 <= index < len(found.partitions):
            return None
        return found.partitions[index]

    @property
    def active_nodes(self) -> frozenset[int]:
        """The brokers that may lead."""
        return frozenset(node_id for node_id, broker in self.brokers.items() if broker.is_active)

    @property
    def leaving_nodes(self) -> frozenset[int]:
        """The brokers that shut down and still serve."""
        return frozenset(n for n, broker in self.brokers.items() if broker.shutting_down and not broker.fenced)

    def controller_in_office(self) -> ControllerImage | None:
        """None while the seat is vacant, or kept for a registration that is gone."""
        seat = self.controller
        if seat is None:
            return None
        broker = self.brokers.get(seat.node_id)
        return seat if broker is not None and broker.mod_revision and broker.epoch == seat.broker_epoch else None

    def live_brokers(self) -> list[BrokerImage]:
        """By node id; those that may lead and take new replicas."""
        return [b for _, b in sorted(self.brokers.items()) if not b.fenced]
