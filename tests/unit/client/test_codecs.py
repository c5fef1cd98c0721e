"""Values to bytes and back; what cannot be is refused where it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybroker import Json, MsgPack, Raw, Text


@dataclass
class Order:
    number: int
    item: str


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(PLAIN)
def test_plain_values_come_back(value: Any) -> None:
    for codec in (Json[Any](), MsgPack[Any]()):
        assert codec.decode(codec.encode(value)) == value


@given(st.text())
def test_text_comes_back(value: str) -> None:
    assert Text().decode(Text().encode(value)) == value


@pytest.mark.parametrize("codec", [Json(Order), MsgPack(Order)])
def test_dataclasses_come_back(codec: Any) -> None:
    assert codec.decode(codec.encode(Order(7, "ü"))) == Order(7, "ü")
    with pytest.raises(TypeError, match="a Order is needed, not dict"):
        codec.encode({"number": 7})
    with pytest.raises(ValueError, match="an object is needed"):
        codec.decode(type(codec)().encode([1, 2]))
    with pytest.raises(TypeError):
        codec.decode(type(codec)().encode({"unknown": 1}))


@pytest.mark.parametrize("data", [b"\xc1", b"\x92\x01", b"\x01\x01"])
def test_bytes_that_are_not_messagepack_are_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        MsgPack[Any]().decode(data)


def test_raw_takes_bytes_only() -> None:
    assert Raw().encode(bytearray(b"x")) == b"x"  # type: ignore[arg-type]
    assert type(Raw().encode(memoryview(b"x"))) is bytes  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="bytes are needed, not str: encode it, or give the producer a codec"):
        Raw().encode("x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a str is needed, not bytes"):
        Text().encode(b"x")  # type: ignore[arg-type]


def test_only_dataclasses_can_be_named() -> None:
    with pytest.raises(TypeError, match="int is not a dataclass"):
        Json(int)
