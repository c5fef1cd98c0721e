"""When a handler is tried again, and what a dead letter tells."""

from __future__ import annotations

import pytest

from pybroker import Raw, Record, Retry
from pybroker.dead_letters import dead_letter_headers
from pybroker.record import Origin

ORIGIN = Origin("orders", 2, 0, False, Raw(), Raw())


def test_waits_double_up_to_the_longest_and_end_with_the_attempts() -> None:
    retry = Retry(attempts=5, first=1.0, most=3.0)
    error = ValueError()
    assert [retry.delay(attempt, error, 0.5) for attempt in range(1, 6)] == [1.0, 2.0, 3.0, 3.0, None]


def test_waits_are_spread_by_a_fifth() -> None:
    retry = Retry(first=1.0)
    assert (retry.delay(1, ValueError(), 0.0), retry.delay(1, ValueError(), 1.0)) == (0.8, 1.2)


def test_only_the_errors_named_are_worth_another_attempt() -> None:
    retry = Retry(on=(OSError,))
    assert retry.delay(1, TimeoutError(), 0.5) is not None
    assert retry.delay(1, ValueError(), 0.5) is None
    with pytest.raises(ValueError, match="at least one"):
        Retry(attempts=0)


def test_headers_tell_origin_error_and_attempts_behind_those_of_the_record() -> None:
    record = Record(ORIGIN, 41, 1_700_000_000_123, b"k", b"v", b"\x02\x0atrace\x02\x01")
    assert dead_letter_headers(record, KeyError("no such customer"), 3, "billing") == [
        ("trace", b"\x01"),
        ("__dlq.errors.topic", "orders"),
        ("__dlq.errors.partition", "2"),
        ("__dlq.errors.offset", "41"),
        ("__dlq.errors.timestamp", "1700000000123"),
        ("__dlq.errors.group", "billing"),
        ("__dlq.errors.delivery.count", "3"),
        ("__dlq.errors.message", "'no such customer'"),
        ("__dlq.errors.exception", "builtins.KeyError"),
    ]


def test_a_long_message_is_cut() -> None:
    record = Record(ORIGIN, 0, 0, None, None, b"")
    told = dict(dead_letter_headers(record, ValueError("x" * 10_000), 1, None))
    assert len(told["__dlq.errors.message"] or "") == 4096
