"""What the controller has to change in an image, a batch at a time.

Rules of this file: pure; a walk over all partitions that asks `elections.py` for each one which needs it. Partitions
without a leader come before those that only lose a member of their ISR: somebody waits for the former.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from uuid import UUID

from pybroker_server.config.views import BrokerConfig
from pybroker_server.controller.change import Change
from pybroker_server.controller.elections import Election, advanced, needs_settling, settled, topic_rules
from pybroker_server.controller.reassignments import completed, is_reassigned
from pybroker_server.metadata.image import NO_LEADER, MetadataImage, PartitionImage
from pybroker_server.metadata.keys import encode_partition, partition_key
from pybroker_server.metadata.store import Compare, Put

Changed = tuple[UUID, PartitionImage, PartitionImage]
"""(topic id, before, after)"""


def plan_settling(image: MetadataImage, config: BrokerConfig, batch_size: int) -> Change:
    """Leaders and ISRs as they follow from which brokers are there; at most `batch_size` partitions."""
    urgent: list[Changed] = []
    rest: list[Changed] = []
    for changed in _settled(image, config):
        _, before, after = changed
        is_urgent = after.leader not in (before.leader, NO_LEADER)
        (urgent if is_urgent else rest).append(changed)
        if len(urgent) >= batch_size:
            break
    return _change_of((urgent + rest)[:batch_size])


def plan_preferred_leaders(image: MetadataImage, config: BrokerConfig, batch_size: int) -> Change:
    """Leadership goes back to first replicas that are in sync; at most `batch_size` partitions."""
    active, leaving = image.active_nodes, image.leaving_nodes
    found: list[Changed] = []
    for topic in image.topics_by_id.values():
        for partition in topic.partitions:
            preferred = partition.replicas[0]
            if partition.leader == preferred or preferred not in active or preferred not in partition.isr:
                continue
            rules = topic_rules(topic, config)
            after = settled(partition, active, rules, leaving=leaving, election=Election.PREFERRED)
            found.append((topic.topic_id, partition, after))
            if len(found) == batch_size:
                return _change_of(found)
    return _change_of(found)


def _settled(image: MetadataImage, config: BrokerConfig) -> Iterator[Changed]:
    active, leaving = image.active_nodes, image.leaving_nodes
    for topic in image.topics_by_id.values():
        for partition in topic.partitions:
            is_moving = is_reassigned(partition)
            if is_moving or needs_settling(partition, active):
                rules = topic_rules(topic, config)
                after = settled(partition, active, rules, leaving=leaving)
                if is_moving:
                    after = advanced(partition, completed(after, active, rules, leaving=leaving))
                if after is not partition:
                    yield topic.topic_id, partition, after


def _change_of(changed: Iterable[Changed]) -> Change:
    change = Change()
    for topic_id, before, after in changed:
        key = partition_key(topic_id, before.index)
        change.compares.append(Compare(key, before.mod_revision))
        change.puts.append(Put(key, encode_partition(after)))
    return change
