"""Phrases of the catalogue of three brokers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.oracle.exchange import Call
from tests.oracle.vocabulary import metadata


def made(topic: str, *replicas: Sequence[int]) -> list[Call]:
    """A topic with these replicas by partition, shown and in sync; not recorded."""
    assignments = [{"partition_index": index, "broker_ids": list(nodes)} for index, nodes in enumerate(replicas)]
    asked = {"name": topic, "num_partitions": -1, "replication_factor": -1, "assignments": assignments}
    shown = {f"topics.0.partitions.{index}.error_code": 0 for index in range(len(replicas))}
    return [
        Call(
            "CreateTopics",
            7,
            {"topics": [asked], "timeout_ms": 10_000},
            save={f"id {topic}": "topics.0.topic_id"},
            hidden=True,
            until={"topics.0.error_code": 0},
        ),
        metadata(topic, until={"topics.0.error_code": 0, **shown}, hidden=True),
    ]


def moved(topic: str, replicas: Sequence[int], partition: int = 0, *, leader: int | None = None) -> Call:
    """Waits until the partition is at exactly these replicas, in sync; not recorded."""
    path = f"topics.0.partitions.{partition}"
    wanted: dict[str, Any] = {f"{path}.replica_nodes": list(replicas), f"{path}.error_code": 0}
    for position in range(len(replicas)):
        wanted[f"{path}.isr_nodes.{position}"] = sorted(replicas)[position]
    if leader is not None:
        wanted[f"{path}.leader_id"] = leader
    return described(topic, hidden=True, until=wanted)


def described(topic: str, **call: Any) -> Call:
    return Call("DescribeTopicPartitions", 0, {"topics": [{"name": topic}], "response_partition_limit": 2000}, **call)
