"""ElectLeaders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from tests.oracle.cluster_phrases import described, made, moved
from tests.oracle.exchange import Call, exchange

PREFERRED, UNCLEAN = 0, 1


def elect(topic: str, indexes: Sequence[int], kind: int = PREFERRED, *, version: int = 2, **call: Any) -> Call:
    asked = [{"topic": topic, "partitions": list(indexes)}]
    return Call(
        "ElectLeaders", version, {"election_type": kind, "topic_partitions": asked, "timeout_ms": 10_000}, **call
    )


def turned(topic: str) -> Call:
    """The order of replicas becomes 3, 2, 1; the leader stays."""
    moves = [{"partition_index": 0, "replicas": [3, 2, 1]}]
    fields = {"topics": [{"name": topic, "partitions": moves}], "timeout_ms": 10_000}
    return Call("AlterPartitionReassignments", 1, fields, hidden=True)


EXCHANGES: Final = (
    *(
        exchange(f"elect-not-needed-v{version}", made("@t", [1, 2, 3], [2, 3, 1]), elect("@t", [0, 1], version=version))
        for version in (0, 1, 2)
    ),
    exchange(
        "elect-what-is-not-there",
        made("@t", [1]),
        elect("@t", [7, 0, 0]),
        elect("@t", [-1]),
        elect("@t", []),
        elect("@nope", [0]),
    ),
    exchange("elect-unclean-not-needed", made("@t", [1, 2]), elect("@t", [0], UNCLEAN)),
    exchange("elect-unknown-kind", made("@t", [1]), elect("@t", [0], 5), elect("@t", [0], -1)),
    exchange("elect-no-topics", Call("ElectLeaders", 2, {"election_type": 0, "topic_partitions": []})),
    exchange(
        "elect-preferred",
        made("@t", [1, 2, 3]),
        turned("@t"),
        moved("@t", [3, 2, 1], leader=1),
        described("@t"),
        elect("@t", [0]),
        moved("@t", [3, 2, 1], leader=3),
        described("@t"),
        elect("@t", [0]),
    ),
)
