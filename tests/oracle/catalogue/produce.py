"""Produce: versions, acks, topics that are not there, several partitions at once, codecs, sizes, timestamps, keys.

What is wrong inside a batch is in `batches.py`, what idempotent producers do in `idempotence.py`.
"""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from tests.oracle.batches import LOG_APPEND_TIME, Batch, Rec
from tests.oracle.exchange import Await, Call, Exchange, Now, Steps, exchange, topic_id
from tests.oracle.vocabulary import (
    SET,
    alter,
    create,
    fetch,
    filled,
    list_offsets,
    metadata,
    produce,
    topic_key,
)

_DAY_MS: Final = 86_400_000
_UNKNOWN_ID: Final = UUID(int=0xBEEF)
_VISIBLE: Final = {"responses.0.partitions.0.high_watermark": 1}
"""Only acks=all promises that the next fetch sees the record; after the others one has to ask until it does."""

_CODECS: Final = ("none", "gzip", "snappy", "lz4", "zstd")
_RECORDS: Final = (
    Rec(b"one", b"key", ((b"h", b"1"), (b"h", None), (b"", b"")), at=0),
    Rec(None, b"tombstone", at=7),
    Rec(b"", b"", at=-3),
    Rec(b"r" * 300, None, at=2),
)


def _many(topic: str, *parts: tuple[int, Any], version: int = 12, acks: int = -1, **call: Any) -> Call:
    """Several partitions of one topic in one request."""
    data = [{"index": index, "records": records} for index, records in parts]
    topics = [{**topic_key(topic, version, 13), "partition_data": data}]
    return Call("Produce", version, {"acks": acks, "timeout_ms": 10_000, "topic_data": topics}, **call)


def _stored(label: str, *steps: Steps, **settings: Any) -> Exchange:
    """A topic with settings, some steps, and what the log then holds."""
    return exchange(f"produce-{label}", create("@t", **settings), steps, fetch("@t"), list_offsets("@t"))


VERSIONS: Final = (
    *(
        exchange(f"produce-v{version}", create("@t"), produce("@t", version=version), fetch("@t"))
        for version in range(3, 14)
    ),
    *(
        exchange(f"produce-unknown-topic-v{version}", produce("@no", version=version), metadata("@no"))
        for version in (3, 7, 8, 10, 12)
    ),
    exchange(
        "produce-unknown-id",
        Call(
            "Produce",
            13,
            {
                "acks": -1,
                "timeout_ms": 1000,
                "topic_data": [{"topic_id": _UNKNOWN_ID, "partition_data": [{"index": 0, "records": Batch()}]}],
            },
        ),
    ),
    exchange(
        "produce-zero-id",
        Call(
            "Produce",
            13,
            {"acks": -1, "timeout_ms": 1000, "topic_data": [{"partition_data": [{"index": 0, "records": Batch()}]}]},
        ),
    ),
    exchange(
        "produce-unknown-partition", create("@t"), produce("@t", partition=1), produce("@t", partition=1, version=13)
    ),
    exchange("produce-negative-partition", create("@t"), produce("@t", partition=-1)),
    exchange("produce-version-2-is-advertised-and-refused", create("@t"), produce("@t", version=3, claim_version=2)),
    exchange("produce-version-14", create("@t"), produce("@t", version=13, claim_version=14)),
    exchange("produce-invalid-topic-name", produce("a/b")),
    exchange("produce-empty-topic-name", produce("")),
    exchange("produce-no-topics", Call("Produce", 12, {"acks": -1, "timeout_ms": 1000, "topic_data": []})),
    exchange("produce-no-topics-acks-1", Call("Produce", 9, {"acks": 1, "timeout_ms": 1000, "topic_data": []})),
    exchange("produce-no-partitions", create("@t"), _many("@t")),
    exchange("produce-null-client-id", create("@t"), produce("@t", client_id=None)),
)

ACKS: Final = (
    exchange("produce-acks-all", create("@t"), produce("@t"), fetch("@t")),
    exchange("produce-acks-1", create("@t"), produce("@t", acks=1), fetch("@t", until=_VISIBLE)),
    exchange("produce-acks-0", create("@t"), produce("@t", acks=0, probe=True), fetch("@t", until=_VISIBLE)),
    exchange(
        "produce-acks-0-v13", create("@t"), produce("@t", acks=0, version=13, probe=True), fetch("@t", until=_VISIBLE)
    ),
    exchange("produce-acks-0-unknown-topic", produce("@no", acks=0, probe=True), metadata("@no")),
    exchange("produce-acks-0-unknown-partition", create("@t"), produce("@t", acks=0, partition=5, probe=True)),
    exchange(
        "produce-acks-0-corrupt",
        create("@t"),
        produce("@t", Batch(bad_crc=True), acks=0, probe=True),
        list_offsets("@t"),
    ),
    exchange(
        "produce-acks-0-too-large",
        create("@t", max_message_bytes="100"),
        produce("@t", Batch((Rec(b"x" * 200),)), acks=0, probe=True),
        list_offsets("@t"),
    ),
    exchange(
        "produce-acks-0-two-batches-in-a-row",
        create("@t"),
        produce("@t", acks=0, probe=True),
        produce("@t", acks=0, probe=True),
        list_offsets("@t", until={"topics.0.partitions.0.offset": 2}),
    ),
    exchange(
        "produce-acks-0-no-topics", Call("Produce", 9, {"acks": 0, "timeout_ms": 1, "topic_data": []}, probe=True)
    ),
    *(
        exchange(f"produce-acks-{label}", create("@t"), produce("@t", acks=acks), list_offsets("@t"))
        for label, acks in (("2", 2), ("minus-2", -2), ("32767", 32767))
    ),
    exchange("produce-acks-2-unknown-topic", produce("@no", acks=2)),
    exchange("produce-acks-2-v13", create("@t"), produce("@t", acks=2, version=13)),
    exchange(
        "produce-min-insync-2-acks-all", create("@t", min_insync_replicas="2"), produce("@t"), produce("@t", acks=1)
    ),
)

SEVERAL: Final = (
    exchange(
        "produce-two-partitions",
        create("@t", 2),
        _many("@t", (0, Batch()), (1, Batch((Rec(), Rec())))),
        list_offsets("@t"),
        list_offsets("@t", partition=1),
    ),
    exchange(
        "produce-good-and-bad-partition",
        create("@t", 2),
        _many("@t", (0, Batch(bad_crc=True)), (1, Batch()), (7, Batch())),
    ),
    exchange(
        "produce-same-partition-twice",
        create("@t"),
        _many("@t", (0, Batch((Rec(b"a"),))), (0, Batch((Rec(b"b"),)))),
        fetch("@t"),
    ),
    exchange(
        "produce-same-partition-twice-v13",
        create("@t"),
        _many("@t", (0, Batch((Rec(b"a"),))), (0, Batch((Rec(b"b"),))), version=13),
        fetch("@t"),
    ),
    exchange(
        "produce-same-topic-twice",
        create("@t", 2),
        Call(
            "Produce",
            12,
            {
                "acks": -1,
                "timeout_ms": 1000,
                "topic_data": [
                    {"name": "@t", "partition_data": [{"index": 0, "records": Batch()}]},
                    {"name": "@t", "partition_data": [{"index": 1, "records": Batch()}]},
                ],
            },
        ),
    ),
    exchange(
        "produce-known-and-unknown-topic",
        create("@t"),
        Call(
            "Produce",
            12,
            {
                "acks": -1,
                "timeout_ms": 1000,
                "topic_data": [
                    {"name": "@t", "partition_data": [{"index": 0, "records": Batch()}]},
                    {"name": "@no", "partition_data": [{"index": 0, "records": Batch()}]},
                ],
            },
        ),
    ),
    exchange(
        "produce-known-and-unknown-id",
        create("@t"),
        Call(
            "Produce",
            13,
            {
                "acks": -1,
                "timeout_ms": 1000,
                "topic_data": [
                    {"topic_id": topic_id("@t"), "partition_data": [{"index": 0, "records": Batch()}]},
                    {"topic_id": _UNKNOWN_ID, "partition_data": [{"index": 0, "records": Batch()}]},
                ],
            },
        ),
    ),
    exchange(
        "produce-in-a-row-without-waiting",
        create("@t"),
        [produce("@t", Batch((Rec(str(n).encode()),)), wait=False) for n in range(5)],
        [Await("a")] * 5,
    ),
    exchange("produce-three-batches-one-fetch", create("@t"), filled("@t", "a", "b", "c"), fetch("@t")),
)

CODECS: Final = (
    *(_stored(f"codec-{codec}", produce("@t", Batch(_RECORDS, codec=codec, timestamp=5_000))) for codec in _CODECS),
    _stored("codec-snappy-raw", produce("@t", Batch(_RECORDS, codec="snappy", framing="raw", timestamp=5_000))),
    _stored("codec-zstd-v6", produce("@t", Batch(codec="zstd"), version=6)),
    _stored("codec-zstd-v7", produce("@t", Batch(codec="zstd"), version=7)),
    *(
        _stored(
            f"topic-compression-{kind}-from-{codec}", produce("@t", Batch(_RECORDS, codec=codec)), compression_type=kind
        )
        for kind, codec in (
            ("producer", "gzip"),
            ("uncompressed", "gzip"),
            ("uncompressed", "none"),
            ("gzip", "none"),
            ("gzip", "gzip"),
            ("snappy", "lz4"),
            ("lz4", "none"),
            ("zstd", "snappy"),
        )
    ),
)

SIZES: Final = (
    _stored("max-message-bytes-exact", produce("@t", Batch((Rec(b"x" * 31),))), max_message_bytes="99"),
    _stored("max-message-bytes-one-more", produce("@t", Batch((Rec(b"x" * 32),))), max_message_bytes="99"),
    _stored(
        "max-message-bytes-compressed",
        produce("@t", Batch((Rec(b"x" * 5_000),), codec="gzip")),
        max_message_bytes="200",
    ),
    _stored(
        "max-message-bytes-one-of-two-partitions",
        produce("@t", Batch((Rec(b"x" * 500),))),
        produce("@t"),
        max_message_bytes="200",
    ),
    _stored("max-message-bytes-default", produce("@t", Batch((Rec(b"x" * 1_048_600),)))),
    _stored("max-message-bytes-below-default", produce("@t", Batch((Rec(b"x" * 1_048_400),)))),
    _stored(
        "larger-than-a-segment",
        produce("@t", Batch((Rec(b"x" * 1_100_000),))),
        max_message_bytes="2000000",
        segment_bytes="1048576",
    ),
    exchange(
        "produce-after-max-message-bytes-grows",
        create("@t", max_message_bytes="100"),
        produce("@t", Batch((Rec(b"x" * 200),))),
        alter("@t", ("max.message.bytes", SET, "1000"), hidden=True),
        produce("@t", Batch((Rec(b"x" * 200),)), until={"responses.0.partition_responses.0.error_code": 0}),
    ),
)

TIMESTAMPS: Final = (
    _stored("timestamp-old", produce("@t", Batch(timestamp=0))),
    _stored("timestamp-minus-one", produce("@t", Batch(timestamp=-1))),
    _stored("timestamp-minus-two", produce("@t", Batch(timestamp=-2))),
    _stored("timestamp-now", produce("@t", Batch(timestamp=Now(-120_000)))),
    _stored("timestamp-half-an-hour-ahead", produce("@t", Batch(timestamp=Now(30 * 60_000)))),
    _stored("timestamp-two-hours-ahead", produce("@t", Batch(timestamp=Now(120 * 60_000)))),
    _stored("timestamp-two-hours-ahead-v7", produce("@t", Batch(timestamp=Now(120 * 60_000)), version=7)),
    _stored(
        "timestamp-second-record-ahead", produce("@t", Batch((Rec(), Rec(at=3 * 3_600_000)), timestamp=Now(-120_000)))
    ),
    _stored(
        "timestamp-after-max-widened",
        produce("@t", Batch(timestamp=Now(120 * 60_000))),
        message_timestamp_after_max_ms=str(_DAY_MS),
    ),
    _stored(
        "timestamp-before-max",
        produce("@t", Batch(timestamp=Now(-2 * _DAY_MS))),
        message_timestamp_before_max_ms=str(_DAY_MS),
    ),
    _stored(
        "timestamp-within-before-max",
        produce("@t", Batch(timestamp=Now(-_DAY_MS // 2))),
        message_timestamp_before_max_ms=str(_DAY_MS),
    ),
    _stored("timestamp-compressed-ahead", produce("@t", Batch(codec="gzip", timestamp=Now(120 * 60_000)))),
    _stored("timestamp-max-lies", produce("@t", Batch(header={"max_timestamp": 999_999}))),
    _stored("timestamp-max-lies-far-ahead", produce("@t", Batch(header={"max_timestamp": Now(120 * 60_000)}))),
    _stored("timestamp-max-missing", produce("@t", Batch(header={"max_timestamp": -1}))),
    _stored("log-append-time", produce("@t", Batch(_RECORDS, timestamp=5_000)), message_timestamp_type="LogAppendTime"),
    _stored(
        "log-append-time-gzip", produce("@t", Batch(_RECORDS, codec="gzip")), message_timestamp_type="LogAppendTime"
    ),
    _stored(
        "log-append-time-future",
        produce("@t", Batch(timestamp=Now(120 * 60_000))),
        message_timestamp_type="LogAppendTime",
    ),
    _stored("log-append-time-v3", produce("@t", version=3), message_timestamp_type="LogAppendTime"),
    _stored("log-append-time-bit-from-client", produce("@t", Batch(attributes=LOG_APPEND_TIME))),
    _stored(
        "log-append-time-bit-from-client-on-such-a-topic",
        produce("@t", Batch(attributes=LOG_APPEND_TIME)),
        message_timestamp_type="LogAppendTime",
    ),
    _stored("log-append-time-bit-from-client-gzip", produce("@t", Batch(codec="gzip", attributes=LOG_APPEND_TIME))),
)

KEYS: Final = (
    _stored("compacted-with-key", produce("@t", Batch((Rec(b"v", b"k"),))), cleanup_policy="compact"),
    _stored(
        "compacted-null-key", produce("@t", Batch((Rec(b"v", b"k"), Rec(b"v"), Rec(b"v")))), cleanup_policy="compact"
    ),
    _stored("compacted-null-key-v7", produce("@t", Batch((Rec(b"v"),)), version=7), cleanup_policy="compact"),
    _stored(
        "compacted-null-key-gzip",
        produce("@t", Batch((Rec(b"v", b"k"), Rec(b"v")), codec="gzip")),
        cleanup_policy="compact",
    ),
    _stored("compacted-empty-key", produce("@t", Batch((Rec(b"v", b""),))), cleanup_policy="compact"),
    _stored("compacted-tombstone", produce("@t", Batch((Rec(None, b"k"),))), cleanup_policy="compact"),
    _stored("compact-and-delete-null-key", produce("@t"), cleanup_policy="compact,delete"),
    exchange(
        "produce-becomes-compacted",
        create("@t"),
        produce("@t"),
        alter("@t", ("cleanup.policy", SET, "compact"), hidden=True),
        produce("@t", until={"responses.0.partition_responses.0.error_code": 87}),
    ),
    exchange("produce-to-offsets-topic", produce("__consumer_offsets")),
    exchange("produce-to-transactions-topic", produce("__transaction_state")),
    exchange(
        "produce-transactional-id-without-transactional-batch", create("@t"), produce("@t", transactional_id="txn")
    ),
)

EXCHANGES: Final[tuple[Exchange, ...]] = (
    *VERSIONS,
    *ACKS,
    *SEVERAL,
    *CODECS,
    *SIZES,
    *TIMESTAMPS,
    *KEYS,
)
