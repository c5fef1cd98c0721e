"""Between Python values and the bytes in records.

Rules: a codec is two functions, `encode` and `decode`; None never reaches it (null stays null on both sides). A value
that cannot be encoded is the caller's mistake (`TypeError`, `ValueError`); bytes that cannot be decoded are
`DecodeFailed`, raised where the value is looked at, so that one bad record does not stop a consumer.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Generic, Protocol, TypeVar, cast

import msgpack  # type: ignore[import-untyped]

__all__ = ["Codec", "Json", "MsgPack", "Raw", "Text"]

T = TypeVar("T")


class Codec(Protocol[T]):
    """Turns values of one type into bytes and back. `decode` raises `ValueError` or `TypeError` for bad bytes."""

    def encode(self, value: T, /) -> bytes: ...

    def decode(self, data: bytes, /) -> T: ...


class Raw:
    """Bytes as they are."""

    def encode(self, value: bytes, /) -> bytes:
        if type(value) is bytes:
            return value
        if isinstance(value, bytes | bytearray | memoryview):
            return bytes(value)
        raise TypeError(f"bytes are needed, not {type(value).__name__}: encode it, or give the producer a codec")

    def decode(self, data: bytes, /) -> bytes:
        return data


class Text:
    """Strings, in UTF-8 unless told otherwise."""

    def __init__(self, encoding: str = "utf-8") -> None:
        self._encoding = encoding

    def encode(self, value: str, /) -> bytes:
        if not isinstance(value, str):
            raise TypeError(f"a str is needed, not {type(value).__name__}")
        return value.encode(self._encoding)

    def decode(self, data: bytes, /) -> str:
        return data.decode(self._encoding)


class _Structured(Generic[T]):
    """What JSON and msgpack share: with a dataclass, its instances go in and come out; else plain values do."""

    def __init__(self, type_: type[T] | None = None) -> None:
        if type_ is not None and not dataclasses.is_dataclass(type_):
            raise TypeError(f"{type_.__name__} is not a dataclass; leave it out for plain dicts and lists")
        self._type = type_

    def _to_plain(self, value: T) -> Any:
        if self._type is None:
            return value
        if not isinstance(value, self._type):
            raise TypeError(f"a {self._type.__name__} is needed, not {type(value).__name__}")
        return dataclasses.asdict(cast(Any, value))

    def _from_plain(self, value: Any) -> T:
        if self._type is None:
            return cast(T, value)
        if not isinstance(value, dict):
            raise ValueError(f"an object is needed for {self._type.__name__}, not {type(value).__name__}")
        return self._type(**value)


class Json(_Structured[T]):
    """JSON in UTF-8. `Json()` is for dicts, lists, strings and numbers; `Json(Order)` for a (flat) dataclass."""

    def encode(self, value: T, /) -> bytes:
        return json.dumps(self._to_plain(value), separators=(",", ":"), ensure_ascii=False).encode()

    def decode(self, data: bytes, /) -> T:
        return self._from_plain(json.loads(data))


class MsgPack(_Structured[T]):
    """MessagePack. `MsgPack()` is for plain values, bytes among them; `MsgPack(Order)` for a (flat) dataclass."""

    def encode(self, value: T, /) -> bytes:
        return cast(bytes, msgpack.packb(self._to_plain(value)))

    def decode(self, data: bytes, /) -> T:
        try:
            plain = msgpack.unpackb(data)
        except (msgpack.UnpackException, msgpack.ExtraData) as error:
            raise ValueError(f"not MessagePack: {error!r}") from error
        return self._from_plain(plain)
