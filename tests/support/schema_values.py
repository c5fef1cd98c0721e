"""Values for every field of every message, made from the schemas: fixed ones and Hypothesis strategies.

A sample is the same for ever: golden digests depend on it. `SAMPLES` names the kinds of samples.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from uuid import UUID

from hypothesis import strategies as st

from pybroker_protocol import messages
from pybroker_protocol.schema.classes import Message
from pybroker_protocol.schema.nodes import ArrayOf, Blob, Field, Fixed, Struct, Type

SAMPLES = ("defaults", "filled", "long", "nulls")
"""All defaults; every field set, two elements in arrays; lengths past one varint byte; null wherever it may be."""

LONG = 200
_ELEMENTS = {"filled": 2, "long": 3, "nulls": 1}


def message_versions() -> Iterator[tuple[str, int]]:
    """Every (message name, version) that is declared."""
    for name in messages.message_names():
        versions = getattr(messages, name).schema.versions
        for version in range(versions.low, versions.high + 1):
            yield name, version


def sample(message_class: type[Message], version: int, kind: str) -> Message:
    """A message with only fields of this version set. Different fields get different values."""
    if kind == "defaults":
        return message_class()
    return _Sampler(message_class, version, kind).struct(message_class.struct)


class _Sampler:
    def __init__(self, message_class: type[Message], version: int, kind: str) -> None:
        self._classes = structure_classes(message_class)
        self._version = version
        self._kind = kind
        self._count = 0

    def struct(self, struct_: Struct) -> Message:
        present = (field for field in struct_.fields if field.versions.holds(self._version))
        return self._classes[struct_.name](**{field.name: self._field(field) for field in present})

    def _field(self, field: Field) -> object:
        if self._kind == "nulls" and field.nullable.holds(self._version):
            return None
        return self._value(field.type)

    def _value(self, type_: Type) -> object:
        self._count += 1
        if isinstance(type_, ArrayOf):
            is_number = isinstance(type_.element, Fixed) and type_.element.name != "uuid"
            count = LONG if is_number and self._kind == "long" else _ELEMENTS[self._kind]
            return [self._value(type_.element) for _ in range(count)]
        if isinstance(type_, Struct):
            return self.struct(type_)
        if isinstance(type_, Blob):
            return self._blob(type_)
        return _fixed(type_, self._count)

    def _blob(self, type_: Blob) -> str | bytes:
        length = LONG if self._kind == "long" else 0
        if type_.name == "string":
            return f"ü{self._count}".ljust(length, "x")
        return f"bytes {self._count}".encode().ljust(length, b"\0")


def _fixed(type_: Fixed, number: int) -> object:
    if type_.name == "bool":
        return True
    if type_.name == "uuid":
        return UUID(int=(number << 64) + 1)
    if type_.name == "float64":
        return number + 0.5
    return number % 100 + 1


def structure_classes(message_class: type[Message]) -> dict[str, type[Message]]:
    """The class of each structure in a message by name."""
    schema = message_class.schema
    return {name: getattr(message_class, name) for name in schema.structs} | {schema.name: message_class}


def message_strategy(message_class: type[Message], version: int) -> st.SearchStrategy[Message]:
    """Any message that this version can carry."""
    return _struct_strategy(message_class.struct, version, structure_classes(message_class))


def _struct_strategy(struct_: Struct, version: int, classes: dict[str, type[Message]]) -> st.SearchStrategy[Message]:
    fields = {}
    for field in struct_.fields:
        if field.versions.holds(version):
            strategy = _type_strategy(field.type, version, classes)
            fields[field.name] = st.none() | strategy if field.nullable.holds(version) else strategy
    return st.builds(classes[struct_.name], **fields)


def _type_strategy(type_: Type, version: int, classes: dict[str, type[Message]]) -> st.SearchStrategy[object]:
    if isinstance(type_, ArrayOf):
        element = _type_strategy(type_.element, version, classes)
        if isinstance(type_.element, Fixed):
            return st.lists(element, max_size=3) | element.map(lambda value: [value] * LONG)
        return st.lists(element, max_size=2)
    if isinstance(type_, Struct):
        return _struct_strategy(type_, version, classes)
    if isinstance(type_, Blob):
        return _blob_strategy(type_)
    return _fixed_strategy(type_)


def _blob_strategy(type_: Blob) -> st.SearchStrategy[object]:
    if type_.name == "string":
        return st.text(max_size=10) | st.just("x" * LONG) | st.just("é" * 16_383)
    return st.binary(max_size=10) | st.sampled_from([b"y" * LONG, b"z" * 5000])


def _fixed_strategy(type_: Fixed) -> st.SearchStrategy[object]:
    if type_.name == "bool":
        return st.booleans()
    if type_.name == "uuid":
        return st.uuids()
    if type_.name == "float64":
        return st.floats(allow_nan=False)
    bits = struct.calcsize(type_.code) * 8
    if type_.code.isupper():
        return st.integers(0, 2**bits - 1)
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
