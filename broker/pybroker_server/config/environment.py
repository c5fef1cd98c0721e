"""Environment variables as settings: the spellings of the field's images, and which names are none of ours.

Rules of this file: pure; the caller hands in a mapping. `PYBROKER_X_Y` and `KAFKA_X_Y` (the official image) and
`KAFKA_CFG_X_Y` (an older popular one) all mean `x.y`: `_` is a dot, `__` an underscore, `___` a hyphen.
`PYBROKER_` wins over `KAFKA_`, which wins over `KAFKA_CFG_`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from pybroker_server.config.definitions import BROKER, find_broker, is_ignored, nearest

# What surrounds Kafka in images, shells and pods, and is not a setting of the broker.
_KAFKA_NOT_SETTINGS: Final = re.compile(
    r"KAFKA_(HEAP_OPTS|OPTS|JMX_.*|JVM_.*|LOG4J_.*|GC_LOG_OPTS|VERSION|HOME|HOME_DIR|USER|DEBUG|TOOLS_LOG4J_.*"
    r"|CLIENTS_JAR|SERVICE_.*|PORT|PORT_\d.*|LOG4J|SCALA_VERSION|CREATE_TOPICS)"
)
_PYBROKER_NOT_SETTINGS: Final = re.compile(
    r"PYBROKER_(CONFIG|LOG_FORMAT|LOG_LEVEL|BOOTSTRAP|COMPLETE|TEST_.*|BENCH_.*)"
)
_PREFIXES: Final = ("KAFKA_CFG_", "KAFKA_", "PYBROKER_")
_SEPARATORS: Final = {"_": ".", "__": "_", "___": "-"}


@dataclass(frozen=True, slots=True)
class EnvironmentEntry:
    key: str
    value: str
    variable: str


def key_of(variable: str, prefix: str) -> str:
    """The key that a variable's name spells: KAFKA_LOG_DIRS is `log.dirs`."""
    rest = variable.removeprefix(prefix).lower()
    return re.sub("_+", lambda found: _SEPARATORS.get(found[0], found[0]), rest)


def read_environment(environment: Mapping[str, str]) -> tuple[list[EnvironmentEntry], list[str]]:
    """Settings from the weakest spelling to the strongest, and the names that look like settings but are not.

    A `KAFKA_` name that is no key is passed over unless it is a slip of one, since shells and pods carry many
    such names; a `PYBROKER_` or `KAFKA_CFG_` name was meant for a broker and is always returned, for the caller to
    refuse.
    """
    entries: list[EnvironmentEntry] = []
    passed_over: list[str] = []
    if "CLUSTER_ID" in environment:
        entries.append(EnvironmentEntry("cluster.id", environment["CLUSTER_ID"], "CLUSTER_ID"))
    for prefix in _PREFIXES:
        for variable in sorted(environment):
            if not _belongs(variable, prefix):
                continue
            key = key_of(variable, prefix)
            if prefix == "KAFKA_" and _is_foreign(key):
                passed_over.append(variable)
                continue
            entries.append(EnvironmentEntry(key, environment[variable], variable))
    return entries, passed_over


def _belongs(variable: str, prefix: str) -> bool:
    if not variable.startswith(prefix) or len(variable) == len(prefix):
        return False
    if prefix == "PYBROKER_":
        return not _PYBROKER_NOT_SETTINGS.fullmatch(variable)
    if prefix == "KAFKA_":
        return not variable.startswith("KAFKA_CFG_") and not _KAFKA_NOT_SETTINGS.fullmatch(variable)
    return True


def _is_foreign(key: str) -> bool:
    return find_broker(key) is None and not is_ignored(key) and nearest(key, BROKER) is None
