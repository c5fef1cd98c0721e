"""Writes `docs/protocol.md`: the table of what is served, from the registry that ApiVersions is answered from.

python -m pybroker_server.handlers.document            prints the page
python -m pybroker_server.handlers.document --check FILE   fails when FILE is not that page
"""

from __future__ import annotations

import sys
from pathlib import Path

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.header import first_flexible_version, version_range
from pybroker_server.handlers.registry import Handler, load_all

_HEAD = """# Protocol support

Generated from the handlers: `python -m pybroker_server.handlers.document > docs/protocol.md`. What a broker advertises
in ApiVersions is read from the same registry, so this table cannot differ from what is served.

A version outside the range closes the connection, as Kafka does, except that ApiVersions itself answers with
UNSUPPORTED_VERSION and the range it knows (KIP-511). "Kafka 4.3" is the range of stable versions of that release.

| key | API | served | Kafka 4.3 | flexible from | note |
|---|---|---|---|---|---|
"""
_NOTES = {
    ApiKey.PRODUCE: "versions 0-2 are advertised, as Kafka does for old librdkafka, and refused",
}


def _row(handler: Handler) -> str:
    key = ApiKey(handler.api_key)
    low, high = version_range(key)
    flexible = first_flexible_version(key)
    name = "".join(part.capitalize() for part in key.name.split("_"))
    note = _NOTES.get(key, "between brokers only" if handler.inter_broker_only else "")
    served = f"{handler.min_version}-{handler.max_version}"
    return f"| {int(key)} | {name} | {served} | {low}-{high} | {'never' if flexible is None else flexible} | {note} |"


def page() -> str:
    return _HEAD + "".join(f"{_row(handler)}\n" for handler in load_all().values())


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--check"]:
        if Path(arguments[1]).read_text() == page():
            return 0
        print(f"{arguments[1]} is stale: python -m pybroker_server.handlers.document > {arguments[1]}", file=sys.stderr)
        return 1
    sys.stdout.write(page())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
