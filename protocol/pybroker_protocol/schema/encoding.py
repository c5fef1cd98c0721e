"""Generates the encoder of one structure tree at one version.

How the generated code works:

- `encode(o, out, parts) -> out` appends to the bytearray `out`. Neighbouring fields of fixed size, together
  with the length of what follows them, are one `pack` (a *run*); tag counts of zero are its pad bytes.
- Records of 4 KiB and more are not copied: `out` is closed and put into `parts`, the records behind it, and a
  new `out` begun. The caller appends the last `out` to `parts`.
- A value in a field that the version does not have is dropped; whether that changes the meaning is for the
  caller.
- A value of the wrong kind raises what Python raises for it, shown at the generated line: a bug of the
  caller.
"""

from __future__ import annotations

import struct
from typing import Any, Final

from pybroker_protocol import primitives
from pybroker_protocol.schema.classes import Message, structure_classes
from pybroker_protocol.schema.nodes import (
    EMPTY_LIST,
    ZERO_UUID,
    ArrayOf,
    Blob,
    Field,
    Fixed,
    Struct,
    Type,
)
from pybroker_protocol.schema.source import Source

RECORDS_BY_REFERENCE_BYTES: Final = 4096
_NAMES: Final[dict[str, Any]] = {"pack": struct.pack, "uvarint": primitives.uvarint}


class EncoderSource(Source):
    """Writes `encode(o, out, parts) -> out` for one version of a message."""

    def __init__(self, message_class: type[Message], version: int) -> None:
        super().__init__(_NAMES)
        schema = message_class.schema
        self._classes = structure_classes(message_class)
        self._version = version
        self._flexible = schema.is_flexible(version)
        self._plus_one = " + 1" if self._flexible else ""
        self._out = "out"
        # The open run: struct codes and the expressions they pack; an `x` has none.
        self._codes = ""
        self._expressions: list[str] = []
        with self.block("def encode(o, out, parts):"):
            self._struct(schema.root, "o")
            self._flush()
            self.line("return out")

    # Runs.

    def _put(self, code: str, expression: str | None = None) -> None:
        self._codes += code
        if expression is not None:
            self._expressions.append(expression)

    def _packed(self) -> str:
        """The bytes of the open run as an expression, and closes it."""
        codes, expressions = self._codes, self._expressions
        self._codes, self._expressions = "", []
        if not expressions:
            return repr(bytes(len(codes)))
        return f"{self.packer(codes)}({', '.join(expressions)})"

    def _flush(self) -> None:
        """Writes the open run. Must come before anything that branches, loops or writes by itself."""
        if self._codes:
            self.line(f"{self._out} += {self._packed()}")

    def _flush_with_uvarint(self, name: str) -> None:
        """Writes the open run with the varint `name` as its last part; one byte of it needs no call."""
        codes, expressions = self._codes, list(self._expressions)
        with self.block(f"if {name} < 128:"):
            if codes:
                self._put("B", name)
                self._flush()
            else:
                self.line(f"{self._out}.append({name})")
        self._codes, self._expressions = codes, expressions
        with self.block("else:"):
            self._flush()
            self.line(f"{self._out} += uvarint({name})")

    # Structures.

    def _struct(self, struct_: Struct, source: str) -> None:
        for field in struct_.plain_fields(self._version):
            self._value(field.type, f"{source}.{field.name}", nullable=field.nullable.holds(self._version))
        if self._flexible:
            self._tags(struct_.tagged_fields(self._version), source)

    def _tags(self, tagged: list[Field], owner: str) -> None:
        if not tagged:
            self._put("x")
            return
        self._flush()
        is_set = {field.name: self._is_set(field, f"{owner}.{field.name}") for field in tagged}
        count, section = self.fresh("t"), self.fresh("s")
        with self.block(f"if {' or '.join(is_set.values())}:"):
            self.line(f"{count} = 0")
            self.line(f"{section} = bytearray()")
            for field in tagged:
                with self.block(f"if {is_set[field.name]}:"):
                    self._tagged_field(field, f"{owner}.{field.name}", section)
                    self.line(f"{count} += 1")
            self.line(f"{self._out} += uvarint({count})")
            self.line(f"{self._out} += {section}")
        with self.block("else:"):
            self.line(f"{self._out} += b'\\0'")

    def _tagged_field(self, field: Field, source: str, section: str) -> None:
        outer, self._out = self._out, self.fresh("w")
        self.line(f"{self._out} = bytearray()")
        self._value(field.type, source, nullable=field.nullable.holds(self._version))
        self._flush()
        inner, self._out = self._out, outer
        self.line(f"{section} += uvarint({field.tag}) + uvarint(len({inner})) + {inner}")

    def _is_set(self, field: Field, source: str) -> str:
        """The condition under which a tagged field is sent: it differs from its default."""
        if isinstance(field.type, Struct):
            if not field.nullable.is_empty:
                return f"{source} is not None"
            made = self.constant("default", self._classes[field.type.name]())
            return f"({source} is not None and {source} != {made})"
        if field.default is None:
            return f"{source} is not None"
        if field.default is ZERO_UUID:
            return f"{source}.int"
        if field.default is EMPTY_LIST and not field.nullable.is_empty:
            return f"{source} != []"
        if field.default is EMPTY_LIST or field.default is False:
            return source
        return f"{source} != {field.default!r}"

    # Values.

    def _value(self, type_: Type, source: str, *, nullable: bool) -> None:
        if isinstance(type_, Fixed):
            self._put(type_.code, f"{source}.bytes" if type_.name == "uuid" else source)
        elif isinstance(type_, Blob):
            self._blob(type_, source, nullable=nullable)
        elif isinstance(type_, ArrayOf):
            self._array(type_, source, nullable=nullable)
        elif nullable:
            self._nullable_struct(type_, source)
        else:
            inner = self.fresh("o")
            self.line(f"{inner} = {source}")
            self._struct(type_, inner)

    def _nullable_struct(self, type_: Struct, source: str) -> None:
        self._flush()
        inner = self.fresh("o")
        self.line(f"{inner} = {source}")
        with self.block(f"if {inner} is None:"):
            self.line(f"{self._out} += b'\\xff'")
        with self.block("else:"):
            self._put("b", "1")
            self._struct(type_, inner)
            self._flush()

    def _length(self, legacy_code: str, n: str) -> None:
        """Writes a length or count held in `n`, which counts from one where the version is flexible."""
        if self._flexible:
            self._flush_with_uvarint(n)
        else:
            self._put(legacy_code, n)
            self._flush()

    def _blob(self, type_: Blob, source: str, *, nullable: bool) -> None:
        blob, n = self.fresh("b"), self.fresh("n")
        is_string, is_records = type_.name == "string", type_.name == "records"
        wire = f"{blob}.encode()" if is_string else blob
        if nullable or is_records:
            # Records are null until they are set; where null may not be sent, there are none of them.
            null_length = -1 if nullable else 0
            self.line(f"{blob} = {source}")
            with self.block(f"if {blob} is None:"):
                self.line(f"{blob} = b''")
                self.line(f"{n} = {null_length + 1 if self._flexible else null_length}")
            with self.block("else:"):
                if is_string:
                    self.line(f"{blob} = {wire}")
                self.line(f"{n} = len({blob}){self._plus_one}")
        else:
            self.line(f"{blob} = {source}{'.encode()' if is_string else ''}")
            self.line(f"{n} = len({blob}){self._plus_one}")
        self._length("h" if is_string else "i", n)
        if is_records:
            self._records(blob, n)
        else:
            self.line(f"{self._out} += {blob}")

    def _records(self, blob: str, n: str) -> None:
        with self.block(f"if {n} < {RECORDS_BY_REFERENCE_BYTES}{self._plus_one}:"):
            self.line(f"{self._out} += {blob}")
        with self.block("else:"):
            self.line(f"parts.append({self._out})")
            self.line(f"parts.append({blob})")
            self.line(f"{self._out} = bytearray()")

    def _array(self, type_: ArrayOf, source: str, *, nullable: bool) -> None:
        items, n = self.fresh("a"), self.fresh("n")
        self.line(f"{items} = {source}")
        if nullable:
            with self.block(f"if {items} is None:"):
                self.line(f"{items} = ()")
                self.line(f"{n} = {'0' if self._flexible else '-1'}")
            with self.block("else:"):
                self.line(f"{n} = len({items}){self._plus_one}")
        else:
            self.line(f"{n} = len({items}){self._plus_one}")
        self._length("i", n)
        element = type_.element
        if isinstance(element, Fixed) and element.name != "uuid":
            with self.block(f"if {items}:"):
                self.line(f"{self._out} += pack(f'>{{len({items})}}{element.code}', *{items})")
            return
        item = self.fresh("o")
        with self.block(f"for {item} in {items}:"):
            if isinstance(element, Struct):
                self._struct(element, item)
            else:
                self._value(element, item, nullable=False)
            self._flush()
