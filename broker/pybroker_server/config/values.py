"""Text to typed value and back, with Kafka's rules for each type, and the error that tells what is wrong.

Rules of this file: pure. Numbers are whole decimal numbers within their type's range (no NaN, no infinity: a limit
that compares false with everything is no limit); booleans are `true` and `false` in any letter case; lists are
comma separated, blanks around items dropped. Values of sensitive keys never appear in an error.
"""

from __future__ import annotations

import math
import re
from typing import Final

from pybroker_server.config.notation import Allowed, ConfigDef, ConfigType, ConfigValue, Rule

VALUE_CHARACTERS_MAX: Final = 65_536
"""The longest value that is looked at; the longest useful ones are certificates."""

_INTEGER = re.compile(r"[+-]?\d{1,20}")
_BITS = {ConfigType.SHORT: 16, ConfigType.INT: 32, ConfigType.LONG: 64}
_THROTTLE_PAIR = re.compile(r"\d+:\d+")


class ConfigError(ValueError):
    """A setting that cannot be used. The text names the key, the value, where it came from, what is allowed."""

    def __init__(self, key: str, problem: str, *, where: str | None = None, hint: str | None = None) -> None:
        self.key = key
        self.problem = problem
        self.where = where
        self.hint = hint
        text = f"{key}: {problem}" if where is None else f"{key} ({where}): {problem}"
        super().__init__(text if hint is None else f"{text}; {hint}")


def parse_value(definition: ConfigDef, text: str, *, where: str | None = None) -> ConfigValue:
    """The typed value of `text`, checked against type and constraint; ConfigError otherwise."""
    if len(text) > VALUE_CHARACTERS_MAX:
        raise ConfigError(definition.name, f"the value is longer than {VALUE_CHARACTERS_MAX} characters", where=where)
    text = text.strip()
    try:
        value = _typed(definition.type, text)
        problem = _violation(definition.allowed, value)
    except ValueError as error:
        problem = str(error)
    if problem is None:
        return value
    shown = "the value" if definition.sensitive else repr(text)
    raise ConfigError(definition.name, f"{shown} is {problem}", where=where)


def default_value(definition: ConfigDef) -> ConfigValue:
    """The typed default of a key; None when it has none."""
    return None if definition.default_text is None else _typed(definition.type, definition.default_text)


def format_value(value: ConfigValue) -> str | None:
    """A typed value as Kafka writes it in DescribeConfigs."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple):
        return ",".join(value)
    if isinstance(value, float):
        return _java_double(value)
    return str(value)


def _typed(kind: ConfigType, text: str) -> ConfigValue:
    match kind:
        case ConfigType.BOOLEAN:
            if text.lower() not in ("true", "false"):
                raise ValueError("neither true nor false")
            return text.lower() == "true"
        case ConfigType.INT | ConfigType.SHORT | ConfigType.LONG:
            return _integer(text, _BITS[kind])
        case ConfigType.DOUBLE:
            return _double(text)
        case ConfigType.LIST:
            return split_list(text)
    return text


def split_list(text: str) -> tuple[str, ...]:
    """The items of a comma separated list; no items in an empty text."""
    return tuple(item.strip() for item in text.split(",")) if text.strip() else ()


def _integer(text: str, bits: int) -> int:
    if not _INTEGER.fullmatch(text):
        raise ValueError("not a whole number")
    value = int(text)
    limit = 1 << (bits - 1)
    if not -limit <= value < limit:
        raise ValueError(f"outside of the {bits}-bit range {-limit} to {limit - 1}")
    return value


def _double(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError("not a number") from None
    if not math.isfinite(value):
        raise ValueError("not a finite number")
    return value


def _violation(allowed: Allowed, value: ConfigValue) -> str | None:
    """Why `value` is not allowed, as the end of a sentence that begins with the value and `is`; None: it is."""
    match allowed.rule:
        case Rule.RANGE:
            assert isinstance(value, int | float)
            within = (allowed.low is None or value >= allowed.low) and (allowed.high is None or value <= allowed.high)
            ok = within or value == allowed.extra
        case Rule.ONE:
            ok = value in allowed.choices
        case Rule.ONE_IGNORING_CASE:
            ok = str(value).upper() in allowed.choices
        case Rule.SOME | Rule.SOME_AT_LEAST_ONE:
            return _list_violation(allowed, value)
        case Rule.NONEMPTY:
            ok = value != ""
        case Rule.THROTTLE:
            assert isinstance(value, tuple)
            ok = value in ((), ("*",)) or all(_THROTTLE_PAIR.fullmatch(item) for item in value)
        case Rule.NONE:
            return None
    return None if ok else f"not allowed; allowed: {allowed.sentence()}"


def _list_violation(allowed: Allowed, value: ConfigValue) -> str | None:
    assert isinstance(value, tuple)
    if any(item == "" for item in value):
        return "a list with an empty item"
    if not value and allowed.rule is Rule.SOME_AT_LEAST_ONE:
        return f"not allowed; allowed: {allowed.sentence()}"
    wrong = [item for item in value if allowed.choices and item not in allowed.choices]
    return f"not allowed ({wrong[0]!r}); allowed: {allowed.sentence()}" if wrong else None


def _java_double(value: float) -> str:
    # Java writes 1.0E7 and 1.7976931348623157E308 where Python writes 10000000.0 and 1.79e+308.
    if value == 0 or 1e-3 <= abs(value) < 1e7:
        return repr(float(value))
    from decimal import Decimal  # only for answers to clients: not worth the time of a start

    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits))
    return f"{'-' if sign else ''}{text[0]}.{text[1:] or '0'}E{exponent + len(digits) - 1}"
