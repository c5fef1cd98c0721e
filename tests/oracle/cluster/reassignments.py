"""AlterPartitionReassignments and ListPartitionReassignments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from tests.oracle.cluster_phrases import described, made, moved
from tests.oracle.exchange import Call, exchange

Move = tuple[int, Sequence[int] | None]


def alter(topic: str, *moves: Move, version: int = 1, allow: bool = True, **call: Any) -> Call:
    partitions = [{"partition_index": index, "replicas": replicas} for index, replicas in moves]
    fields = {
        "timeout_ms": 10_000,
        "allow_replication_factor_change": allow,
        "topics": [{"name": topic, "partitions": partitions}],
    }
    return Call("AlterPartitionReassignments", version, fields, **call)


def listed(topic: str | None, *indexes: int, **call: Any) -> Call:
    topics = None if topic is None else [{"name": topic, "partition_indexes": list(indexes)}]
    return Call("ListPartitionReassignments", 0, {"timeout_ms": 10_000, "topics": topics}, own=True, **call)


EXCHANGES: Final = (
    exchange(
        "reassign-impossible-replicas",
        made("@t", [1, 2], [2, 3]),
        alter("@t", (0, [1, 1])),
        alter("@t", (0, [])),
        alter("@t", (0, [9])),
        alter("@t", (0, [-1])),
        described("@t"),
    ),
    exchange(
        "reassign-what-is-not-there",
        made("@t", [1, 2]),
        alter("@t", (5, [1])),
        alter("@t", (-1, [1])),
        alter("@nope", (0, [1])),
        alter("@t"),
        Call("AlterPartitionReassignments", 1, {"topics": []}),
    ),
    exchange(
        "reassign-stop-what-does-not-move",
        made("@t", [1]),
        alter("@t", (0, None)),
        alter("@t", (5, None)),
        alter("@nope", (0, None)),
    ),
    exchange(
        "reassign-v0", made("@t", [1, 2]), alter("@t", (0, [2, 1]), version=0), moved("@t", [2, 1]), described("@t")
    ),
    exchange("reassign-to-the-same", made("@t", [1, 2]), alter("@t", (0, [1, 2])), described("@t")),
    exchange(
        "reassign-other-factor-forbidden",
        made("@t", [1, 2]),
        alter("@t", (0, [1, 2, 3]), allow=False),
        alter("@t", (0, [1]), allow=False),
        alter("@t", (0, [2, 1]), allow=False),
        moved("@t", [2, 1]),
        described("@t"),
    ),
    exchange(
        "reassign-fewer-replicas",
        made("@t", [1, 2, 3]),
        alter("@t", (0, [2, 3])),
        moved("@t", [2, 3]),
        described("@t"),
        listed("@t", 0),
    ),
    exchange(
        "reassign-another-broker",
        made("@t", [1]),
        alter("@t", (0, [2])),
        moved("@t", [2]),
        described("@t"),
        listed("@t", 0),
        listed(None),
    ),
    exchange(
        "reassign-more-replicas", made("@t", [1]), alter("@t", (0, [1, 2, 3])), moved("@t", [1, 2, 3]), described("@t")
    ),
    exchange(
        "reassign-twice-in-one-request",
        made("@t", [1, 2]),
        alter("@t", (0, [2, 1]), (0, [1, 2])),
        moved("@t", [2, 1]),
        described("@t"),
    ),
    exchange(
        "reassign-good-and-bad-together",
        made("@a", [1, 2]),
        made("@b", [1]),
        Call(
            "AlterPartitionReassignments",
            1,
            {
                "topics": [
                    {"name": "@a", "partitions": [{"partition_index": 0, "replicas": [2, 1]}]},
                    {"name": "@nope", "partitions": [{"partition_index": 0, "replicas": [1]}]},
                    {"name": "@b", "partitions": [{"partition_index": 0, "replicas": [9]}]},
                ]
            },
        ),
        moved("@a", [2, 1]),
        described("@a"),
    ),
    exchange(
        "reassignments-listed-none",
        made("@t", [1]),
        listed("@t", 0),
        listed("@t", 7),
        listed("@t"),
        listed("@nope", 0),
        listed(None),
        Call("ListPartitionReassignments", 0, {"topics": []}),
    ),
)
