"""Every configuration key that the broker knows: Kafka 4.3's and the few of our own, each in one place.

Rules of this file: look-ups over the tables `table_*.py`; nothing here reads a value. Five keys are our own:
`cluster.id`, `metadata.store.url`, `admin.listener`, `durability` and `message.format.validation` (the last two of
broker and topic). Four of Kafka's broker keys have another default here: `listeners` (loopback), `log.dir` (a directory
of the user), `max.connections` and `queued.max.request.bytes` (limits where Kafka has none).
"""

from __future__ import annotations

import re
from typing import Final

from pybroker_server.config import (
    table_group,
    table_groups,
    table_log,
    table_quorum,
    table_security,
    table_server,
    table_topic,
)
from pybroker_server.config.notation import ConfigDef, parse_table

_BROKER_TABLES = (table_server, table_log, table_groups, table_security, table_quorum)

BROKER: Final[dict[str, ConfigDef]] = parse_table("".join(module.TABLE for module in _BROKER_TABLES))
"""Broker keys by name, in the order of the documentation."""

TOPIC: Final[dict[str, ConfigDef]] = parse_table(table_topic.TABLE)
"""Topic keys by name."""

GROUP: Final[dict[str, ConfigDef]] = parse_table(table_group.TABLE)
"""Keys of single groups by name."""

OWN: Final = frozenset(
    {"admin.listener", "cluster.id", "metadata.store.url", "durability", "message.format.validation"}
)
"""Keys that Kafka does not have."""

IGNORED: Final = frozenset(
    {
        "advertised.host.name",
        "advertised.port",
        "auto.include.jmx.reporter",
        "broker.id.generation.enable",
        "control.plane.listener.name",
        "controlled.shutdown.max.retries",
        "controlled.shutdown.retry.backoff.ms",
        "delegation.token.master.key",
        "eligible.leader.replicas.enable",
        "group.coordinator.new.enable",
        "group.share.enable",
        "host.name",
        "inter.broker.protocol.version",
        "leader.imbalance.per.broker.percentage",
        "log.cleaner.hash.algorithm",
        "log.message.downconversion.enable",
        "log.message.format.version",
        "log.message.timestamp.difference.max.ms",
        "offsets.commit.required.acks",
        "password.encoder.cipher.algorithm",
        "password.encoder.iterations",
        "password.encoder.key.length",
        "password.encoder.keyfactory.algorithm",
        "password.encoder.old.secret",
        "password.encoder.secret",
        "port",
        "reserved.broker.max.id",
    }
)
"""Keys of older Kafkas and other builds that pasted files still carry: accepted without effect."""

IGNORED_PREFIXES: Final = ("zookeeper.", "confluent.", "rsm.config.", "rlmm.config.", "config.providers.")
"""Families of keys that are accepted without effect."""

WITHOUT_EFFECT: Final = frozenset(table for table in parse_table(table_quorum.TABLE)) - {"controller.listener.names"}
"""Keys that are known, described with Kafka's defaults, and have no effect by design (no controller quorum here)."""

_LISTENER_KEY = re.compile(r"listener\.name\.([a-z0-9_-]+)\.(.+)")


def find_broker(name: str) -> ConfigDef | None:
    """The declaration of a broker key; `listener.name.<name>.<key>` finds the one of `<key>` (KIP-103)."""
    found = BROKER.get(name)
    if found is not None:
        return found
    prefixed = _LISTENER_KEY.fullmatch(name)
    if prefixed is None:
        return None
    inner = prefixed[2]
    # SASL keys may carry the mechanism as a second prefix: listener.name.internal.scram-sha-256.sasl.jaas.config
    return BROKER.get(inner) or BROKER.get(inner.partition(".")[2])


def is_ignored(name: str) -> bool:
    """Whether a key that is not declared is accepted all the same, without effect."""
    return name in IGNORED or name.startswith(IGNORED_PREFIXES)


def nearest(name: str, known: dict[str, ConfigDef]) -> str | None:
    """The known key that `name` most likely is a slip of, if any comes close."""
    from difflib import get_close_matches  # only for mistakes: not worth the time of a start

    close = get_close_matches(name.lower().replace("_", "."), known, n=1, cutoff=0.75)
    return close[0] if close else None
