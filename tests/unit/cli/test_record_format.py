"""The format language of `consume -f`, and the JSON of `consume -o json`."""

import json

import pytest

from pybroker_server.cli.record_format import FormatError, ShownRecord, as_json, compile_format, iso_time, unescape

RECORD = ShownRecord(
    topic="orders",
    partition=3,
    offset=42,
    timestamp_ms=1_600_000_000_123,
    key=b"k1",
    value=b"v\x00\xff",
    headers=[("a", b"1"), ("b", None)],
    leader_epoch=7,
)
NULLS = ShownRecord("t", 0, 0, 0, None, None)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("%t %p %o %e", b"orders 3 42 7"),
        ("%k=%v\\n", b"k1=v\x00\xff\n"),
        ("%T,%K,%V,%H", b"6,2,3,2"),
        ("%d %d{iso}", b"1600000000123 2020-09-13T12:26:40.123Z"),
        ("%v{hex} %v{base64}", b"7600ff dgD/"),
        ("%k{json}", b'"k1"'),
        ("%v{json}", b'{"base64": "dgD/"}'),
        ("%h", b"a=1,b="),
        ("%h{[%k:%v{hex}]}", b"[a:31][b:]"),
        ("100%%\\t\\x41\\\\", b"100%\tA\\"),
        ("", b""),
        ("caf\u00e9", "caf\u00e9".encode()),
    ],
)
def test_verbs_and_escapes(text: str, shown: bytes) -> None:
    assert compile_format(text)(RECORD) == shown


def test_nulls_have_length_minus_one() -> None:
    assert compile_format("%K %V [%k] %k{json} %h")(NULLS) == b"-1 -1 [] null "


@pytest.mark.parametrize("text", ["%", "50% off", "%z", "%v{octal}", "%d{us}", "%t{hex}", "%h{%k", "\\q", "a\\"])
def test_what_is_no_format_is_refused(text: str) -> None:
    with pytest.raises(FormatError):
        compile_format(text)


def test_json_keeps_bytes_that_are_no_text() -> None:
    assert json.loads(json.dumps(as_json(RECORD))) == {
        "topic": "orders",
        "partition": 3,
        "offset": 42,
        "timestamp": 1_600_000_000_123,
        "key": "k1",
        "value": {"base64": "dgD/"},
        "headers": [{"key": "a", "value": "1"}, {"key": "b", "value": None}],
    }


def test_a_time_beyond_any_calendar_is_shown_as_its_number() -> None:
    assert iso_time((1 << 63) - 1) == str((1 << 63) - 1)
    assert iso_time(-1) == "1969-12-31T23:59:59.999Z"


def test_unescape_leaves_other_bytes_alone() -> None:
    assert unescape("\\x00\\0a") == b"\x00\x00a"
