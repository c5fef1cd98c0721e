"""Writes `messages.pyi`, which tells type checkers what the generated classes look like.

`python -m pybroker_protocol.schema.stubs` writes it, with `--check` it only compares and fails when it is
stale. A tool: nothing imports this at run time.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pybroker_protocol import messages
from pybroker_protocol.schema.classes import Message
from pybroker_protocol.schema.nodes import ArrayOf, Blob, Field, Fixed, Schema, Struct, Type

STUB_PATH: Final = Path(messages.__file__).with_suffix(".pyi")

_HEAD: Final = '''\
"""Generated from the declarations by `python -m pybroker_protocol.schema.stubs`; do not edit."""

from typing import ClassVar
from uuid import UUID

from pybroker_protocol.schema.classes import Message as Message
from pybroker_protocol.schema.nodes import Schema

Buffer = bytes | bytearray | memoryview

def message_names() -> list[str]: ...
'''

_PYTHON_TYPES: Final = {
    "bool": "bool",
    "int8": "int",
    "int16": "int",
    "uint16": "int",
    "int32": "int",
    "int64": "int",
    "float64": "float",
    "uuid": "UUID",
    "string": "str",
    "bytes": "bytes",
    "records": "memoryview",
}


def stub_text() -> str:
    """The whole of messages.pyi."""
    lines = [_HEAD]
    for name in messages.message_names():
        message_class: type[Message] = getattr(messages, name)
        lines.extend(_message(message_class.schema))
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _message(schema: Schema) -> Iterator[str]:
    yield f"class {schema.name}(Message):"
    yield "    schema: ClassVar[Schema]"
    for struct in schema.structs.values():
        yield ""
        yield f"    class {struct.name}(Message):"
        yield from _members(schema, struct, "        ")
    if schema.structs:
        yield ""
    yield from _members(schema, schema.root, "    ")


def _members(schema: Schema, struct: Struct, indent: str) -> Iterator[str]:
    if not struct.fields:
        yield f"{indent}def __init__(self) -> None: ..."
        return
    for field in struct.fields:
        yield f"{indent}{field.name}: {_annotation(schema, field)}"
    yield f"{indent}def __init__("
    yield f"{indent}    self,"
    yield f"{indent}    *,"
    for field in struct.fields:
        yield f"{indent}    {field.name}: {_annotation(schema, field, argument=True)} = ...,"
    yield f"{indent}) -> None: ..."


def _annotation(schema: Schema, field: Field, *, argument: bool = False) -> str:
    """`argument`: of the constructor, which turns any buffer given as records into a memoryview."""
    name = _type_name(schema, field.type)
    if argument and isinstance(field.type, Blob) and field.type.name == "records":
        name = "Buffer"
    return f"{name} | None" if field.may_be_none else name


def _type_name(schema: Schema, type_: Type) -> str:
    if isinstance(type_, ArrayOf):
        return f"list[{_type_name(schema, type_.element)}]"
    if isinstance(type_, Fixed | Blob):
        return _PYTHON_TYPES[type_.name]
    return f"{schema.name}.{type_.name}"


def main(arguments: list[str]) -> int:
    text = stub_text()
    if arguments == ["--check"]:
        if STUB_PATH.exists() and STUB_PATH.read_text() == text:
            return 0
        print(f"{STUB_PATH.name} is stale: run python -m pybroker_protocol.schema.stubs", file=sys.stderr)
        return 1
    STUB_PATH.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
