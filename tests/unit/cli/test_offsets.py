"""The offset grammar of `consume -o`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybroker_server.cli.offsets import Anchor, OffsetError, OffsetRange, Position, parse_offset

NOW = 1_700_000_000_000


def at(value: int) -> Position:
    return Position(Anchor.OFFSET, value)


def time(value: int) -> Position:
    return Position(Anchor.TIME, value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("start", OffsetRange(Position(Anchor.START))),
        ("beginning", OffsetRange(Position(Anchor.START))),
        ("end", OffsetRange(Position(Anchor.END))),
        ("latest", OffsetRange(Position(Anchor.END))),
        ("47", OffsetRange(at(47))),
        ("+2", OffsetRange(Position(Anchor.AFTER_START, 2))),
        ("-3", OffsetRange(Position(Anchor.BEFORE_END, 3))),
        ("5-9", OffsetRange(at(5), at(10))),
        ("5:9", OffsetRange(at(5), at(9))),
        (":9", OffsetRange(Position(Anchor.START), at(9))),
        (":end", OffsetRange(Position(Anchor.START), Position(Anchor.END))),
        ("@1600000000000", OffsetRange(time(1_600_000_000_000))),
        ("@1600000000", OffsetRange(time(1_600_000_000_000))),
        ("@-1h30m", OffsetRange(time(NOW - 5_400_000))),
        ("@2020-09-13", OffsetRange(time(1_599_955_200_000))),
        ("@2020-09-13T12:26:40Z", OffsetRange(time(1_600_000_000_000))),
        ("@2020-09-13T14:26:40+02:00", OffsetRange(time(1_600_000_000_000))),
        ("@1600000000:1600000060", OffsetRange(time(1_600_000_000_000), time(1_600_000_060_000))),
        ("@-2h:-1h", OffsetRange(time(NOW - 7_200_000), time(NOW - 3_600_000))),
        ("@-2h:end", OffsetRange(time(NOW - 7_200_000), Position(Anchor.END))),
        (
            "@2020-09-13T12:26:40Z:2020-09-13T12:27:40Z",
            OffsetRange(time(1_600_000_000_000), time(1_600_000_060_000)),
        ),
    ],
)
def test_the_grammar(text: str, expected: OffsetRange) -> None:
    assert parse_offset(text, NOW) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "begin",
        "1.5",
        "+",
        "--3",
        "9-5",
        "@",
        "@tomorrow",
        "@-1x",
        "@-1h:-2h",
        "@2020-13-45",
        str(1 << 63),
        "@-1h30",
    ],
)
def test_what_is_not_the_grammar_is_refused(text: str) -> None:
    with pytest.raises(OffsetError):
        parse_offset(text, NOW)


@given(st.text(alphabet="0123456789+-:@TZshmdend", max_size=20))
def test_only_offset_errors_come_out(text: str) -> None:
    try:
        found = parse_offset(text, NOW)
    except OffsetError:
        return
    assert isinstance(found.begin, Position)
