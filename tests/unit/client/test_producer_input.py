"""Wrong options, headers and times are refused at once, in words that say what would be right."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from pybroker import Producer
from pybroker.producer_input import acks_of, headers_of, milliseconds, settings_of
from pybroker_protocol.records.compression import Codec


def test_defaults_are_the_safe_ones() -> None:
    options: dict[str, Any] = {}
    acks = acks_of(options)
    settings = settings_of(acks, options)
    assert (acks, settings.is_idempotent, settings.codec) == (-1, True, Codec.NONE)


@pytest.mark.parametrize(("given", "expected"), [("all", -1), (-1, -1), (1, 1), (0, 0)])
def test_acks(given: Any, expected: int) -> None:
    assert acks_of({"acks": given}) == expected


@pytest.mark.parametrize("acks", [1, 0])
def test_fewer_acks_switch_idempotence_off_unless_it_was_asked_for(acks: int) -> None:
    assert not settings_of(acks, {}).is_idempotent
    with pytest.raises(ValueError, match="needs acks='all'"):
        settings_of(acks, {"idempotent": True})


def test_options_are_taken_over() -> None:
    given: dict[str, Any] = {
        "compression": "zstd",
        "compression_level": 7,
        "linger": 0.1,
        "batch_bytes": 1000,
        "buffer_bytes": 5000,
        "delivery_timeout": 3,
    }
    settings = settings_of(-1, given)
    assert (settings.codec, settings.level, settings.linger) == (Codec.ZSTD, 7, 0.1)
    assert (settings.batch_bytes, settings.buffer_bytes, settings.delivery_timeout) == (1000, 5000, 3)


@pytest.mark.parametrize(
    ("options", "kind", "says"),
    [
        ({"acks": "some"}, ValueError, "acks='some': it can be 'all', 1, 0"),
        ({"acks": 2}, ValueError, "acks=2"),
        ({"compression": "brotli"}, ValueError, "'gzip', 'snappy', 'lz4', 'zstd'"),
        ({"compression": []}, ValueError, "compression="),
        ({"linger": -1}, ValueError, "linger=-1: it cannot be negative"),
        ({"delivery_timeout": float("nan")}, ValueError, "delivery_timeout=nan"),
        ({"linger_ms": 5, "retries": 3}, TypeError, "no option linger_ms, retries"),
    ],
)
def test_wrong_options_are_refused_when_the_producer_is_made(
    options: dict[str, Any], kind: type[Exception], says: str
) -> None:
    with pytest.raises(kind, match=says):
        Producer("localhost:9092", **options)


def test_headers_are_pairs_or_a_mapping_and_text_is_utf_8() -> None:
    assert headers_of({"a": "ü", "b": b"\xff", "c": None}) == [("a", "ü".encode()), ("b", b"\xff"), ("c", None)]
    assert headers_of([("a", "1"), ("a", "2")]) == [("a", b"1"), ("a", b"2")]


def test_times_are_milliseconds_or_know_their_zone() -> None:
    assert milliseconds(5) == 5
    assert milliseconds(datetime(2020, 9, 13, 12, 26, 40, 123_000, tzinfo=UTC)) == 1_600_000_000_123
    with pytest.raises(ValueError, match="no time zone"):
        milliseconds(datetime(2020, 1, 1))


@pytest.mark.parametrize("bootstrap", ["", " , ", "host:port", "host:0", "host:70000", ":9092", "[::1", []])
def test_a_bootstrap_list_that_cannot_be_is_refused(bootstrap: Any) -> None:
    with pytest.raises(ValueError, match="host:port"):
        Producer(bootstrap)
