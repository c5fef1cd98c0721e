"""Writes `docs/configuration.md` from the tables of keys.

    python -m pybroker_server.config.document     prints the page

A tool: nothing imports this at run time but the test that keeps the page fresh.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from pybroker_server.config import (
    table_groups,
    table_log,
    table_quorum,
    table_security,
    table_server,
)
from pybroker_server.config.definitions import GROUP, IGNORED, IGNORED_PREFIXES, OWN, TOPIC
from pybroker_server.config.notation import ConfigDef, parse_table
from pybroker_server.config.views import KEYS_WITH_EFFECT

_HEAD = """# Configuration

Generated from the tables that the broker reads: `make docs`. The keys are Kafka 4.3's, with Kafka's names, types and
defaults; **our own** and **another default than Kafka's** are marked.

## Where settings come from

Each key is layered by itself, the later one wins: defaults < file < environment < flags < dynamic changes.

| layer | how |
|---|---|
| file | `pybroker serve server.properties` or `--config FILE`: Kafka's syntax; a key given twice is an error |
| environment | `PYBROKER_LOG_DIRS`, `KAFKA_LOG_DIRS` or `KAFKA_CFG_LOG_DIRS`; `.` is `_`, `_` is `__`, `-` is `___` |
| flags | `--log-dirs PATH` for `log.dirs`, every key alike; `--override key=value` |
| dynamic | `kafka-configs --alter`, `pybroker topic config`, `pybroker group config`; broker keys as *update* says |

A key that nobody knows is an error that names the nearest known one. `pybroker config explain` prints every value in
force and where it comes from; `pybroker config explain --key KEY` explains one key.

Keys of Kafka's controller quorum (`process.roles`, `controller.quorum.*`), of older Kafkas and of other builds are
accepted without effect and named in one line at start. Rows without a mark under *effect* are of that kind too: they
are known, checked and described to clients with Kafka's defaults, and change nothing here (yet).

Rules that join keys: a topic takes `retention.ms` from `log.retention.ms`, else the minutes, else the hours (and so
on, see *default from*). `offsets.topic.replication.factor` and its like, when they are not set, are the smaller of
Kafka's 3 and the number of brokers. A listener that `controller.listener.names` names is not opened. Without
`advertised.listeners` each client is told the address on which it reached the broker.
"""

_GROUP_HEAD = """Of single groups, which need not exist yet: `kafka-configs --entity-type groups`,
`pybroker group config`. Those of consumer groups count from a member's next heartbeat; those of share and streams
groups are kept and described.

"""
_SECTIONS = (
    ("Identity, listeners, limits, replication, metrics", table_server.TABLE),
    ("The log", table_log.TABLE),
    ("Groups and transactions", table_groups.TABLE),
    ("TLS, SASL, delegation tokens", table_security.TABLE),
    ("Controller quorum and remote storage", table_quorum.TABLE),
)
_OTHER_DEFAULTS = frozenset({"listeners", "log.dir", "max.connections", "queued.max.request.bytes"})


def page() -> str:
    """The whole page."""
    parts = [_HEAD, "\n## Topic keys\n\n", *_own_rows(TOPIC.values())]
    parts += ["\n## Group keys\n\n", _GROUP_HEAD, *_own_rows(GROUP.values())]
    for title, table in _SECTIONS:
        parts += [f"\n## Broker keys: {title}\n\n", *_broker_rows(parse_table(table).values())]
    parts += ["\n## Accepted from other files\n\n", _ignored()]
    return "".join(parts)


def _own_rows(definitions: Iterable[ConfigDef]) -> Iterable[str]:
    yield "| key | type | default | allowed | default from | |\n|---|---|---|---|---|---|\n"
    for each in definitions:
        if each.internal:
            continue
        sources = ", ".join(f"`{source.name}`" for source in each.sources)
        cells = (f"`{each.name}`", each.type.name.lower(), _default(each), _allowed(each), sources, _doc(each))
        yield "| " + " | ".join(cells) + " |\n"


def _broker_rows(definitions: Iterable[ConfigDef]) -> Iterable[str]:
    yield "| key | type | default | allowed | update | effect | |\n|---|---|---|---|---|---|---|\n"
    for each in definitions:
        if each.internal:
            continue
        effect = "yes" if each.name in KEYS_WITH_EFFECT else ""
        cells = (f"`{each.name}`", each.type.name.lower(), _default(each), _allowed(each), each.update.value, effect)
        yield "| " + " | ".join((*cells, _doc(each))) + " |\n"


def _default(definition: ConfigDef) -> str:
    return "" if definition.default_text is None else f"`{definition.default_text or ' '}`"


def _allowed(definition: ConfigDef) -> str:
    return definition.allowed.sentence().replace("|", "\\|")


def _doc(definition: ConfigDef) -> str:
    mark = " **Our own.**" if definition.name in OWN else ""
    if definition.name in _OTHER_DEFAULTS:
        mark = " **Another default than Kafka's.**"
    return definition.doc.replace("|", "\\|") + mark


def _ignored() -> str:
    families = ", ".join(f"`{prefix}*`" for prefix in sorted(IGNORED_PREFIXES))
    names = ", ".join(f"`{name}`" for name in sorted(IGNORED))
    return f"Without effect, with one line at start: {families}, {names}.\n"


if __name__ == "__main__":
    sys.stdout.write(page())
