"""Every configuration key as a flag: `--log-dirs PATH`, `--num-partitions=3`, `--override key=value`.

Rules of this file: pure; it turns arguments into settings and knows no key but for the bare flag of a boolean.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from pybroker_server.config.definitions import BROKER, find_broker, is_ignored, nearest
from pybroker_server.config.notation import ConfigType


class FlagError(ValueError):
    """Arguments that cannot be read; the text is for the user."""


@dataclass(slots=True)
class ParsedFlags:
    settings: list[tuple[str, str, str]] = field(default_factory=list)
    """(key, value, flag as written), in order."""
    files: list[str] = field(default_factory=list)
    """Arguments that are no flags."""


def key_of_flag(flag: str) -> str:
    """`--log-dirs` and `--log.dirs` are `log.dirs`."""
    return flag.removeprefix("--").replace("-", ".")


def parse_flags(arguments: Sequence[str]) -> ParsedFlags:
    """Reads what follows `pybroker serve`. Raises FlagError."""
    parsed = ParsedFlags()
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("-"):
            parsed.files.append(argument)
            continue
        if not argument.startswith("--") or argument == "--":
            raise FlagError(f"no such option: {argument}")
        flag, separator, value = argument.partition("=")
        key = key_of_flag(flag)
        if not separator:
            value = _following_value(flag, key, rest)
        if flag == "--override":
            key, separator, value = value.partition("=")
            if not separator:
                raise FlagError("--override needs KEY=VALUE")
            key = key.strip()
        parsed.settings.append((key, value, flag))
    return parsed


def _following_value(flag: str, key: str, rest: list[str]) -> str:
    definition = find_broker(key)
    if definition is None and flag != "--override" and not is_ignored(key):
        close = nearest(key, BROKER)
        raise FlagError(f"no such option: {flag}" + (f"; did you mean --{close.replace('.', '-')}?" if close else ""))
    if rest and not rest[0].startswith("--"):
        is_boolean = definition is not None and definition.type is ConfigType.BOOLEAN
        if not is_boolean or rest[0].lower() in ("true", "false"):
            return rest.pop(0)
    if definition is not None and definition.type is ConfigType.BOOLEAN:
        return "true"
    raise FlagError(f"{flag} needs a value")
