"""Errors say what was asked, what the broker answered, and by their kind what can be done."""

from __future__ import annotations

import pytest

from pybroker import errors
from pybroker.errors import (
    AlreadyExists,
    AuthError,
    CorruptData,
    DecodeFailed,
    Fatal,
    Fenced,
    KafkaError,
    NotFound,
    OffsetOutOfRange,
    Rejected,
    Retriable,
    TimedOut,
    TooLarge,
    UnsupportedVersion,
    error_for,
)
from pybroker_protocol.errors import ErrorCode


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, NotFound),
        (ErrorCode.TOPIC_ALREADY_EXISTS, AlreadyExists),
        (ErrorCode.MESSAGE_TOO_LARGE, TooLarge),
        (ErrorCode.TOPIC_AUTHORIZATION_FAILED, AuthError),
        (ErrorCode.PRODUCER_FENCED, Fenced),
        (ErrorCode.UNSUPPORTED_VERSION, UnsupportedVersion),
        (ErrorCode.OFFSET_OUT_OF_RANGE, OffsetOutOfRange),
        (ErrorCode.CORRUPT_MESSAGE, CorruptData),
        (ErrorCode.REQUEST_TIMED_OUT, TimedOut),
        (ErrorCode.UNKNOWN_SERVER_ERROR, Fatal),
        (ErrorCode.NOT_LEADER_OR_FOLLOWER, Retriable),
        (ErrorCode.INVALID_CONFIG, Rejected),
    ],
)
def test_every_code_has_its_kind(code: ErrorCode, kind: type[KafkaError]) -> None:
    error = error_for(code, "create topic t")
    assert type(error) is kind
    assert error.code is code
    assert error.name == code.name
    assert str(error) == f"create topic t: {code.message} [{code.name} ({int(code)})]"


@pytest.mark.parametrize("code", [code for code in ErrorCode if code is not ErrorCode.NONE])
def test_kinds_agree_with_kafka_on_what_may_be_tried_again(code: ErrorCode) -> None:
    kind = type(error_for(code, "x"))
    if issubclass(kind, Retriable):
        assert code.retriable
    assert not (code.retriable and issubclass(kind, Rejected))


def test_the_words_of_the_broker_win() -> None:
    assert error_for(ErrorCode.INVALID_CONFIG, "configure t", "retention.ms: not a number").message == (
        "configure t: retention.ms: not a number"
    )


def test_a_code_that_nobody_knows_is_told_as_its_number() -> None:
    error = error_for(9_999, "fetch t-0")
    assert isinstance(error, Fatal)
    assert "fetch t-0" in error.message
    assert "9999" in error.message


def test_errors_of_the_sdk_have_the_name_of_their_kind() -> None:
    error = errors.BufferFull("64 bytes wait")
    assert (error.name, error.code, str(error)) == ("BufferFull", None, "64 bytes wait")


def test_errors_are_also_what_python_calls_them() -> None:
    assert issubclass(TimedOut, TimeoutError)
    assert issubclass(DecodeFailed, ValueError)


def test_everything_that_is_exported_is_of_the_family() -> None:
    kinds = [getattr(errors, name) for name in errors.__all__ if name != "error_for"]
    assert [kind for kind in kinds if not issubclass(kind, KafkaError)] == []


def test_a_refusal_names_the_records() -> None:
    error = Rejected("no", record_errors=((3, "no key"),))
    assert error.record_errors == [(3, "no key")]
