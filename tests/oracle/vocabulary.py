"""Phrases of the catalogue: the requests that most exchanges are made of, with the fields that matter by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tests.oracle.batches import Batch, Rec
from tests.oracle.exchange import Call, Padded, Saved, topic_id

LATEST: Final = -1
EARLIEST: Final = -2
MAX_TIMESTAMP: Final = -3
PRODUCE_BY_ID: Final = 13
FETCH_BY_ID: Final = 13
CONSUMER: Final = -1


def configs(values: Mapping[str, str | None]) -> list[dict[str, Any]]:
    return [{"name": name, "value": value} for name, value in values.items()]


def create(topic: str, partitions: int = 1, **settings: Any) -> list[Call]:
    """A topic that is ready to use: created, shown in Metadata, every partition led. Nothing of it is recorded.

    Settings are topic configs with `_` for `.`. Its id is `topic_id(topic)` afterwards.
    """
    wanted = configs({name.replace("_", "."): value for name, value in settings.items()})
    request = {"name": topic, "num_partitions": partitions, "replication_factor": 1, "configs": wanted}
    made = Call(
        "CreateTopics",
        7,
        {"topics": [request], "timeout_ms": 10_000},
        save={f"id {topic}": "topics.0.topic_id"},
        hidden=True,
        until={"topics.0.error_code": 0},
    )
    return [made, *ready(topic, partitions)]


def ready(topic: str, partitions: int = 1) -> list[Call]:
    """Waits until every partition of the topic is shown and served."""
    shown = {f"topics.0.partitions.{index}.error_code": 0 for index in range(partitions)}
    served = {f"topics.0.partitions.{index}.offset": 0 for index in range(partitions)}
    every = [{"partition_index": index, "timestamp": EARLIEST} for index in range(partitions)]
    listing = {"replica_id": CONSUMER, "topics": [{"name": topic, "partitions": every}]}
    return [
        metadata(topic, until={"topics.0.error_code": 0, **shown}, hidden=True),
        Call("ListOffsets", 7, listing, hidden=True, until=served),
    ]


def gone(topic: str) -> Call:
    """Waits until the topic is no longer shown."""
    return metadata(topic, until={"topics.0.error_code": 3}, hidden=True)


def delete(topic: str) -> list[Call]:
    """Deletes the topic and waits until that is seen; not recorded."""
    fields = {"topics": [{"name": topic}], "timeout_ms": 10_000}
    return [Call("DeleteTopics", 6, fields, hidden=True), gone(topic)]


def metadata(*topics: str | Padded, version: int = 12, auto_create: bool = False, **call: Any) -> Call:
    fields = {"topics": [{"name": topic} for topic in topics], "allow_auto_topic_creation": auto_create}
    return Call("Metadata", version, fields, **call)


def produce(
    topic: str,
    records: Any = None,
    *,
    version: int = 12,
    acks: int = -1,
    partition: int = 0,
    transactional_id: str | None = None,
    timeout_ms: int = 10_000,
    **call: Any,
) -> Call:
    """One batch (by default one of one record) to one partition; by topic id from version 13 on."""
    data = {"index": partition, "records": Batch() if records is None else records}
    fields = {
        "transactional_id": transactional_id,
        "acks": acks,
        "timeout_ms": timeout_ms,
        "topic_data": [{**topic_key(topic, version, PRODUCE_BY_ID), "partition_data": [data]}],
    }
    return Call("Produce", version, fields, **call)


def filled(topic: str, *values: str, partition: int = 0, **batch: Any) -> list[Call]:
    """One batch for each value, not recorded."""
    return [
        produce(topic, Batch((Rec(value.encode()),), **batch), partition=partition, hidden=True) for value in values
    ]


def topic_key(topic: str | Saved, version: int, by_id_from: int, name: str = "name") -> dict[str, Any]:
    if version < by_id_from:
        return {name: topic}
    return {"topic_id": topic if isinstance(topic, Saved) else topic_id(topic)}


def fetch(
    topic: str | Saved,
    offset: Any = 0,
    *,
    version: int = 12,
    partition: int = 0,
    max_wait_ms: int = 0,
    min_bytes: int = 1,
    max_bytes: int = 10_000_000,
    partition_max_bytes: int = 1_000_000,
    isolation: int = 0,
    session_id: Any = 0,
    session_epoch: int = -1,
    replica_id: int = -1,
    forget: Sequence[str] = (),
    more: Mapping[str, Any] | None = None,
    **call: Any,
) -> Call:
    """One partition from an offset; by topic id from version 13 on. `more` is more of the partition's fields."""
    asked = {
        "partition": partition,
        "fetch_offset": offset,
        "partition_max_bytes": partition_max_bytes,
        **(more or {}),
    }
    topics = [{**topic_key(topic, version, FETCH_BY_ID, "topic"), "partitions": [asked]}]
    return fetch_session(
        topics,
        version=version,
        max_wait_ms=max_wait_ms,
        min_bytes=min_bytes,
        max_bytes=max_bytes,
        isolation=isolation,
        session_id=session_id,
        session_epoch=session_epoch,
        replica_id=replica_id,
        forget=forget,
        **call,
    )


def fetch_session(
    topics: Sequence[Mapping[str, Any]],
    *,
    version: int = 12,
    max_wait_ms: int = 0,
    min_bytes: int = 1,
    max_bytes: int = 10_000_000,
    isolation: int = 0,
    session_id: Any = 0,
    session_epoch: int = -1,
    replica_id: int = -1,
    forget: Sequence[str] = (),
    **call: Any,
) -> Call:
    """A fetch of these topics (none: what the session knows)."""
    fields: dict[str, Any] = {
        "max_wait_ms": max_wait_ms,
        "min_bytes": min_bytes,
        "max_bytes": max_bytes,
        "isolation_level": isolation,
        "session_id": session_id,
        "session_epoch": session_epoch,
        "topics": topics,
        "forgotten_topics_data": [
            {**topic_key(topic, version, FETCH_BY_ID, "topic"), "partitions": [0]} for topic in forget
        ],
    }
    if version <= 14:
        fields["replica_id"] = replica_id
    elif replica_id != -1:
        fields["replica_state"] = {"replica_id": replica_id}
    return Call("Fetch", version, fields, **call)


def list_offsets(
    topic: str,
    timestamp: Any = LATEST,
    *,
    version: int = 7,
    partition: int = 0,
    isolation: int = 0,
    replica_id: int = CONSUMER,
    epoch: int = -1,
    **call: Any,
) -> Call:
    asked = {"partition_index": partition, "timestamp": timestamp, "current_leader_epoch": epoch}
    fields = {
        "replica_id": replica_id,
        "isolation_level": isolation,
        "topics": [{"name": topic, "partitions": [asked]}],
        "timeout_ms": 10_000,
    }
    return Call("ListOffsets", version, fields, **call)


def delete_records(topic: str, offset: int, *, version: int = 2, partition: int = 0, **call: Any) -> Call:
    asked = {"partition_index": partition, "offset": offset}
    return Call(
        "DeleteRecords", version, {"topics": [{"name": topic, "partitions": [asked]}], "timeout_ms": 10_000}, **call
    )


def describe_topic_configs(topic: str, *names: str, version: int = 4, synonyms: bool = True, **call: Any) -> Call:
    """The named configs of a topic; without names, all."""
    asked = {"resource_type": 2, "resource_name": topic, "configuration_keys": list(names) or None}
    return Call("DescribeConfigs", version, {"resources": [asked], "include_synonyms": synonyms}, **call)


SET, DELETE, APPEND, SUBTRACT = range(4)


def alter(topic: str, *changes: tuple[str, int, str | None], version: int = 1, **call: Any) -> Call:
    """IncrementalAlterConfigs of a topic by (name, operation, value)."""
    altered = [{"name": name, "config_operation": operation, "value": value} for name, operation, value in changes]
    resource = {"resource_type": 2, "resource_name": topic, "configs": altered}
    return Call("IncrementalAlterConfigs", version, {"resources": [resource]}, **call)
