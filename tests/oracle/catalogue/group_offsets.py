"""Committed offsets: OffsetCommit, OffsetFetch and OffsetDelete, with and without membership.

KIP-211, KIP-320, KIP-496, KIP-709, KIP-848.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tests.oracle.catalogue.groups import delete, describe, join, leave, list_groups, member, pair, second, stable
from tests.oracle.exchange import Call, Exchange, Saved, exchange, topic_id
from tests.oracle.vocabulary import create
from tests.oracle.vocabulary import delete as delete_topic

_BY_ID_FROM: Final = 10
_GROUPS_FROM: Final = 8


def _named(topic: Any, *, by_id: bool) -> dict[str, Any]:
    if not by_id:
        return {"name": topic}
    return {"topic_id": topic_id(topic) if isinstance(topic, str) else topic}


def commit(
    topics: Mapping[Any, Sequence[Mapping[str, Any] | int]] | None = None,
    *,
    version: int = 9,
    group: str = "@g",
    member: Any = "",
    epoch: int = -1,
    offset: int = 5,
    **call: Any,
) -> Call:
    """`topics` maps a name (or an id) to partitions: a number, or fields of one."""
    listed = []
    for topic, partitions in (topics or {"@t": [0]}).items():
        each = [
            {"partition_index": item, "committed_offset": offset, "committed_metadata": "note"}
            if isinstance(item, int)
            else {"partition_index": 0, "committed_offset": offset, **item}
            for item in partitions
        ]
        listed.append({**_named(topic, by_id=version >= _BY_ID_FROM), "partitions": each})
    more = call.pop("more", {})
    fields = {"group_id": group, "generation_id_or_member_epoch": epoch, "member_id": member, "topics": listed, **more}
    return Call("OffsetCommit", version, fields, **call)


def fetch(
    topics: Mapping[Any, Sequence[int]] | None = None,
    *,
    version: int = 9,
    group: str = "@g",
    everything: bool = False,
    require_stable: bool | None = None,
    until: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Call:
    by_id = version >= _BY_ID_FROM
    wanted = [
        {**_named(topic, by_id=by_id), "partition_indexes": list(indexes)}
        for topic, indexes in (topics or {"@t": [0]}).items()
    ]
    asked = {"group_id": group, "topics": None if everything else wanted, **fields}
    request: dict[str, Any] = asked if version < _GROUPS_FROM else {"groups": [asked]}
    if require_stable is not None:
        request = {**request, "require_stable": require_stable}
    return Call("OffsetFetch", version, request, until=until or {})


def offset_delete(topics: Mapping[str, Sequence[int]] | None = None, group: str = "@g") -> Call:
    listed = [
        {"name": topic, "partitions": [{"partition_index": index} for index in indexes]}
        for topic, indexes in (topics or {"@t": [0]}).items()
    ]
    return Call("OffsetDelete", 0, {"group_id": group, "topics": listed})


_OF: Final = {"member": Saved("m"), "epoch": 1}

SIMPLE: Final = (
    *(
        exchange(
            f"offset-commit-v{version}",
            create("@t"),
            commit(version=version),
            fetch(version=min(version, 9)),
            describe(),
            list_groups(),
        )
        for version in range(2, 11)
    ),
    *(
        exchange(f"offset-fetch-v{version}", create("@t"), commit(hidden=True), fetch({"@t": [0, 7]}, version=version))
        for version in range(1, 11)
    ),
    *(
        exchange(
            f"offset-fetch-all-v{version}",
            create("@t", 2),
            commit({"@t": [0, 1]}),
            fetch(version=version, everything=True),
        )
        for version in range(2, 11)
    ),
    *(
        exchange(f"offset-fetch-unknown-group-v{version}", create("@t"), fetch(version=version), describe())
        for version in range(1, 11)
    ),
    exchange("offset-fetch-all-of-unknown-group", fetch(everything=True)),
    exchange("offset-fetch-unknown-topic", fetch({"@none": [0, 1]})),
    exchange("offset-fetch-unknown-topic-id", create("@t"), delete_topic("@t"), fetch({"@t": [0]}, version=10)),
    exchange("offset-fetch-no-topics", fetch({"@none": []})),
    exchange("offset-fetch-negative-partition", create("@t"), fetch({"@t": [-1]})),
    exchange("offset-fetch-partition-twice", create("@t"), commit(), fetch({"@t": [0, 0]})),
    exchange(
        "offset-fetch-several-groups",
        create("@t"),
        commit(group="@g"),
        commit(group="@h", offset=8),
        Call(
            "OffsetFetch",
            9,
            {
                "groups": [
                    {"group_id": name, "topics": [{"name": "@t", "partition_indexes": [0]}]}
                    for name in ("@g", "@h", "@none")
                ]
            },
        ),
    ),
    exchange("offset-fetch-no-groups", Call("OffsetFetch", 9, {"groups": []})),
    exchange("offset-fetch-empty-group-id", create("@t"), fetch(group=""), fetch(group="", version=7)),
    exchange("offset-fetch-require-stable", create("@t"), commit(), fetch(require_stable=True)),
    exchange("offset-commit-epoch", create("@t"), commit({"@t": [{"committed_leader_epoch": 3}]}), fetch()),
    exchange("offset-commit-null-metadata", create("@t"), commit({"@t": [{"committed_metadata": None}]}), fetch()),
    exchange("offset-commit-empty-metadata", create("@t"), commit({"@t": [{"committed_metadata": ""}]}), fetch()),
    exchange(
        "offset-commit-metadata-at-limit", create("@t"), commit({"@t": [{"committed_metadata": "x" * 4096}]}), fetch()
    ),
    exchange(
        "offset-commit-metadata-too-large",
        create("@t", 2),
        commit({"@t": [{"committed_metadata": "x" * 4097}, 1]}),
        fetch({"@t": [0, 1]}),
    ),
    exchange("offset-commit-negative-offset", create("@t"), commit(offset=-1), fetch(), commit(offset=-7), fetch()),
    exchange("offset-commit-unknown-topic", create("@t"), commit({"@none": [0], "@t": [0]}), fetch()),
    exchange("offset-commit-only-unknown-topics", commit({"@none": [0]}), describe()),
    exchange("offset-commit-unknown-partition", create("@t"), commit({"@t": [0, 5, -1]}), fetch()),
    exchange("offset-commit-no-partitions", create("@t"), commit({"@t": []}), describe()),
    exchange("offset-commit-no-topics", Call("OffsetCommit", 9, {"group_id": "@g", "topics": []}), describe()),
    exchange("offset-commit-partition-twice", create("@t"), commit({"@t": [0, {"committed_offset": 9}]}), fetch()),
    exchange("offset-commit-empty-group-id", create("@t"), commit(group=""), fetch(group=""), delete("")),
    exchange("offset-commit-retention", create("@t"), commit(version=4, more={"retention_time_ms": 60_000}), fetch()),
    exchange("offset-commit-by-id-unknown", create("@t"), delete_topic("@t"), commit(version=10), describe()),
    exchange("offset-commit-overwrites", create("@t"), commit(offset=5), commit(offset=3), fetch()),
)

MEMBERS: Final = (
    *(
        exchange(f"offset-commit-member-v{version}", create("@t"), stable(), commit(version=version, **_OF), fetch())
        for version in range(2, 11)
    ),
    *(
        exchange(
            f"offset-commit-{label}-v{version}",
            create("@t"),
            stable(),
            commit(version=version, **fields),
            fetch(),
        )
        for version in (7, 9)
        for label, fields in {
            "stale-generation": {"member": Saved("m"), "epoch": 0},
            "future-generation": {"member": Saved("m"), "epoch": 2},
            "unknown-member": {"member": "nobody", "epoch": 1},
            "member-without-generation": {"member": Saved("m"), "epoch": -1},
            "stranger": {},
            "no-member": {"epoch": 1},
            "unknown-instance": {"member": Saved("m"), "epoch": 1, "more": {"group_instance_id": "i"}},
        }.items()
    ),
    *(
        exchange(f"offset-commit-unknown-group-v{version}", create("@t"), commit(version=version, member="m", epoch=1))
        for version in (2, 7, 8, 9, 10)
    ),
    exchange("offset-commit-unknown-group-with-member", create("@t"), commit(member="m"), describe()),
    exchange("offset-commit-while-completing", create("@t"), member(), commit(**_OF), fetch()),
    exchange("offset-commit-while-preparing", create("@t"), stable(), second(), commit(**_OF), fetch()),
    exchange("offset-commit-follower", create("@t"), pair(), commit(member=Saved("n"), epoch=2)),
    exchange(
        "offset-commit-after-leaving", create("@t"), stable(), leave(Saved("m")), commit(**_OF), commit(), fetch()
    ),
    exchange(
        "offset-commit-empty-group-with-member", create("@t"), stable(), leave(Saved("m")), commit(member=Saved("m"))
    ),
    exchange(
        "offset-commit-static-fenced",
        create("@t"),
        join(instance="i", save={"m": "member_id"}, hidden=True),
        join(instance="i", on="b", save={"n": "member_id"}, hidden=True),
        commit(member=Saved("m"), epoch=1, more={"group_instance_id": "i"}),
    ),
    exchange("offset-commit-then-describe", create("@t"), commit(), stable(), describe(), list_groups()),
    *(
        exchange(
            f"offset-fetch-as-{label}",
            create("@t"),
            stable(),
            commit(hidden=True, **_OF),
            fetch(**fields),
        )
        for label, fields in {
            "member": {"member_id": Saved("m"), "member_epoch": 1},
            "stranger": {"member_id": "nobody", "member_epoch": 1},
            "stale-member": {"member_id": Saved("m"), "member_epoch": 0},
        }.items()
    ),
    exchange("offset-fetch-unknown-group-as-member", create("@t"), fetch(member_id="m", member_epoch=3)),
)

DELETING: Final = (
    exchange("offset-delete", create("@t", 2), commit({"@t": [0, 1]}), offset_delete(), fetch({"@t": [0, 1]})),
    exchange("offset-delete-nothing-there", create("@t"), commit(), offset_delete({"@t": [0]}), offset_delete()),
    exchange("offset-delete-unknown-group", create("@t"), offset_delete()),
    exchange("offset-delete-empty-group-id", create("@t"), offset_delete(group="")),
    exchange("offset-delete-unknown-topic", create("@t"), commit(), offset_delete({"@none": [0]})),
    exchange("offset-delete-unknown-topic-of-unknown-group", offset_delete({"@none": [0]})),
    exchange("offset-delete-unknown-partition", create("@t"), commit(), offset_delete({"@t": [0, 4]})),
    exchange("offset-delete-no-topics", commit(), Call("OffsetDelete", 0, {"group_id": "@g", "topics": []})),
    exchange("offset-delete-of-members", create("@t"), stable(), commit(hidden=True, **_OF), offset_delete(), fetch()),
    exchange(
        "offset-delete-of-members-of-another-type",
        create("@t"),
        stable(protocol_type="connect"),
        offset_delete(),
    ),
    exchange("delete-groups-with-offsets", create("@t"), commit(), delete(), fetch(), describe()),
    exchange("delete-groups-then-commit", create("@t"), commit(), delete(), commit(offset=1), fetch()),
    exchange(
        "delete-topic-with-offsets",
        create("@t"),
        create("@u"),
        commit({"@t": [0], "@u": [0]}),
        delete_topic("@t"),
        fetch({"@t": [0], "@u": [0]}, until={"groups.0.topics.0.partitions.0.committed_offset": -1}),
        fetch(everything=True),
    ),
)

EXCHANGES: Final[tuple[Exchange, ...]] = (*SIMPLE, *MEMBERS, *DELETING)
