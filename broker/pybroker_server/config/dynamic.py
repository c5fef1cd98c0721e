"""Changes of configuration while the cluster runs: overrides of topics, groups and brokers (KIP-226, KIP-339, KIP-848).

Rules of this file: pure. A change is checked as a whole before anything of it counts: the caller stores what these
functions return, or nothing. `ConfigError` means INVALID_CONFIG to a client, `ConfigRequestError` INVALID_REQUEST,
as Kafka answers. Stored overrides are text, as clients wrote them, without blanks around.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from pybroker_server.config.definitions import BROKER, GROUP, TOPIC, find_broker, nearest
from pybroker_server.config.load import Layer, Setting, Settings
from pybroker_server.config.notation import ConfigDef, ConfigType, ConfigValue, UpdateMode
from pybroker_server.config.values import ConfigError, format_value, parse_value, split_list
from pybroker_server.config.views import BrokerConfig, build_broker_config

_FIXED_WHILE_RUNNING: Final = frozenset({"listeners", "listener.security.protocol.map", "cordoned.log.dirs"})
"""Keys that Kafka can change while it runs and this version cannot."""

_RESET_DURATION: Final = re.compile(r"by_duration:P(?=[\dT])(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+(\.\d{1,9})?S)?)?")


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
    overrides = _all_altered(current, alterations, TOPIC, "topic", config.topic_defaults)
    check_topic(overrides, config)
    return overrides


def replace_topic(values: Mapping[str, str | None], config: BrokerConfig) -> dict[str, str]:
    """The overrides of a topic that is created, or altered by AlterConfigs: these and no others.

    A null value stands for the default, as in CreateTopics. Raises ConfigError.
    """
    overrides = {name: text.strip() for name, text in values.items() if text is not None}
    for name in values:
        _known(name, TOPIC, "topic")
    check_topic(overrides, config)
    return overrides


def check_topic(overrides: Mapping[str, str], config: BrokerConfig) -> None:
    """Checks overrides, each by itself and against each other. Raises ConfigError."""
    typed = {name: parse_value(_known(name, TOPIC, "topic"), text) for name, text in overrides.items()}
    values = {**config.topic_defaults, **typed}
    low, high = values["min.compaction.lag.ms"], values["max.compaction.lag.ms"]
    assert isinstance(low, int)
    assert isinstance(high, int)
    if low > high:
        raise ConfigError("min.compaction.lag.ms", f"{low} is more than max.compaction.lag.ms ({high})")
    if values["remote.storage.enable"]:
        raise ConfigError("remote.storage.enable", "this broker has no remote storage")


def alter_group(current: Mapping[str, str], alterations: Sequence[Alteration], config: BrokerConfig) -> dict[str, str]:
    """The overrides of a group after IncrementalAlterConfigs. Raises ConfigError."""
    overrides = _all_altered(current, alterations, GROUP, "group", config.group_defaults)
    check_group(overrides, config)
    return overrides


def replace_group(values: Mapping[str, str | None], config: BrokerConfig) -> dict[str, str]:
    """The overrides of a group after AlterConfigs: these and no others. Raises ConfigError."""
    overrides = {name: text.strip() for name, text in values.items() if text is not None}
    check_group(overrides, config)
    return overrides


def check_group(overrides: Mapping[str, str], config: BrokerConfig) -> None:
    """Checks overrides, each by itself, against the broker's bounds, and against each other. Raises ConfigError."""
    typed = {name: parse_value(_known(name, GROUP, "group"), text) for name, text in overrides.items()}
    for name, value in typed.items():
        kind, _, rest = name.partition(".")
        for word in ("min", "max"):
            bound_name = f"group.{kind}.{word}.{rest.removeprefix('num.')}"
            bound = config.settings.value(bound_name) if bound_name in BROKER else None
            if not isinstance(bound, int) or not isinstance(value, int):
                continue
            if (value < bound) if word == "min" else (value > bound):
                side = "less" if word == "min" else "more"
                raise ConfigError(name, f"{value} is {side} than {bound_name} ({bound})")
    reset = typed.get("share.auto.offset.reset", "latest")
    if reset not in ("earliest", "latest") and not _RESET_DURATION.fullmatch(str(reset)):
        hint = "earliest, latest, or by_duration: and an ISO 8601 duration as in by_duration:P1DT6H"
        raise ConfigError("share.auto.offset.reset", f"{reset!r} is no place to begin", hint=hint)
    values = {**config.group_defaults, **typed}
    for kind in ("consumer", "share", "streams"):
        name = f"{kind}.session.timeout.ms"
        session, heartbeat = values[name], values[f"{kind}.heartbeat.interval.ms"]
        assert isinstance(session, int)
        assert isinstance(heartbeat, int)
        if session <= heartbeat:
            raise ConfigError(name, f"{session} is not more than {kind}.heartbeat.interval.ms ({heartbeat})")


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


def _all_altered(
    current: Mapping[str, str],
    alterations: Sequence[Alteration],
    definitions: dict[str, ConfigDef],
    what: str,
    defaults: Mapping[str, ConfigValue],
) -> dict[str, str]:
    _refuse_repeated(alteration.name for alteration in alterations)
    overrides = dict(current)
    for alteration in alterations:
        if alteration.operation is AlterOperation.DELETE:
            overrides.pop(alteration.name, None)
            continue
        definition = _known(alteration.name, definitions, what)
        overrides[alteration.name] = _altered(definition, alteration, overrides, defaults)
    return overrides


def _known(name: str, definitions: dict[str, ConfigDef], what: str) -> ConfigDef:
    definition = definitions.get(name)
    if definition is None:
        close = nearest(name, definitions)
        raise ConfigError(name, f"no such {what} key", hint=f"did you mean {close}?" if close else None)
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
