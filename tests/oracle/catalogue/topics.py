"""CreateTopics, DeleteTopics, CreatePartitions: names, counts, assignments, configs, and what follows a deletion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from tests.oracle.exchange import NODE, Await, Call, Exchange, Padded, Saved, exchange, topic_id
from tests.oracle.vocabulary import (
    EARLIEST,
    configs,
    create,
    delete,
    fetch,
    filled,
    gone,
    list_offsets,
    metadata,
    produce,
    ready,
)


def _wanted(
    name: Any,
    partitions: int = 1,
    replicas: int = 1,
    settings: Mapping[str, str | None] | None = None,
    assignments: Sequence[tuple[int, Sequence[Any]]] = (),
) -> dict[str, Any]:
    return {
        "name": name,
        "num_partitions": partitions,
        "replication_factor": replicas,
        "configs": configs(settings or {}),
        "assignments": [{"partition_index": index, "broker_ids": brokers} for index, brokers in assignments],
    }


def _create(*topics: Mapping[str, Any], version: int = 7, validate_only: bool = False, **call: Any) -> Call:
    return Call(
        "CreateTopics", version, {"topics": topics, "timeout_ms": 10_000, "validate_only": validate_only}, **call
    )


def _creation(label: str, *topics: Mapping[str, Any], **call: Any) -> Exchange:
    return exchange(f"create-topics-{label}", _create(*topics, **call))


_NAMES: Final = (
    ("empty", ""),
    ("dot", "."),
    ("dots", ".."),
    ("slash", "a/b"),
    ("colon", "a:b"),
    ("space", "a b"),
    ("newline", "a\nb"),
    ("nul", "a\0b"),
    ("unicode", "thème"),
)
_CONFIGS: Final = (
    ("unknown-name", {"no.such.config": "1"}),
    ("wrong-type", {"retention.ms": "soon"}),
    ("empty-number", {"retention.ms": ""}),
    ("retention-below-minus-one", {"retention.ms": "-2"}),
    ("retention-overflow", {"retention.ms": "9223372036854775808"}),
    ("segment-bytes-zero", {"segment.bytes": "0"}),
    ("segment-bytes-overflow", {"segment.bytes": "2147483648"}),
    ("cleanup-policy-unknown", {"cleanup.policy": "compress"}),
    ("cleanup-policy-both", {"cleanup.policy": "compact,delete"}),
    ("cleanup-policy-twice", {"cleanup.policy": "delete,delete"}),
    ("cleanup-policy-empty", {"cleanup.policy": ""}),
    ("compression-unknown", {"compression.type": "brotli"}),
    ("compression-zstd", {"compression.type": "zstd"}),
    ("compression-level-too-high", {"compression.type": "gzip", "compression.gzip.level": "10"}),
    ("timestamp-type-unknown", {"message.timestamp.type": "Whenever"}),
    ("dirty-ratio-above-one", {"min.cleanable.dirty.ratio": "1.5"}),
    ("dirty-ratio-nan", {"min.cleanable.dirty.ratio": "NaN"}),
    ("boolean-wrong", {"preallocate": "yes"}),
    ("boolean-in-capitals", {"preallocate": "TRUE"}),
    ("min-insync-zero", {"min.insync.replicas": "0"}),
    ("min-insync-above-replicas", {"min.insync.replicas": "2"}),
    ("max-message-bytes-negative", {"max.message.bytes": "-1"}),
    ("number-with-spaces", {"retention.ms": " 1000 "}),
    ("number-with-plus", {"retention.ms": "+1000"}),
    ("number-as-float", {"retention.ms": "1000.0"}),
    ("null-value", {"retention.ms": None}),
    ("remote-storage", {"remote.storage.enable": "true"}),
    ("lag-above-max-lag", {"min.compaction.lag.ms": "10", "max.compaction.lag.ms": "5"}),
    ("throttled-replicas", {"leader.replication.throttled.replicas": "0:1,1:2"}),
    ("throttled-replicas-bad", {"leader.replication.throttled.replicas": "all"}),
    ("segment-bytes-below-a-megabyte", {"segment.bytes": "1000"}),
    ("index-interval-negative", {"index.interval.bytes": "-5"}),
    ("two-good", {"retention.ms": "1000", "segment.bytes": "2000000"}),
)

CREATE_TOPICS: Final = (
    *(
        exchange(f"create-topics-v{version}", _create(_wanted("@t", 2, 1, {"retention.ms": "1000"}), version=version))
        for version in range(2, 8)
    ),
    *(_creation(f"invalid-name-{label}", _wanted(name)) for label, name in _NAMES),
    *(_creation(f"config-{label}", _wanted("@t", settings=settings)) for label, settings in _CONFIGS),
    _creation("name-249", _wanted(Padded("@t", 249))),
    _creation("name-250", _wanted(Padded("@t", 250))),
    _creation("name-with-every-legal-character", _wanted("@aZ09._-")),
    exchange("create-topics-name-collides-dot", create("@a_b"), _create(_wanted("@a.b"))),
    exchange("create-topics-name-collides-underscore", create("@a.b"), _create(_wanted("@a_b"))),
    _creation("name-collides-in-one-request", _wanted("@a.b"), _wanted("@a_b")),
    _creation("defaults", _wanted("@t", -1, -1)),
    _creation("defaults-v4", _wanted("@t", -1, -1), version=4),
    _creation("defaults-v3", _wanted("@t", -1, -1), version=3),
    _creation("partitions-zero", _wanted("@t", 0)),
    _creation("partitions-minus-two", _wanted("@t", -2)),
    _creation("partitions-a-billion", _wanted("@t", 1_000_000_000)),
    _creation("partitions-above-request-limit", _wanted("@t", 10_001)),
    _creation("replicas-zero", _wanted("@t", 1, 0)),
    _creation("replicas-minus-two", _wanted("@t", 1, -2)),
    _creation("replicas-more-than-brokers", _wanted("@t", 1, 2)),
    _creation("replicas-32767", _wanted("@t", 1, 32767)),
    _creation("none"),
    _creation("same-name-twice", _wanted("@t"), _wanted("@t")),
    _creation("same-name-twice-beside-a-good-one", _wanted("@t"), _wanted("@u"), _wanted("@t")),
    _creation("good-and-bad", _wanted("@t"), _wanted("a/b"), _wanted("@u", 0)),
    exchange("create-topics-exists", create("@t"), _create(_wanted("@t"))),
    exchange("create-topics-exists-bad-config", create("@t"), _create(_wanted("@t", settings={"nonsense": "1"}))),
    exchange("create-topics-exists-and-new", create("@t"), _create(_wanted("@u"), _wanted("@t"))),
    exchange(
        "create-topics-validate-only",
        _create(_wanted("@t", 3), validate_only=True),
        metadata("@t"),
    ),
    _creation("validate-only-v2", _wanted("@t", 3), validate_only=True, version=2),
    _creation("validate-only-bad-config", _wanted("@t", settings={"retention.ms": "x"}), validate_only=True),
    exchange("create-topics-validate-only-exists", create("@t"), _create(_wanted("@t"), validate_only=True)),
    exchange(
        "create-topics-assigned",
        _create(_wanted("@t", -1, -1, assignments=[(0, [NODE]), (1, [NODE])])),
        ready("@t", 2),
        metadata("@t"),
    ),
    *(
        _creation(f"assigned-{label}", _wanted("@t", partitions, replicas, assignments=assignments))
        for label, partitions, replicas, assignments in (
            ("with-counts", 1, 1, [(0, [NODE])]),
            ("with-partition-count", 1, -1, [(0, [NODE])]),
            ("unknown-broker", -1, -1, [(0, [99])]),
            ("negative-broker", -1, -1, [(0, [-1])]),
            ("same-broker-twice", -1, -1, [(0, [NODE, NODE])]),
            ("no-brokers", -1, -1, [(0, [])]),
            ("same-partition-twice", -1, -1, [(0, [NODE]), (0, [NODE])]),
            ("gap", -1, -1, [(0, [NODE]), (2, [NODE])]),
            ("not-from-zero", -1, -1, [(1, [NODE])]),
            ("uneven", -1, -1, [(0, [NODE]), (1, [])]),
        )
    ),
    _creation("same-config-twice", {**_wanted("@t"), "configs": [{"name": "retention.ms", "value": "1"}] * 2}),
    exchange(
        "create-topics-timeout-zero",
        Call("CreateTopics", 7, {"topics": [_wanted("@t")], "timeout_ms": 0}),
    ),
    exchange("create-topics-no-creation-from-an-old-client", _create(_wanted("@t"), version=2, claim_version=1)),
)


def _delete(version: int, *names: str, **call: Any) -> Call:
    if version < 6:
        return Call("DeleteTopics", version, {"topic_names": names, "timeout_ms": 10_000}, **call)
    return Call("DeleteTopics", version, {"topics": [{"name": name} for name in names], "timeout_ms": 10_000}, **call)


def _delete_states(*states: Mapping[str, Any], **call: Any) -> Call:
    return Call("DeleteTopics", 6, {"topics": states, "timeout_ms": 10_000}, **call)


_UNKNOWN_ID: Final = UUID(int=0xBEEF)

DELETE_TOPICS: Final = (
    *(
        exchange(f"delete-topics-v{version}", create("@t"), _delete(version, "@t"), gone("@t"), _delete(version, "@t"))
        for version in range(1, 7)
    ),
    exchange(
        "delete-topics-by-id", create("@t"), _delete_states({"topic_id": topic_id("@t")}), gone("@t"), metadata("@t")
    ),
    exchange("delete-topics-unknown-id", _delete_states({"topic_id": _UNKNOWN_ID})),
    exchange("delete-topics-neither-name-nor-id", _delete_states({})),
    exchange(
        "delete-topics-both-name-and-id", create("@t"), _delete_states({"name": "@t", "topic_id": topic_id("@t")})
    ),
    exchange("delete-topics-name-and-wrong-id", create("@t"), _delete_states({"name": "@t", "topic_id": _UNKNOWN_ID})),
    exchange("delete-topics-same-name-twice", create("@t"), _delete(6, "@t", "@t")),
    exchange(
        "delete-topics-same-id-twice",
        create("@t"),
        _delete_states({"topic_id": topic_id("@t")}, {"topic_id": topic_id("@t")}),
    ),
    exchange(
        "delete-topics-by-name-and-id-at-once",
        create("@t"),
        _delete_states({"name": "@t"}, {"topic_id": topic_id("@t")}),
    ),
    exchange("delete-topics-good-and-unknown", create("@t"), _delete(5, "@t", "@no")),
    exchange("delete-topics-none", _delete(6)),
    exchange("delete-topics-empty-name", _delete(6, "")),
    exchange("delete-topics-invalid-name", _delete(6, "a/b")),
    exchange(
        "delete-topics-old-id-after-recreation",
        create("@t"),
        metadata("@t", save={"old": "topics.0.topic_id"}),
        delete("@t"),
        create("@t"),
        _delete_states({"topic_id": Saved("old")}),
        metadata("@t"),
    ),
)

AFTER_DELETION: Final = (
    exchange(
        "deleted-then-produce", create("@t"), filled("@t", "a"), delete("@t"), produce("@t"), produce("@t", version=13)
    ),
    exchange("deleted-then-fetch", create("@t"), filled("@t", "a"), delete("@t"), fetch("@t"), fetch("@t", version=13)),
    exchange("deleted-then-list-offsets", create("@t"), filled("@t", "a"), delete("@t"), list_offsets("@t")),
    exchange(
        "recreated-then-read",
        create("@t"),
        filled("@t", "old", "older"),
        delete("@t"),
        create("@t"),
        list_offsets("@t"),
        list_offsets("@t", EARLIEST),
        fetch("@t"),
        produce("@t"),
        fetch("@t", version=13),
    ),
    exchange(
        "recreated-then-old-id",
        create("@t"),
        metadata("@t", save={"old": "topics.0.topic_id"}, hidden=True),
        filled("@t", "a"),
        delete("@t"),
        create("@t"),
        fetch(Saved("old"), version=13),
        Call(
            "Produce",
            13,
            {
                "acks": -1,
                "timeout_ms": 1000,
                "topic_data": [{"topic_id": Saved("old"), "partition_data": [{"index": 0, "records": b""}]}],
            },
        ),
        fetch("@t", version=13),
    ),
    exchange(
        "deleted-while-a-fetch-waits",
        create("@t"),
        metadata("@t", hidden=True, on="b"),
        fetch("@t", max_wait_ms=500, wait=False),
        Call("DeleteTopics", 6, {"topics": [{"name": "@t"}], "timeout_ms": 10_000}, on="b"),
        Await("a"),
    ),
)


def _grow(
    topic: str,
    count: int,
    *,
    version: int = 3,
    assignments: Sequence[Sequence[Any]] | None = None,
    validate_only: bool = False,
    **call: Any,
) -> Call:
    placed = None if assignments is None else [{"broker_ids": brokers} for brokers in assignments]
    fields = {
        "topics": [{"name": topic, "count": count, "assignments": placed}],
        "timeout_ms": 10_000,
        "validate_only": validate_only,
    }
    return Call("CreatePartitions", version, fields, **call)


CREATE_PARTITIONS: Final = (
    *(
        exchange(
            f"create-partitions-v{version}",
            create("@t"),
            _grow("@t", 3, version=version),
            ready("@t", 3),
            metadata("@t"),
        )
        for version in range(4)
    ),
    *(
        exchange(f"create-partitions-{label}", create("@t", 2), _grow("@t", count, assignments=assignments))
        for label, count, assignments in (
            ("same-count", 2, None),
            ("fewer", 1, None),
            ("zero", 0, None),
            ("negative", -1, None),
            ("a-billion", 1_000_000_000, None),
            ("assigned", 3, [[NODE]]),
            ("assigned-too-few", 4, [[NODE]]),
            ("assigned-too-many", 3, [[NODE], [NODE]]),
            ("assigned-none", 3, []),
            ("assigned-unknown-broker", 3, [[99]]),
            ("assigned-same-broker-twice", 3, [[NODE, NODE]]),
            ("assigned-no-brokers", 3, [[]]),
        )
    ),
    exchange("create-partitions-unknown-topic", _grow("@no", 3)),
    exchange("create-partitions-invalid-name", _grow("a/b", 3)),
    exchange("create-partitions-validate-only", create("@t"), _grow("@t", 3, validate_only=True), metadata("@t")),
    exchange("create-partitions-validate-only-fewer", create("@t", 2), _grow("@t", 1, validate_only=True)),
    exchange("create-partitions-none", Call("CreatePartitions", 3, {"topics": [], "timeout_ms": 1000})),
    exchange(
        "create-partitions-same-topic-twice",
        create("@t"),
        create("@u"),
        Call(
            "CreatePartitions",
            3,
            {
                "topics": [
                    {"name": "@t", "count": 2, "assignments": None},
                    {"name": "@t", "count": 3, "assignments": None},
                    {"name": "@u", "count": 2, "assignments": None},
                ],
                "timeout_ms": 10_000,
            },
        ),
    ),
    exchange(
        "create-partitions-then-use-them",
        create("@t"),
        _grow("@t", 2),
        ready("@t", 2),
        produce("@t", partition=1),
        fetch("@t", partition=1),
        produce("@t", partition=2),
    ),
)

EXCHANGES: Final[tuple[Exchange, ...]] = (
    *CREATE_TOPICS,
    *DELETE_TOPICS,
    *AFTER_DELETION,
    *CREATE_PARTITIONS,
)
