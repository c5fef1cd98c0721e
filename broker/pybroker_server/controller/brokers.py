"""Registration of brokers, and what a restart means for the partitions that a broker leads.

Rules of this file: pure. A registration's commit gives the broker epoch (design D5). A broker that was not
shut down cleanly may have lost the end of what it had appended (acks=1, `durability=page-cache`), so it may
not go on in the same leader epoch: other records would get the offsets of the lost ones within one epoch
(reliability.md R2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from pybroker_server.controller.change import Change
from pybroker_server.metadata.image import BrokerImage, MetadataImage
from pybroker_server.metadata.keys import broker_key, encode_broker, encode_partition, partition_key
from pybroker_server.metadata.store import Compare, Put


def plan_registration(image: MetadataImage, broker: BrokerImage, lease_id: int) -> Change:
    """Replaces what an earlier life of this node id registered."""
    key = broker_key(broker.node_id)
    before = image.brokers.get(broker.node_id)
    return Change(
        compares=[Compare(key, before.mod_revision if before else 0)],
        puts=[Put(key, encode_broker(broker), lease_id)],
    )


def plan_deregistration(image: MetadataImage, node_id: int) -> Change:
    broker = image.brokers.get(node_id)
    if broker is None:
        return Change()
    key = broker_key(node_id)
    return Change(compares=[Compare(key, broker.mod_revision)], deletes=[key])


def led_partitions(image: MetadataImage, node_id: int) -> list[tuple[UUID, int]]:
    """(topic id, partition index) of what `node_id` leads."""
    return [
        (topic.topic_id, partition.index)
        for topic in image.topics_by_id.values()
        for partition in topic.partitions
        if partition.leader == node_id
    ]


def plan_new_leader_epochs(image: MetadataImage, node_id: int, partitions: Sequence[tuple[UUID, int]]) -> Change:
    """The same leader in a new epoch, for those of `partitions` that `node_id` still leads."""
    change = Change()
    for topic_id, index in partitions:
        topic = image.topics_by_id.get(topic_id)
        if topic is None or topic.partitions[index].leader != node_id:
            continue
        before = topic.partitions[index]
        after = replace(before, leader_epoch=before.leader_epoch + 1, partition_epoch=before.partition_epoch + 1)
        key = partition_key(topic_id, index)
        change.compares.append(Compare(key, before.mod_revision))
        change.puts.append(Put(key, encode_partition(after)))
    return change
