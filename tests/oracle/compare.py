"""Two lists of answers, field by field."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final


class _Absent:
    def __repr__(self) -> str:
        return "absent"


ABSENT: Final = _Absent()
"""A field, list element or key that one of the two does not have."""


@dataclass(frozen=True)
class Difference:
    """`path` is dotted, from the number of the recorded step on: "2.answer.topics.0.error_code"."""

    path: str
    theirs: Any
    ours: Any

    def __str__(self) -> str:
        return f"{self.path}: Kafka {self.theirs!r}, here {self.ours!r}"


def differences(theirs: Any, ours: Any) -> list[Difference]:
    return list(_compare("", theirs, ours))


def _compare(path: str, theirs: Any, ours: Any) -> Iterator[Difference]:
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in {**theirs, **ours}:
            yield from _compare(_join(path, key), theirs.get(key, ABSENT), ours.get(key, ABSENT))
    elif isinstance(theirs, list) and isinstance(ours, list):
        for index in range(max(len(theirs), len(ours))):
            their_element = theirs[index] if index < len(theirs) else ABSENT
            our_element = ours[index] if index < len(ours) else ABSENT
            yield from _compare(_join(path, str(index)), their_element, our_element)
    elif theirs is not ours and (theirs != ours or type(theirs) is not type(ours)):
        yield Difference(path, theirs, ours)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
