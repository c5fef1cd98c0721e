"""Changes of configuration while the cluster runs: topic overrides and broker overrides (KIP-226, KIP-339).

Rules of this file: pure. A change is checked as a whole before anything of it counts: the caller stores what these
functions return, or nothing. `ConfigError` means INVALID_CONFIG to a client, `ConfigRequestError` INVALID_REQUEST,
as Kafka answers. Stored overrides are text, as clients wrote them, without blanks around.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from pybroker_server.config.definitions import BROKER, TOPIC, find_broker, nearest
from pybroker_server.config.load import Layer, Setting, Settings
from pybroker_server.config.notation import ConfigDef, ConfigType, ConfigValue, UpdateMode
from pybroker_server.config.values import ConfigError, format_value, parse_value, split_list
from pybroker_server.config.views import BrokerConfig, build_broker_config

_FIXED_WHILE_RUNNING: Final = frozenset({"listeners", "listener.security.protocol.map", "cordoned.log.dirs"})
"""Keys that Kafka can change while it runs and this version cannot."""


class ConfigRequestError(ConfigError):
    """A request that asks for something that cannot be asked for, whatever the value."""


class AlterOperation(IntEnum):
    """IncrementalAlterConfigs' operations, with their numbers on the wire."""

    SET = 0
    DELETE = 1
    APPEND = 2
    SUBTRACT = 3


@dataclass(frozen=True, slots=True)
class Alteration:
    name: str
    operation: AlterOperation
    value: str | None


def alter_topic(current: Mapping[str, str], alterations: Sequence[Alteration], config: BrokerConfig) -> dict[str, str]:
    """The overrides of a topic after IncrementalAlterConfigs. Raises ConfigError."""
    _refuse_repeated(alteration.name for alteration in alterations)
    overrides = dict(current)
    for alteration in alterations:
        if alteration.operation is AlterOperation.DELETE:
            overrides.pop(alteration.name, None)
            continue
        definition = _topic_definition(alteration.name)
        overrides[alteration.name] = _altered(definition, alteration, overrides, config.topic_defaults)
    check_topic(overrides, config)
    return overrides


def replace_topic(values: Mapping[str, str | None], config: BrokerConfig) -> dict[str, str]:
    """The overrides of a topic that is created, or altered by AlterConfigs: these and no others.

    A null value stands for the default, as in CreateTopics. Raises ConfigError.
    """
    overrides = {name: text.strip() for name, text in values.items() if text is not None}
    for name in values:
        _topic_definition(name)
    check_topic(overrides, config)
    return overrides


def check_topic(overrides: Mapping[str, str], config: BrokerConfig) -> None:
    """Checks overrides, each by itself and against each other. Raises ConfigError."""
    typed = {name: parse_value(_topic_definition(name), text) for name, text in overrides.items()}
    values = {**config.topic_defaults, **typed}
    low, high = values["min.compaction.lag.ms"], values["max.compaction.lag.ms"]
    assert isinstance(low, int)
    assert isinstance(high, int)
    if low > high:
        raise ConfigError("min.compaction.lag.ms", f"{low} is more than max.compaction.lag.ms ({high})")
    if values["remote.storage.enable"]:
        raise ConfigError("remote.storage.enable", "this broker has no remote storage")


def alter_broker(
    current: Mapping[str, str], alterations: Sequence[Alteration], config: BrokerConfig, *, cluster_wide: bool
) -> dict[str, str]:
    """The dynamic overrides of one broker, or of all when `cluster_wide`, after IncrementalAlterConfigs."""
    _refuse_repeated(alteration.name for alteration in alterations)
    overrides = dict(current)
    for alteration in alterations:
        if alteration.operation is AlterOperation.DELETE:
            overrides.pop(alteration.name, None)
            continue
        definition = _dynamic_definition(alteration.name, cluster_wide=cluster_wide)
        values = {name: setting.value for name, setting in config.settings.by_name.items()}
        overrides[alteration.name] = _altered(definition, alteration, overrides, values)
    _check_broker(overrides, config, cluster_wide=cluster_wide)
    return overrides


def replace_broker(values: Mapping[str, str | None], config: BrokerConfig, *, cluster_wide: bool) -> dict[str, str]:
    """The dynamic overrides after AlterConfigs: these and no others. Raises ConfigError."""
    return alter_broker(
        {},
        [
            Alteration(name, AlterOperation.SET if text is not None else AlterOperation.DELETE, text)
            for name, text in values.items()
        ],
        config,
        cluster_wide=cluster_wide,
    )


def apply_dynamic(
    config: BrokerConfig, cluster_overrides: Mapping[str, str], broker_overrides: Mapping[str, str]
) -> BrokerConfig:
    """`config` with all its dynamic overrides replaced by these: this broker's win over the cluster's."""
    settings = config.settings.without_dynamic()
    settings = settings.over(_settings_of(cluster_overrides, Layer.DYNAMIC_DEFAULT))
    return build_broker_config(settings.over(_settings_of(broker_overrides, Layer.DYNAMIC_BROKER)))


def _settings_of(overrides: Mapping[str, str], layer: Layer) -> Iterable[Setting]:
    where = "set for this broker" if layer is Layer.DYNAMIC_BROKER else "set for all brokers"
    for name, text in overrides.items():
        definition = find_broker(name)
        if definition is None:
            raise ConfigError(name, "no such configuration key", where=where)
        yield Setting(definition, name, parse_value(definition, text, where=where), layer, where)


def _check_broker(overrides: Mapping[str, str], config: BrokerConfig, *, cluster_wide: bool) -> None:
    layer = Layer.DYNAMIC_DEFAULT if cluster_wide else Layer.DYNAMIC_BROKER
    try:
        settings: Settings = config.settings.without_dynamic().over(_settings_of(overrides, layer))
        build_broker_config(settings)
    except ConfigError as error:
        # Kafka answers INVALID_REQUEST to a bad broker value, and INVALID_CONFIG to a bad topic value.
        raise ConfigRequestError(error.key, error.problem, hint=error.hint) from None


def _altered(
    definition: ConfigDef,
    alteration: Alteration,
    overrides: Mapping[str, str],
    defaults: Mapping[str, ConfigValue],
) -> str:
    """The override's text after SET, APPEND or SUBTRACT; lists that were not overridden begin with the default."""
    name, operation = alteration.name, alteration.operation
    if alteration.value is None:
        raise ConfigRequestError(name, "null is no value", hint="DELETE returns a key to its default")
    if operation is AlterOperation.SET:
        return alteration.value.strip()
    if definition.type is not ConfigType.LIST:
        raise ConfigError(name, f"{operation.name} is for lists, and this is a {definition.type.name.lower()}")
    text = overrides[name] if name in overrides else format_value(defaults[name]) or ""
    items = split_list(text)
    change = split_list(alteration.value)
    if operation is AlterOperation.APPEND:
        return ",".join(dict.fromkeys((*items, *change)))
    return ",".join(item for item in items if item not in change)


def _topic_definition(name: str) -> ConfigDef:
    definition = TOPIC.get(name)
    if definition is None:
        close = nearest(name, TOPIC)
        raise ConfigError(name, "no such topic key", hint=f"did you mean {close}?" if close else None)
    return definition


def _dynamic_definition(name: str, *, cluster_wide: bool) -> ConfigDef:
    definition = find_broker(name)
    if definition is None:
        close = nearest(name, BROKER)
        raise ConfigError(name, "no such broker key", hint=f"did you mean {close}?" if close else None)
    if definition.update is UpdateMode.READ_ONLY or name in _FIXED_WHILE_RUNNING or definition.sensitive:
        raise ConfigRequestError(name, "cannot be changed while the broker runs")
    if cluster_wide and definition.update is UpdateMode.PER_BROKER:
        raise ConfigRequestError(name, "can only be set for one broker, not for all")
    return definition


def _refuse_repeated(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ConfigRequestError(name, "given twice in one request")
        seen.add(name)
