"""Compares our declarations with the message definitions inside Kafka's own jars and prints every difference.

    python -m tests.protocol.schema_check kafka-clients-4.3.0.jar [kafka-group-coordinator-4.3.0.jar ...]

Without arguments the jars are those named by KAFKA_CLIENTS_JAR, and beside it the coordinators' jars of the same
version. Compared are names, types, order, versions, nullability, tags, defaults and valid versions, of every message
that the jar has and we declare; that every API a client may use is declared is compared too. The definitions are read
as facts: nothing of them is kept.
"""

from __future__ import annotations

import json
import os
import re
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pybroker_protocol import messages
from pybroker_protocol.schema.nodes import (
    BLOBS,
    FIXED,
    HIGHEST_VERSION,
    NO_VERSIONS,
    ArrayOf,
    Field,
    Schema,
    Struct,
    Type,
    Versions,
)
from pybroker_protocol.schema.notation import default_of, parse_versions

COORDINATOR_JARS = ("kafka-group-coordinator", "kafka-transaction-coordinator")
KINDS_DECLARED = {"request", "response", "coordinator-key", "coordinator-value"}
_FOLDER = "common/message/"
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def read_definitions(jars: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """The JSON definitions in these jars by message name."""
    found = {}
    for jar in jars:
        with zipfile.ZipFile(jar) as archive:
            for entry in archive.namelist():
                if entry.startswith(_FOLDER) and entry.endswith(".json"):
                    text = archive.read(entry).decode()
                    definition = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE))
                    found[definition["name"]] = definition
    return found


def compare(definitions: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Every difference between the definitions and what we declare, one line each."""
    declared = set(messages.message_names())
    for name, definition in sorted(definitions.items()):
        if name in declared:
            yield from _compare_message(getattr(messages, name).schema, definition, _stable(definition, definitions))
        elif _should_be_declared(definition, definitions):
            yield f"{name}: not declared"


def _should_be_declared(definition: dict[str, Any], definitions: dict[str, dict[str, Any]]) -> bool:
    """Requests on the broker's listener that still have versions, their responses, and coordinator records."""
    kind = definition["type"]
    if kind not in KINDS_DECLARED or definition["validVersions"] == "none":
        return False
    if kind == "response":
        definition = definitions[definition["name"].removesuffix("Response") + "Request"]
    return kind.startswith("coordinator") or "broker" in definition["listeners"]


def _stable(definition: dict[str, Any], definitions: dict[str, dict[str, Any]]) -> Versions:
    """Valid versions without one that is still unstable; a response has those of its request."""
    request = definitions.get(definition["name"].removesuffix("Response") + "Request", definition)
    versions = _versions(request["validVersions"])
    return Versions(versions.low, versions.high - 1) if request.get("latestVersionUnstable") else versions


def _compare_message(ours: Schema, definition: dict[str, Any], valid: Versions) -> Iterator[str]:
    name = ours.name
    if ours.key != definition.get("apiKey"):
        yield f"{name}: key {ours.key}, Kafka {definition.get('apiKey')}"
    if ours.versions != valid:
        yield f"{name}: versions {ours.versions}, Kafka {valid}"
    flexible = _versions(definition.get("flexibleVersions", "none")).within(valid)
    if ours.flexible.within(valid) != flexible and not (ours.flexible.is_empty and flexible.is_empty):
        yield f"{name}: flexible {ours.flexible}, Kafka {flexible}"
    common = {struct["name"]: struct for struct in definition.get("commonStructs", [])}
    yield from _compare_fields(name, ours.root, definition["fields"], valid, common)


def _compare_fields(
    path: str, ours: Struct, theirs: list[dict[str, Any]], outer: Versions, common: dict[str, Any]
) -> Iterator[str]:
    wanted = [field for field in theirs if not _field_versions(field).within(outer).is_empty]
    our_names = [field.name for field in ours.fields]
    their_names = [_snake(field["name"]) for field in wanted]
    if our_names != their_names:
        yield f"{path}: fields {our_names}, Kafka {their_names}"
        return
    for our_field, their_field in zip(ours.fields, wanted, strict=True):
        yield from _compare_field(f"{path}.{our_field.name}", our_field, their_field, outer, common)


def _compare_field(
    path: str, ours: Field, theirs: dict[str, Any], outer: Versions, common: dict[str, Any]
) -> Iterator[str]:
    versions = _field_versions(theirs).within(outer)
    nullable = _versions(theirs.get("nullableVersions", "none")).within(versions)
    tagged = _versions(theirs.get("taggedVersions", "none")).within(versions)
    pairs = {
        "type": (_type_name(ours.type), theirs["type"]),
        "versions": (ours.versions.within(outer), versions),
        "nullable": (_normal(ours.nullable.within(outer)), _normal(nullable)),
        "tag": (ours.tag, theirs.get("tag")),
        "tagged": (_normal(ours.versions.within(outer) if ours.tag is not None else NO_VERSIONS), _normal(tagged)),
        "default": (ours.default, _default(ours, theirs)),
    }
    for what, (our_value, their_value) in pairs.items():
        if our_value != their_value:
            yield f"{path}: {what} {our_value}, Kafka {their_value}"
    struct = ours.type.element if isinstance(ours.type, ArrayOf) else ours.type
    if isinstance(struct, Struct):
        inner = theirs.get("fields") or common[struct.name]["fields"]
        yield from _compare_fields(path, struct, inner, versions, common)


def _default(ours: Field, theirs: dict[str, Any]) -> object:
    """What Kafka's default means in our notation: a structure that is tagged or nullable is None until set."""
    given = theirs.get("default", "")
    text = "null" if given is None else str(given).lower() if isinstance(given, bool) else str(given)
    is_tagged = ours.tag is not None
    return default_of(ours.type, nullable=not ours.nullable.is_empty, tagged=is_tagged, text=text or None)


def _field_versions(field: dict[str, Any]) -> Versions:
    return _versions(field.get("versions") or field["taggedVersions"])


def _versions(text: str) -> Versions:
    return NO_VERSIONS if text == "none" else parse_versions(text)


def _normal(versions: Versions) -> Versions:
    return NO_VERSIONS if versions.is_empty else Versions(versions.low, min(versions.high, HIGHEST_VERSION))


def _type_name(type_: Type) -> str:
    if isinstance(type_, ArrayOf):
        return f"[]{_type_name(type_.element)}"
    assert isinstance(type_, Struct) or type_.name in FIXED or type_.name in BLOBS
    return type_.name


def _snake(name: str) -> str:
    return _WORD_START.sub("_", name).lower()


def jars_from_environment() -> list[Path]:
    """KAFKA_CLIENTS_JAR and the coordinators' jars beside it, as far as they exist; empty when it is not set."""
    named = os.environ.get("KAFKA_CLIENTS_JAR")
    if not named:
        return []
    clients = Path(named)
    version = clients.stem.removeprefix("kafka-clients-")
    beside = (clients.with_name(f"{stem}-{version}.jar") for stem in COORDINATOR_JARS)
    return [clients, *(jar for jar in beside if jar.exists())]


def main(arguments: list[str]) -> int:
    jars = [Path(argument) for argument in arguments] or jars_from_environment()
    if not jars:
        print("name a kafka-clients jar, or set KAFKA_CLIENTS_JAR", file=sys.stderr)
        return 2
    definitions = read_definitions(jars)
    differences = list(compare(definitions))
    for line in differences:
        print(line)
    compared = len(set(definitions) & set(messages.message_names()))
    print(f"{compared} messages compared, {len(differences)} differences", file=sys.stderr)
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
