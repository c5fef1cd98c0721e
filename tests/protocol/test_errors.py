"""The error table: whole, and in Kafka's words where a client's behaviour hangs on them."""

from __future__ import annotations

import pickle

import pytest

from pybroker_protocol.errors import ErrorCode, KafkaError, error_code, error_message


def test_codes_run_from_minus_one_to_133_without_a_gap():
    assert [int(code) for code in ErrorCode] == list(range(-1, 134))


@pytest.mark.parametrize(
    ("code", "name", "retriable"),
    [
        (-1, "UNKNOWN_SERVER_ERROR", False),
        (1, "OFFSET_OUT_OF_RANGE", False),
        (2, "CORRUPT_MESSAGE", True),
        (3, "UNKNOWN_TOPIC_OR_PARTITION", True),
        (6, "NOT_LEADER_OR_FOLLOWER", True),
        (10, "MESSAGE_TOO_LARGE", False),
        (20, "NOT_ENOUGH_REPLICAS_AFTER_APPEND", True),
        (45, "OUT_OF_ORDER_SEQUENCE_NUMBER", False),
        (56, "KAFKA_STORAGE_ERROR", True),
        (75, "UNKNOWN_LEADER_EPOCH", True),
        (100, "UNKNOWN_TOPIC_ID", True),
        (133, "SHARE_SESSION_LIMIT_REACHED", True),
    ],
)
def test_names_and_retriable_flags_are_kafkas(code, name, retriable):
    assert ErrorCode(code).name == name
    assert ErrorCode(code).retriable is retriable


def test_every_message_is_one_short_line():
    for code in ErrorCode:
        assert code.message
        assert "\n" not in code.message
        assert not code.message.endswith(".")


def test_a_code_of_the_future_counts_as_unknown_server_error():
    assert error_code(9999) is ErrorCode.UNKNOWN_SERVER_ERROR
    assert "9999" in error_message(9999)
    assert error_message(3) == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION.message


def test_members_survive_pickling():
    assert pickle.loads(pickle.dumps(ErrorCode.INVALID_RECORD)) is ErrorCode.INVALID_RECORD


def test_the_exception_carries_code_message_and_bad_records():
    error = KafkaError(ErrorCode.INVALID_RECORD, "no key", record_errors=[(3, "needs a key")])
    assert (error.code, error.message, error.retriable) == (87, "no key", False)
    assert error.record_errors == [(3, "needs a key")]
    assert "INVALID_RECORD (87)" in str(error)
    assert KafkaError(ErrorCode.REQUEST_TIMED_OUT).retriable
