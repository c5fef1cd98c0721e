"""The node tree that a declaration becomes: versions, types, fields, structures, messages.

Rules of this file: nodes are immutable values without behaviour beyond questions about themselves. Reading
the notation is `notation.py`, turning nodes into classes is `classes.py`, turning them into code is
`compiler.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

HIGHEST_VERSION: Final = 32767
"""What `3+` ends at: a version is an int16 on the wire."""


class Versions(NamedTuple):
    """A closed range of versions; empty when `low > high`."""

    low: int
    high: int

    def holds(self, version: int) -> bool:
        return self.low <= version <= self.high

    def within(self, other: Versions) -> Versions:
        """The versions that are in both."""
        return Versions(max(self.low, other.low), min(self.high, other.high))

    @property
    def is_empty(self) -> bool:
        return self.low > self.high


ALL_VERSIONS: Final = Versions(0, HIGHEST_VERSION)
NO_VERSIONS: Final = Versions(1, 0)


@dataclass(frozen=True, slots=True)
class Fixed:
    """A type of one size on the wire. `code` is its letter in the `struct` module."""

    name: str
    code: str
    size: int


@dataclass(frozen=True, slots=True)
class Blob:
    """`string`, `bytes` or `records`: a length, then that many bytes."""

    name: str


@dataclass(frozen=True, slots=True)
class Struct:
    name: str
    fields: tuple[Field, ...]

    def plain_fields(self, version: int) -> Iterator[Field]:
        """The fields that are on the wire in their place, in order."""
        return (field for field in self.fields if field.tag is None and field.versions.holds(version))

    def tagged_fields(self, version: int) -> list[Field]:
        """The optional fields of this version, by ascending tag."""
        present = (field for field in self.fields if field.tag is not None and field.versions.holds(version))
        return sorted(present, key=lambda field: field.tag or 0)

    def absent_fields(self, version: int) -> Iterator[Field]:
        """The fields that this version does not have: decoding gives them their default."""
        return (field for field in self.fields if not field.versions.holds(version))


@dataclass(frozen=True, slots=True)
class ArrayOf:
    element: Fixed | Blob | Struct


Type = Fixed | Blob | Struct | ArrayOf

FIXED: Final = {
    fixed.name: fixed
    for fixed in (
        Fixed("bool", "?", 1),
        Fixed("int8", "b", 1),
        Fixed("int16", "h", 2),
        Fixed("uint16", "H", 2),
        Fixed("int32", "i", 4),
        Fixed("int64", "q", 8),
        Fixed("float64", "d", 8),
        Fixed("uuid", "16s", 16),
    )
}
BLOBS: Final = {name: Blob(name) for name in ("string", "bytes", "records")}


class Default:
    """Marks defaults that are made for each message: an empty list, a structure of defaults, the zero UUID."""


EMPTY_LIST: Final = Default()
FRESH_STRUCT: Final = Default()
ZERO_UUID: Final = Default()

DefaultValue = bool | int | float | str | bytes | None | Default


@dataclass(frozen=True, slots=True)
class Field:
    """One field. Null may be sent in the versions `nullable`; a tagged field is tagged in all its versions."""

    name: str
    type: Type
    versions: Versions
    nullable: Versions
    tag: int | None
    default: DefaultValue

    @property
    def may_be_none(self) -> bool:
        """Whether the attribute can be None: null in some version, or by default (records, structures)."""
        return self.default is None or not self.nullable.is_empty


@dataclass(frozen=True, slots=True)
class Schema:
    """One message or persisted record in all its versions.

    `key` is the API key, or the type number of a coordinator record; None for what has neither. `structs`
    holds every structure inside the message by name, in order of declaration.
    """

    name: str
    key: int | None
    versions: Versions
    flexible: Versions
    root: Struct
    structs: dict[str, Struct]

    def is_flexible(self, version: int) -> bool:
        return self.flexible.holds(version)


def minimum_size(type_: Type, *, flexible: bool, nullable: bool, version: int) -> int:
    """The fewest bytes that a value of this type can take on the wire."""
    if isinstance(type_, Fixed):
        return type_.size
    if isinstance(type_, Blob):
        legacy = 2 if type_.name == "string" else 4
        return 1 if flexible else legacy
    if isinstance(type_, ArrayOf):
        return 1 if flexible else 4
    if nullable:
        return 1
    fields = sum(
        minimum_size(field.type, flexible=flexible, nullable=field.nullable.holds(version), version=version)
        for field in type_.plain_fields(version)
    )
    return fields + (1 if flexible else 0)
