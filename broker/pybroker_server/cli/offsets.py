"""Where `consume` begins and ends: rpk's offset grammar.

Rules of this file: pure; it reads the words, `consume.py` asks the broker what they mean in numbers.

    start | end             the ends of a partition; `beginning` and `latest` mean the same
    N                       offset N
    +N                      N records after the start
    -N                      N records before the end
    N-M  or  N:M            offsets N up to M, M excluded with `:` and included with `-`
    @T                      the first record at or after a time
    @T1:T2                  from T1 up to T2, T2 excluded
    T is 13 digits of milliseconds, 10 digits of seconds, 2006-01-02, 2006-01-02T15:04:05Z, or -1h30m before now.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum


class OffsetError(ValueError):
    """Words that are not the grammar; the text is for the user."""


class Anchor(Enum):
    START = "start"
    END = "end"
    OFFSET = "offset"
    AFTER_START = "after-start"
    BEFORE_END = "before-end"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class Position:
    """One place in a partition. `value` is an offset, a count of records, or ms since the epoch."""

    anchor: Anchor
    value: int = 0


@dataclass(frozen=True, slots=True)
class OffsetRange:
    """From `begin` up to `end`, which is excluded; None: on and on."""

    begin: Position
    end: Position | None = None


_ENDS = {
    "start": Anchor.START,
    "beginning": Anchor.START,
    "earliest": Anchor.START,
    "oldest": Anchor.START,
    "end": Anchor.END,
    "latest": Anchor.END,
    "newest": Anchor.END,
}
_DURATION_PART = re.compile(r"(\d+)(ms|s|m|h|d)")
_UNIT_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_HELP = "one of start, end, N, +N, -N, N-M, N:M, @TIME, @TIME:TIME"


def parse_offset(text: str, now_ms: int) -> OffsetRange:
    """Reads an offset or a range; `now_ms` is the wall clock for times before now. Raises OffsetError."""
    if text in _ENDS:
        return OffsetRange(Position(_ENDS[text]))
    if text.startswith("@"):
        begin, end = _times(text[1:], now_ms)
        return OffsetRange(begin, end)
    if re.fullmatch(r"\d+", text):
        return OffsetRange(Position(Anchor.OFFSET, _number(text)))
    if re.fullmatch(r"\+\d+", text):
        return OffsetRange(Position(Anchor.AFTER_START, _number(text[1:])))
    if re.fullmatch(r"-\d+", text):
        return OffsetRange(Position(Anchor.BEFORE_END, _number(text[1:])))
    if found := re.fullmatch(r"(\d+)([-:])(\d+)", text):
        first, last = _number(found[1]), _number(found[3]) + (1 if found[2] == "-" else 0)
        if last < first:
            raise OffsetError(f"{text!r} ends before it begins")
        return OffsetRange(Position(Anchor.OFFSET, first), Position(Anchor.OFFSET, last))
    if found := re.fullmatch(r":(\d+|end)", text):
        end = Position(Anchor.END) if found[1] == "end" else Position(Anchor.OFFSET, _number(found[1]))
        return OffsetRange(Position(Anchor.START), end)
    raise OffsetError(f"{text!r} is no offset: {_HELP}")


def _times(text: str, now_ms: int) -> tuple[Position, Position | None]:
    begin_text, end_text = _split_range(text)
    begin = Position(Anchor.TIME, parse_time(begin_text, now_ms))
    if end_text is None:
        return begin, None
    if end_text == "end":
        return begin, Position(Anchor.END)
    end = Position(Anchor.TIME, parse_time(end_text, now_ms))
    if end.value < begin.value:
        raise OffsetError(f"'@{text}' ends before it begins")
    return begin, end


def _split_range(text: str) -> tuple[str, str | None]:
    """Colons part a range, and also hours from minutes: the split is the one that leaves two times."""
    for index in (found.start() for found in re.finditer(":", text)):
        left, right = text[:index], text[index + 1 :]
        if _is_time(left) and (right == "end" or _is_time(right)):
            return left, right
    return text, None


def _is_time(text: str) -> bool:
    try:
        parse_time(text, 0)
    except OffsetError:
        return False
    return True


def parse_time(text: str, now_ms: int) -> int:
    """Milliseconds since the epoch. Raises OffsetError."""
    if re.fullmatch(r"\d{13}", text):
        return int(text)
    if re.fullmatch(r"\d{9,10}", text):
        return int(text) * 1_000
    if text.startswith("-") and _DURATION_PART.match(text, 1):
        return now_ms - parse_duration_ms(text[1:])
    if re.match(r"\d{4}-\d\d-\d\d", text):
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise OffsetError(f"{text!r} is no date or time") from None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return int(moment.timestamp() * 1_000)
    raise OffsetError(f"{text!r} is no time: write milliseconds, 2006-01-02T15:04:05Z, or -1h30m")


def parse_duration_ms(text: str) -> int:
    """Milliseconds of 90s, 5m, 1h30m or 2d. Raises OffsetError."""
    parts = _DURATION_PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise OffsetError(f"{text!r} is no duration: write 90s, 5m, 1h30m or 2d")
    return sum(int(number) * _UNIT_MS[unit] for number, unit in parts)


def _number(text: str) -> int:
    value = int(text)
    if value >= 1 << 63:
        raise OffsetError(f"{text} is larger than any offset")
    return value
