"""Records that are hard to carry, shared by the client round trips: what goes in must come out, byte for byte."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sample:
    """One record as every client can send it. `headers` keeps order and duplicates; a value in it may be None."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp_ms: int


BASE_TIMESTAMP_MS = 1_700_000_000_000


def samples(count: int = 40, *, null_header_values: bool = True) -> list[Sample]:
    """Nulls, empties, every byte value, repeated headers, sizes from 0 to 100 KB, timestamps that go back."""
    every_byte = bytes(range(256))
    made = [
        Sample(None, b"no key", (), BASE_TIMESTAMP_MS),
        Sample(b"no value", None, (), BASE_TIMESTAMP_MS + 1),
        Sample(None, None, (), BASE_TIMESTAMP_MS + 2),
        Sample(b"", b"", (), BASE_TIMESTAMP_MS + 3),
        Sample(every_byte, every_byte * 400, (), BASE_TIMESTAMP_MS - 86_400_000),
        Sample(b"headers", b"1", (("a", b"1"), ("a", b"2"), ("b", b""), ("ü", every_byte)), BASE_TIMESTAMP_MS),
    ]
    if null_header_values:
        made.append(Sample(b"headers", b"2", (("null", None),), BASE_TIMESTAMP_MS))
    for number in range(count - len(made)):
        value = f"value {number} ".encode() * (number * 7)
        made.append(Sample(f"key {number}".encode(), value, (("n", str(number).encode()),), BASE_TIMESTAMP_MS + number))
    return made
