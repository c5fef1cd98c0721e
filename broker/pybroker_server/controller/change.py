"""A planned change of metadata: what must hold, what is written, what is deleted.

Rules of this file: values only. A change is made against one image and is committed as a whole or not at all;
after a failed comparison it is planned anew on a newer image. Where a store limits the size of a commit,
`staged` is written before (nobody acts on a partition that no topic counts) and `cleanup` is deleted
afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pybroker_server.metadata.store import Compare, Put


@dataclass(slots=True)
class Change:
    compares: list[Compare] = field(default_factory=list)
    staged: list[Put] = field(default_factory=list)
    puts: list[Put] = field(default_factory=list)
    deletes: list[bytes] = field(default_factory=list)
    cleanup: list[bytes] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        return not (self.staged or self.puts or self.deletes or self.cleanup)

    @property
    def operations(self) -> int:
        """The larger of the two numbers that stores limit: comparisons, and writes."""
        return max(len(self.compares), len(self.staged) + len(self.puts) + len(self.deletes) + len(self.cleanup))


def joined(changes: Iterable[Change]) -> Change:
    """All of them in one. They must not write the same key."""
    whole = Change()
    for change in changes:
        whole.compares += [compare for compare in change.compares if compare not in whole.compares]
        whole.staged += change.staged
        whole.puts += change.puts
        whole.deletes += change.deletes
        whole.cleanup += change.cleanup
    return whole
