"""The notation in which configuration keys are declared, and what a declaration becomes.

Rules of this file: types and the parser of the `table_*.py` texts; no key is named here. A declaration is two
lines, the second indented:

    name | type | default | allowed | update [| flag]...
        What the key does, in one sentence.

`type` is Kafka's (boolean string int short long double list class password). `default` is `-` for null and `''` for
empty. `allowed` is `-`, a range `1..9`, `0..`, a range or one more value `1..9|-1`, a choice `one(a,b)`,
`one-ci(a,b)` (letter case ignored), `some(a,b)` (a list of these, empty allowed), `some+(a,b)` (at least one),
`some+()` (a list of anything, not empty), `nonempty` or `throttle`. `update` is `read-only`, `per-broker` or
`cluster-wide` (KIP-226), `topic` or `group`. Flags: `internal` (never described to clients), `from=a,b*60000` (the
broker keys that a key of a topic or group takes its default from, first set one wins, in milliseconds or as they are).
A backslash at the end of a line joins it with the next.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, IntEnum

ConfigValue = bool | int | float | str | tuple[str, ...] | None
"""A typed value: list keys give tuples, password and class keys strings, an unset key None."""


class ConfigType(IntEnum):
    """Kafka's config types; the numbers are those of DescribeConfigs (KIP-569)."""

    BOOLEAN = 1
    STRING = 2
    INT = 3
    SHORT = 4
    LONG = 5
    DOUBLE = 6
    LIST = 7
    CLASS = 8
    PASSWORD = 9


class UpdateMode(Enum):
    """How a key may be changed while the broker runs (KIP-226)."""

    READ_ONLY = "read-only"
    PER_BROKER = "per-broker"
    CLUSTER_WIDE = "cluster-wide"
    TOPIC = "topic"
    GROUP = "group"


class Rule(Enum):
    """The kinds of constraint on a value."""

    NONE = "-"
    RANGE = "range"
    ONE = "one"
    ONE_IGNORING_CASE = "one-ci"
    SOME = "some"
    SOME_AT_LEAST_ONE = "some+"
    NONEMPTY = "nonempty"
    THROTTLE = "throttle"


@dataclass(frozen=True, slots=True)
class Allowed:
    """A constraint. `low` and `high` are included, None means no bound; `extra` is allowed beside the range."""

    rule: Rule = Rule.NONE
    low: float | None = None
    high: float | None = None
    extra: float | None = None
    choices: tuple[str, ...] = ()

    def sentence(self) -> str:
        """What is allowed, for error messages and the documentation; empty when anything is."""
        match self.rule:
            case Rule.RANGE:
                low = None if self.low is None else _number(self.low)
                high = None if self.high is None else _number(self.high)
                text = f"{low} to {high}" if high is not None else f"at least {low}"
                return text if self.extra is None else f"{text}, or {_number(self.extra)}"
            case Rule.ONE | Rule.ONE_IGNORING_CASE:
                return "one of " + ", ".join(self.choices)
            case Rule.SOME:
                return "any of " + ", ".join(self.choices)
            case Rule.SOME_AT_LEAST_ONE:
                return "one or more of " + ", ".join(self.choices) if self.choices else "one or more values"
            case Rule.NONEMPTY:
                return "not empty"
            case Rule.THROTTLE:
                return "* or pairs partition:broker"
        return ""


@dataclass(frozen=True, slots=True)
class BrokerSource:
    """One broker key from which a topic key takes its default, and by what its number is multiplied."""

    name: str
    factor: int = 1


@dataclass(frozen=True, slots=True)
class ConfigDef:
    """One configuration key."""

    name: str
    type: ConfigType
    default_text: str | None
    allowed: Allowed
    update: UpdateMode
    doc: str
    internal: bool = False
    sources: tuple[BrokerSource, ...] = ()

    @property
    def sensitive(self) -> bool:
        """Its value is never shown: not in DescribeConfigs, not in a log line."""
        return self.type is ConfigType.PASSWORD


_RANGE = re.compile(r"(-?[\d.]+?)\.\.(-?[\d.]+)?(?:\|(-?\d+))?")
_CHOICE = re.compile(r"(one|one-ci|some|some\+)\((.*)\)")


def parse_table(text: str) -> dict[str, ConfigDef]:
    """Reads declarations. A mistake in a table is a bug of ours and raises ValueError at import."""
    table: dict[str, ConfigDef] = {}
    lines = [line for line in text.splitlines() if line.strip()]
    if len(lines) % 2:
        raise ValueError("a declaration is two lines; one is missing")
    for head, doc in zip(lines[::2], lines[1::2], strict=True):
        if head.startswith(" ") or not doc.startswith("    "):
            raise ValueError(f"not a declaration: {head!r} / {doc!r}")
        definition = _declaration(head, doc.strip())
        if definition.name in table:
            raise ValueError(f"{definition.name} is declared twice")
        table[definition.name] = definition
    return table


def _declaration(head: str, doc: str) -> ConfigDef:
    name, type_name, default, allowed, update, *flags = (part.strip() for part in head.split(" | "))
    sources: tuple[BrokerSource, ...] = ()
    internal = False
    for flag in flags:
        if flag == "internal":
            internal = True
        elif flag.startswith("from="):
            sources = tuple(_source(item) for item in flag.removeprefix("from=").split(","))
        else:
            raise ValueError(f"{name}: no flag {flag!r}")
    return ConfigDef(
        name=name,
        type=ConfigType[type_name.upper()],
        default_text=None if default == "-" else "" if default == "''" else default,
        allowed=_allowed(name, allowed),
        update=UpdateMode(update),
        doc=doc,
        internal=internal,
        sources=sources,
    )


def _source(item: str) -> BrokerSource:
    name, _, factor = item.partition("*")
    return BrokerSource(name, int(factor or 1))


def _allowed(name: str, text: str) -> Allowed:
    if found := _RANGE.fullmatch(text):
        low, high, extra = found.groups()
        return Allowed(Rule.RANGE, _bound(low), _bound(high), _bound(extra))
    if found := _CHOICE.fullmatch(text):
        choices = tuple(item for item in found[2].split(",") if item)
        return Allowed(Rule(found[1]), choices=choices)
    try:
        return Allowed(Rule(text))
    except ValueError:
        raise ValueError(f"{name}: no constraint {text!r}") from None


def _bound(text: str | None) -> float | None:
    if text is None:
        return None
    return float(text) if "." in text else int(text)


def _number(bound: float) -> str:
    return str(int(bound)) if bound == int(bound) else str(bound)
