"""What a producer is given: options, messages, headers, times; checked and made into what batches hold. Pure.

Rules: wrong input is the caller's mistake and raises ValueError or TypeError that says what would be right, at once and
not when the batch is sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple, TypedDict, TypeVar

from pybroker.accumulator import Settings
from pybroker.client import Client
from pybroker_protocol.records.compression import Codec as Compression

__all__ = ["HeadersIn", "Message", "ProducerOptions", "Timestamp"]

T = TypeVar("T")
HeadersIn = Mapping[str, bytes | str | None] | Iterable[tuple[str, bytes | str | None]]
Timestamp = int | datetime

_COMPRESSIONS: Final[dict[Any, Compression]] = {
    None: Compression.NONE,
    "none": Compression.NONE,
    "gzip": Compression.GZIP,
    "snappy": Compression.SNAPPY,
    "lz4": Compression.LZ4,
    "zstd": Compression.ZSTD,
}
_ACKS: Final[dict[Any, int]] = {"all": -1, -1: -1, 1: 1, 0: 0}
ACKS_ALL: Final = -1


class Message(NamedTuple):
    """A record to send, where `send_many` needs more than values. Times are ms since 1970 or aware datetimes."""

    value: Any
    key: Any = None
    headers: HeadersIn | None = None
    partition: int | None = None
    timestamp: Timestamp | None = None


class ProducerOptions(TypedDict, total=False):
    """Keyword arguments of `Producer` besides the codecs. Durations are seconds."""

    client: Client | None
    acks: Literal["all", 1, 0]
    idempotent: bool | None
    compression: Literal["gzip", "snappy", "lz4", "zstd", "none"] | None
    compression_level: int | None
    linger: float
    batch_bytes: int
    buffer_bytes: int
    delivery_timeout: float
    transactional_id: str | None
    transaction_timeout: float


def acks_of(options: dict[str, Any]) -> int:
    """Takes `acks` out of the options: -1 (all), 1 or 0."""
    return _pick("acks", options.pop("acks", "all"), _ACKS)


def settings_of(acks: int, options: dict[str, Any]) -> Settings:
    """Takes the other options. Raises TypeError for one that there is not, ValueError for what cannot be."""
    wanted = options.pop("idempotent", None)
    if wanted and acks != ACKS_ALL:
        raise ValueError("idempotent=True needs acks='all': a record may be written twice when fewer confirm it")
    settings = Settings(
        is_idempotent=acks == ACKS_ALL if wanted is None else wanted,
        codec=_pick("compression", options.pop("compression", None), _COMPRESSIONS),
        level=options.pop("compression_level", None),
    )
    for name in ("linger", "batch_bytes", "buffer_bytes", "delivery_timeout"):
        if name in options:
            value = options.pop(name)
            if not value >= 0:
                raise ValueError(f"{name}={value!r}: it cannot be negative")
            settings = replace(settings, **{name: value})
    if options:
        raise TypeError(f"Producer has no option {', '.join(sorted(options))}")
    return settings


def _pick(name: str, value: Any, known: Mapping[Any, T]) -> T:
    try:
        return known[value]
    except (KeyError, TypeError):
        allowed = ", ".join(repr(each) for each in known if each != -1)
        raise ValueError(f"{name}={value!r}: it can be {allowed}") from None


def headers_of(headers: HeadersIn) -> list[tuple[str, bytes | None]]:
    """Headers as they are written: text in UTF-8."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return [(name, value.encode() if isinstance(value, str) else value) for name, value in pairs]


def milliseconds(timestamp: Timestamp) -> int:
    """Milliseconds since 1970. Raises ValueError for a datetime without a time zone."""
    if isinstance(timestamp, datetime):
        if timestamp.tzinfo is None:
            raise ValueError(f"timestamp {timestamp} has no time zone: datetime.now(UTC) has one")
        return round(timestamp.timestamp() * 1000)
    return timestamp


def is_bytes(value: object) -> bool:
    return type(value) is bytes
