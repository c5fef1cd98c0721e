"""The notation: what each part of a line means, and that mistakes are named."""

from __future__ import annotations

from typing import Any

import pytest

from pybroker_protocol.codec import decode, encode
from pybroker_protocol.schema.classes import make_class
from pybroker_protocol.schema.nodes import (
    ALL_VERSIONS,
    EMPTY_LIST,
    FIXED,
    FRESH_STRUCT,
    HIGHEST_VERSION,
    ZERO_UUID,
    ArrayOf,
    Struct,
    Versions,
    minimum_size,
)
from pybroker_protocol.schema.notation import NotationError, parse, parse_versions

EXAMPLE = """
Example  key 7  versions 1-9  flexible 4+
  struct Shared
    value    int64              = -1
  plain      int32
  later      string?    3+
  nullable   string?5+
  dropped    []int32    1-2
  cluster    string?    6+  tag 0  = null
  state      Shared     8   tag 1
  fresh      Shared
  maybe      Shared?
  topics     []Topic    2+
    name     string
    id       uuid       7+
    inner    []Shared
  flag       bool               = true
  limit      int32              = 0x7fffffff
  label      string             = "none"
  payload    bytes
  records    records
"""


def field(name: str) -> Any:
    return next(field for field in parse(EXAMPLE).root.fields if field.name == name)


def test_the_first_line() -> None:
    schema = parse(EXAMPLE)
    assert (schema.name, schema.key, schema.versions, schema.flexible) == ("Example", 7, (1, 9), (4, HIGHEST_VERSION))
    without = parse("Bare versions 0\n  a int8\n")
    assert (without.key, without.versions, without.is_flexible(0)) == (None, (0, 0), False)


def test_versions_are_cut_to_those_of_what_encloses() -> None:
    assert field("plain").versions == (1, 9)
    assert field("later").versions == (3, 9)
    assert field("dropped").versions == (1, 2)
    topic = field("topics").type.element
    assert [inner.versions for inner in topic.fields] == [(2, 9), (7, 9), (2, 9)]


def test_null() -> None:
    assert field("later").nullable == (3, 9)
    assert field("nullable").nullable == (5, 9)
    assert field("plain").nullable.is_empty
    assert field("records").may_be_none
    assert not field("plain").may_be_none


def test_types() -> None:
    assert field("plain").type is FIXED["int32"]
    assert field("dropped").type == ArrayOf(FIXED["int32"])
    shared = parse(EXAMPLE).structs["Shared"]
    assert field("fresh").type == shared
    assert isinstance(field("topics").type.element, Struct)
    assert list(parse(EXAMPLE).structs) == ["Shared", "Topic"]


def test_defaults() -> None:
    wanted = {
        "plain": 0,
        "later": "",
        "dropped": EMPTY_LIST,
        "cluster": None,
        "state": None,
        "fresh": FRESH_STRUCT,
        "maybe": None,
        "flag": True,
        "limit": 2**31 - 1,
        "label": "none",
        "payload": b"",
        "records": None,
    }
    assert {name: field(name).default for name in wanted} == wanted
    assert field("topics").type.element.fields[1].default is ZERO_UUID


def test_tags() -> None:
    root = parse(EXAMPLE).root
    assert [field.name for field in root.tagged_fields(5)] == []
    assert [field.name for field in root.tagged_fields(9)] == ["cluster"]
    assert [field.name for field in root.tagged_fields(8)] == ["cluster", "state"]
    assert "cluster" not in {field.name for field in root.plain_fields(8)}


def test_the_example_goes_to_bytes_and_back() -> None:
    made: Any = make_class(parse(EXAMPLE))
    for version in range(1, 10):
        wire = b"".join(encode(made(), version))
        decoded, position = decode(made, version, memoryview(wire))
        assert position == len(wire)
        assert decoded.label == "none"
        assert decoded.records == b"", "records that may not be null go out as none at all"
        assert decoded.fresh.value == -1
        assert decoded.maybe is None


def test_the_least_size_of_a_structure() -> None:
    topic = parse(EXAMPLE).structs["Topic"]
    assert minimum_size(topic, flexible=False, nullable=False, version=2) == 2 + 4
    assert minimum_size(topic, flexible=True, nullable=False, version=6) == 1 + 1 + 1
    assert minimum_size(topic, flexible=True, nullable=False, version=7) == 1 + 16 + 1 + 1
    assert minimum_size(topic, flexible=True, nullable=True, version=7) == 1


@pytest.mark.parametrize(("text", "versions"), [("4", (4, 4)), ("4-18", (4, 18)), ("4+", (4, HIGHEST_VERSION))])
def test_version_ranges(text: str, versions: tuple[int, int]) -> None:
    assert parse_versions(text) == versions
    assert Versions(3, 5).within(Versions(4, 9)) == (4, 5)
    assert Versions(0, 1).within(Versions(2, 3)).is_empty
    assert ALL_VERSIONS.holds(0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("example versions 0\n  a int8", "not the first line"),
        ("Example\n  a int8", "not the first line"),
        ("Example versions 0\n  a", "not a field"),
        ("Example versions 0\n  A int8", "not a field"),
        ("Example versions 0\n  a int8 tag x", "not a field"),
        ("Example versions 0\n  a int9", "unknown type int9"),
        ("Example versions 0\n  a []Missing", "unknown type Missing"),
        ("Example versions 0\n   a int8", "wrong indentation"),
        ("Example versions 0\n    a int8", "wrong indentation"),
        ("Example versions 0\n  struct lower\n    a int8", "not a structure"),
        ("Example versions 0\n  a S\n    b int8\n  c S\n    d int8", "declared twice"),
        ("Example versions 0\n  a int8\nOther versions 0\n  b int8", "found a second"),
    ],
)
def test_mistakes_are_named(text: str, message: str) -> None:
    with pytest.raises(NotationError, match=message):
        parse(text)
