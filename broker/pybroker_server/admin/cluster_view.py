"""The metrics that kafka_exporter has: brokers, topics, partitions and groups of the cluster.

Rules of this file: every series comes from one broker of the cluster, so that sums over all of them are right. A
partition is told by its leader, a group by its coordinator; the rest, and partitions without a leader, by the live
broker with the lowest node id.
"""

from __future__ import annotations

from collections import defaultdict

from pybroker_server.admin.rows import Rows
from pybroker_server.admin.sources import Sources
from pybroker_server.coordinator.group.shard import GroupShard
from pybroker_server.handlers.services import Services
from pybroker_server.metadata.image import NO_LEADER, MetadataImage, PartitionImage

_UNKNOWN_OFFSET = -1


def collect(sources: Sources, rows: Rows) -> None:
    services = sources.services
    image = services.metadata.image
    is_speaker = _speaks_for_all(image, services.node_id)
    if is_speaker:
        _brokers(image, rows)
    _partitions(services, image, rows, is_speaker=is_speaker)
    for shard in services.groups.states:
        _groups(services, shard, rows)


def _speaks_for_all(image: MetadataImage, node_id: int) -> bool:
    live = image.live_brokers()
    return bool(live) and live[0].node_id == node_id


def _brokers(image: MetadataImage, rows: Rows) -> None:
    live = image.live_brokers()
    rows.add("kafka_brokers", len(live))
    for broker in live:
        first = broker.endpoints[0] if broker.endpoints else None
        address = f"{first.host}:{first.port}" if first is not None else ""
        rows.add("kafka_broker_info", 1, str(broker.node_id), address)
    for topic in image.topics_by_name.values():
        rows.add("kafka_topic_partitions", len(topic.partitions), topic.name)


def _partitions(services: Services, image: MetadataImage, rows: Rows, *, is_speaker: bool) -> None:
    current = rows.of("kafka_topic_partition_current_offset")
    oldest = rows.of("kafka_topic_partition_oldest_offset")
    hosted_topics = services.replicas.topics
    for topic in image.topics_by_name.values():
        hosted = hosted_topics.get(topic.name)
        for registered in topic.partitions:
            if registered.leader == services.node_id:
                labels = (topic.name, str(registered.index))
                partition = hosted.partitions.get(registered.index) if hosted is not None else None
                if partition is not None:
                    current.append((labels, partition.high_watermark))
                    oldest.append((labels, partition.log.log_start_offset))
                _registration(registered, labels, rows)
            elif is_speaker and registered.leader == NO_LEADER:
                _registration(registered, (topic.name, str(registered.index)), rows)


def _registration(registered: PartitionImage, labels: tuple[str, str], rows: Rows) -> None:
    replicas, in_sync, leader = registered.replicas, registered.isr, registered.leader
    rows.of("kafka_topic_partition_leader").append((labels, leader))
    rows.of("kafka_topic_partition_replicas").append((labels, len(replicas)))
    rows.of("kafka_topic_partition_in_sync_replica").append((labels, len(in_sync)))
    rows.of("kafka_topic_partition_leader_is_preferred").append((labels, int(leader == replicas[0])))
    rows.of("kafka_topic_partition_under_replicated_partition").append((labels, int(len(in_sync) < len(replicas))))


def _groups(services: Services, shard: GroupShard, rows: Rows) -> None:
    for group_id, group in shard.context.groups.items():
        rows.add("kafka_consumergroup_members", len(group.members), group_id)
        rows.add("pybroker_consumergroup_info", 1, group_id, str(group.kind), group.state_name)
        _offsets(services, shard, group_id, rows)


def _offsets(services: Services, shard: GroupShard, group_id: str, rows: Rows) -> None:
    offsets = rows.of("kafka_consumergroup_current_offset")
    lags = rows.of("kafka_consumergroup_lag")
    offset_sums: dict[str, int] = defaultdict(int)
    lag_sums: dict[str, int] = defaultdict(int)
    for (topic, index), committed in shard.offsets.store.of(group_id).items():
        labels = (group_id, topic, str(index))
        offsets.append((labels, committed.offset))
        offset_sums[topic] += committed.offset
        end = _high_watermark(services, topic, index)
        if end != _UNKNOWN_OFFSET:
            lag = max(end - committed.offset, 0)
            lags.append((labels, lag))
            lag_sums[topic] += lag
    for topic, total in offset_sums.items():
        rows.add("kafka_consumergroup_current_offset_sum", total, group_id, topic)
    for topic, total in lag_sums.items():
        rows.add("kafka_consumergroup_lag_sum", total, group_id, topic)


def _high_watermark(services: Services, topic: str, index: int) -> int:
    """As the replica here knows it; a follower's is late by one fetch at most. -1 without a replica here."""
    hosted = services.replicas.topics.get(topic)
    partition = hosted.partitions.get(index) if hosted is not None else None
    return partition.high_watermark if partition is not None else _UNKNOWN_OFFSET
