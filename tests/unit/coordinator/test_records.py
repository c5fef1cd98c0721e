"""How coordinators' records are stored: Kafka's keys with a type, values with a version."""

from __future__ import annotations

from typing import Any

import pytest

from pybroker_protocol.errors import ErrorCode, KafkaError, ProtocolError
from pybroker_protocol.messages import (
    GroupMetadataKey,
    GroupMetadataValue,
    LegacyOffsetCommitKey,
    LegacyOffsetCommitValue,
    OffsetCommitKey,
    OffsetCommitValue,
)
from pybroker_server.coordinator.group.coordinator import RECORD_TYPES
from pybroker_server.coordinator.records import CoordinatorRecord, RecordTypes

KEY = OffsetCommitKey(group="g", topic="t", partition=3)
VALUE = OffsetCommitValue(offset=9, leader_epoch=2, metadata="m", commit_timestamp=5)


def test_the_bytes_are_those_of_kafka() -> None:
    """Written by Kafka 4.3 for the same commit, but for the time."""
    key, value = RECORD_TYPES.encode(CoordinatorRecord(KEY, VALUE, 3))
    assert key.hex() == "0001" + "000167" + "000174" + "00000003"
    assert value is not None
    assert value.hex() == "0003" + "0000000000000009" + "00000002" + "00016d" + "0000000000000005"


@pytest.mark.parametrize(
    "record",
    [
        CoordinatorRecord(KEY, VALUE, 3),
        CoordinatorRecord(KEY, VALUE, 4),
        CoordinatorRecord(KEY, OffsetCommitValue(offset=9, metadata="m", commit_timestamp=5, expire_timestamp=8), 1),
        CoordinatorRecord(KEY, None),
        CoordinatorRecord(LegacyOffsetCommitKey(group="g", topic="t"), LegacyOffsetCommitValue(offset=1, metadata="")),
        CoordinatorRecord(GroupMetadataKey(group="g"), GroupMetadataValue(protocol_type="consumer"), 3),
    ],
    ids=lambda record: f"{type(record.key).__name__}-{record.version if record.value else 'tombstone'}",
)
def test_what_is_written_is_read_again(record: CoordinatorRecord) -> None:
    key, value = RECORD_TYPES.encode(record)
    assert RECORD_TYPES.decode(key, value) == record


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"\x00\x63" + b"whatever", b"\x00\x00"),
        (b"\x00\x02\x00\x01g", b"\x00\x63whatever"),
        (b"\x00\x02\x00\x01g", b"\xff\xffwhatever"),
    ],
    ids=["type", "version", "negative-version"],
)
def test_what_a_newer_release_wrote_is_skipped(key: bytes, value: bytes) -> None:
    assert RECORD_TYPES.decode(key, value) is None


def test_only_the_types_of_the_topic_are_known() -> None:
    key, value = RECORD_TYPES.encode(CoordinatorRecord(KEY, VALUE, 3))
    assert RecordTypes(("GroupMetadata",)).decode(key, value) is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (None, b"\x00\x00"),
        (b"", None),
        (b"\x00", None),
        (b"\x00\x01\x00", None),
        (b"\x00\x01\x7f\xff" + b"g", None),
        (b"\x00\x02\x00\x01g", b""),
        (b"\x00\x02\x00\x01g", b"\x00"),
        (b"\x00\x02\x00\x01g", b"\x00\x03\x00"),
    ],
)
def test_damage_is_told_from_the_unknown(key: bytes | None, value: bytes | None) -> None:
    with pytest.raises(ProtocolError):
        RECORD_TYPES.decode(key, value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (OffsetCommitKey(group="g" * 32_768, topic="t"), VALUE),
        (KEY, OffsetCommitValue(offset=1, metadata="m" * 32_768)),
    ],
)
def test_what_the_format_has_no_room_for_is_refused(key: Any, value: Any) -> None:
    with pytest.raises(KafkaError) as raised:
        RECORD_TYPES.encode(CoordinatorRecord(key, value, 3))
    assert raised.value.code is ErrorCode.UNKNOWN_SERVER_ERROR
