"""Partitions as people write them, and where a group is to go on."""

from __future__ import annotations

import pytest

from pybroker_server.cli.group_words import owned, parse_partitions, parse_target, spans
from pybroker_server.cli.offsets import Anchor, OffsetError, Position

NOW_MS = 1_767_323_045_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("start", Position(Anchor.START)),
        ("latest", Position(Anchor.END)),
        ("47", Position(Anchor.OFFSET, 47)),
        ("1700000000", Position(Anchor.OFFSET, 1_700_000_000)),
        ("-10", Position(Anchor.BEFORE_END, 10)),
        ("+10", Position(Anchor.AFTER_START, 10)),
        ("@1700000000", Position(Anchor.TIME, 1_700_000_000_000)),
        ("2026-01-02", Position(Anchor.TIME, 1_767_312_000_000)),
        ("2026-01-02T03:04:05Z", Position(Anchor.TIME, NOW_MS)),
        ("2h", Position(Anchor.TIME, NOW_MS - 7_200_000)),
        ("-1h30m", Position(Anchor.TIME, NOW_MS - 5_400_000)),
        ("@-90s", Position(Anchor.TIME, NOW_MS - 90_000)),
    ],
)
def test_places_to_go_to(text: str, expected: Position) -> None:
    assert parse_target(text, NOW_MS) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "1-5", ":end", "@2026-01-01:2026-01-02", "2026-13-01", "1h x"])
def test_words_that_are_no_place(text: str) -> None:
    with pytest.raises(OffsetError):
        parse_target(text, NOW_MS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("t", ("t", None)), ("t:0", ("t", [0])), ("t:0,3-5", ("t", [0, 3, 4, 5])), ("t:2,1,2", ("t", [1, 2]))],
)
def test_partitions_are_named(text: str, expected: tuple[str, list[int] | None]) -> None:
    assert parse_partitions(text) == expected


@pytest.mark.parametrize("text", ["", ":1", "t:", "t:x", "t:1-", "t:5-1", "t:-1", "t:0-99999999999"])
def test_words_that_are_no_partitions(text: str) -> None:
    with pytest.raises(OffsetError):
        parse_partitions(text)


def test_partitions_in_short() -> None:
    assert spans([7, 0, 1, 2, 9, 8]) == "0-2,7-9"
    assert spans([]) == ""
    assert owned([("b", 1), ("a", 0), ("a", 1)]) == "a:0-1 b:1"
