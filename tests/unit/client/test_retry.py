"""What each error code means to a producer and a consumer, and how long they wait."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybroker.retry import Backoff, FetchVerdict, ProduceVerdict, fetch_verdict, produce_verdict, stales_metadata
from pybroker_protocol.errors import ErrorCode


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        (ErrorCode.NONE, ProduceVerdict.ACCEPTED),
        (ErrorCode.DUPLICATE_SEQUENCE_NUMBER, ProduceVerdict.ACCEPTED),
        (ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, ProduceVerdict.SEQUENCE_LOST),
        (ErrorCode.UNKNOWN_PRODUCER_ID, ProduceVerdict.SEQUENCE_LOST),
        (ErrorCode.MESSAGE_TOO_LARGE, ProduceVerdict.SPLIT),
        (ErrorCode.NOT_ENOUGH_REPLICAS, ProduceVerdict.RETRY_NOT_APPENDED),
        (ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND, ProduceVerdict.RETRY),
        (ErrorCode.NOT_LEADER_OR_FOLLOWER, ProduceVerdict.RETRY),
        (ErrorCode.REQUEST_TIMED_OUT, ProduceVerdict.RETRY),
        (ErrorCode.UNKNOWN_SERVER_ERROR, ProduceVerdict.RETRY),
        (12_345, ProduceVerdict.RETRY),
        (ErrorCode.INVALID_RECORD, ProduceVerdict.FAIL),
        (ErrorCode.RECORD_LIST_TOO_LARGE, ProduceVerdict.FAIL),
        (ErrorCode.TOPIC_AUTHORIZATION_FAILED, ProduceVerdict.FAIL),
        (ErrorCode.INVALID_TIMESTAMP, ProduceVerdict.FAIL),
    ],
)
def test_produce(code: int, verdict: ProduceVerdict) -> None:
    assert produce_verdict(code) is verdict


@pytest.mark.parametrize("code", [code for code in ErrorCode if code.retriable])
def test_what_kafka_calls_retriable_is_never_given_up(code: ErrorCode) -> None:
    assert produce_verdict(code) is not ProduceVerdict.FAIL
    if code is not ErrorCode.CORRUPT_MESSAGE:
        assert fetch_verdict(code) is FetchVerdict.RETRY


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        (ErrorCode.NONE, FetchVerdict.OK),
        (ErrorCode.OFFSET_OUT_OF_RANGE, FetchVerdict.OUT_OF_RANGE),
        (ErrorCode.UNKNOWN_SERVER_ERROR, FetchVerdict.RETRY),
        (ErrorCode.CORRUPT_MESSAGE, FetchVerdict.FAIL),
        (ErrorCode.TOPIC_AUTHORIZATION_FAILED, FetchVerdict.FAIL),
    ],
)
def test_fetch(code: int, verdict: FetchVerdict) -> None:
    assert fetch_verdict(code) is verdict


def test_only_some_answers_show_that_metadata_is_old() -> None:
    assert stales_metadata(ErrorCode.NOT_LEADER_OR_FOLLOWER)
    assert stales_metadata(ErrorCode.UNKNOWN_TOPIC_ID)
    assert not stales_metadata(ErrorCode.NONE)
    assert not stales_metadata(ErrorCode.MESSAGE_TOO_LARGE)


def test_waits_double_up_to_a_limit() -> None:
    backoff = Backoff(first=0.1, most=1.0, jitter=0.0)
    assert [backoff.delay(attempt, 0.5) for attempt in range(7)] == [0.1, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


@given(st.integers(-5, 10_000), st.floats(0, 1, exclude_max=True))
def test_waits_stay_near_their_limits(attempt: int, chance: float) -> None:
    assert 0.04 <= Backoff().delay(attempt, chance) <= 1.2
