"""What a consumer is given: its options, where it starts, what it commits; checked and made into settings. Pure.

Rules: wrong input is the caller's mistake and raises ValueError or TypeError that says what would be right, at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pybroker.fetcher import FetchSettings
from pybroker.group.handover import COMMITTED_ONLY, StartInGroup
from pybroker.group.settings import CommitMode, GroupOptions, GroupSettings, Position
from pybroker.metadata import TopicPartition
from pybroker.partition_reader import Start, timestamp_of
from pybroker.record import Record

__all__ = [
    "ConsumerOptions",
    "checked_start",
    "fetch_settings",
    "group_settings",
    "is_committed",
    "positions_of",
]


class ConsumerOptions(GroupOptions, total=False):
    """Keyword arguments of `Consumer` that tune it, besides those of its group. Durations are seconds, sizes bytes."""

    isolation: Literal["read_uncommitted", "read_committed"]
    max_wait: float
    min_bytes: int
    max_bytes: int
    partition_bytes: int
    buffer_bytes: int
    check_crcs: bool
    rack: str


def checked_start(start: Start | Literal["committed"] | None, group: str | None) -> StartInGroup:
    if start is None:
        return "latest" if group is None else "earliest"
    if start == COMMITTED_ONLY:
        if group is None:
            raise ValueError("start='committed' needs a group")
        return start
    timestamp_of(start)
    return start


def group_settings(group: str | None, commit: CommitMode, given: dict[str, Any]) -> GroupSettings | None:
    """Takes the options of the group out of `given`."""
    options = {name: given.pop(name) for name in list(given) if name in GroupOptions.__annotations__}
    if group is not None:
        return GroupSettings(group, commit, rack=given.get("rack", ""), **options)
    if options or commit != "after":
        raise TypeError(f"{', '.join(sorted(options)) or 'commit'}: for consumers with a group")
    return None


def positions_of(what: Record | Mapping[tuple[str, int], int | Position]) -> dict[TopicPartition, Position]:
    if isinstance(what, Record):
        return {what.topic_partition: Position(what.offset + 1, what.leader_epoch)}
    return {
        TopicPartition(*tp): position if isinstance(position, Position) else Position(position)
        for tp, position in what.items()
    }


def is_committed(isolation: str) -> bool:
    if isolation not in ("read_uncommitted", "read_committed"):
        raise ValueError(f"isolation={isolation!r}: it can be 'read_uncommitted' or 'read_committed'")
    return isolation == "read_committed"


def fetch_settings(given: dict[str, Any], *, read_committed: bool) -> FetchSettings:
    names = {"buffer_bytes": "partition_buffer_bytes"}
    known = {"max_wait", "min_bytes", "max_bytes", "partition_bytes", "buffer_bytes", "rack"}
    unknown = set(given) - known
    if unknown:
        raise TypeError(f"Consumer has no option {', '.join(sorted(unknown))}")
    return FetchSettings(read_committed=read_committed, **{names.get(name, name): each for name, each in given.items()})
