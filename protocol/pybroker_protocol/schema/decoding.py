"""Generates the decoder of one structure tree at one version.

How the generated code works, and what keeps it both fast and safe:

- Neighbouring fields of fixed size, together with the length of the string or array that follows them, are
  one `unpack_from` (a *run*). Of a varint only the first byte is in the run; longer ones continue in a call.
- A slice past the end is short, not an error, so blobs are not checked one by one: the position then lies
  past the end, where any further read fails, and the end of the function refuses it. What comes out on the
  way (struct.error, IndexError, UnicodeDecodeError) is turned into ProtocolError in one place.
- Counts are checked before anything is made: against the bytes left by the least size of an element, and
  against the element budget (`left`). Numbers count for an eighth of an element, which is about what they
  cost.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from pybroker_protocol import primitives
from pybroker_protocol.errors import ProtocolError
from pybroker_protocol.primitives import REQUEST_ELEMENTS_MAX
from pybroker_protocol.schema.classes import ZERO, Message, structure_classes, uuid_of
from pybroker_protocol.schema.nodes import (
    EMPTY_LIST,
    FRESH_STRUCT,
    ZERO_UUID,
    ArrayOf,
    Blob,
    Default,
    Field,
    Fixed,
    Schema,
    Struct,
    Type,
    minimum_size,
)
from pybroker_protocol.schema.source import Source, size_of

_NAMES: Final[dict[str, Any]] = {
    "ProtocolError": ProtocolError,
    "DECODE_ERRORS": (struct.error, IndexError, UnicodeDecodeError),
    "ZERO": ZERO,
    "new": object.__new__,
    "uuid_of": uuid_of,
    "unpack_from": struct.unpack_from,
    **{
        name: getattr(primitives, name)
        for name in (
            "check_tag_count",
            "continue_uvarint",
            "count_refused",
            "elements_allowed",
            "length_refused",
            "long_string",
            "next_tag",
            "null_refused",
            "skip_tags",
            "tag_size_refused",
        )
    },
}
_NUMBERS_PER_ELEMENT_BITS: Final = 3


class DecoderSource(Source):
    """Writes `decode(view, p, left) -> (message, position)` for one version of a message."""

    def __init__(self, message_class: type[Message], version: int) -> None:
        super().__init__(_NAMES)
        schema = message_class.schema
        self._classes = structure_classes(message_class)
        self._version = version
        self._flexible = schema.is_flexible(version)
        # The open run: struct codes, their targets, and statements that follow the read.
        self._codes = ""
        self._targets: list[str] = []
        self._after: list[str] = []
        self._write_function(schema)

    def _write_function(self, schema: Schema) -> None:
        what = f"{schema.name} version {self._version}"
        with self.block("def decode(view, p=0, left=0):"):
            self.line("end = len(view)")
            with self.block("if not left:"):
                is_request = schema.name.endswith("Request")
                self.line(f"left = {REQUEST_ELEMENTS_MAX}" if is_request else "left = elements_allowed(end)")
            with self.block("try:"):
                self._struct(schema.root, "o")
                self._flush()
            with self.block("except DECODE_ERRORS as error:"):
                self.line(f"raise ProtocolError(f'{what}: {{error}}') from None")
            with self.block("if p > end:"):
                self.line(f"raise ProtocolError(f'{what} is cut short by {{p - end}} bytes')")
            self.line("return o, p")

    # Runs.

    def _take(self, code: str, target: str) -> None:
        self._codes += code
        self._targets.append(target)

    def _flush(self) -> None:
        """Reads the open run. Must come before anything that branches, loops or reads by itself."""
        if not self._codes:
            return
        if self._codes == "B":
            self.line(f"{self._targets[0]} = view[p]")
        else:
            targets = ", ".join(self._targets) + ("," if len(self._targets) == 1 else "")
            self.line(f"{targets} = {self.reader(self._codes)}(view, p)")
        self.line(f"p += {size_of(self._codes)}")
        for statement in self._after:
            self.line(statement)
        self._codes, self._targets, self._after = "", [], []

    # Structures.

    def _struct(self, struct_: Struct, target: str) -> None:
        self.line(f"{target} = new({self._class(struct_)})")
        tagged = struct_.tagged_fields(self._version)
        for field in (*struct_.absent_fields(self._version), *tagged):
            self.line(f"{target}.{field.name} = {self._default(field)}")
        for field in struct_.plain_fields(self._version):
            self._value(field.type, f"{target}.{field.name}", field, nullable=field.nullable.holds(self._version))
        if self._flexible:
            self._tags(tagged, target)

    def _class(self, struct_: Struct) -> str:
        name = f"class_{struct_.name}"
        self.names[name] = self._classes[struct_.name]
        return name

    def _default(self, field: Field) -> str:
        if field.default is EMPTY_LIST:
            return "[]"
        if field.default is ZERO_UUID:
            return "ZERO"
        if field.default is FRESH_STRUCT:
            assert isinstance(field.type, Struct)
            return f"{self._class(field.type)}()"
        assert not isinstance(field.default, Default)
        return repr(field.default)

    def _tags(self, tagged: list[Field], owner: str) -> None:
        count = self.fresh("t")
        self._take("B", count)
        self._flush()
        with self.block(f"if {count}:"):
            if not tagged:
                self.line(f"p = skip_tags(view, p, {count})")
                return
            tag, last, stop = self.fresh("tag"), self.fresh("last"), self.fresh("stop")
            self.line(f"check_tag_count({count})")
            self.line(f"{last} = -1")
            with self.block(f"for _ in range({count}):"):
                self.line(f"{tag}, p, {stop} = next_tag(view, p, {last})")
                self.line(f"{last} = {tag}")
                for number, field in enumerate(tagged):
                    with self.block(f"{'if' if number == 0 else 'elif'} {tag} == {field.tag}:"):
                        nullable = field.nullable.holds(self._version)
                        self._value(field.type, f"{owner}.{field.name}", field, nullable=nullable)
                        self._flush()
                        with self.block(f"if p != {stop}:"):
                            self.line(f"raise tag_size_refused({field.name!r})")
                self.line(f"p = {stop}")

    # Values.

    def _value(self, type_: Type, target: str, field: Field, *, nullable: bool) -> None:
        if isinstance(type_, Fixed):
            self._fixed(type_, target)
        elif isinstance(type_, Blob):
            self._blob(type_, target, field, nullable=nullable)
        elif isinstance(type_, ArrayOf):
            self._array(type_, target, field, nullable=nullable)
        elif nullable:
            self._nullable_struct(type_, target)
        else:
            inner = self.fresh("o")
            self._struct(type_, inner)
            self.line(f"{target} = {inner}")

    def _fixed(self, type_: Fixed, target: str) -> None:
        if type_.name == "uuid":
            wire = self.fresh("u")
            self._take(type_.code, wire)
            self._after.append(f"{target} = uuid_of({wire})")
        else:
            self._take(type_.code, target)

    def _nullable_struct(self, type_: Struct, target: str) -> None:
        mark, inner = self.fresh("m"), self.fresh("o")
        self._take("b", mark)
        self._flush()
        with self.block(f"if {mark} < 0:"):
            self.line(f"{target} = None")
        with self.block("else:"):
            self._struct(type_, inner)
            self._flush()
            self.line(f"{target} = {inner}")

    @contextmanager
    def _length(self, legacy_code: str, target: str, field: Field, longer: str, *, nullable: bool) -> Iterator[str]:
        """Reads a length or count and deals with null; what is emitted inside is for a value that is there.

        Yields the expression of the length. `longer` continues a compact length of more than one byte.
        """
        n = self.fresh("n")
        self._take("B" if self._flexible else legacy_code, n)
        self._flush()
        if self._flexible:
            with self.block(f"if {n} > 127:"):
                self.line(f"{n}, p = {longer}(view, p, {n})")
        is_null, length = (f"not {n}", f"{n} - 1") if self._flexible else (f"{n} < 0", n)
        if not nullable:
            with self.block(f"if {is_null}:"):
                self.line(f"raise null_refused({field.name!r})")
            yield length
            return
        with self.block(f"if {is_null}:"):
            if not self._flexible:
                with self.block(f"if {n} != -1:"):
                    self.line(f"raise length_refused({field.name!r}, {n})")
            self.line(f"{target} = None")
        with self.block("else:"):
            yield length

    def _blob(self, type_: Blob, target: str, field: Field, *, nullable: bool) -> None:
        is_string = type_.name == "string"
        longer = "long_string" if is_string else "continue_uvarint"
        stop = self.fresh("e")
        value = {
            # Twice as fast as str(view, "utf-8") and bytes(view), which ask for the buffer protocol again.
            "string": f"view[p:{stop}].tobytes().decode()",
            "bytes": f"view[p:{stop}].tobytes()",
            "records": f"view[p:{stop}]",
        }[type_.name]
        with self._length("h" if is_string else "i", target, field, longer, nullable=nullable) as length:
            self.line(f"{stop} = p + {length}")
            self.line(f"{target} = {value}")
            self.line(f"p = {stop}")

    def _array(self, type_: ArrayOf, target: str, field: Field, *, nullable: bool) -> None:
        with self._length("i", target, field, "continue_uvarint", nullable=nullable) as length:
            n = self.fresh("c")
            self.line(f"{n} = {length}")
            if isinstance(type_.element, Fixed) and type_.element.name != "uuid":
                self._numbers(type_.element, target, field, n)
            else:
                self._elements(type_.element, target, field, n)

    def _numbers(self, element: Fixed, target: str, field: Field, n: str) -> None:
        self._charge(field, n, f"({n} >> {_NUMBERS_PER_ELEMENT_BITS})", element.size)
        self.line(f"{target} = list(unpack_from(f'>{{{n}}}{element.code}', view, p))")
        self.line(f"p += {n} * {element.size}" if element.size > 1 else f"p += {n}")

    def _elements(self, element: Fixed | Blob | Struct, target: str, field: Field, n: str) -> None:
        size = minimum_size(element, flexible=self._flexible, nullable=False, version=self._version)
        self._charge(field, n, n, max(size, 1))
        items, item = self.fresh("a"), self.fresh("o")
        self.line(f"{target} = {items} = []")
        with self.block(f"for _ in range({n}):"):
            if isinstance(element, Struct):
                self._struct(element, item)
            else:
                self._value(element, item, field, nullable=False)
            self._flush()
            self.line(f"{items}.append({item})")

    def _charge(self, field: Field, n: str, cost: str, least_size: int) -> None:
        self.line(f"left -= {cost}")
        with self.block(f"if left < 0 or {n} * {least_size} > end - p:"):
            self.line(f"raise count_refused({field.name!r}, {n}, {least_size}, end - p)")
