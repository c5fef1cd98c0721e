"""What the words of the offset grammar mean in the partitions of a topic, as numbers.

Rules of this file: the grammar is `offsets.py`'s; this asks the cluster. Offsets outside of a partition are moved to
its ends, so that a range always is one.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pybroker_server.cli.offsets import Anchor, Position, parse_offset
from pybroker_server.runtime.clock import SystemClock

if TYPE_CHECKING:
    from pybroker import Admin


async def offsets_of(admin: Admin, topic: str, text: str, partitions: Iterable[int]) -> dict[int, int]:
    """Where `text` begins in each partition. Raises OffsetError (a ValueError)."""
    wanted = list(partitions)
    return await resolve(admin, topic, parse_offset(text, SystemClock().wall_ms()).begin, wanted)


async def resolve(admin: Admin, topic: str, position: Position, partitions: list[int]) -> dict[int, int]:
    begins = await admin.offsets(topic, "earliest", partitions)
    ends = await admin.offsets(topic, "latest", partitions)
    if position.anchor is Anchor.TIME:
        found = await admin.offsets(topic, datetime.fromtimestamp(position.value / 1000, UTC), partitions)
    else:
        found = {index: _offset(position, begins[index], ends[index]) for index in partitions}
    return {index: min(max(offset, begins[index]), ends[index]) for index, offset in found.items()}


def _offset(position: Position, begin: int, end: int) -> int:
    match position.anchor:
        case Anchor.START:
            return begin
        case Anchor.END:
            return end
        case Anchor.AFTER_START:
            return begin + position.value
        case Anchor.BEFORE_END:
            return end - position.value
        case _:
            return position.value
