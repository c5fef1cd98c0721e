"""Registration of brokers, and what a restart means for the partitions that a broker held.

Rules of this file: pure. A registration's commit gives the broker epoch (design D5). Beside it the commit writes what
stays known of the broker without one.

A broker that was not shut down cleanly may have lost the end of what it had appended: with `durability=page-cache` even
what it acknowledged, with `fsync` only what it had not. It may not go on in the same leader epoch in either case: other
records would get the offsets of the lost ones within one epoch (reliability.md R2). Where another replica can lead, one
does, and the broker catches up before it counts again (R8). Where none can, the broker still counts if it must hold all
that was acknowledged: its log is there, and durable. A broker that lost the log itself counts nowhere, unless it is the
only replica there ever was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_server.config.views import BrokerConfig
from pybroker_server.controller.change import Change
from pybroker_server.controller.elections import advanced, settled, topic_rules
from pybroker_server.metadata.image import NO_LEADER, BrokerImage, MetadataImage, PartitionImage, TopicImage
from pybroker_server.metadata.keys import broker_key, encode_broker, encode_partition, node_key, partition_key
from pybroker_server.metadata.store import Compare, Put

HasLog = Callable[[str, int], bool]
"""(topic, partition): whether its log lies on this broker's disks."""


@dataclass(frozen=True, slots=True)
class Return:
    """How a broker comes back."""

    node_id: int
    was_clean: bool
    has_log: HasLog


def plan_registration(image: MetadataImage, broker: BrokerImage, lease_id: int) -> Change:
    """Replaces what an earlier life of this node id registered."""
    key = broker_key(broker.node_id)
    before = image.brokers.get(broker.node_id)
    value = encode_broker(broker)
    return Change(
        compares=[Compare(key, before.mod_revision if before else 0)],
        puts=[Put(key, value, lease_id), Put(node_key(broker.node_id), value)],
    )


def plan_shutdown(image: MetadataImage, node_id: int, epoch: int, lease_id: int) -> Change:
    """Says that the broker is about to leave; its partitions are led by others from then on where they can be."""
    broker = image.brokers.get(node_id)
    if broker is None or broker.epoch != epoch or broker.fenced or broker.shutting_down:
        return Change()
    key = broker_key(node_id)
    value = encode_broker(replace(broker, shutting_down=True), keep_epoch=True)
    return Change(compares=[Compare(key, broker.mod_revision)], puts=[Put(key, value, lease_id)])


def plan_fencing(image: MetadataImage, node_id: int, epoch: int) -> Change:
    """Ends the registration of that epoch; nothing when it has ended."""
    broker = image.brokers.get(node_id)
    if broker is None or broker.epoch != epoch or not broker.mod_revision:
        return Change()
    key = broker_key(node_id)
    return Change(compares=[Compare(key, broker.mod_revision)], deletes=[key])


def plan_forgetting(image: MetadataImage, node_id: int) -> Change:
    """The broker is known no longer."""
    broker = image.brokers.get(node_id)
    if broker is None:
        raise KafkaError(ErrorCode.BROKER_ID_NOT_REGISTERED, f"Broker ID {node_id} is not currently registered")
    key = broker_key(node_id)
    return Change(compares=[Compare(key, broker.mod_revision)], deletes=[key, node_key(node_id)])


def held_partitions(image: MetadataImage, node_id: int) -> list[tuple[UUID, int]]:
    """(topic id, partition index) of what counts on `node_id` to hold its records."""
    return [
        (topic.topic_id, partition.index)
        for topic in image.topics_by_id.values()
        for partition in topic.partitions
        if partition.leader == node_id
        or node_id in partition.isr
        or node_id in partition.eligible_leader_replicas
        or node_id in partition.last_known_eligible_leader_replicas
    ]


def plan_return(
    image: MetadataImage, back: Return, partitions: Sequence[tuple[UUID, int]], config: BrokerConfig
) -> Change:
    """What must be true of `partitions` before the broker registers again."""
    change = Change()
    for topic_id, index in partitions:
        topic = image.topics_by_id.get(topic_id)
        if topic is None:
            continue
        before = topic.partitions[index]
        after = _after_return(image, back, topic, before, config)
        if after is before:
            continue
        key = partition_key(topic_id, index)
        change.compares.append(Compare(key, before.mod_revision))
        change.puts.append(Put(key, encode_partition(after)))
    return change


def _after_return(
    image: MetadataImage, back: Return, topic: TopicImage, before: PartitionImage, config: BrokerConfig
) -> PartitionImage:
    node = back.node_id
    rules = topic_rules(topic, config)
    is_only_replica = before.replicas == (node,)
    has_log = back.has_log(topic.name, before.index)
    holds_all = is_only_replica or (has_log and (back.was_clean or rules.is_durable))
    if holds_all and back.was_clean:
        return before
    others = image.active_nodes - {node}
    leaving = image.leaving_nodes - {node}
    after = settled(before, others, rules, leaving=leaving, lost=() if holds_all else (node,))
    if holds_all and after.leader == NO_LEADER:
        return _led_anew(before) if before.leader == node else before
    if has_log and not holds_all and after.leader == NO_LEADER:
        last = tuple(sorted({*after.last_known_eligible_leader_replicas, node}))
        after = advanced(before, replace(after, last_known_eligible_leader_replicas=last))
    return after


def _led_anew(before: PartitionImage) -> PartitionImage:
    """The same leader in a new epoch."""
    return replace(before, leader_epoch=before.leader_epoch + 1, partition_epoch=before.partition_epoch + 1)
