"""Store events -> the next metadata image.

Rules of this file: pure; the only maker of images. A change costs a copy of the few dictionaries it touches,
never a walk over all partitions. Applying events one batch at a time gives the same image as reading
everything at once: a test compares the two. Every brought-in event lies above the image's revision.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TypeVar
from uuid import UUID

from pybroker_server.metadata.image import BrokerImage, ControllerImage, MetadataImage, PartitionImage, TopicImage
from pybroker_server.metadata.keys import (
    Kind,
    ParsedKey,
    TopicValue,
    collision_name,
    decode_broker,
    decode_cluster,
    decode_config,
    decode_controller,
    decode_node,
    decode_partition,
    decode_topic,
    parse_key,
)
from pybroker_server.metadata.store import KeyValue, StoreDamagedError, WatchBatch, WatchEvent

K = TypeVar("K")
V = TypeVar("V")


@dataclass(slots=True)
class _TopicChange:
    """What a batch says of one topic. None = not mentioned, except in `partitions` where it is a deletion."""

    value: TopicValue | None = None
    mod_revision: int = 0
    deleted: bool = False
    partitions: dict[int, PartitionImage | None] = field(default_factory=dict)
    configs: dict[str, str] | None = None
    configs_mod_revision: int = 0


@dataclass(slots=True)
class _Changes:
    cluster_id: str | None = None
    brokers: dict[int, BrokerImage | None] = field(default_factory=dict)
    nodes: dict[int, BrokerImage | None] = field(default_factory=dict)
    controller: list[ControllerImage | None] = field(default_factory=list)
    """What the events said of it, the newest last."""
    broker_configs: dict[int, tuple[dict[str, str], int] | None] = field(default_factory=dict)
    group_configs: dict[str, tuple[dict[str, str], int] | None] = field(default_factory=dict)
    topics: dict[UUID, _TopicChange] = field(default_factory=dict)
    topic_ids: dict[str, UUID | None] = field(default_factory=dict)
    """By collision name: which topic the key holds after the events so far."""

    def topic(self, topic_id: UUID) -> _TopicChange:
        change = self.topics.get(topic_id)
        if change is None:
            change = self.topics[topic_id] = _TopicChange()
        return change


def build_image(items: Iterable[KeyValue], revision: int) -> MetadataImage:
    """The image of everything that the store held at `revision`."""
    events = tuple(WatchEvent(item.key, item.value, item.mod_revision) for item in items)
    return apply(MetadataImage(), WatchBatch(revision, events))


def apply(image: MetadataImage, batch: WatchBatch) -> MetadataImage:
    """The image after a batch. Raises StoreDamagedError for a value that cannot be read or does not fit."""
    changes = _Changes()
    for event in batch.events:
        parsed = parse_key(event.key)
        if parsed is not None:
            _collect(image, changes, parsed, event)
    next_image = replace(image, revision=batch.revision)
    if changes.cluster_id is not None:
        next_image = replace(next_image, cluster_id=changes.cluster_id)
    if changes.brokers or changes.nodes:
        next_image = _with_brokers(next_image, changes)
    if changes.controller:
        next_image = replace(next_image, controller=changes.controller[-1])
    if changes.broker_configs:
        next_image = _with_broker_configs(next_image, changes.broker_configs)
    if changes.group_configs:
        next_image = _with_group_configs(next_image, changes.group_configs)
    if changes.topics:
        next_image = _with_topics(next_image, changes.topics)
    return next_image


def _collect(image: MetadataImage, changes: _Changes, parsed: ParsedKey, event: WatchEvent) -> None:
    if parsed.kind is Kind.PARTITION:
        changes.topic(parsed.topic_id).partitions[parsed.index] = (
            None if event.deleted else decode_partition(parsed.index, event.value, event.mod_revision)
        )
    elif parsed.kind is Kind.TOPIC:
        _collect_topic(image, changes, parsed.collision_name, event)
    elif parsed.kind is Kind.TOPIC_CONFIG:
        topic = changes.topic(parsed.topic_id)
        topic.configs = {} if event.deleted else decode_config(event.value)
        topic.configs_mod_revision = 0 if event.deleted else event.mod_revision
    elif parsed.kind is Kind.BROKER:
        changes.brokers[parsed.node_id] = (
            None if event.deleted else decode_broker(parsed.node_id, event.value, event.mod_revision)
        )
    elif parsed.kind is Kind.NODE:
        changes.nodes[parsed.node_id] = (
            None if event.deleted else decode_node(parsed.node_id, event.value, event.mod_revision)
        )
    elif parsed.kind is Kind.CONTROLLER:
        changes.controller.append(None if event.deleted else decode_controller(event.value, event.mod_revision))
    elif parsed.kind is Kind.BROKER_CONFIG:
        changes.broker_configs[parsed.node_id] = (
            None if event.deleted else (decode_config(event.value), event.mod_revision)
        )
    elif parsed.kind is Kind.GROUP_CONFIG:
        changes.group_configs[parsed.group_id] = (
            None if event.deleted else (decode_config(event.value), event.mod_revision)
        )
    else:
        changes.cluster_id = "" if event.deleted else decode_cluster(event.value)


def _collect_topic(image: MetadataImage, changes: _Changes, collision_name: str, event: WatchEvent) -> None:
    """A deletion does not say which topic the key held, and a batch may delete a name and create it anew."""
    if collision_name in changes.topic_ids:
        held = changes.topic_ids[collision_name]
    else:
        name = image.topic_names_by_collision_name.get(collision_name)
        held = image.topics_by_name[name].topic_id if name is not None else None
    if event.deleted:
        changes.topic_ids[collision_name] = None
        if held is not None:
            changes.topic(held).value = None
            changes.topic(held).deleted = True
        return
    value = decode_topic(event.value)
    if held not in (None, value.topic_id):
        raise StoreDamagedError(f"topic {value.name} was replaced without having been deleted")
    changes.topic_ids[collision_name] = value.topic_id
    topic = changes.topic(value.topic_id)
    topic.value, topic.mod_revision = value, event.mod_revision


def _with_brokers(image: MetadataImage, changes: _Changes) -> MetadataImage:
    """A registration wins over what the broker leaves behind without one."""
    nodes = _updated(image.nodes, changes.nodes)
    brokers: dict[int, BrokerImage | None] = {}
    for node_id in changes.brokers.keys() | changes.nodes.keys():
        before = image.brokers.get(node_id)
        registered = before if before is not None and before.mod_revision else None
        registered = changes.brokers.get(node_id, registered)
        brokers[node_id] = registered or nodes.get(node_id)
    return replace(image, nodes=nodes, brokers=_updated(image.brokers, brokers))


def _with_broker_configs(
    image: MetadataImage, changes: Mapping[int, tuple[dict[str, str], int] | None]
) -> MetadataImage:
    configs = {node: MappingProxyType(change[0]) if change else None for node, change in changes.items()}
    revisions = {node: change[1] if change else None for node, change in changes.items()}
    return replace(
        image,
        broker_configs=_updated(image.broker_configs, configs),
        broker_configs_mod_revision=_updated(image.broker_configs_mod_revision, revisions),
    )


def _with_group_configs(
    image: MetadataImage, changes: Mapping[str, tuple[dict[str, str], int] | None]
) -> MetadataImage:
    configs = {group: MappingProxyType(change[0]) if change else None for group, change in changes.items()}
    revisions = {group: change[1] if change else None for group, change in changes.items()}
    return replace(
        image,
        group_configs=_updated(image.group_configs, configs),
        group_configs_mod_revision=_updated(image.group_configs_mod_revision, revisions),
    )


def _with_topics(image: MetadataImage, changes: Mapping[UUID, _TopicChange]) -> MetadataImage:
    by_id: dict[UUID, TopicImage | None] = {}
    by_name: dict[str, TopicImage | None] = {}
    by_collision: dict[str, str | None] = {}
    staged: dict[UUID, Mapping[int, PartitionImage] | None] = {}
    for topic_id, change in changes.items():
        old = image.topics_by_id.get(topic_id)
        waiting = image.staged_partitions.get(topic_id, {})
        new, left = _next_topic(topic_id, old, waiting, change)
        if old is not None or new is not None:
            by_id[topic_id] = new
        if waiting or left:
            staged[topic_id] = MappingProxyType(left) if left else None
        if old is not None and new is None:
            by_name.setdefault(old.name, None)
            by_collision.setdefault(collision_name(old.name), None)
        if new is not None:
            by_name[new.name] = new
            if old is None:
                by_collision[collision_name(new.name)] = new.name
    return replace(
        image,
        topics_by_id=_updated(image.topics_by_id, by_id),
        topics_by_name=_updated(image.topics_by_name, by_name),
        topic_names_by_collision_name=_updated(image.topic_names_by_collision_name, by_collision),
        staged_partitions=_updated(image.staged_partitions, staged),
    )


def _next_topic(
    topic_id: UUID, old: TopicImage | None, waiting: Mapping[int, PartitionImage], change: _TopicChange
) -> tuple[TopicImage | None, dict[int, PartitionImage]]:
    """The topic after the change, and the partitions that are there but not counted."""
    if change.deleted or (old is None and change.value is None):
        left = _merged({p.index: p for p in old.partitions} if old else {}, waiting, change.partitions)
        return None, left
    if change.value is not None:
        name, count, mod_revision = change.value.name, change.value.partition_count, change.mod_revision
    else:
        assert old is not None
        name, count, mod_revision = old.name, len(old.partitions), old.mod_revision
    partitions, left = _next_partitions(name, count, old, waiting, change)
    configs: Mapping[str, str] = old.configs if old else MappingProxyType({})
    configs_mod_revision = old.configs_mod_revision if old else 0
    if change.configs is not None:
        configs, configs_mod_revision = MappingProxyType(change.configs), change.configs_mod_revision
    return TopicImage(topic_id, name, partitions, configs, mod_revision, configs_mod_revision), left


def _next_partitions(
    name: str,
    count: int,
    old: TopicImage | None,
    waiting: Mapping[int, PartitionImage],
    change: _TopicChange,
) -> tuple[tuple[PartitionImage, ...], dict[int, PartitionImage]]:
    before = old.partitions if old else ()
    if not change.partitions and count == len(before):
        return before, dict(waiting)
    known = _merged({p.index: p for p in before}, waiting, change.partitions)
    missing = next((index for index in range(count) if index not in known), None)
    if missing is not None:
        raise StoreDamagedError(f"topic {name} has {count} partitions, but partition {missing} is missing")
    return tuple(known.pop(index) for index in range(count)), known


def _merged(
    known: dict[int, PartitionImage],
    waiting: Mapping[int, PartitionImage],
    changes: Mapping[int, PartitionImage | None],
) -> dict[int, PartitionImage]:
    return {i: p for i, p in (known | dict(waiting) | dict(changes)).items() if p is not None}


def _updated(before: Mapping[K, V], changes: Mapping[K, V | None]) -> Mapping[K, V]:
    """A copy with the changes made; None deletes."""
    if not changes:
        return before
    merged = {**before, **changes}
    return MappingProxyType({key: value for key, value in merged.items() if value is not None})
