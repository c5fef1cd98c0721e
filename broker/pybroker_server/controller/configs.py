"""Changes of configuration overrides, as changes of metadata.

Rules of this file: pure. What a value may be, and what an operation does to it, is `config/dynamic.py`'s
business; here it becomes a compare-and-swap of the whole set of overrides of one topic, group or broker.

With another min.insync.replicas a leader may commit what its eligible leader replicas do not have, so in the same
commit they are forgotten, wherever there is a leader.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Final

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_server.config.dynamic import (
    Alteration,
    ConfigRequestError,
    alter_broker,
    alter_group,
    alter_topic,
    replace_broker,
    replace_group,
    replace_topic,
)
from pybroker_server.config.values import ConfigError
from pybroker_server.config.views import BrokerConfig
from pybroker_server.controller.change import Change
from pybroker_server.metadata.image import CLUSTER_DEFAULT, NO_LEADER, MetadataImage, TopicImage
from pybroker_server.metadata.keys import (
    broker_config_key,
    decode_config,
    encode_config,
    encode_partition,
    group_config_key,
    partition_key,
    topic_config_key,
    topic_key,
)
from pybroker_server.metadata.store import Compare, Put

MIN_ISR: Final = "min.insync.replicas"
NewOverrides = Callable[[Mapping[str, str]], dict[str, str]]
"""(overrides in force) -> overrides from now on; raises ConfigError."""


@dataclass(frozen=True, slots=True)
class TopicResource:
    name: str


@dataclass(frozen=True, slots=True)
class BrokerResource:
    """CLUSTER_DEFAULT stands for all brokers."""

    node_id: int


@dataclass(frozen=True, slots=True)
class GroupResource:
    """A group of any kind, which need not exist."""

    group_id: str


Resource = TopicResource | BrokerResource | GroupResource


def plan_alter(
    image: MetadataImage, resource: Resource, alterations: Sequence[Alteration], config: BrokerConfig
) -> Change:
    """IncrementalAlterConfigs of one resource (KIP-339)."""
    if isinstance(resource, TopicResource):
        return _topic_change(image, resource, lambda current: alter_topic(current, alterations, config))
    if isinstance(resource, GroupResource):
        return _group_change(image, resource, lambda current: alter_group(current, alterations, config))
    cluster_wide = resource.node_id == CLUSTER_DEFAULT
    return _broker_change(
        image, resource, lambda current: alter_broker(current, alterations, config, cluster_wide=cluster_wide)
    )


def plan_replace(
    image: MetadataImage, resource: Resource, values: Mapping[str, str | None], config: BrokerConfig
) -> Change:
    """AlterConfigs of one resource: what is not named goes back to its default."""
    if isinstance(resource, TopicResource):
        return _topic_change(image, resource, lambda _: replace_topic(values, config))
    if isinstance(resource, GroupResource):
        return _group_change(image, resource, lambda _: replace_group(values, config))
    cluster_wide = resource.node_id == CLUSTER_DEFAULT
    return _broker_change(image, resource, lambda _: replace_broker(values, config, cluster_wide=cluster_wide))


def _find_topic(image: MetadataImage, name: str) -> TopicImage:
    topic = image.topics_by_name.get(name)
    if topic is None:
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"The topic '{name}' does not exist.")
    return topic


@contextmanager
def config_errors() -> Iterator[None]:
    """Turns what is wrong with a setting into the code that Kafka answers."""
    try:
        yield
    except ConfigRequestError as error:
        raise KafkaError(ErrorCode.INVALID_REQUEST, str(error)) from error
    except ConfigError as error:
        raise KafkaError(ErrorCode.INVALID_CONFIG, str(error)) from error


def _topic_change(image: MetadataImage, resource: TopicResource, new_overrides: NewOverrides) -> Change:
    topic = _find_topic(image, resource.name)
    key = topic_config_key(topic.topic_id)
    change = _override_change(key, topic.configs, topic.configs_mod_revision, new_overrides)
    if not change.is_empty:
        change.compares.append(Compare(topic_key(topic.name), topic.mod_revision))
        if _wants_min_isr(change, key) != topic.configs.get(MIN_ISR):
            _forget_eligible(change, [topic])
    return change


def _group_change(image: MetadataImage, resource: GroupResource, new_overrides: NewOverrides) -> Change:
    return _override_change(
        group_config_key(resource.group_id),
        image.group_configs.get(resource.group_id, {}),
        image.group_configs_mod_revision.get(resource.group_id, 0),
        new_overrides,
    )


def _broker_change(image: MetadataImage, resource: BrokerResource, new_overrides: NewOverrides) -> Change:
    key, current = broker_config_key(resource.node_id), image.broker_configs.get(resource.node_id, {})
    change = _override_change(key, current, image.broker_configs_mod_revision.get(resource.node_id, 0), new_overrides)
    if not change.is_empty and _wants_min_isr(change, key) != current.get(MIN_ISR):
        _forget_eligible(change, (topic for topic in image.topics_by_id.values() if MIN_ISR not in topic.configs))
    return change


def _wants_min_isr(change: Change, key: bytes) -> str | None:
    """As the overrides will be."""
    return next((decode_config(put.value).get(MIN_ISR) for put in change.puts if put.key == key), None)


def _forget_eligible(change: Change, topics: Iterable[TopicImage]) -> None:
    for topic in topics:
        for before in topic.partitions:
            if before.eligible_leader_replicas and before.leader != NO_LEADER:
                after = replace(
                    before,
                    eligible_leader_replicas=(),
                    last_known_eligible_leader_replicas=(),
                    partition_epoch=before.partition_epoch + 1,
                )
                key = partition_key(topic.topic_id, before.index)
                change.compares.append(Compare(key, before.mod_revision))
                change.puts.append(Put(key, encode_partition(after)))


def _override_change(key: bytes, current: Mapping[str, str], mod_revision: int, new_overrides: NewOverrides) -> Change:
    with config_errors():
        overrides = new_overrides(current)
    if overrides == dict(current):
        return Change()
    if not overrides:
        return Change(compares=[Compare(key, mod_revision)], deletes=[key])
    return Change(compares=[Compare(key, mod_revision)], puts=[Put(key, encode_config(overrides))])
