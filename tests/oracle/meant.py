"""Where pybroker means to answer otherwise than Kafka, and why.

Short on purpose. An entry says exactly what is answered instead; what it says is as binding as what Kafka answered.
An entry that no exchange needs any more fails a test.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from tests.oracle.compare import Difference


@dataclass(frozen=True, eq=False)
class Meant:
    """`exchange` and `path` are globs; `*` in a path goes over dots. `ours` is what we answer in that place."""

    exchange: str
    path: str
    ours: Any
    reason: str

    def covers(self, exchange: str, difference: Difference) -> bool:
        return (
            fnmatchcase(exchange, self.exchange)
            and fnmatchcase(difference.path, self.path)
            and (self.ours is ANYTHING or difference.ours == self.ours)
        )


class _Anything:
    def __repr__(self) -> str:
        return "anything"


ANYTHING: Final = _Anything()
"""For what follows from another difference in the same exchange, such as later offsets."""

MEANT: Final[tuple[Meant, ...]] = ()


def unmeant(exchange: str, found: Iterable[Difference], used: set[Meant] | None = None) -> list[Difference]:
    """The differences that nobody meant. Entries that covered one are added to `used`."""
    left = []
    for difference in found:
        covering = [entry for entry in MEANT if entry.covers(exchange, difference)]
        if used is not None:
            used.update(covering)
        if not covering:
            left.append(difference)
    return left
