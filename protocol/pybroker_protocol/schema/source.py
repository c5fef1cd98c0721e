"""Text of generated functions: lines with indentation, names that do not clash, struct packers as globals."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Source:
    """Source text under construction and the global names that it will run with."""

    def __init__(self, names: dict[str, Any]) -> None:
        self.names = dict(names)
        self._lines: list[str] = []
        self._depth = 0
        self._counts: dict[str, int] = {}

    def line(self, text: str) -> None:
        self._lines.append("    " * self._depth + text)

    @contextmanager
    def block(self, opening: str) -> Iterator[None]:
        """Everything emitted inside is indented below `opening`; nothing becomes `pass`."""
        self.line(opening)
        before = len(self._lines)
        self._depth += 1
        yield
        if len(self._lines) == before:
            self.line("pass")
        self._depth -= 1

    def fresh(self, stem: str) -> str:
        """A local name that no other part of the function uses."""
        number = self._counts.get(stem, 0)
        self._counts[stem] = number + 1
        return f"{stem}{number}"

    def reader(self, codes: str) -> str:
        """The global name of `Struct(">codes").unpack_from`."""
        name = _name("read", codes)
        self.names.setdefault(name, struct.Struct(f">{codes}").unpack_from)
        return name

    def packer(self, codes: str) -> str:
        """The global name of `Struct(">codes").pack`."""
        name = _name("pack", codes)
        self.names.setdefault(name, struct.Struct(f">{codes}").pack)
        return name

    def constant(self, stem: str, value: Any) -> str:
        """A global name for a value."""
        name = self.fresh(stem)
        self.names[name] = value
        return name

    def text(self) -> str:
        return "\n".join(self._lines) + "\n"


def _name(verb: str, codes: str) -> str:
    return f"{verb}_{codes.replace('?', 'o')}"


def size_of(codes: str) -> int:
    return struct.calcsize(f">{codes}")
