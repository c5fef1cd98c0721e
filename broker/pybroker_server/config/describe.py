"""What DescribeConfigs says: every key with its value, source and synonyms (KIP-133, KIP-226, KIP-569).

Rules of this file: pure; values of sensitive keys never leave it. All keys are described, those without effect here
too: consoles and clients read, change and write the whole list. Where a topic's value comes from a broker key in
another unit (`log.retention.hours`), that key is shown as a synonym only when somebody set it, else none is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum

from pybroker_server.config.definitions import GROUP, TOPIC, find_broker
from pybroker_server.config.load import Layer, Setting
from pybroker_server.config.notation import ConfigDef, ConfigType, ConfigValue, UpdateMode
from pybroker_server.config.values import format_value, parse_value
from pybroker_server.config.views import BrokerConfig


class ConfigSource(IntEnum):
    """Where a described value comes from, with the numbers of DescribeConfigs."""

    TOPIC = 1
    DYNAMIC_BROKER = 2
    DYNAMIC_DEFAULT_BROKER = 3
    STATIC_BROKER = 4
    DEFAULT = 5
    GROUP = 8


_SOURCE_OF_LAYER = {
    Layer.DEFAULT: ConfigSource.DEFAULT,
    Layer.FILE: ConfigSource.STATIC_BROKER,
    Layer.ENVIRONMENT: ConfigSource.STATIC_BROKER,
    Layer.FLAG: ConfigSource.STATIC_BROKER,
    Layer.DYNAMIC_DEFAULT: ConfigSource.DYNAMIC_DEFAULT_BROKER,
    Layer.DYNAMIC_BROKER: ConfigSource.DYNAMIC_BROKER,
}


@dataclass(frozen=True, slots=True)
class Synonym:
    """One key that could give the value, and what it would give."""

    name: str
    value: str | None
    source: ConfigSource


@dataclass(frozen=True, slots=True)
class DescribedConfig:
    name: str
    value: str | None
    """None when unset, and always when `sensitive`."""
    source: ConfigSource
    read_only: bool
    sensitive: bool
    type: ConfigType
    documentation: str
    synonyms: tuple[Synonym, ...]
    """Strongest first, the one in force included."""


def describe_topic(overrides: Mapping[str, str], config: BrokerConfig) -> list[DescribedConfig]:
    """Every topic key of a topic with these overrides, as this broker sees it."""
    return [
        _described(
            definition, _topic_value(definition, overrides, config), _topic_synonyms(definition, overrides, config)
        )
        for definition in TOPIC.values()
        if not definition.internal or definition.name in overrides
    ]


def describe_group(overrides: Mapping[str, str], config: BrokerConfig) -> list[DescribedConfig]:
    """Every key of a group with these overrides, whether there is such a group or not."""
    described = []
    for name, definition in GROUP.items():
        value, synonyms = config.group_defaults[name], []
        if name in overrides:
            value = parse_value(definition, overrides[name])
            synonyms = [Synonym(name, format_value(value), ConfigSource.GROUP)]
        names = [source.name for source in definition.sources]
        usual = Synonym(name, format_value(config.group_defaults[name]), ConfigSource.DEFAULT)
        synonyms += _synonyms_of(names, config) if names else [usual]
        described.append(_described(definition, value, synonyms))
    return described


def describe_broker(config: BrokerConfig) -> list[DescribedConfig]:
    """Every broker key of this broker, keys with a listener prefix that were set included."""
    described = []
    for name, setting in config.settings.by_name.items():
        if setting.definition.internal and setting.layer is Layer.DEFAULT:
            continue
        synonyms = _broker_synonyms(name, config) if setting.value is not None else []
        described.append(_described(setting.definition, setting.value, synonyms, name=name))
    return described


def describe_cluster_defaults(overrides: Mapping[str, str]) -> list[DescribedConfig]:
    """What was set for all brokers, and nothing else: Kafka's answer for the broker resource without a name."""
    described = []
    for name, text in overrides.items():
        definition = find_broker(name)
        if definition is None:
            continue  # written by a newer broker; this one has no word for it
        value = parse_value(definition, text)
        shown = None if definition.sensitive else format_value(value)
        synonym = Synonym(name, shown, ConfigSource.DYNAMIC_DEFAULT_BROKER)
        described.append(_described(definition, value, [synonym], name=name))
    return described


def _described(
    definition: ConfigDef, value: ConfigValue, synonyms: list[Synonym], *, name: str | None = None
) -> DescribedConfig:
    return DescribedConfig(
        name=name or definition.name,
        value=None if definition.sensitive else format_value(value),
        source=synonyms[0].source if synonyms else ConfigSource.DEFAULT,
        read_only=definition.update is UpdateMode.READ_ONLY,
        sensitive=definition.sensitive,
        type=definition.type,
        documentation=definition.doc,
        synonyms=tuple(synonyms),
    )


def _topic_value(definition: ConfigDef, overrides: Mapping[str, str], config: BrokerConfig) -> ConfigValue:
    text = overrides.get(definition.name)
    return config.topic_defaults[definition.name] if text is None else parse_value(definition, text)


def _topic_synonyms(definition: ConfigDef, overrides: Mapping[str, str], config: BrokerConfig) -> list[Synonym]:
    found = []
    if definition.name in overrides:
        value = format_value(parse_value(definition, overrides[definition.name]))
        found.append(Synonym(definition.name, value, ConfigSource.TOPIC))
    names = [source.name for source in definition.sources]
    if not names:
        return found
    is_set = any(config.settings.is_set(name) for name in names)
    if is_set or config.settings.value(names[0]) is not None:
        found += _synonyms_of(names, config)
    return found


def _broker_synonyms(name: str, config: BrokerConfig) -> list[Synonym]:
    for definition in TOPIC.values():
        names = [source.name for source in definition.sources]
        if names and names[0] == name:
            return _synonyms_of(names, config)
    return _synonyms_of([name], config)


def _synonyms_of(names: list[str], config: BrokerConfig) -> list[Synonym]:
    found = [synonym for name in names for synonym in _own_synonyms(config.settings.by_name[name])]
    return sorted(found, key=lambda synonym: synonym.source)


def _own_synonyms(setting: Setting) -> Iterator[Synonym]:
    shown: set[ConfigSource] = set()
    for each in setting.chain():
        source = _SOURCE_OF_LAYER[each.layer]
        # A flag over a file line is one static value to Kafka's clients: the stronger one.
        if source in shown or each.value is None:
            continue
        shown.add(source)
        value = None if each.definition.sensitive else format_value(each.value)
        yield Synonym(each.name, value, source)
