"""What is told of three brokers, and what is asked of the cluster as a whole."""

from __future__ import annotations

from typing import Any, Final

from tests.oracle.exchange import Call, exchange
from tests.oracle.vocabulary import configs

METADATA_TOPIC = "__cluster_metadata"


def quorum(topic: str = METADATA_TOPIC, *indexes: int, version: int = 2) -> Call:
    partitions = [{"partition_index": index} for index in indexes]
    return Call("DescribeQuorum", version, {"topics": [{"topic_name": topic, "partitions": partitions}]})


def create(topic: str, partitions: int, factor: int, *assignments: list[int], **call: Any) -> Call:
    placed = [{"partition_index": index, "broker_ids": nodes} for index, nodes in enumerate(assignments)]
    asked = {
        "name": topic,
        "num_partitions": partitions,
        "replication_factor": factor,
        "assignments": placed,
        "configs": configs({}),
    }
    return Call("CreateTopics", 4, {"topics": [asked], "timeout_ms": 10_000}, **call)


EXCHANGES: Final = (
    *(exchange(f"quorum-v{version}", quorum(METADATA_TOPIC, 0, version=version)) for version in (0, 1, 2)),
    *(exchange(f"quorum-of-another-topic-v{version}", quorum("x", 0, version=version)) for version in (0, 1, 2)),
    exchange("quorum-of-another-partition", quorum(METADATA_TOPIC, 1), quorum(METADATA_TOPIC, 0, 1)),
    exchange("quorum-of-nothing", Call("DescribeQuorum", 2, {"topics": []}), quorum(METADATA_TOPIC)),
    *(exchange(f"describe-cluster-of-three-v{version}", Call("DescribeCluster", version, {})) for version in (0, 1, 2)),
    exchange("describe-cluster-with-fenced", Call("DescribeCluster", 2, {"include_fenced_brokers": True})),
    exchange("metadata-of-three", Call("Metadata", 12, {"topics": []})),
    exchange(
        "unregister-nobody",
        Call("UnregisterBroker", 0, {"broker_id": 99}),
        Call("UnregisterBroker", 0, {"broker_id": -1}),
    ),
    exchange("create-too-many-replicas", create("@t", 1, 4)),
    exchange("create-on-unknown-brokers", create("@t", -1, -1, [1, 9])),
    exchange("create-default-factor", create("@t", -1, -1)),
    exchange(
        "create-assigned",
        create("@t", -1, -1, [3, 1], [2, 3]),
        Call(
            "Metadata",
            12,
            {"topics": [{"name": "@t"}]},
            until={"topics.0.error_code": 0, "topics.0.partitions.1.error_code": 0},
        ),
    ),
)
