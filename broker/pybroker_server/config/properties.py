"""The syntax of server.properties: Java's properties format, read strictly.

Rules of this file: text in, entries out; no key is known here. Comments begin with `#` or `!`; key and value are
parted by `=`, `:` or blanks; a backslash at the end of a line joins it with the next; escapes are `\\t \\n \\r \\f`,
`\\uXXXX` and a backslash before any other character.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

FILE_CHARACTERS_MAX: Final = 1 << 20

_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|u|.)", re.DOTALL)
_CONTROL = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


class PropertiesError(ValueError):
    """A file that does not follow the syntax; the text names the line."""


@dataclass(frozen=True, slots=True)
class Property:
    key: str
    value: str
    line: int
    """Line number of the entry's first line, from 1."""


def parse_properties(text: str) -> list[Property]:
    """The entries in file order, repeated keys included. Raises PropertiesError."""
    if len(text) > FILE_CHARACTERS_MAX:
        raise PropertiesError(f"the file is longer than {FILE_CHARACTERS_MAX} characters: not a properties file")
    return [_entry(line, number) for number, line in _logical_lines(text)]


def _logical_lines(text: str) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    gathered: list[str] = []
    first = 0
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.lstrip(" \t\f")
        if not gathered:
            if not line or line[0] in "#!":
                continue
            first = number
        trailing = len(line) - len(line.rstrip("\\"))
        if trailing % 2:
            gathered.append(line[:-1])
            continue
        gathered.append(line)
        found.append((first, "".join(gathered)))
        gathered = []
    if gathered:
        found.append((first, "".join(gathered)))
    return found


def _entry(line: str, number: int) -> Property:
    end = 0
    while end < len(line) and line[end] not in "=: \t\f":
        end += 2 if line[end] == "\\" else 1
    key = _unescape(line[:end], number)
    rest = line[end:].lstrip(" \t\f")
    if rest[:1] in ("=", ":"):
        rest = rest[1:].lstrip(" \t\f")
    if not key:
        raise PropertiesError(f"line {number} has a value but no key")
    return Property(key, _unescape(rest, number).strip(), number)


def _unescape(text: str, number: int) -> str:
    def replace(found: re.Match[str]) -> str:
        escape = found[1]
        if escape[0] != "u":
            return _CONTROL.get(escape, escape)
        if len(escape) == 1:
            raise PropertiesError(f"line {number}: \\u needs four hexadecimal digits")
        return chr(int(escape[1:], 16))

    return _ESCAPE.sub(replace, text)
