"""ListOffsets, OffsetForLeaderEpoch and DeleteRecords: where a log begins, ends and was at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tests.oracle.batches import Batch, Rec
from tests.oracle.exchange import Call, Exchange, Steps, exchange
from tests.oracle.vocabulary import (
    EARLIEST,
    LATEST,
    MAX_TIMESTAMP,
    create,
    delete_records,
    fetch,
    filled,
    list_offsets,
    produce,
)


def _timed(*batches: Sequence[int], codec: str = "none") -> list[Call]:
    """Batches of records with these timestamps; the first of a batch is its base."""
    return [
        produce(
            "@t",
            Batch(tuple(Rec(str(at).encode(), at=at - stamps[0]) for at in stamps), timestamp=stamps[0], codec=codec),
            hidden=True,
        )
        for stamps in batches
    ]


_LOG: Final = ([1000, 1010, 1020], [2000], [1500, 1900], [3000, 2500, 3000])
"""Nine records, not in order of time; the largest timestamp is there twice."""


def _on_log(label: str, *steps: Steps, codec: str = "none") -> Exchange:
    return exchange(f"list-offsets-{label}", create("@t"), _timed(*_LOG, codec=codec), steps)


def _list(topics: Sequence[Mapping[str, Any]], version: int = 7, **fields: Any) -> Call:
    return Call("ListOffsets", version, {"replica_id": -1, "topics": topics, **fields})


def _at(partition: int, timestamp: int = LATEST, **more: Any) -> dict[str, Any]:
    return {"partition_index": partition, "timestamp": timestamp, **more}


LIST_OFFSETS: Final = (
    *(
        exchange(
            f"list-offsets-v{version}",
            create("@t"),
            _timed([1000], [2000]),
            [list_offsets("@t", timestamp, version=version) for timestamp in (LATEST, EARLIEST, 1500, 9999)],
        )
        for version in range(1, 12)
    ),
    *(
        _on_log(f"by-time-{timestamp}", list_offsets("@t", timestamp))
        for timestamp in (0, 999, 1000, 1001, 1010, 1015, 1020, 1021, 1500, 1600, 2000, 2001, 2500, 2999, 3000, 3001)
    ),
    *(
        _on_log(f"by-time-{timestamp}-gzip", list_offsets("@t", timestamp), codec="gzip")
        for timestamp in (1015, 1501, 2600)
    ),
    _on_log("max-timestamp", list_offsets("@t", MAX_TIMESTAMP)),
    _on_log("max-timestamp-v6-is-no-such-thing", list_offsets("@t", MAX_TIMESTAMP, version=6)),
    _on_log("max-timestamp-gzip", list_offsets("@t", MAX_TIMESTAMP), codec="gzip"),
    exchange("list-offsets-max-timestamp-empty", create("@t"), list_offsets("@t", MAX_TIMESTAMP)),
    exchange(
        "list-offsets-max-timestamp-in-the-middle",
        create("@t"),
        _timed([1000], [1000, 9000, 2000], [3000]),
        list_offsets("@t", MAX_TIMESTAMP),
    ),
    exchange(
        "list-offsets-max-timestamp-log-append-time",
        create("@t", message_timestamp_type="LogAppendTime"),
        produce("@t", Batch((Rec(), Rec())), hidden=True),
        list_offsets("@t", MAX_TIMESTAMP),
        list_offsets("@t", 1),
    ),
    *(
        _on_log(f"special-{-special}-v{version}", list_offsets("@t", special, version=version))
        for special, version in ((-4, 7), (-4, 8), (-5, 8), (-5, 9), (-6, 10), (-6, 11), (-7, 11), (-100, 11))
    ),
    exchange(
        "list-offsets-empty-log",
        create("@t"),
        *(list_offsets("@t", timestamp) for timestamp in (LATEST, EARLIEST, 0, 5000)),
    ),
    _on_log("latest-read-committed", list_offsets("@t", isolation=1), list_offsets("@t", EARLIEST, isolation=1)),
    _on_log("isolation-unknown", list_offsets("@t", isolation=9)),
    _on_log("by-time-read-committed", list_offsets("@t", 1500, isolation=1)),
    _on_log(
        "after-delete-records",
        delete_records("@t", 4),
        list_offsets("@t", EARLIEST),
        list_offsets("@t", 1000),
        list_offsets("@t", MAX_TIMESTAMP),
    ),
    _on_log(
        "after-delete-records-of-all",
        delete_records("@t", -1),
        list_offsets("@t", EARLIEST),
        list_offsets("@t", 1000),
        list_offsets("@t", MAX_TIMESTAMP),
        list_offsets("@t", -4, version=8),
    ),
    *(
        _on_log(f"current-epoch-{label}", list_offsets("@t", epoch=epoch, version=version))
        for label, epoch, version in (("right", 0, 7), ("too-new", 4, 7), ("too-new-v4", 4, 4), ("minus-two", -2, 7))
    ),
    _on_log("as-a-debugging-consumer", list_offsets("@t", replica_id=-2)),
    exchange("list-offsets-unknown-topic", *(list_offsets("@no", version=version) for version in (1, 5, 7, 11))),
    exchange("list-offsets-invalid-topic-name", list_offsets("a/b")),
    exchange(
        "list-offsets-unknown-partition",
        create("@t"),
        list_offsets("@t", partition=4),
        list_offsets("@t", partition=-1),
    ),
    exchange("list-offsets-nothing", _list([])),
    exchange("list-offsets-no-partitions", create("@t"), _list([{"name": "@t", "partitions": []}])),
    exchange(
        "list-offsets-same-partition-twice",
        create("@t", 2),
        filled("@t", "a"),
        _list([{"name": "@t", "partitions": [_at(0), _at(0, EARLIEST), _at(1)]}]),
    ),
    exchange(
        "list-offsets-same-partition-twice-v1", create("@t"), _list([{"name": "@t", "partitions": [_at(0), _at(0)]}], 1)
    ),
    exchange(
        "list-offsets-same-topic-twice",
        create("@t", 2),
        _list([{"name": "@t", "partitions": [_at(0)]}, {"name": "@t", "partitions": [_at(1)]}]),
    ),
    exchange(
        "list-offsets-two-partitions",
        create("@t", 2),
        filled("@t", "a"),
        filled("@t", "b", "c", partition=1),
        _list([{"name": "@t", "partitions": [_at(1), _at(0), _at(8)]}]),
    ),
    exchange(
        "list-offsets-good-and-unknown",
        create("@t"),
        _list([{"name": "@t", "partitions": [_at(0)]}, {"name": "@no", "partitions": [_at(0)]}]),
    ),
)


def _epochs(*asked: tuple[int, int, int], topic: str = "@t", version: int = 4, replica_id: int = -1) -> Call:
    """(partition, current leader epoch, leader epoch asked for) each."""
    partitions = [
        {"partition": index, "current_leader_epoch": current, "leader_epoch": epoch} for index, current, epoch in asked
    ]
    fields: dict[str, Any] = {"topics": [{"topic": topic, "partitions": partitions}]}
    return Call("OffsetForLeaderEpoch", version, fields if version < 3 else {"replica_id": replica_id, **fields})


def _epoch_exchange(label: str, *steps: Steps, partitions: int = 1) -> Exchange:
    return exchange(f"leader-epoch-{label}", create("@t", partitions), filled("@t", "a", "b", "c"), steps)


LEADER_EPOCHS: Final = (
    *(_epoch_exchange(f"v{version}", _epochs((0, -1, 0), version=version)) for version in (2, 3, 4)),
    *(
        _epoch_exchange(label, _epochs((0, current, epoch)))
        for label, current, epoch in (
            ("current-right", 0, 0),
            ("current-too-new", 7, 0),
            ("current-minus-two", -2, 0),
            ("asked-from-the-future", -1, 5),
            ("asked-minus-one", -1, -1),
            ("asked-minus-two", -1, -2),
            ("asked-maximum", -1, 2**31 - 1),
        )
    ),
    exchange("leader-epoch-empty-log", create("@t"), _epochs((0, -1, 0))),
    _epoch_exchange("unknown-partition", _epochs((5, -1, 0))),
    _epoch_exchange("negative-partition", _epochs((-1, -1, 0))),
    _epoch_exchange("two-partitions", _epochs((1, -1, 0), (0, -1, 0)), partitions=2),
    _epoch_exchange("same-partition-twice", _epochs((0, -1, 0), (0, -1, 3))),
    _epoch_exchange("as-a-debugging-consumer", _epochs((0, -1, 0), replica_id=-2)),
    exchange(
        "leader-epoch-unknown-topic", _epochs((0, -1, 0), topic="@no"), _epochs((0, -1, 0), topic="@no", version=2)
    ),
    exchange("leader-epoch-nothing", Call("OffsetForLeaderEpoch", 4, {"topics": []})),
    _epoch_exchange("after-delete-records", delete_records("@t", 2), _epochs((0, -1, 0))),
    _epoch_exchange("version-1-is-gone", Call("OffsetForLeaderEpoch", 2, {"topics": []}, claim_version=1)),
)


def _deletion(label: str, offset: int, **call: Any) -> Exchange:
    return exchange(
        f"delete-records-{label}",
        create("@t"),
        filled("@t", "a", "b", "c"),
        delete_records("@t", offset, **call),
        list_offsets("@t", EARLIEST),
        list_offsets("@t"),
    )


DELETE_RECORDS: Final = (
    *(_deletion(f"v{version}", 2, version=version) for version in range(3)),
    _deletion("offset-zero", 0),
    _deletion("to-the-end", 3),
    _deletion("to-the-high-watermark", -1),
    _deletion("past-the-end", 4),
    _deletion("offset-minus-two", -2),
    _deletion("offset-maximum", 2**63 - 1),
    _deletion("unknown-partition", 1, partition=3),
    _deletion("negative-partition", 1, partition=-1),
    exchange(
        "delete-records-backwards",
        create("@t"),
        filled("@t", "a", "b", "c"),
        delete_records("@t", 2),
        delete_records("@t", 1),
        list_offsets("@t", EARLIEST),
    ),
    exchange(
        "delete-records-empty-log",
        create("@t"),
        delete_records("@t", 0),
        delete_records("@t", -1),
        delete_records("@t", 1),
    ),
    exchange(
        "delete-records-inside-a-batch",
        create("@t"),
        produce("@t", Batch((Rec(b"a"), Rec(b"b"), Rec(b"c"))), hidden=True),
        delete_records("@t", 2),
        list_offsets("@t", EARLIEST),
        fetch("@t", 2),
    ),
    exchange(
        "delete-records-then-produce",
        create("@t"),
        filled("@t", "a", "b"),
        delete_records("@t", -1),
        produce("@t"),
        fetch("@t", 2),
    ),
    exchange("delete-records-unknown-topic", delete_records("@no", 0), delete_records("@no", 0, version=0)),
    exchange("delete-records-invalid-topic-name", delete_records("a/b", 0)),
    exchange("delete-records-internal-topic", delete_records("__consumer_offsets", 0)),
    exchange(
        "delete-records-compacted",
        create("@t", cleanup_policy="compact"),
        produce("@t", Batch((Rec(b"v", b"k"),)), hidden=True),
        delete_records("@t", 1),
    ),
    exchange(
        "delete-records-compact-and-delete",
        create("@t", cleanup_policy="compact,delete"),
        produce("@t", Batch((Rec(b"v", b"k"),)), hidden=True),
        delete_records("@t", 1),
    ),
    exchange("delete-records-nothing", Call("DeleteRecords", 2, {"topics": [], "timeout_ms": 1000})),
    exchange(
        "delete-records-no-partitions",
        create("@t"),
        Call("DeleteRecords", 2, {"topics": [{"name": "@t", "partitions": []}], "timeout_ms": 1000}),
    ),
    exchange(
        "delete-records-same-partition-twice",
        create("@t"),
        filled("@t", "a", "b"),
        Call(
            "DeleteRecords",
            2,
            {
                "timeout_ms": 1000,
                "topics": [
                    {
                        "name": "@t",
                        "partitions": [{"partition_index": 0, "offset": 1}, {"partition_index": 0, "offset": 2}],
                    }
                ],
            },
        ),
        list_offsets("@t", EARLIEST),
    ),
    exchange(
        "delete-records-two-partitions",
        create("@t", 2),
        filled("@t", "a"),
        filled("@t", "b", partition=1),
        Call(
            "DeleteRecords",
            2,
            {
                "timeout_ms": 1000,
                "topics": [
                    {
                        "name": "@t",
                        "partitions": [
                            {"partition_index": 1, "offset": -1},
                            {"partition_index": 0, "offset": 9},
                            {"partition_index": 4, "offset": 0},
                        ],
                    }
                ],
            },
        ),
    ),
)

EXCHANGES: Final[tuple[Exchange, ...]] = (*LIST_OFFSETS, *LEADER_EPOCHS, *DELETE_RECORDS)
