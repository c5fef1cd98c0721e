"""What a client asks before it works: ApiVersions, DescribeCluster, DescribeTopicPartitions, FindCoordinator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from tests.oracle.exchange import Call, Exchange, exchange
from tests.oracle.vocabulary import create, metadata


def _api_versions(version: int, name: str = "oracle", software_version: str = "1.0", **call: Any) -> Call:
    fields = {} if version < 3 else {"client_software_name": name, "client_software_version": software_version}
    return Call("ApiVersions", version, fields, **call)


def _named(label: str, name: str, software_version: str) -> Exchange:
    return exchange(f"api-versions-software-{label}", _api_versions(3, name, software_version), metadata())


API_VERSIONS: Final = (
    *(exchange(f"api-versions-v{version}", _api_versions(version)) for version in range(5)),
    # KIP-511: a version from the future is answered in version 0, and the connection lives on.
    exchange(
        "api-versions-v5-is-refused-politely",
        _api_versions(4, claim_version=5, answer_version=0),
        _api_versions(0),
    ),
    exchange(
        "api-versions-v127-with-a-strange-body",
        Call("ApiVersions", 3, claim_version=127, answer_version=0, extra=b"\xff\xfe\xfd"),
        _api_versions(3),
    ),
    exchange("api-versions-negative-version", _api_versions(0, claim_version=-1, answer_version=0)),
    exchange("api-versions-twice", _api_versions(3), _api_versions(0)),
    _named("with-punctuation", "apache-kafka-java", "4.3.0-rc1.x"),
    _named("empty", "", "1.0"),
    _named("version-empty", "oracle", ""),
    _named("with-space", "my client", "1.0"),
    _named("with-slash", "oracle", "1/0"),
    _named("with-dash-at-the-end", "oracle-", "1.0"),
    _named("with-dot-at-the-start", ".oracle", "1.0"),
    _named("one-letter", "o", "1"),
    _named("unicode", "öracle", "1.0"),
    exchange("api-versions-v3-cut-short", _api_versions(3, cut=3)),
    exchange("api-versions-v0-with-trailing-bytes", _api_versions(0, extra=b"trailing")),
)

DESCRIBE_CLUSTER: Final = (
    *(exchange(f"describe-cluster-v{version}", Call("DescribeCluster", version)) for version in range(3)),
    *(
        exchange(
            f"describe-cluster-authorized-operations-v{version}",
            Call("DescribeCluster", version, {"include_cluster_authorized_operations": True}),
        )
        for version in (0, 2)
    ),
    exchange("describe-cluster-controllers-from-a-broker", Call("DescribeCluster", 1, {"endpoint_type": 2})),
    exchange("describe-cluster-unknown-endpoint-type", Call("DescribeCluster", 1, {"endpoint_type": 3})),
    exchange("describe-cluster-with-fenced-brokers", Call("DescribeCluster", 2, {"include_fenced_brokers": True})),
)


def _describe_topics(*topics: str, limit: int = 2000, cursor: tuple[str, int] | None = None) -> Call:
    at = None if cursor is None else {"topic_name": cursor[0], "partition_index": cursor[1]}
    asked = [{"name": topic} for topic in topics]
    return Call("DescribeTopicPartitions", 0, {"topics": asked, "response_partition_limit": limit, "cursor": at})


def _three_topics() -> list[Call]:
    return [*create("@a", 3), *create("@b", 2), *create("@c", 2)]


def _paged(label: str, topics: Sequence[str], **call: Any) -> Exchange:
    return exchange(f"describe-topic-partitions-{label}", _three_topics(), _describe_topics(*topics, **call))


DESCRIBE_TOPIC_PARTITIONS: Final = (
    _paged("one", ["@a"]),
    _paged("unordered", ["@c", "@a", "@b"]),
    _paged("same-twice", ["@a", "@a"]),
    _paged("unknown", ["@a", "@no"]),
    _paged("limit-inside-a-topic", ["@a", "@b"], limit=2),
    _paged("limit-between-topics", ["@a", "@b"], limit=3),
    _paged("limit-inside-the-second", ["@a", "@b", "@c"], limit=4),
    _paged("limit-zero", ["@a"], limit=0),
    _paged("limit-negative", ["@a"], limit=-1),
    _paged("from-a-cursor", ["@a", "@b"], cursor=("@a", 1)),
    _paged("from-a-cursor-in-the-second", ["@a", "@b", "@c"], cursor=("@b", 1)),
    _paged("cursor-past-the-last-partition", ["@a", "@b"], cursor=("@a", 3)),
    _paged("cursor-of-a-topic-not-asked-for", ["@a", "@c"], cursor=("@b", 0)),
    _paged("cursor-of-an-unknown-topic", ["@a", "@c"], cursor=("@bb", 0)),
    _paged("cursor-negative-partition", ["@a"], cursor=("@a", -1)),
    exchange("describe-topic-partitions-invalid-name", _describe_topics("a/b")),
    exchange("describe-topic-partitions-only-unknown", _describe_topics("@no")),
)


def _find(version: int, key: str, key_type: int = 0, **call: Any) -> Call:
    kind = {} if version == 0 else {"key_type": key_type}
    asked: dict[str, Any] = {"key": key} if version < 4 else {"coordinator_keys": [key]}
    return Call("FindCoordinator", version, {**asked, **kind}, **call)


FIND_COORDINATOR: Final = (
    *(exchange(f"find-coordinator-group-v{version}", _find(version, "group")) for version in range(7)),
    *(exchange(f"find-coordinator-transaction-v{version}", _find(version, "txn", 1)) for version in (1, 4, 6)),
    exchange("find-coordinator-no-keys", Call("FindCoordinator", 4, {"coordinator_keys": []})),
    exchange("find-coordinator-two-keys", Call("FindCoordinator", 4, {"coordinator_keys": ["a", "b"]})),
    exchange("find-coordinator-same-key-twice", Call("FindCoordinator", 4, {"coordinator_keys": ["a", "a"]})),
    exchange("find-coordinator-empty-key", _find(4, "")),
    exchange("find-coordinator-empty-key-v2", _find(2, "")),
    exchange("find-coordinator-unknown-type", _find(4, "group", 9)),
    exchange("find-coordinator-unknown-type-v2", _find(2, "group", 9)),
    exchange("find-coordinator-negative-type-v1", _find(1, "group", -1)),
    exchange("find-coordinator-share-in-an-old-version", _find(5, "group:AAAAAAAAAAAAAAAAAAAAAQ:0", 2)),
    exchange("find-coordinator-share-malformed-key", _find(6, "group", 2)),
)

EXCHANGES: Final[tuple[Exchange, ...]] = (
    *API_VERSIONS,
    *DESCRIBE_CLUSTER,
    *DESCRIBE_TOPIC_PARTITIONS,
    *FIND_COORDINATOR,
)
