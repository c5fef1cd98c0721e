"""Fetch without sessions: versions, offsets, limits, waiting, isolation, leader epochs, followers, deletions of records."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from tests.oracle.batches import Batch, Rec
from tests.oracle.exchange import Await, Call, Exchange, Steps, exchange, topic_id
from tests.oracle.vocabulary import (
    create,
    delete_records,
    fetch,
    fetch_session,
    filled,
    list_offsets,
    metadata,
    produce,
)

_UNKNOWN_ID: Final = UUID(int=0xBEEF)
_INT32_MAX: Final = 2**31 - 1
_LARGE: Final = Batch((Rec(b"x" * 5_000),))
_THREE: Final = Batch((Rec(b"a"), Rec(b"b"), Rec(b"c")))


def _on_three(label: str, *steps: Steps) -> Exchange:
    """A log of three batches of one record each."""
    return exchange(f"fetch-{label}", create("@t"), filled("@t", "a", "b", "c"), steps)


VERSIONS: Final = (
    *(
        exchange(f"fetch-v{version}", create("@t"), filled("@t", "a", "b"), fetch("@t", version=version))
        for version in range(4, 19)
    ),
    *(exchange(f"fetch-unknown-topic-v{version}", fetch("@no", version=version)) for version in (4, 7, 11, 12)),
    *(
        exchange(f"fetch-empty-log-v{version}", create("@t"), fetch("@t", version=version))
        for version in (4, 11, 13, 18)
    ),
    exchange(
        "fetch-unknown-id",
        fetch_session(
            [{"topic_id": _UNKNOWN_ID, "partitions": [{"partition": 0, "partition_max_bytes": 1000}]}], version=13
        ),
    ),
    exchange(
        "fetch-zero-id", fetch_session([{"partitions": [{"partition": 0, "partition_max_bytes": 1000}]}], version=16)
    ),
    exchange("fetch-unknown-partition", create("@t"), fetch("@t", partition=3), fetch("@t", partition=3, version=16)),
    exchange("fetch-negative-partition", create("@t"), fetch("@t", partition=-1)),
    exchange("fetch-invalid-topic-name", fetch("a/b")),
    exchange("fetch-nothing", fetch_session([])),
    exchange("fetch-nothing-v18", fetch_session([], version=18)),
    exchange("fetch-nothing-waits-not", fetch_session([], max_wait_ms=2_000, timed_ms=2_000)),
    exchange("fetch-topic-without-partitions", create("@t"), fetch_session([{"topic": "@t", "partitions": []}])),
    exchange("fetch-version-3-is-gone", create("@t"), fetch("@t", version=4, claim_version=3)),
    exchange("fetch-version-19", create("@t"), fetch("@t", version=18, claim_version=19)),
)

OFFSETS: Final = (
    *(_on_three(f"offset-{offset}", fetch("@t", offset)) for offset in (0, 1, 2, 3)),
    _on_three("offset-past-the-end", fetch("@t", 4)),
    _on_three("offset-past-the-end-v4", fetch("@t", 4, version=4)),
    _on_three("offset-past-the-end-waits-not", fetch("@t", 4, max_wait_ms=2_000, timed_ms=2_000)),
    _on_three("offset-minus-one", fetch("@t", -1)),
    _on_three("offset-minus-two", fetch("@t", -2)),
    _on_three("offset-maximum", fetch("@t", 2**63 - 1)),
    exchange(
        "fetch-inside-a-batch",
        create("@t"),
        produce("@t", _THREE, hidden=True),
        filled("@t", "d"),
        fetch("@t", 1),
        fetch("@t", 2),
    ),
    exchange(
        "fetch-inside-a-compressed-batch",
        create("@t"),
        produce("@t", Batch((Rec(b"a"), Rec(b"b"), Rec(b"c")), codec="gzip"), hidden=True),
        fetch("@t", 1),
    ),
    exchange(
        "fetch-below-log-start",
        create("@t"),
        filled("@t", "a", "b", "c"),
        delete_records("@t", 2),
        fetch("@t", 1),
        fetch("@t", 2),
        fetch("@t", 2, version=4),
    ),
    exchange(
        "fetch-inside-a-batch-after-delete-records",
        create("@t"),
        produce("@t", _THREE, hidden=True),
        delete_records("@t", 1),
        fetch("@t", 0),
        fetch("@t", 1),
    ),
    exchange(
        "fetch-after-deleting-everything",
        create("@t"),
        filled("@t", "a", "b"),
        delete_records("@t", -1),
        fetch("@t", 2),
        fetch("@t", 0),
        produce("@t"),
        fetch("@t", 2),
    ),
)

LIMITS: Final = (
    _on_three("partition-max-bytes-one", fetch("@t", partition_max_bytes=1)),
    _on_three("partition-max-bytes-zero", fetch("@t", partition_max_bytes=0)),
    _on_three("partition-max-bytes-negative", fetch("@t", partition_max_bytes=-1)),
    _on_three("partition-max-bytes-for-one", fetch("@t", partition_max_bytes=70)),
    _on_three("partition-max-bytes-for-two-less-one", fetch("@t", partition_max_bytes=137)),
    _on_three("partition-max-bytes-for-two", fetch("@t", partition_max_bytes=138)),
    _on_three("max-bytes-one", fetch("@t", max_bytes=1)),
    _on_three("max-bytes-zero", fetch("@t", max_bytes=0)),
    _on_three("max-bytes-negative", fetch("@t", max_bytes=-1)),
    _on_three("max-bytes-for-two", fetch("@t", max_bytes=138)),
    _on_three("max-bytes-maximum", fetch("@t", max_bytes=_INT32_MAX, partition_max_bytes=_INT32_MAX)),
    exchange(
        "fetch-first-batch-larger-than-all-limits",
        create("@t"),
        produce("@t", _LARGE, hidden=True),
        filled("@t", "b"),
        fetch("@t", max_bytes=10, partition_max_bytes=10),
    ),
    exchange(
        "fetch-second-batch-larger-than-the-rest",
        create("@t"),
        filled("@t", "a"),
        produce("@t", _LARGE, hidden=True),
        fetch("@t", partition_max_bytes=500),
    ),
    *(
        exchange(
            f"fetch-two-partitions-{label}",
            create("@t", 2),
            filled("@t", "a", "b"),
            filled("@t", "c", "d", partition=1),
            fetch_session(
                [
                    {
                        "topic": "@t",
                        "partitions": [
                            {"partition": index, "partition_max_bytes": each} for index in (first, 1 - first)
                        ],
                    }
                ],
                max_bytes=overall,
            ),
        )
        for label, first, each, overall in (
            ("enough", 0, 10_000, 10_000),
            ("one-byte-overall", 0, 10_000, 1),
            ("one-byte-overall-second-first", 1, 10_000, 1),
            ("one-byte-each", 0, 1, 10_000),
            ("three-batches-overall", 0, 10_000, 69 * 3),
            ("one-batch-each", 0, 69, 10_000),
        )
    ),
    exchange(
        "fetch-two-partitions-first-empty",
        create("@t", 2),
        filled("@t", "c", "d", partition=1),
        fetch_session(
            [{"topic": "@t", "partitions": [{"partition": index, "partition_max_bytes": 1} for index in (0, 1)]}],
            max_bytes=1,
        ),
    ),
    exchange(
        "fetch-same-partition-twice",
        create("@t"),
        filled("@t", "a", "b"),
        fetch_session(
            [
                {
                    "topic": "@t",
                    "partitions": [
                        {"partition": 0, "partition_max_bytes": 1000},
                        {"partition": 0, "fetch_offset": 1, "partition_max_bytes": 1000},
                    ],
                }
            ]
        ),
    ),
    exchange(
        "fetch-good-and-unknown",
        create("@t"),
        filled("@t", "a"),
        fetch_session(
            [
                {"topic": "@t", "partitions": [{"partition": index, "partition_max_bytes": 1000} for index in (0, 5)]},
                {"topic": "@no", "partitions": [{"partition": 0, "partition_max_bytes": 1000}]},
            ],
            max_wait_ms=2_000,
            timed_ms=2_000,
        ),
    ),
)

WAITING: Final = (
    exchange("fetch-waits-for-max-wait", create("@t"), fetch("@t", max_wait_ms=150, timed_ms=150)),
    exchange(
        "fetch-min-bytes-zero-waits-not", create("@t"), fetch("@t", max_wait_ms=2_000, min_bytes=0, timed_ms=2_000)
    ),
    exchange(
        "fetch-min-bytes-negative-waits-not", create("@t"), fetch("@t", max_wait_ms=2_000, min_bytes=-1, timed_ms=2_000)
    ),
    exchange("fetch-max-wait-zero", create("@t"), fetch("@t", max_wait_ms=0, min_bytes=1_000)),
    exchange("fetch-max-wait-negative", create("@t"), fetch("@t", max_wait_ms=-1, min_bytes=1_000)),
    _on_three("min-bytes-reached", fetch("@t", max_wait_ms=2_000, min_bytes=207, timed_ms=2_000)),
    _on_three("min-bytes-not-reached", fetch("@t", max_wait_ms=150, min_bytes=208, timed_ms=150)),
    _on_three(
        "min-bytes-above-partition-max-bytes",
        fetch("@t", max_wait_ms=150, min_bytes=200, partition_max_bytes=100, timed_ms=150),
    ),
    _on_three("min-bytes-above-max-bytes", fetch("@t", max_wait_ms=150, min_bytes=200, max_bytes=100, timed_ms=150)),
    exchange(
        "fetch-woken-by-a-produce",
        create("@t"),
        metadata("@t", on="b", hidden=True),
        fetch("@t", max_wait_ms=3_000, timed_ms=3_000, wait=False),
        produce("@t", on="b"),
        Await("a"),
    ),
    exchange(
        "fetch-woken-by-enough-only",
        create("@t"),
        metadata("@t", on="b", hidden=True),
        fetch("@t", max_wait_ms=3_000, min_bytes=138, timed_ms=3_000, wait=False),
        produce("@t", on="b"),
        produce("@t", on="b"),
        Await("a"),
    ),
    exchange(
        "fetch-two-partitions-woken-by-either",
        create("@t", 2),
        metadata("@t", on="b", hidden=True),
        fetch_session(
            [{"topic": "@t", "partitions": [{"partition": index, "partition_max_bytes": 1000} for index in (0, 1)]}],
            max_wait_ms=3_000,
            timed_ms=3_000,
            wait=False,
        ),
        produce("@t", partition=1, on="b"),
        Await("a"),
    ),
    exchange(
        "fetch-answers-in-order",
        create("@t"),
        fetch("@t", max_wait_ms=150, timed_ms=150, wait=False),
        metadata("@t", wait=False, timed_ms=100),
        list_offsets("@t", wait=False),
        [Await("a")] * 3,
    ),
    exchange(
        "fetch-waits-across-delete-records",
        create("@t"),
        filled("@t", "a"),
        metadata("@t", on="b", hidden=True),
        fetch("@t", 1, max_wait_ms=300, timed_ms=300, wait=False),
        delete_records("@t", 1, on="b"),
        Await("a"),
    ),
)

EPOCHS: Final = (
    _on_three("current-epoch-right", fetch("@t", more={"current_leader_epoch": 0})),
    _on_three("current-epoch-too-new", fetch("@t", more={"current_leader_epoch": 5})),
    _on_three("current-epoch-too-new-v18", fetch("@t", more={"current_leader_epoch": 5}, version=18)),
    _on_three("current-epoch-minus-two", fetch("@t", more={"current_leader_epoch": -2})),
    _on_three(
        "current-epoch-too-new-waits-not",
        fetch("@t", 3, more={"current_leader_epoch": 5}, max_wait_ms=2_000, timed_ms=2_000),
    ),
    _on_three("last-fetched-epoch-right", fetch("@t", 2, more={"last_fetched_epoch": 0})),
    _on_three("last-fetched-epoch-unknown", fetch("@t", 2, more={"last_fetched_epoch": 3})),
    _on_three("last-fetched-epoch-past-the-end", fetch("@t", 9, more={"last_fetched_epoch": 0})),
    _on_three(
        "last-fetched-epoch-and-current-epoch",
        fetch("@t", 2, more={"last_fetched_epoch": 0, "current_leader_epoch": 0}),
    ),
    _on_three("isolation-read-committed", fetch("@t", isolation=1)),
    _on_three("isolation-read-committed-v4", fetch("@t", isolation=1, version=4)),
    _on_three("isolation-read-committed-at-the-end", fetch("@t", 3, isolation=1)),
    _on_three("isolation-unknown", fetch("@t", isolation=7)),
    _on_three("isolation-negative", fetch("@t", isolation=-1)),
    _on_three(
        "rack",
        Call(
            "Fetch",
            12,
            {
                "rack_id": "somewhere",
                "max_bytes": 1000,
                "topics": [{"topic": "@t", "partitions": [{"partition": 0, "partition_max_bytes": 1000}]}],
            },
        ),
    ),
    _on_three(
        "cluster-id-wrong",
        Call(
            "Fetch",
            12,
            {
                "cluster_id": "another",
                "max_bytes": 1000,
                "topics": [{"topic": "@t", "partitions": [{"partition": 0, "partition_max_bytes": 1000}]}],
            },
        ),
    ),
    _on_three(
        "high-watermark-known", fetch("@t", 3, version=18, more={"high_watermark": 3}, max_wait_ms=150, timed_ms=150)
    ),
    _on_three(
        "high-watermark-behind", fetch("@t", 3, version=18, more={"high_watermark": 1}, max_wait_ms=150, timed_ms=150)
    ),
    _on_three("as-an-unknown-follower", fetch("@t", replica_id=99)),
    _on_three("as-an-unknown-follower-v15", fetch("@t", replica_id=99, version=15)),
    _on_three("as-a-debugging-consumer", fetch("@t", replica_id=-2)),
    _on_three("by-name-then-by-id", fetch("@t"), fetch(topic_id("@t"), version=13)),
)

EXCHANGES: Final[tuple[Exchange, ...]] = (*VERSIONS, *OFFSETS, *LIMITS, *WAITING, *EPOCHS)
