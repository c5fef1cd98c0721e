"""Creating, growing and deleting topics: Kafka's rules, as changes of metadata.

Rules of this file: pure; (image, what is wanted, configuration, randomness) -> a change, or KafkaError with
the code that Kafka answers. Nothing here knows requests or the store's state beyond the image. Leader epochs
begin at 0 with each topic id and only ever rise, so a topic that is deleted and made anew confuses nobody:
its id is another.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_server.config.dynamic import replace_topic
from pybroker_server.config.views import BrokerConfig
from pybroker_server.controller.change import Change
from pybroker_server.controller.configs import config_errors
from pybroker_server.controller.placement import place_replicas
from pybroker_server.metadata.image import BrokerImage, MetadataImage, PartitionImage, TopicImage
from pybroker_server.metadata.keys import (
    TopicValue,
    collision_name,
    encode_config,
    encode_partition,
    encode_topic,
    partition_key,
    topic_config_key,
    topic_key,
)
from pybroker_server.metadata.store import Compare, Put

TOPIC_NAME_CHARACTERS_MAX = 249
PARTITIONS_PER_REQUEST_MAX = 10_000
"""Kafka refuses more in one operation; it also keeps one request from filling the metadata store."""
CLUSTER_METADATA_TOPIC = "__cluster_metadata"
"""Kafka's own controllers' log. It does not exist here, but clients must not be able to make one up."""
_LEGAL_NAME = re.compile(r"[a-zA-Z0-9._-]+")


@dataclass(frozen=True, slots=True)
class NewTopic:
    """What a client asks for; -1 stands for the broker's default. `assignments` exclude both numbers."""

    name: str
    partition_count: int = -1
    replication_factor: int = -1
    assignments: Sequence[tuple[int, Sequence[int]]] = ()
    """(partition index, broker ids); an index may wrongly be given twice."""
    configs: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Draw:
    """Randomness for one topic: its id, and where placement begins."""

    topic_id: UUID
    start: int
    shift: int


def check_name(name: str) -> None:
    """Raises INVALID_TOPIC_EXCEPTION for a name that no topic may have."""
    if not name:
        problem = "the empty string is not allowed"
    elif name in (".", ".."):
        problem = f"'{name}' is not allowed"
    elif len(name) > TOPIC_NAME_CHARACTERS_MAX:
        problem = f"the length of '{name[:20]}...' is longer than the max allowed length {TOPIC_NAME_CHARACTERS_MAX}"
    elif not _LEGAL_NAME.fullmatch(name):
        problem = f"{name[:50]!r} contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
    else:
        return
    raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, f"Topic name is invalid: {problem}")


def check_total(wanted: Iterable[NewTopic], config: BrokerConfig) -> None:
    """Raises POLICY_VIOLATION when one request asks for too many partitions, over all its topics."""
    counts = [
        len(one.assignments) or (config.num_partitions if one.partition_count == -1 else one.partition_count)
        for one in wanted
    ]
    _check_total(sum(count for count in counts if count > 0))


def plan_create(image: MetadataImage, wanted: NewTopic, config: BrokerConfig, draw: Draw) -> tuple[Change, TopicImage]:
    """The change that makes the topic, and the topic as it will be."""
    if wanted.name == CLUSTER_METADATA_TOPIC:
        raise KafkaError(ErrorCode.INVALID_REQUEST, f"Creation of internal topic {wanted.name} is prohibited.")
    check_name(wanted.name)
    check_name_is_free(image, wanted.name)
    overrides = _checked_configs(wanted.configs, config)
    replicas = _wanted_replicas(image, wanted, config, draw)
    partitions = tuple(_new_partition(image.brokers, index, nodes) for index, nodes in enumerate(replicas))
    key = topic_key(wanted.name)
    change = Change(
        compares=[Compare(key, 0)],
        staged=[Put(partition_key(draw.topic_id, p.index), encode_partition(p)) for p in partitions],
        puts=[Put(key, encode_topic(TopicValue(draw.topic_id, wanted.name, len(partitions))))],
    )
    if overrides:
        change.puts.append(Put(topic_config_key(draw.topic_id), encode_config(overrides)))
    return change, TopicImage(draw.topic_id, wanted.name, partitions, overrides)


def check_name_is_free(image: MetadataImage, name: str) -> None:
    """Raises TOPIC_ALREADY_EXISTS, or INVALID_TOPIC_EXCEPTION where `.` and `_` make two names one."""
    holder = image.topic_names_by_collision_name.get(collision_name(name))
    if holder == name:
        raise KafkaError(ErrorCode.TOPIC_ALREADY_EXISTS, f"Topic '{name}' already exists.")
    if holder is not None:
        raise collision(name, holder)


def collision(name: str, holder: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, f"Topic '{name}' collides with existing topic: {holder}")


def plan_delete(topic: TopicImage) -> Change:
    """The topic vanishes at once; brokers that hold its logs see that and delete them."""
    return Change(
        compares=[Compare(topic_key(topic.name), topic.mod_revision)],
        deletes=[topic_key(topic.name), topic_config_key(topic.topic_id)],
        cleanup=[partition_key(topic.topic_id, p.index) for p in topic.partitions],
    )


def plan_grow(
    image: MetadataImage, topic: TopicImage, count: int, assignments: Sequence[Sequence[int]] | None, draw: Draw
) -> Change:
    """Adds partitions up to `count`; `assignments` are those of the new ones, None to have them placed."""
    present = len(topic.partitions)
    if count == present:
        raise KafkaError(ErrorCode.INVALID_PARTITIONS, f"Topic already has {present} partition(s).")
    if count < present:
        raise KafkaError(
            ErrorCode.INVALID_PARTITIONS,
            f"The topic {topic.name} currently has {present} partition(s); {count} would not be an increase.",
        )
    _check_total(count - present)
    replication_factor = len(topic.partitions[0].replicas)
    if assignments is None:
        replicas = place_replicas(
            list(image.brokers.values()),
            count - present,
            replication_factor,
            start=draw.start,
            shift=draw.shift,
        )
    else:
        replicas = _checked_growth(image, count - present, assignments, replication_factor)
    partitions = [_new_partition(image.brokers, present + i, nodes) for i, nodes in enumerate(replicas)]
    left_over = image.staged_partitions.get(topic.topic_id, {})
    return Change(
        compares=[
            Compare(topic_key(topic.name), topic.mod_revision),
            *(Compare(partition_key(topic.topic_id, i), p.mod_revision) for i, p in left_over.items() if i < count),
        ],
        staged=[Put(partition_key(topic.topic_id, p.index), encode_partition(p)) for p in partitions],
        puts=[Put(topic_key(topic.name), encode_topic(TopicValue(topic.topic_id, topic.name, count)))],
    )


def _check_total(partitions: int) -> None:
    if partitions > PARTITIONS_PER_REQUEST_MAX:
        raise KafkaError(ErrorCode.POLICY_VIOLATION, "Excessively large number of partitions per request.")


def _checked_configs(configs: Mapping[str, str | None], config: BrokerConfig) -> dict[str, str]:
    nulls = [name for name, value in configs.items() if value is None]
    if nulls:
        raise KafkaError(ErrorCode.INVALID_CONFIG, f"Null value not supported for topic configs: {','.join(nulls)}")
    with config_errors():
        return replace_topic(configs, config)


def _wanted_replicas(image: MetadataImage, wanted: NewTopic, config: BrokerConfig, draw: Draw) -> list[tuple[int, ...]]:
    if wanted.assignments:
        return _checked_assignments(image, wanted)
    count, factor = wanted.partition_count, wanted.replication_factor
    if factor < -1 or factor == 0:
        raise KafkaError(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            "Replication factor must be larger than 0, or -1 to use the default value.",
        )
    if count < -1 or count == 0:
        raise KafkaError(ErrorCode.INVALID_PARTITIONS, "Number of partitions was set to an invalid non-positive value.")
    count = config.num_partitions if count == -1 else count
    return place_replicas(
        list(image.brokers.values()),
        count,
        config.default_replication_factor if factor == -1 else factor,
        start=draw.start,
        shift=draw.shift,
    )


def _checked_assignments(image: MetadataImage, wanted: NewTopic) -> list[tuple[int, ...]]:
    for given, name in ((wanted.replication_factor, "replication factor"), (wanted.partition_count, "numPartitions")):
        if given != -1:
            raise KafkaError(
                ErrorCode.INVALID_REQUEST,
                f"A manual partition assignment was specified, but {name} was not set to -1.",
            )
    by_index: dict[int, tuple[int, ...]] = {}
    factor: int | None = None
    for index, nodes in wanted.assignments:
        if index in by_index:
            raise _bad_assignment(f"Found multiple manual partition assignments for partition {index}")
        _check_nodes(image, index, nodes, factor)
        factor = len(nodes)
        by_index[index] = tuple(nodes)
    if sorted(by_index) != list(range(len(by_index))):
        raise _bad_assignment("partitions should be a consecutive 0-based integer sequence")
    return [by_index[index] for index in range(len(by_index))]


def _checked_growth(
    image: MetadataImage, added: int, assignments: Sequence[Sequence[int]], replication_factor: int
) -> list[tuple[int, ...]]:
    if len(assignments) != added:
        raise _bad_assignment(
            f"Attempted to add {added} additional partition(s), but only {len(assignments)} assignment(s) "
            "were specified."
        )
    for index, nodes in enumerate(assignments):
        _check_nodes(image, index, nodes, replication_factor)
    return [tuple(nodes) for nodes in assignments]


def check_replicas(image: MetadataImage, nodes: Sequence[int]) -> None:
    """Raises INVALID_REPLICA_ASSIGNMENT for a list of replicas that no partition may have."""
    if not nodes:
        raise _bad_assignment("The manual partition assignment includes an empty replica list.")
    for position, node in enumerate(nodes):
        if node in nodes[:position]:
            raise _bad_assignment(f"The manual partition assignment includes the broker {node} more than once.")
        if node not in image.brokers:
            raise _bad_assignment(
                f"The manual partition assignment includes broker {node}, but no such broker is registered."
            )


def _check_nodes(image: MetadataImage, index: int, nodes: Sequence[int], factor: int | None) -> None:
    check_replicas(image, nodes)
    if factor is not None and len(nodes) != factor:
        raise _bad_assignment(
            f"The manual partition assignment includes a partition with {len(nodes)} replica(s), but this is not "
            f"consistent with previous partitions, which have {factor} replica(s)."
        )
    if not any(image.brokers[node].is_active for node in nodes):
        raise _bad_assignment(
            f"All brokers specified in the manual partition assignment for partition {index} are fenced or in "
            "controlled shutdown."
        )


def _bad_assignment(message: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_REPLICA_ASSIGNMENT, message)


def _new_partition(brokers: Mapping[int, BrokerImage], index: int, replicas: Sequence[int]) -> PartitionImage:
    isr = tuple(node for node in replicas if brokers[node].is_active)
    return PartitionImage(
        index=index, replicas=tuple(replicas), isr=isr, leader=isr[0], leader_epoch=0, partition_epoch=0
    )
