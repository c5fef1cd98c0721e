"""Our notation for messages, and its reader.

A declaration is a text; each line is a field, children are indented two spaces deeper:

    FetchRequest  key 1  versions 4-18  flexible 12+
      replica_id     int32        0-14   = -1
      replica_state  ReplicaState 15+    tag 1
        replica_id     int32             = -1
        replica_epoch  int64             = -1
      topics         []FetchTopic
        topic          string     0-12
        name           string?10+

- The first line: name, `key N` (API key or record type), `versions A-B`, `flexible A+` (left out: never).
- A field: name (Kafka's, in snake_case), type, then in this order what is needed of: versions, `tag N`, `=
  default`.
- Versions left out are those of the enclosing structure, within which all versions are cut.
- Types: bool int8 int16 uint16 int32 int64 float64 uuid string bytes records, a structure's name, or `[]`
  before one. `?` after a type allows null wherever the field exists, `?7+` in those versions.
- A structure is declared by the children of the first field that uses it; or, when several use it, by a line
  `struct Name` of its own, one level deep like the fields of the message, before them.
- Defaults left out: 0, false, "", no elements, the zero UUID, null for `records`. A structure that is tagged
  or may be null is None until it is set: on the wire a tagged structure of defaults and an absent one are the
  same thing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from pybroker_protocol.schema.nodes import (
    ALL_VERSIONS,
    BLOBS,
    EMPTY_LIST,
    FIXED,
    FRESH_STRUCT,
    HIGHEST_VERSION,
    NO_VERSIONS,
    ZERO_UUID,
    ArrayOf,
    Blob,
    DefaultValue,
    Field,
    Fixed,
    Schema,
    Struct,
    Type,
    Versions,
)

_INDENT: Final = 2
_VERSIONS: Final = r"\d+(?:-\d+|\+)?"
_HEAD: Final = re.compile(
    rf"(?P<name>[A-Z]\w*)(?: +key (?P<key>\d+))? +versions (?P<versions>{_VERSIONS})"
    rf"(?: +flexible (?P<flexible>{_VERSIONS}))?"
)
_STRUCT: Final = re.compile(rf"struct (?P<name>[A-Z]\w*)(?: +(?P<versions>{_VERSIONS}))?")
_FIELD: Final = re.compile(
    rf"(?P<name>[a-z]\w*) +(?P<array>\[\])?(?P<type>\w+)(?P<null>\?(?P<null_versions>{_VERSIONS})?)?"
    rf"(?: +(?P<versions>{_VERSIONS}))?(?: +tag (?P<tag>\d+))?(?: += (?P<default>\S+|\"[^\"]*\"))?"
)


class NotationError(Exception):
    """A declaration of ours that cannot be read; names the line."""


@dataclass(slots=True)
class _Line:
    text: str
    children: list[_Line] = field(default_factory=list)


def parse(text: str) -> Schema:
    """Reads one declaration. Raises NotationError."""
    head, *rest = _tree(text)
    if rest:
        raise NotationError(f"one message to a declaration, found a second: {rest[0].text!r}")
    match = _HEAD.fullmatch(head.text)
    if match is None:
        raise NotationError(f"not the first line of a message: {head.text!r}")
    key = match["key"]
    versions = parse_versions(match["versions"])
    reader = _Reader()
    root = Struct(match["name"], reader.fields(head.children, versions))
    return Schema(
        name=match["name"],
        key=None if key is None else int(key),
        versions=versions,
        flexible=parse_versions(match["flexible"]) if match["flexible"] else NO_VERSIONS,
        root=root,
        structs=reader.structs,
    )


def parse_versions(text: str) -> Versions:
    """`4`, `4-18` or `4+`."""
    low, separator, high = text.partition("-")
    if separator:
        return Versions(int(low), int(high))
    if text.endswith("+"):
        return Versions(int(text[:-1]), HIGHEST_VERSION)
    return Versions(int(text), int(text))


def default_of(type_: Type, *, nullable: bool, tagged: bool, text: str | None) -> DefaultValue:
    """The default value that `text` writes for this type; the type's own where there is no text."""
    if text == "null":
        return None
    if isinstance(type_, ArrayOf):
        return EMPTY_LIST
    if isinstance(type_, Struct):
        return None if nullable or tagged else FRESH_STRUCT
    if isinstance(type_, Blob):
        return _blob_default(type_, text)
    return _fixed_default(type_, text)


def _blob_default(type_: Blob, text: str | None) -> DefaultValue:
    if type_.name == "records":
        return None
    if type_.name == "bytes":
        return b""
    return "" if text is None else text.strip('"')


def _fixed_default(type_: Fixed, text: str | None) -> DefaultValue:
    if type_.name == "uuid":
        return ZERO_UUID
    if type_.name == "bool":
        return text == "true"
    if type_.name == "float64":
        return float(text or 0)
    return int(text or "0", 0)


class _Reader:
    """Collects the structures of one message while its lines are read."""

    def __init__(self) -> None:
        self.structs: dict[str, Struct] = {}

    def fields(self, lines: list[_Line], versions: Versions) -> tuple[Field, ...]:
        fields = []
        for line in lines:
            if line.text.startswith("struct "):
                self._common_struct(line, versions)
            else:
                fields.append(self._field(line, versions))
        return tuple(fields)

    def _common_struct(self, line: _Line, outer: Versions) -> None:
        match = _STRUCT.fullmatch(line.text)
        if match is None:
            raise NotationError(f"not a structure: {line.text!r}")
        self._declare(match["name"], line, _versions_or(match["versions"], ALL_VERSIONS).within(outer))

    def _declare(self, name: str, line: _Line, versions: Versions) -> None:
        if name in self.structs:
            raise NotationError(f"structure {name} is declared twice")
        # Inner structures are declared before the one that holds them: readers of `structs` rely on it.
        self.structs[name] = Struct(name, self.fields(line.children, versions))

    def _field(self, line: _Line, outer: Versions) -> Field:
        match = _FIELD.fullmatch(line.text)
        if match is None:
            raise NotationError(f"not a field: {line.text!r}")
        versions = _versions_or(match["versions"], ALL_VERSIONS).within(outer)
        nullable = NO_VERSIONS
        if match["null"]:
            nullable = _versions_or(match["null_versions"], ALL_VERSIONS).within(versions)
        if line.children:
            self._declare(match["type"], line, versions)
        element = self._type(match["type"], line)
        type_: Type = ArrayOf(element) if match["array"] else element
        tag = None if match["tag"] is None else int(match["tag"])
        default = default_of(type_, nullable=not nullable.is_empty, tagged=tag is not None, text=match["default"])
        return Field(match["name"], type_, versions, nullable, tag, default)

    def _type(self, name: str, line: _Line) -> Fixed | Blob | Struct:
        found = FIXED.get(name) or BLOBS.get(name) or self.structs.get(name)
        if found is None:
            raise NotationError(f"unknown type {name}: {line.text!r}")
        return found


def _versions_or(text: str | None, otherwise: Versions) -> Versions:
    return parse_versions(text) if text else otherwise


def _tree(text: str) -> list[_Line]:
    """Lines under the line that they are indented below."""
    roots: list[_Line] = []
    open_lists = [roots]
    for raw in text.splitlines():
        if not raw.strip():
            continue
        depth, odd = divmod(len(raw) - len(raw.lstrip()), _INDENT)
        if odd or depth >= len(open_lists):
            raise NotationError(f"wrong indentation: {raw!r}")
        line = _Line(" ".join(raw.split()))
        open_lists[depth].append(line)
        del open_lists[depth + 1 :]
        open_lists.append(line.children)
    return roots
