"""The syntax of server.properties."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybroker_server.config.properties import PropertiesError, parse_properties


def pairs(text: str) -> list[tuple[str, str]]:
    return [(entry.key, entry.value) for entry in parse_properties(text)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a=b", [("a", "b")]),
        ("a = b ", [("a", "b")]),
        ("a: b", [("a", "b")]),
        ("a b c", [("a", "b c")]),
        ("a", [("a", "")]),
        ("a=", [("a", "")]),
        ("# no\n! no\n\n  a=1", [("a", "1")]),
        ("a=one,\\\n   two", [("a", "one,two")]),
        ("a=back\\\\", [("a", "back\\")]),
        ("a\\=b=c", [("a=b", "c")]),
        ("a=\\u00e9\\t\\:x", [("a", "é\t:x")]),
        ("a=http://x:1/y", [("a", "http://x:1/y")]),
        ("a=1\r\nb=2\r\n", [("a", "1"), ("b", "2")]),
        ("a=x\\", [("a", "x")]),
    ],
)
def test_entries(text: str, found: list[tuple[str, str]]) -> None:
    assert pairs(text) == found


def test_lines_are_counted_from_the_start_of_the_entry() -> None:
    assert [entry.line for entry in parse_properties("# x\na=1,\\\n2\nb=3")] == [2, 4]


@pytest.mark.parametrize("text", ["=x", "a=\\u12", "x" * (1 << 20) + "y"])
def test_what_is_not_the_syntax_is_refused(text: str) -> None:
    with pytest.raises(PropertiesError):
        parse_properties(text)


@given(st.text(max_size=200))
def test_only_properties_errors_come_out(text: str) -> None:
    try:
        entries = parse_properties(text)
    except PropertiesError:
        return
    assert all(entry.key for entry in entries)
