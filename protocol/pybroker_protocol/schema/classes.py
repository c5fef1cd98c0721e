"""Makes the Python classes of a message from its nodes: one class per structure, for all versions.

Rules: attributes are slots named as the fields; the constructor takes them by keyword and gives the schema
default to those left out; structures are attributes of the message's class, named as in Kafka
(`FetchRequest.FetchTopic`). A class carries no wire code: `codec.py` has that.
"""

from __future__ import annotations

import linecache
from functools import lru_cache
from typing import Any, ClassVar, Final
from uuid import UUID

from pybroker_protocol.schema.nodes import (
    EMPTY_LIST,
    FRESH_STRUCT,
    ZERO_UUID,
    Blob,
    Default,
    Field,
    Schema,
    Struct,
)

_UNSET: Final = object()
ZERO: Final = UUID(int=0)


class Message:
    """Base of every message and of the structures in it.

    Equal when of the same class with equal fields; not hashable, since messages may be changed.
    """

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]
    schema: ClassVar[Schema]
    struct: ClassVar[Struct]

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return all(getattr(self, field.name) == getattr(other, field.name) for field in self.struct.fields)

    def __repr__(self) -> str:
        fields = ", ".join(f"{field.name}={_shown(getattr(self, field.name))}" for field in self.struct.fields)
        return f"{self.__class__.__qualname__}({fields})"


def make_class(schema: Schema) -> type[Message]:
    """The class of one message, with those of its structures as attributes."""
    made: dict[str, type[Message]] = {}
    for struct in (*schema.structs.values(), schema.root):
        is_root = struct is schema.root
        made[struct.name] = _make_class(schema, struct, made, nested=not is_root)
    root = made[schema.name]
    for name in schema.structs:
        setattr(root, name, made[name])
    return root


def structure_classes(message_class: type[Message]) -> dict[str, type[Message]]:
    """What `make_class` made, found again from the message's own class."""
    schema = message_class.schema
    return {name: getattr(message_class, name) for name in schema.structs} | {schema.name: message_class}


def _make_class(schema: Schema, struct: Struct, made: dict[str, type[Message]], *, nested: bool) -> type[Message]:
    members: dict[str, Any] = {
        "__slots__": tuple(field.name for field in struct.fields),
        "__module__": "pybroker_protocol.messages",
        "__qualname__": f"{schema.name}.{struct.name}" if nested else struct.name,
        "__init__": _first_constructor(schema, struct, made),
        "struct": struct,
        "schema": schema,
    }
    return type(struct.name, (Message,), members)


def _first_constructor(schema: Schema, struct: Struct, made: dict[str, type[Message]]) -> Any:
    """Makes the real one when the first object is made, and takes its place: most classes of a start are not used."""

    def construct(self: Message, **fields: Any) -> None:
        cls = made[struct.name]
        cls.__init__ = _make_constructor(schema, struct, made)  # type: ignore[method-assign]
        cls.__init__(self, **fields)

    return construct


def _make_constructor(schema: Schema, struct: Struct, made: dict[str, type[Message]]) -> Any:
    parameters = []
    body = []
    names: dict[str, Any] = {"UNSET": _UNSET, "ZERO": ZERO, "memoryview": memoryview}
    for field in struct.fields:
        parameter, statement = _constructor_part(field)
        parameters.append(parameter)
        body.append(f"    self.{field.name} = {statement}")
        if isinstance(field.type, Struct):
            names[field.type.name] = made[field.type.name]
    star = ", *, " if parameters else ""
    source = "\n".join((f"def __init__(self{star}{', '.join(parameters)}):", *(body or ["    pass"]), ""))
    return compile_source(source, f"<{schema.name}.{struct.name} constructor>", names)["__init__"]


def _constructor_part(field: Field) -> tuple[str, str]:
    name, default = field.name, field.default
    if default is EMPTY_LIST:
        return f"{name}=UNSET", f"[] if {name} is UNSET else {name}"
    if default is FRESH_STRUCT:
        assert isinstance(field.type, Struct)
        return f"{name}=UNSET", f"{field.type.name}() if {name} is UNSET else {name}"
    if default is ZERO_UUID:
        return f"{name}=ZERO", name
    if isinstance(field.type, Blob) and field.type.name == "records":
        view = f"memoryview({name})"
        return f"{name}=None", f"{name} if {name} is None or {name}.__class__ is memoryview else {view}"
    assert not isinstance(default, Default)
    return f"{name}={default!r}", name


def compile_source(source: str, filename: str, names: dict[str, Any]) -> dict[str, Any]:
    """Runs generated source with these globals, and shows it to tracebacks and debuggers by `linecache`."""
    # mtime None: linecache.checkcache leaves such entries alone.
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    exec(compile(source, filename, "exec"), names)
    return names


@lru_cache(maxsize=8192)
def uuid_of(wire: bytes) -> UUID:
    """A UUID from its 16 bytes. Remembered: making one costs a microsecond and topic ids come again and again."""
    return UUID(bytes=wire)


def _shown(value: object) -> str:
    if isinstance(value, memoryview):
        return f"<{value.nbytes} bytes>"
    return repr(value)
