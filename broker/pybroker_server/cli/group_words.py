"""The words of `pybroker group`: partitions as people write them, and where a group is to go on.

Rules of this file: pure.

    orders          every partition of a topic
    orders:0,3-5    some of them

    start end N +N -N @TIME   as in `offsets.py`
    2026-01-02T15:04:05Z      the same as with @ before it
    1h30m                     that long before now, the same as @-1h30m
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from pybroker_server.cli.offsets import OffsetError, Position, parse_offset

_DURATION = re.compile(r"-?((\d+(ms|s|m|h|d))+)")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_SPAN = re.compile(r"(\d+)(?:-(\d+))?")
_PARTITIONS_MAX = 1_000_000
_WORDS = "start, end, OFFSET, -N from the end, +N from the start, @TIME, 2026-01-02T15:04:05Z, or 1h30m ago"


def parse_target(text: str, now_ms: int) -> Position:
    """Where to go on. Raises OffsetError."""
    words = text
    if found := _DURATION.fullmatch(text):
        words = f"@-{found[1]}"
    elif _DATE.match(text):
        words = f"@{text}"
    try:
        target = parse_offset(words, now_ms)
    except OffsetError as error:
        reason = str(error) if words.startswith("@") else f"{text!r} is no place to go to: {_WORDS}"
        raise OffsetError(reason) from None
    if target.end is not None:
        raise OffsetError(f"{text!r} is a range; a group goes on from one place: {_WORDS}")
    return target.begin


def parse_partitions(text: str) -> tuple[str, list[int] | None]:
    """A topic and some of its partitions, or None for all of them. Raises OffsetError."""
    topic, colon, spans = text.partition(":")
    if not topic or (colon and not spans):
        raise OffsetError(f"{text!r} is not TOPIC or TOPIC:0,3-5")
    if not colon:
        return topic, None
    indexes: set[int] = set()
    for span in spans.split(","):
        found = _SPAN.fullmatch(span.strip())
        if found is None:
            raise OffsetError(f"{text!r}: {span!r} is no partition and no range of them, as in TOPIC:0,3-5")
        first = int(found[1])
        last = int(found[2]) if found[2] else first
        if last < first or last >= _PARTITIONS_MAX:
            raise OffsetError(f"{text!r}: {span!r} is no range of partitions")
        indexes.update(range(first, last + 1))
    return topic, sorted(indexes)


def spans(indexes: Iterable[int]) -> str:
    """Partitions in short: 0-3,7."""
    runs: list[list[int]] = []
    for index in sorted(indexes):
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def owned(partitions: Iterable[tuple[str, int]]) -> str:
    """Partitions of several topics in short: orders:0-3,7 payments:1."""
    by_topic: dict[str, list[int]] = {}
    for topic, index in partitions:
        by_topic.setdefault(topic, []).append(index)
    return " ".join(f"{topic}:{spans(indexes)}" for topic, indexes in sorted(by_topic.items()))
