"""Where settings come from and which one wins: defaults < file < environment < flags (design D11).

Rules of this file: pure; the caller reads the file and hands in text, environment and flags. Nothing is replaced as
a whole: each key is layered by itself. Whatever cannot be used is a `ConfigError` that names key, value, source and
what is allowed; all of them are reported together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum

from pybroker_server.config.definitions import BROKER, find_broker, is_ignored, nearest
from pybroker_server.config.environment import read_environment
from pybroker_server.config.notation import ConfigDef, ConfigValue
from pybroker_server.config.properties import PropertiesError, parse_properties
from pybroker_server.config.values import ConfigError, default_value, parse_value


class Layer(IntEnum):
    """Where a setting comes from, weakest first."""

    DEFAULT = 0
    FILE = 1
    ENVIRONMENT = 2
    FLAG = 3
    DYNAMIC_DEFAULT = 4
    """Set by a client for all brokers (KIP-226)."""
    DYNAMIC_BROKER = 5
    """Set by a client for this broker."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One key's winning value. `where` says for humans where it was written."""

    definition: ConfigDef
    name: str
    value: ConfigValue
    layer: Layer
    where: str
    below: Setting | None = None
    """The weaker setting that this one wins over, if any."""

    def chain(self) -> Iterator[Setting]:
        """This setting and those below it, strongest first."""
        setting: Setting | None = self
        while setting is not None:
            yield setting
            setting = setting.below


@dataclass(frozen=True, slots=True)
class Settings:
    """All keys with their winning values; what `config explain` prints and `BrokerConfig` is built from."""

    by_name: Mapping[str, Setting]
    ignored: tuple[str, ...] = ()
    """Keys that were given and have no effect, with where they were given."""
    passed_over: tuple[str, ...] = ()
    """Environment variables that look like settings and are none."""

    def value(self, name: str) -> ConfigValue:
        return self.by_name[name].value

    def is_set(self, name: str) -> bool:
        """Whether the key was given anywhere."""
        return self.by_name[name].layer is not Layer.DEFAULT

    def over(self, settings: Iterable[Setting]) -> Settings:
        """These settings with others laid over them, each keeping what it wins over."""
        by_name = dict(self.by_name)
        for setting in settings:
            *upper, lowest = setting.chain()
            lowest = replace(lowest, below=by_name.get(setting.name))
            for each in reversed(upper):
                lowest = replace(each, below=lowest)
            by_name[setting.name] = lowest
        return Settings(by_name, self.ignored, self.passed_over)

    def without_dynamic(self) -> Settings:
        """Only what was known when the broker started."""
        static = {
            name: next(each for each in setting.chain() if each.layer <= Layer.FLAG)
            for name, setting in self.by_name.items()
            if any(each.layer <= Layer.FLAG for each in setting.chain())
        }
        return Settings(static, self.ignored, self.passed_over)


class ConfigErrors(ConfigError):
    """Several settings that cannot be used. `errors` is not empty."""

    def __init__(self, errors: list[ConfigError]) -> None:
        self.errors = errors
        first = errors[0]
        super().__init__(first.key, first.problem, where=first.where, hint=first.hint)


@dataclass(slots=True)
class _Loader:
    found: dict[str, Setting] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    errors: list[ConfigError] = field(default_factory=list)

    def offer(self, name: str, text: str, layer: Layer, where: str) -> None:
        """Layers one setting over what is there; later calls win."""
        definition = find_broker(name)
        if definition is None:
            if is_ignored(name):
                self.ignored.append(f"{name} ({where})")
            else:
                self.errors.append(_unknown(name, where))
            return
        try:
            value = parse_value(definition, text, where=where)
        except ConfigError as error:
            self.errors.append(error)
            return
        self.found[name] = Setting(definition, name, value, layer, where, below=self.found.get(name))

    def offer_file(self, text: str, path: str) -> None:
        try:
            entries = parse_properties(text)
        except PropertiesError as error:
            self.errors.append(ConfigError(path, str(error)))
            return
        seen: dict[str, int] = {}
        for entry in entries:
            where = f"{path}, line {entry.line}"
            if entry.key in seen:
                self.errors.append(
                    ConfigError(
                        entry.key,
                        f"given twice in {path}, in lines {seen[entry.key]} and {entry.line}",
                        hint="remove one of them",
                    )
                )
                continue
            seen[entry.key] = entry.line
            self.offer(entry.key, entry.value, Layer.FILE, where)


def load_settings(
    *,
    file_text: str | None = None,
    file_path: str = "server.properties",
    environment: Mapping[str, str] | None = None,
    flags: Iterable[tuple[str, str, str]] = (),
) -> Settings:
    """Layers all sources. `flags` are (key, value, flag as written), in order.

    Raises ConfigErrors with every setting that cannot be used.
    """
    loader = _Loader()
    if file_text is not None:
        loader.offer_file(file_text, file_path)
    entries, passed_over = read_environment(environment or {})
    for entry in entries:
        loader.offer(entry.key, entry.value, Layer.ENVIRONMENT, f"environment {entry.variable}")
    for key, value, flag in flags:
        loader.offer(key, value, Layer.FLAG, flag)
    if loader.errors:
        raise ConfigErrors(loader.errors)
    _derive_listeners(loader.found)
    by_name = {
        name: Setting(definition, name, default_value(definition), Layer.DEFAULT, "default")
        for name, definition in BROKER.items()
    }
    defaults = Settings(by_name, tuple(loader.ignored), tuple(passed_over))
    return defaults.over(loader.found.values())


def _derive_listeners(found: dict[str, Setting]) -> None:
    """`advertised.listeners` alone means: listen on these ports, on every interface (the official image's rule)."""
    advertised = found.get("advertised.listeners")
    if advertised is None or "listeners" in found:
        return
    assert isinstance(advertised.value, tuple)
    derived = []
    for item in advertised.value:
        name, separator, address = item.partition("://")
        _, colon, port = address.rpartition(":")
        derived.append(f"{name}{separator}0.0.0.0{colon}{port}")
    found["listeners"] = Setting(
        BROKER["listeners"], "listeners", tuple(derived), advertised.layer, f"from {advertised.where}"
    )


def _unknown(name: str, where: str) -> ConfigError:
    close = nearest(name, BROKER)
    hint = f"did you mean {close}?" if close else "`pybroker config explain` lists all keys"
    return ConfigError(name, "no such configuration key", where=where, hint=hint)
