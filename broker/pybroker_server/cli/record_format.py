"""The format language of `produce -f` and `consume -f`: percent verbs, as in rpk and kcat.

Rules of this file: pure. Bytes go in and out as they are; a format is compiled once.

    %t topic   %p partition   %o offset   %k key   %v value   %d timestamp in ms   %h headers   %e leader epoch
    %K %V %T   the length of key, value, topic in bytes   %H the number of headers   %% a percent sign
    %v{hex}  %k{base64}  %v{json}   how bytes are shown   %d{iso} the time in ISO 8601   %h{%k=%v;} each header
    \\n \\t \\r \\0 \\\\ \\xFF   escapes
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol


class FormatError(ValueError):
    """A format that cannot be read; the text is for the user."""


@dataclass(frozen=True, slots=True)
class ShownRecord:
    """What there is to show of a record; `key` and `value` are None for null."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()
    leader_epoch: int = -1


Piece = Callable[[ShownRecord], bytes]
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "\\": "\\"}
_VERB = re.compile(r"%([a-zA-Z%])")


def compile_format(text: str) -> Piece:
    """A function that renders a record. Raises FormatError."""
    pieces = _pieces(text)

    def render(record: ShownRecord) -> bytes:
        return b"".join(piece(record) for piece in pieces)

    return render


def _pieces(text: str) -> list[Piece]:
    pieces: list[Piece] = []
    position = 0
    while position < len(text):
        found = _VERB.match(text, position)
        if found is None:
            end = text.find("%", position)
            if end == position:
                raise FormatError(f"a single % at {text[position:]!r}; write %% for a percent sign")
            end = len(text) if end < 0 else end
            pieces.append(_literal(unescape(text[position:end])))
            position = end
            continue
        position = found.end()
        modifier = None
        if text[position : position + 1] == "{":
            modifier, position = _braced(text, position)
        pieces.append(_verb(found[1], modifier))
    return pieces


def _braced(text: str, position: int) -> tuple[str, int]:
    depth = 0
    for end in range(position, len(text)):
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        if depth == 0:
            return text[position + 1 : end], end + 1
    raise FormatError(f"a brace is open in {text[position:]!r}")


def unescape(text: str) -> bytes:
    """The bytes of text with backslash escapes. Raises FormatError."""
    out = bytearray()
    position = 0
    while position < len(text):
        if text[position] != "\\":
            end = text.find("\\", position)
            end = len(text) if end < 0 else end
            out += text[position:end].encode()
            position = end
        elif found := re.match(r"\\x([0-9a-fA-F]{2})", text[position:]):
            out.append(int(found[1], 16))
            position += 4
        elif text[position + 1 : position + 2] in _ESCAPES:
            out += _ESCAPES[text[position + 1]].encode()
            position += 2
        else:
            raise FormatError(f"no such escape: {text[position : position + 2]!r}")
    return bytes(out)


def _literal(data: bytes) -> Piece:
    return lambda record: data


_SIMPLE: dict[str, Piece] = {
    "t": lambda r: r.topic.encode(),
    "p": lambda r: b"%d" % r.partition,
    "o": lambda r: b"%d" % r.offset,
    "e": lambda r: b"%d" % r.leader_epoch,
    "T": lambda r: b"%d" % len(r.topic.encode()),
    "K": lambda r: b"%d" % (-1 if r.key is None else len(r.key)),
    "V": lambda r: b"%d" % (-1 if r.value is None else len(r.value)),
    "H": lambda r: b"%d" % len(r.headers),
    "%": lambda r: b"%",
}


def _verb(letter: str, modifier: str | None) -> Piece:
    if letter in _SIMPLE:
        if modifier is not None:
            raise FormatError(f"%{letter} takes no {{{modifier}}}")
        return _SIMPLE[letter]
    if letter == "k":
        show = _shower(modifier)
        return lambda r: show(r.key)
    if letter == "v":
        show = _shower(modifier)
        return lambda r: show(r.value)
    if letter == "d":
        return _timestamp(modifier)
    if letter == "h":
        return _headers(modifier)
    raise FormatError(f"no such verb: %{letter}; there are %t %p %o %k %v %d %h %e %T %K %V %H %%")


def _shower(modifier: str | None) -> Callable[[bytes | None], bytes]:
    match modifier:
        case None | "raw":
            return lambda data: data or b""
        case "hex":
            return lambda data: (data or b"").hex().encode()
        case "base64":
            return lambda data: base64.b64encode(data or b"")
        case "json":
            return lambda data: json.dumps(text_or_base64(data)).encode()
    raise FormatError(f"bytes are shown as raw, hex, base64 or json, not {modifier}")


def _timestamp(modifier: str | None) -> Piece:
    if modifier is None:
        return lambda r: b"%d" % r.timestamp_ms
    if modifier == "iso":
        return lambda r: iso_time(r.timestamp_ms).encode()
    raise FormatError(f"%d is plain milliseconds or {{iso}}, not {modifier}")


def iso_time(timestamp_ms: int) -> str:
    """ISO 8601 with milliseconds in UTC; the number itself when no calendar has it."""
    try:
        moment = datetime.fromtimestamp(timestamp_ms / 1_000, UTC)
    except (OverflowError, ValueError, OSError):
        return str(timestamp_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _headers(modifier: str | None) -> Piece:
    inner = _pieces("%k=%v,") if modifier is None else _pieces(modifier)
    strip = modifier is None

    def render(record: ShownRecord) -> bytes:
        shown = b"".join(
            piece(ShownRecord(record.topic, record.partition, record.offset, record.timestamp_ms, key.encode(), value))
            for key, value in record.headers
            for piece in inner
        )
        return shown.removesuffix(b",") if strip else shown

    return render


def text_or_base64(data: bytes | None) -> str | dict[str, str] | None:
    """UTF-8 as text; other bytes as `{"base64": "..."}`, so that JSON can carry them."""
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


class RecordLike(Protocol):
    """A record of the wire or of the SDK."""

    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...


def shown_record(topic: str, partition: int, record: RecordLike) -> ShownRecord:
    return ShownRecord(
        topic, partition, record.offset, record.timestamp, record.key, record.value, tuple(record.headers)
    )


def as_json(record: ShownRecord) -> dict[str, object]:
    """A record as `consume -o json` prints it; the keys are stable."""
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp_ms,
        "key": text_or_base64(record.key),
        "value": text_or_base64(record.value),
        "headers": [{"key": key, "value": text_or_base64(value)} for key, value in record.headers],
    }
