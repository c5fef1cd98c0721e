"""Committed offsets, odd: limits of every field, things named twice, empty lists, ids that are gone, half-good requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from tests.oracle.catalogue.consumer_groups import joins
from tests.oracle.catalogue.group_offsets import commit, fetch, offset_delete
from tests.oracle.catalogue.groups import delete, describe, leave, list_groups, stable
from tests.oracle.exchange import Call, Exchange, Saved, exchange, topic_id
from tests.oracle.vocabulary import create
from tests.oracle.vocabulary import delete as delete_topic

_LARGEST: Final = (1 << 63) - 1
_SMALLEST: Final = -(1 << 63)
_LAST_PARTITION: Final = (1 << 31) - 1
_ZERO: Final = UUID(int=0)
_OF: Final = {"member": Saved("m"), "epoch": 1}


def _partition(index: int = 0, offset: int = 5, **fields: Any) -> dict[str, Any]:
    return {"partition_index": index, "committed_offset": offset, "committed_metadata": "note", **fields}


def _commits(topics: Sequence[Mapping[str, Any]], version: int = 9, **fields: Any) -> Call:
    asked = {"group_id": "@g", "generation_id_or_member_epoch": -1, "member_id": "", "topics": topics, **fields}
    return Call("OffsetCommit", version, asked)


def _fetches(*groups: Mapping[str, Any], version: int = 9, **fields: Any) -> Call:
    return Call("OffsetFetch", version, {"groups": groups, **fields})


def _of(group: str, *topics: Mapping[str, Any]) -> dict[str, Any]:
    return {"group_id": group, "topics": topics}


def _named(name: Any, *indexes: int) -> dict[str, Any]:
    return {"name": name, "partition_indexes": list(indexes)}


def _metadata(label: str, text: str) -> Exchange:
    changed = {"@t": [{"committed_metadata": text}]}
    return exchange(f"offset-commit-metadata-{label}", create("@t"), commit(changed), fetch(), describe())


COMMITTING: Final = (
    exchange(
        "offset-commit-topic-twice",
        create("@t", 2),
        _commits(
            [
                {"name": "@t", "partitions": [_partition(0, 5), _partition(1, 6)]},
                {"name": "@t", "partitions": [_partition(0, 9)]},
            ]
        ),
        fetch({"@t": [0, 1]}),
    ),
    exchange(
        "offset-commit-topic-id-twice",
        create("@t", 2),
        _commits(
            [
                {"topic_id": topic_id("@t"), "partitions": [_partition(0, 5)]},
                {"topic_id": topic_id("@t"), "partitions": [_partition(1, 6)]},
            ],
            version=10,
        ),
        fetch({"@t": [0, 1]}),
    ),
    exchange("offset-commit-topic-id-zero", _commits([{"topic_id": _ZERO, "partitions": [_partition()]}], version=10)),
    exchange(
        "offset-commit-topic-id-known-and-unknown",
        create("@t"),
        create("@u"),
        delete_topic("@u"),
        _commits(
            [
                {"topic_id": topic_id("@u"), "partitions": [_partition(0), _partition(1)]},
                {"topic_id": topic_id("@t"), "partitions": [_partition(), _partition(4)]},
            ],
            version=10,
        ),
        fetch({"@t": [0]}, version=10),
    ),
    *(
        exchange(
            f"offset-commit-topic-{label}-v{version}",
            _commits([{"name": name, "partitions": [_partition()]}], version=version),
            describe(),
        )
        for version in (2, 9)
        for label, name in {"empty": "", "invalid": "a/b", "too-long": "x" * 300}.items()
    ),
    *(
        exchange(f"offset-commit-partition-{label}", create("@t"), commit({"@t": [index]}), describe())
        for label, index in {"negative": -1, "largest": _LAST_PARTITION}.items()
    ),
    *(
        exchange(f"offset-commit-offset-{label}", create("@t"), commit(offset=offset), fetch())
        for label, offset in {"largest": _LARGEST, "smallest": _SMALLEST, "minus-two": -2}.items()
    ),
    *(
        exchange(
            f"offset-commit-leader-epoch-{label}",
            create("@t"),
            commit({"@t": [{"committed_leader_epoch": epoch}]}),
            fetch(),
        )
        for label, epoch in {"negative": -2, "of-the-future": 99, "largest": _LAST_PARTITION}.items()
    ),
    _metadata("at-limit-of-two-byte-letters", "é" * 4096),
    _metadata("above-limit-of-two-byte-letters", "é" * 4097),
    _metadata("at-limit-of-surrogates", "\U0001f600" * 2048),
    _metadata("above-limit-of-surrogates", "\U0001f600" * 2049),
    _metadata("of-control-characters", "\x00\n\t\x7f"),
    exchange(
        "offset-commit-metadata-too-large-then-good",
        create("@t"),
        commit(),
        commit({"@t": [{"committed_offset": 9, "committed_metadata": "x" * 5000}]}),
        fetch(),
    ),
    *(
        exchange(f"offset-commit-group-{label}", create("@t"), commit(group=group), fetch(group=group))
        for label, group in {
            "with-blanks": "@g with blanks",
            "of-letters-of-all-kinds": "@gé\U0001f600/..",
            "long": "@g" + "x" * 1000,
        }.items()
    ),
    *(
        exchange(
            f"offset-commit-{label}-v{version}",
            create("@t"),
            commit(version=version, member=member, epoch=epoch),
            describe(),
        )
        for version in (8, 9)
        for label, member, epoch in (
            ("generation-zero-without-member", "", 0),
            ("generation-minus-two", "", -2),
            ("generation-largest", "m", _LAST_PARTITION),
        )
    ),
    exchange(
        "offset-commit-instance-of-unknown-group",
        create("@t"),
        commit(more={"group_instance_id": "i"}),
        commit(more={"group_instance_id": ""}),
        fetch(),
    ),
    *(
        exchange(
            f"offset-commit-retention-{label}",
            create("@t"),
            commit(version=version, more={"retention_time_ms": retention}),
            fetch(),
        )
        for label, version, retention in (("zero", 2, 0), ("negative", 3, -2), ("largest", 4, _LARGEST))
    ),
    exchange("offset-commit-internal-topic", commit({"__consumer_offsets": [0]}), fetch({"__consumer_offsets": [0]})),
    exchange("offset-commit-many-partitions", create("@t", 40), commit({"@t": range(40)}), fetch({"@t": range(41)})),
    exchange(
        "offset-commit-generation-and-stale-then-good",
        create("@t"),
        stable(),
        commit(offset=1, **_OF),
        commit(offset=2, member=Saved("m"), epoch=0),
        commit(offset=3, member="nobody", epoch=1),
        fetch(),
    ),
)

FETCHING: Final = (
    *(
        exchange(f"offset-fetch-empty-list-v{version}", create("@t"), commit(), _fetches(_of("@g"), version=version))
        for version in (8, 9, 10)
    ),
    *(
        exchange(
            f"offset-fetch-empty-list-v{version}",
            create("@t"),
            commit(),
            Call("OffsetFetch", version, {"group_id": "@g", "topics": []}),
        )
        for version in (1, 2, 7)
    ),
    exchange(
        "offset-fetch-topic-twice",
        create("@t", 2),
        commit({"@t": [0, 1]}),
        _fetches(_of("@g", _named("@t", 0), _named("@t", 1, 0))),
    ),
    exchange(
        "offset-fetch-group-twice",
        create("@t"),
        commit(),
        _fetches(_of("@g", _named("@t", 0)), _of("@g", _named("@t", 5))),
    ),
    exchange(
        "offset-fetch-all-of-several-groups",
        create("@t"),
        commit(),
        _fetches(*({"group_id": group, "topics": None} for group in ("@g", "@none", ""))),
    ),
    exchange(
        "offset-fetch-topic-id-zero", _fetches(_of("@g", {"topic_id": _ZERO, "partition_indexes": [0]}), version=10)
    ),
    exchange("offset-fetch-topic-empty-name", fetch({"": [0]}), fetch({"": [0]}, version=5)),
    exchange("offset-fetch-topic-invalid-name", fetch({"a/b": [0]})),
    exchange("offset-fetch-last-partition", create("@t"), commit(), fetch({"@t": [_LAST_PARTITION, 0, 0]})),
    exchange("offset-fetch-require-stable-of-unknown-group", create("@t"), fetch(require_stable=True)),
    exchange("offset-fetch-require-stable-v7", create("@t"), commit(), fetch(version=7, require_stable=True)),
    *(
        exchange(f"offset-fetch-{state}-group-as-{label}", create("@t"), steps, fetch(**fields))
        for state, steps in {"classic": stable(), "consumer": joins(), "simple": commit()}.items()
        for label, fields in {
            "member-without-epoch": {"member_id": "m", "member_epoch": -1},
            "nobody-with-epoch": {"member_id": None, "member_epoch": 5},
            "empty-id": {"member_id": "", "member_epoch": 0},
        }.items()
    ),
    exchange(
        "offset-fetch-of-a-topic-made-again",
        create("@t"),
        commit(),
        delete_topic("@t"),
        create("@t"),
        fetch(until={"groups.0.topics.0.partitions.0.committed_offset": -1}),
        fetch(version=10),
        fetch(everything=True),
    ),
)

DELETING: Final = (
    *(
        exchange(
            f"offset-delete-{label}",
            create("@t", 2),
            commit({"@t": [0, 1]}),
            offset_delete(topics),
            fetch({"@t": [0, 1]}),
        )
        for label, topics in {
            "partition-twice": {"@t": [0, 0]},
            "partition-negative": {"@t": [-1, 0]},
            "no-partitions": {"@t": []},
            "known-and-unknown-topic": {"@none": [0], "@t": [1]},
        }.items()
    ),
    exchange(
        "offset-delete-topic-twice",
        create("@t", 2),
        commit({"@t": [0, 1]}),
        Call(
            "OffsetDelete",
            0,
            {
                "group_id": "@g",
                "topics": [{"name": "@t", "partitions": [{"partition_index": index}]} for index in (0, 1)],
            },
        ),
        fetch({"@t": [0, 1]}),
    ),
    exchange("offset-delete-the-last-one", create("@t"), commit(), offset_delete(), describe(), list_groups()),
    exchange(
        "offset-delete-after-leaving",
        create("@t"),
        stable(),
        commit(hidden=True, **_OF),
        leave(Saved("m")),
        offset_delete(),
    ),
    exchange(
        "offset-delete-subscribed-and-not",
        create("@t"),
        create("@u"),
        joins(),
        offset_delete({"@t": [0], "@u": [0]}),
    ),
    exchange("delete-groups-twice-in-one-request", create("@t"), commit(), delete("@g", "@g"), fetch()),
    exchange("delete-groups-good-unknown-and-empty-id", create("@t"), commit(), delete("@g", "@none", ""), fetch()),
)

EXCHANGES: Final[tuple[Exchange, ...]] = (*COMMITTING, *FETCHING, *DELETING)
