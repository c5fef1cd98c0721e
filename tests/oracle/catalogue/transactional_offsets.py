"""Positions committed in a transaction: TxnOffsetCommit and AddOffsetsToTxn, and what everybody else sees meanwhile.

KIP-98, KIP-447, KIP-848, KIP-890.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tests.oracle.catalogue.consumer_groups import beat, joins, owned
from tests.oracle.catalogue.consumer_groups import create as create_for_groups
from tests.oracle.catalogue.group_offsets import commit, fetch, offset_delete
from tests.oracle.catalogue.groups import delete, describe, join, leave, list_groups, pair, second, stable
from tests.oracle.catalogue.transactional_writes import end, init
from tests.oracle.exchange import Call, Exchange, Saved, Steps, exchange
from tests.oracle.vocabulary import create
from tests.oracle.vocabulary import delete as delete_topic

_PID: Final = Saved("pid")
_EPOCH: Final = Saved("epoch")
_OF_VERSION_3: Final = 3
_DONE: Final = {"error_code": 0}
_SETTLED: Final = {"groups.0.topics.0.partitions.0.error_code": 0}


def add_offsets(*, name: str = "@x", group: str = "@g", version: int = 4, epoch: Any = _EPOCH, **call: Any) -> Call:
    fields = {
        "transactional_id": name,
        "producer_id": Saved("pid"),
        "producer_epoch": epoch,
        "group_id": group,
    }
    return Call("AddOffsetsToTxn", version, fields, **call)


def commits(
    topics: Mapping[str, Sequence[Mapping[str, Any] | int]] | None = None,
    *,
    version: int = 5,
    name: str = "@x",
    group: str = "@g",
    pid: Any = _PID,
    epoch: Any = _EPOCH,
    generation: int = -1,
    member: Any = "",
    offset: int = 7,
    **call: Any,
) -> Call:
    listed = [
        {
            "name": topic,
            "partitions": [
                {"partition_index": item, "committed_offset": offset, "committed_metadata": "note"}
                if isinstance(item, int)
                else {"partition_index": 0, "committed_offset": offset, **item}
                for item in partitions
            ],
        }
        for topic, partitions in (topics or {"@t": [0]}).items()
    ]
    fields: dict[str, Any] = {
        "transactional_id": name,
        "group_id": group,
        "producer_id": pid,
        "producer_epoch": epoch,
        "topics": listed,
    }
    if version >= _OF_VERSION_3:
        fields |= {"generation_id": generation, "member_id": member, **call.pop("more", {})}
    return Call("TxnOffsetCommit", version, fields, **call)


def pending() -> Call:
    """A position that waits for its transaction; not recorded."""
    return commits(hidden=True)


def settled() -> Call:
    return fetch(require_stable=True, until=_SETTLED)


def _committed(label: str, *steps: Steps) -> Exchange:
    """With a topic and a transactional producer."""
    return exchange(f"txn-offsets-{label}", create("@t", 2), init(), steps)


COMMITS: Final = (
    *(_committed(f"not-added-v{version}", commits(version=version), describe()) for version in range(6)),
    *(
        _committed(
            f"added-v{version}",
            add_offsets(until=_DONE, version=min(version, 4)),
            commits(version=version),
            fetch(),
            fetch(require_stable=True),
            end(version=4),
            settled(),
        )
        for version in range(6)
    ),
    _committed(
        "v5-commit", commits(), fetch(), fetch(require_stable=True), describe(), list_groups(), end(), settled()
    ),
    _committed("v5-abort", commits(), end(commit=False), settled(), describe(), list_groups()),
    _committed("over-a-plain-one-commit", commit(), commits(), fetch(), fetch(require_stable=True), end(), settled()),
    _committed("over-a-plain-one-abort", commit(), commits(), end(commit=False), settled()),
    _committed("before-a-plain-one", commits(), commit(), fetch(), end(), settled()),
    _committed("twice", commits(offset=7), commits(offset=8), end(), settled()),
    _committed("require-stable-of-another-partition", commits({"@t": [0]}), fetch({"@t": [0, 1]}, require_stable=True)),
    _committed("require-stable-of-all", commit({"@t": [1]}), commits(), fetch(everything=True, require_stable=True)),
    _committed("require-stable-v7", commits(), fetch(version=7, require_stable=True)),
    _committed("require-stable-v8", commits(), fetch(version=8, require_stable=True)),
    _committed("require-stable-v10", commits(), fetch(version=10, require_stable=True)),
    _committed("leader-epoch", commits({"@t": [{"committed_leader_epoch": 3}]}), end(), settled()),
    _committed("null-metadata", commits({"@t": [{"committed_metadata": None}]}), end(), settled()),
    _committed("metadata-too-long", commits({"@t": [{"committed_metadata": "x" * 4097}, 1]})),
    _committed("unknown-topic", commits({"@no": [0], "@t": [0]})),
    _committed("unknown-partition", commits({"@t": [0, 9]})),
    _committed("negative-partition", commits({"@t": [-1]})),
    _committed("nothing-known", commits({"@no": [0]})),
    _committed("no-topics", Call("TxnOffsetCommit", 5, {"transactional_id": "@x", "group_id": "@g", "topics": []})),
    _committed("no-partitions", commits({"@t": []})),
    _committed("partition-twice", commits({"@t": [0, 0]})),
    _committed("negative-offset", commits(offset=-5), end(), settled()),
    _committed("empty-group-id", commits(group="")),
    _committed("empty-group-id-v3", commits(group="", version=3)),
)

REFUSED: Final = tuple(
    _committed(
        f"{label}-v{version}", *([add_offsets(until=_DONE)] if version < 5 else []), commits(version=version, **fields)
    )
    for version in (3, 4, 5)
    for label, fields in {
        "unknown-transactional-id": {"name": "@other"},
        "empty-transactional-id": {"name": ""},
        "foreign-producer-id": {"pid": 5 * 10**12},
        "newer-epoch": {"epoch": Saved("epoch", plus=1)},
        "older-epoch": {"epoch": Saved("epoch", plus=-1)},
        "another-group": {"group": "@h"},
        "unknown-group-with-a-generation": {"generation": 1, "member": "m"},
        "unknown-group-with-a-member": {"member": "m"},
        "instance": {"more": {"group_instance_id": "i"}},
    }.items()
)

LATE: Final = (
    _committed("after-commit-v5", commits(), end(), settled(), commits()),
    _committed(
        "after-abort-v4",
        add_offsets(until=_DONE),
        commits(version=4),
        end(commit=False, version=4),
        settled(),
        commits(version=4),
    ),
    _committed(
        "after-abort-v3",
        add_offsets(until=_DONE),
        commits(version=3),
        end(commit=False, version=4),
        settled(),
        commits(version=3),
    ),
    _committed(
        "next-transaction",
        commits(),
        end(),
        settled(),
        commits(epoch=Saved("next"), offset=9),
        end(epoch=Saved("next")),
        settled(),
    ),
    _committed("of-a-fenced-producer", commits(), init(pid="p", epoch="e"), commits(), settled()),
)

ADD_OFFSETS: Final = tuple(
    _committed(f"add-v{version}-{label}", add_offsets(version=version, **fields))
    for version in (0, 2, 4)
    for label, fields in {
        "plain": {},
        "again-with-an-older-epoch": {"epoch": Saved("epoch", plus=-1)},
        "with-a-newer-epoch": {"epoch": Saved("epoch", plus=1)},
        "to-an-unknown-transactional-id": {"name": "@other"},
        "of-an-empty-group": {"group": ""},
    }.items()
)

_M: Final = Saved("m")

CLASSIC: Final = (
    _committed("of-a-member", stable(), commits(generation=1, member=_M), end(), settled()),
    _committed("of-no-member-of-a-group-in-use", stable(), commits(), end(), settled()),
    _committed("of-a-foreign-member", stable(), commits(generation=1, member="other")),
    _committed("of-an-older-generation", stable(), commits(generation=0, member=_M)),
    _committed("of-a-newer-generation", stable(), commits(generation=2, member=_M)),
    _committed("of-a-member-without-generation", stable(), commits(member=_M)),
    _committed("of-a-generation-without-member", stable(), commits(generation=1)),
    _committed("of-a-member-who-left", stable(), leave(_M, hidden=True), commits(generation=1, member=_M)),
    _committed("of-nobody-in-an-empty-group", stable(), leave(_M, hidden=True), commits(), end(), settled()),
    _committed("while-the-group-prepares", stable(), second(), commits(generation=1, member=_M)),
    _committed("while-the-group-awaits-its-assignment", pair(), commits(generation=2, member=_M)),
    _committed("while-the-group-awaits-its-assignment-of-nobody", pair(), commits()),
)

CONSUMER: Final = tuple(
    exchange(f"txn-offsets-consumer-{label}", create_for_groups("@t"), init(), joins(), steps)
    for label, steps in {
        "member": [commits(generation=1, member="m"), end(), settled()],
        "nobody": [commits(), end(), settled()],
        "foreign-member": [commits(generation=1, member="other")],
        "older-epoch": [commits(generation=0, member="m")],
        "newer-epoch": [commits(generation=2, member="m")],
        "member-without-epoch": [commits(member="m")],
        "epoch-without-member": [commits(generation=1)],
        "epoch-minus-two": [commits(generation=-2, member="m")],
        "member-of-a-later-epoch": [
            beat("m", 1, subscribed_topic_names=["@t", "@u"], topic_partitions=owned(0), until={"member_epoch": 2}),
            commits(generation=1, member="m"),
            commits({"@t": [1]}, generation=1, member="m"),
        ],
        "member-who-left": [beat("m", -1), commits(generation=1, member="m"), commits()],
    }.items()
)

LIFE: Final = (
    _committed(
        "keep-a-group-from-nothing", commits(), delete(), fetch(), fetch(require_stable=True), list_groups(), end()
    ),
    _committed(
        "delete-group-then-commit",
        commit(),
        commits(),
        delete(),
        fetch(require_stable=True),
        end(),
        settled(),
        list_groups(),
    ),
    _committed(
        "delete-offsets-meanwhile", commit(), commits(), offset_delete(), fetch(require_stable=True), end(), settled()
    ),
    _committed("delete-topic-meanwhile", commits(), delete_topic("@t"), end(), list_groups()),
    _committed("join-meanwhile", commits(), join(save={"m": "member_id"}), end(), settled()),
)

EXCHANGES: Final[tuple[Exchange, ...]] = (*COMMITS, *REFUSED, *LATE, *ADD_OFFSETS, *CLASSIC, *CONSUMER, *LIFE)
