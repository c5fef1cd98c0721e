"""Frames that are not what they should be; reliability matrix 5a. After each one, a new connection must work."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any, Final

from tests.oracle.exchange import Call, Exchange, Raw, exchange
from tests.oracle.vocabulary import create, fetch, list_offsets, metadata, produce

_ALIVE: Final = Call("Metadata", 9, {"topics": []}, on="b")


def _raw(label: str, data: bytes) -> Exchange:
    return exchange(f"frame-{label}", Raw(data, what=label), _ALIVE)


def _framed(data: bytes) -> bytes:
    return struct.pack(">i", len(data)) + data


def _header(key: int, version: int, client_id: bytes | None = b"x") -> bytes:
    if client_id is None:
        return struct.pack(">hhih", key, version, 7, -1)
    return struct.pack(">hhih", key, version, 7, len(client_id)) + client_id


def _spoiled(label: str, call: Call) -> Exchange:
    return exchange(f"frame-{label}", replace(call, own=True), _ALIVE)


SIZES: Final = (
    _raw("size-negative", struct.pack(">i", -1)),
    _raw("size-minimum", struct.pack(">i", -(2**31))),
    _raw("size-above-the-limit", struct.pack(">i", 104_857_601)),
    _raw("size-maximum", struct.pack(">i", 2**31 - 1)),
    _raw("size-zero", struct.pack(">i", 0)),
    _raw("http-post", b"POST / HTTP/1.1\r\nHost: x\r\n\r\n"),
    _raw("tls-hello", bytes.fromhex("16030100c5010000c10303") + b"\0" * 200),
    _raw("ssh", b"SSH-2.0-OpenSSH_9.2\r\n"),
)

HEADERS: Final = (
    _raw("one-byte", _framed(b"\0")),
    _raw("seven-bytes", _framed(b"\0" * 7)),
    _raw("header-without-client-id", _framed(struct.pack(">hhi", 3, 0, 7))),
    _raw("client-id-longer-than-the-frame", _framed(struct.pack(">hhih", 3, 0, 7, 500))),
    _raw("client-id-length-minus-two", _framed(struct.pack(">hhih", 3, 0, 7, -2) + b"\0" * 8)),
    _raw("key-unknown", _framed(_header(999, 0))),
    _raw("key-minus-one", _framed(_header(-1, 0))),
    _raw("key-of-the-controller", _framed(_header(52, 0))),
    _raw("key-leader-and-isr-of-zookeeper-times", _framed(_header(4, 0))),
    _raw("key-sasl-handshake-on-plaintext-cut", _framed(_header(17, 1))),
    *(
        _raw(f"version-{label}-{name}", _framed(_header(key, version) + b"\0" * 16))
        for name, key, label, version in (
            ("metadata", 3, "14", 14),
            ("metadata", 3, "minus-one", -1),
            ("fetch", 1, "0", 0),
            ("fetch", 1, "32767", 32767),
            ("list-offsets", 2, "0", 0),
            ("create-topics", 19, "1", 1),
            ("delete-topics", 20, "0", 0),
            ("describe-configs", 32, "0", 0),
            ("describe-log-dirs", 35, "0", 0),
            ("find-coordinator", 10, "7", 7),
        )
    ),
    exchange("frame-client-id-not-utf8", Raw(_framed(_header(18, 0, b"\xff\xfe")), what="ApiVersions"), _ALIVE),
    exchange("frame-client-id-null", Call("ApiVersions", 1, client_id=None)),
    exchange("frame-client-id-empty", Call("ApiVersions", 1, client_id="")),
    exchange("frame-client-id-long", Call("Metadata", 9, {"topics": []}, client_id="c" * 5_000)),
)


def _cut(name: str, call: Any) -> list[Exchange]:
    """The request of `call(**spoil)` with its last byte cut, half its bytes cut, and bytes behind it."""
    return [
        exchange(f"frame-{name}-cut-by-one", call(cut=1), _ALIVE),
        exchange(f"frame-{name}-cut-by-nine", call(cut=9), _ALIVE),
        exchange(f"frame-{name}-with-trailing-bytes", call(extra=b"\0trailing")),
    ]


_BODIES: Final[tuple[tuple[str, str, int, dict[str, Any]], ...]] = (
    ("metadata-v4", "Metadata", 4, {"topics": [{"name": "no"}], "allow_auto_topic_creation": False}),
    ("metadata-v12", "Metadata", 12, {"topics": [{"name": "no"}], "allow_auto_topic_creation": False}),
    (
        "create-topics-v7",
        "CreateTopics",
        7,
        {"topics": [{"name": "no/no", "num_partitions": 1, "replication_factor": 1}]},
    ),
    ("delete-topics-v6", "DeleteTopics", 6, {"topics": [{"name": "no/no"}], "timeout_ms": 10_000}),
    ("create-partitions-v3", "CreatePartitions", 3, {"topics": [{"name": "no/no", "count": 2}], "timeout_ms": 10_000}),
    ("describe-configs-v4", "DescribeConfigs", 4, {"resources": [{"resource_type": 2, "resource_name": "no/no"}]}),
    (
        "incremental-alter-configs-v1",
        "IncrementalAlterConfigs",
        1,
        {"resources": [{"resource_type": 2, "resource_name": "no/no", "configs": [{"name": "n", "value": "v"}]}]},
    ),
    ("init-producer-id-v0", "InitProducerId", 0, {"transactional_id": "", "transaction_timeout_ms": 1000}),
    ("delete-records-v2", "DeleteRecords", 2, {"topics": [{"name": "no/no", "partitions": [{"partition_index": 0}]}]}),
    (
        "offset-for-leader-epoch-v4",
        "OffsetForLeaderEpoch",
        4,
        {"topics": [{"topic": "no/no", "partitions": [{"partition": 0}]}]},
    ),
    ("describe-cluster-v1", "DescribeCluster", 1, {"endpoint_type": 1}),
    ("describe-topic-partitions-v0", "DescribeTopicPartitions", 0, {"topics": [{"name": "no"}]}),
    ("describe-producers-v0", "DescribeProducers", 0, {"topics": [{"name": "no/no", "partition_indexes": [0]}]}),
    ("describe-log-dirs-v4", "DescribeLogDirs", 4, {"topics": [{"topic": "no/no", "partitions": [0]}]}),
)


def _body(api: str, version: int, fields: dict[str, Any]) -> Any:
    def call(**spoil: Any) -> Call:
        return Call(api, version, fields, **spoil)

    return call


BODIES: Final = (
    *(spoiled for name, api, version, fields in _BODIES for spoiled in _cut(name, _body(api, version, fields))),
    *(
        spoiled
        for name, call in (
            ("produce-v7", lambda **spoil: produce("@no", version=7, **spoil)),
            ("produce-v12", lambda **spoil: produce("@no", **spoil)),
            ("fetch-v11", lambda **spoil: fetch("@no", version=11, **spoil)),
            ("fetch-v12", lambda **spoil: fetch("@no", version=12, **spoil)),
            ("list-offsets-v1", lambda **spoil: list_offsets("@no", version=1, **spoil)),
            ("list-offsets-v7", lambda **spoil: list_offsets("@no", **spoil)),
        )
        for spoiled in _cut(name, call)
    ),
)

_NULL_COUNT: Final = b"\xff\xff\xff\xff"

FIELDS: Final = (
    # Metadata v1 begins with an int32 count of topics, v9 with a compact one.
    _spoiled("count-beyond-the-bytes", Call("Metadata", 1, {"topics": []}, patch=((0, b"\x7f\xff\xff\xff"),))),
    _spoiled("count-negative", Call("Metadata", 1, {"topics": []}, patch=((0, b"\x80\0\0\0"),))),
    _spoiled("count-minus-two", Call("Metadata", 1, {"topics": []}, patch=((0, b"\xff\xff\xff\xfe"),))),
    _spoiled("null-where-an-array-must-be", Call("Metadata", 0, {"topics": []}, patch=((0, _NULL_COUNT),))),
    _spoiled("compact-count-beyond-the-bytes", Call("Metadata", 9, {"topics": []}, patch=((0, b"\x7e"),))),
    _spoiled(
        "compact-count-five-bytes-long",
        Call("Metadata", 9, {"topics": []}, cut=5, extra=b"\xff\xff\xff\xff\x0f\0\0\0\0"),
    ),
    _spoiled(
        "compact-count-varint-too-long", Call("Metadata", 9, {"topics": []}, cut=5, extra=b"\xff" * 11 + b"\0\0\0\0")
    ),
    _spoiled(
        "string-length-beyond-the-bytes", Call("Metadata", 1, {"topics": [{"name": "abc"}]}, patch=((4, b"\x7f\xff"),))
    ),
    _spoiled(
        "string-null-where-a-name-must-be",
        Call("Metadata", 1, {"topics": [{"name": "abc"}]}, patch=((4, b"\xff\xff"),)),
    ),
    _spoiled(
        "compact-string-null-where-a-name-must-be",
        Call("Metadata", 9, {"topics": [{"name": "abc"}]}, patch=((1, b"\0"),)),
    ),
    _spoiled(
        "string-not-utf8",
        Call(
            "Metadata", 9, {"topics": [{"name": "abc"}], "allow_auto_topic_creation": False}, patch=((2, b"\xff\xfe"),)
        ),
    ),
    _spoiled(
        "tagged-field-unknown",
        Call("Metadata", 9, {"topics": [], "allow_auto_topic_creation": False}, cut=1, extra=b"\x01\x63\x02hi"),
    ),
    _spoiled(
        "tagged-fields-two-unknown",
        Call("Metadata", 9, {"topics": [], "allow_auto_topic_creation": False}, cut=1, extra=b"\x02\x05\x00\x63\x02hi"),
    ),
    _spoiled("tagged-field-size-beyond-the-bytes", Call("Metadata", 9, {"topics": []}, cut=1, extra=b"\x01\x63\x7fhi")),
    _spoiled("tagged-field-count-beyond-the-bytes", Call("Metadata", 9, {"topics": []}, cut=1, extra=b"\x7f")),
    _spoiled(
        "tagged-fields-out-of-order",
        Call("Metadata", 9, {"topics": [], "allow_auto_topic_creation": False}, cut=1, extra=b"\x02\x63\x00\x05\x00"),
    ),
    _spoiled(
        "tagged-field-twice",
        Call("Metadata", 9, {"topics": [], "allow_auto_topic_creation": False}, cut=1, extra=b"\x02\x63\x00\x63\x00"),
    ),
    _spoiled(
        "boolean-neither-0-nor-1",
        Call("Metadata", 4, {"topics": [], "allow_auto_topic_creation": False}, patch=((-1, b"\x07"),)),
    ),
)

ORDER: Final = (
    exchange(
        "frame-bad-frame-after-a-good-answer",
        create("@t"),
        metadata("@t"),
        Raw(_framed(_header(999, 0)), what="unknown key"),
        metadata("@t"),
    ),
)

EXCHANGES: Final[tuple[Exchange, ...]] = (*SIZES, *HEADERS, *BODIES, *FIELDS, *ORDER)
