"""Consumer groups (KIP-848): heartbeats and epochs, static members, patterns, descriptions, offsets by member epoch.

A group is assigned at most once a second (KIP-1263), so exchanges in which members share wait for it by asking again.
"""

from __future__ import annotations

from typing import Any, Final

from tests.oracle.catalogue.group_offsets import commit, fetch, offset_delete
from tests.oracle.catalogue.groups import delete, describe, leave, list_groups, stable
from tests.oracle.exchange import Call, Exchange, Saved, exchange, topic_id
from tests.oracle.vocabulary import create as create_topic

_FULL: Final = {"rebalance_timeout_ms": 30_000, "topic_partitions": []}
_JOINS: Final = {**_FULL, "subscribed_topic_names": ["@t"]}


def beat(member: Any = "m", epoch: Any = 0, *, version: int = 1, group: str = "@g", **fields: Any) -> Call:
    call = {name: fields.pop(name) for name in ("on", "save", "until", "hidden") if name in fields}
    asked = {"group_id": group, "member_id": member, "member_epoch": epoch, **fields}
    return Call("ConsumerGroupHeartbeat", version, asked, **call)


def joins(member: Any = "m", **fields: Any) -> Call:
    return beat(member, 0, **{**_JOINS, **fields})


def create(topic: str, partitions: int = 1) -> list[Call]:
    """A topic that the group coordinator knows of as well: Kafka tells it a moment later than everybody else."""
    shown = {"assignment.topic_partitions.0.partitions.0": 0}
    wanted = {**_FULL, "subscribed_topic_names": [topic]}
    return [
        *create_topic(topic, partitions),
        beat("w", 0, group="@w", until=shown, hidden=True, **wanted),
        beat("w", -1, group="@w", hidden=True),
        Call("DeleteGroups", 2, {"groups_names": ["@w"]}, hidden=True),
    ]


def look(*groups: str, version: int = 1, **fields: Any) -> Call:
    return Call("ConsumerGroupDescribe", version, {"group_ids": groups or ["@g"], **fields})


def owned(*partitions: int, topic: str = "@t") -> list[dict[str, Any]]:
    return [{"topic_id": topic_id(topic), "partitions": list(partitions)}] if partitions else []


JOINING: Final = (
    *(
        exchange(f"consumer-group-join-v{version}", create("@t", 3), joins(version=version), look())
        for version in (0, 1)
    ),
    exchange(
        "consumer-group-join-v0-without-id",
        create("@t"),
        joins("", version=0, save={"m": "member_id"}),
        beat(Saved("m"), 2, version=0),
    ),
    *(
        exchange(f"consumer-group-join-{label}", create("@t"), beat(**{"epoch": 0, **_JOINS, **fields}), look())
        for label, fields in {
            "without-id": {"member": ""},
            "blank-id": {"member": " "},
            "empty-group-id": {"group": ""},
            "without-timeout": {"rebalance_timeout_ms": -1},
            "without-partitions": {"topic_partitions": None},
            "with-partitions": {"topic_partitions": owned(0)},
            "without-subscription": {"subscribed_topic_names": None},
            "with-no-topics": {"subscribed_topic_names": []},
            "unknown-topic": {"subscribed_topic_names": ["@none"]},
            "topic-twice": {"subscribed_topic_names": ["@t", "@t"]},
            "empty-instance-id": {"instance_id": ""},
            "empty-rack": {"rack_id": ""},
            "rack": {"rack_id": "r1"},
            "unknown-assignor": {"server_assignor": "sticky"},
            "range": {"server_assignor": "range"},
            "uniform": {"server_assignor": "uniform"},
            "empty-assignor": {"server_assignor": ""},
            "timeout-zero": {"rebalance_timeout_ms": 0},
            "epoch-minus-three": {"epoch": -3},
            "epoch-five": {"epoch": 5},
        }.items()
    ),
    exchange("consumer-group-join-twice", create("@t"), joins(), joins(), look()),
    exchange(
        "consumer-group-join-several-topics", create("@t", 2), create("@u"), joins(subscribed_topic_names=["@u", "@t"])
    ),
    exchange("consumer-group-second-member-at-once", create("@t", 2), joins(), joins("n"), look(), list_groups()),
)

BEATING: Final = (
    *(
        exchange(f"consumer-group-heartbeat-{label}", create("@t", 2), joins(), beat(**fields))
        for label, fields in {
            "plain": {"epoch": 2},
            "with-partitions": {"epoch": 2, "topic_partitions": owned(0, 1)},
            "full": {"epoch": 2, **_JOINS, "topic_partitions": owned(0, 1)},
            "stale": {"epoch": 1},
            "future": {"epoch": 3},
            "unknown-member": {"member": "nobody", "epoch": 2},
            "unknown-group": {"group": "@none", "epoch": 2},
            "empty-id": {"member": "", "epoch": 2},
            "other-topics": {"epoch": 2, "subscribed_topic_names": ["@none"]},
            "instance": {"epoch": 2, "instance_id": "i"},
            "unknown-assignor": {"epoch": 2, "server_assignor": "sticky"},
        }.items()
    ),
    exchange(
        "consumer-group-two-members-share",
        create("@t", 4),
        joins(),
        joins("n", hidden=True),
        beat("n", 2, until={"member_epoch": 3}, hidden=True),
        look(),
        beat("m", 2, topic_partitions=owned(0, 1, 2, 3), save={"kept": "assignment.topic_partitions"}, hidden=True),
        beat("m", 2),
        look(),
        beat("m", 2, topic_partitions=[]),
        beat("n", 3),
        look(),
    ),
    exchange("consumer-group-heartbeat-v0", create("@t"), joins(version=0), beat(epoch=2, version=0)),
)

LEAVING: Final = (
    exchange("consumer-group-leave", create("@t"), joins(), beat(epoch=-1), beat(epoch=2), look(), list_groups()),
    exchange("consumer-group-leave-twice", create("@t"), joins(), beat(epoch=-1), beat(epoch=-1)),
    exchange("consumer-group-leave-unknown-group", beat(epoch=-1)),
    exchange("consumer-group-leave-unknown-member", create("@t"), joins(), beat("nobody", -1)),
    exchange("consumer-group-leave-without-id", create("@t"), joins(), beat("", -1)),
    exchange("consumer-group-leave-and-join", create("@t"), joins(), beat(epoch=-1), joins(), look()),
    exchange("consumer-group-leave-static-without-instance", create("@t"), joins(), beat(epoch=-2)),
    exchange("consumer-group-leave-static-unknown-instance", create("@t"), joins(), beat(epoch=-2, instance_id="i")),
)

STATIC: Final = (
    exchange("consumer-group-static-join", create("@t"), joins(instance_id="i"), look()),
    exchange("consumer-group-static-join-again", create("@t"), joins(instance_id="i"), joins(instance_id="i"), look()),
    exchange("consumer-group-static-unreleased", create("@t"), joins(instance_id="i"), joins("n", instance_id="i")),
    exchange(
        "consumer-group-static-leaves-and-returns",
        create("@t", 2),
        joins(instance_id="i"),
        beat(epoch=-2, instance_id="i"),
        look(),
        joins("n", instance_id="i"),
        look(),
        beat("n", 2, instance_id="i"),
        beat("m", 2, instance_id="i"),
        beat("m", 2),
    ),
    exchange(
        "consumer-group-static-leaves-and-returns-as-itself",
        create("@t", 2),
        joins(instance_id="i"),
        beat(epoch=-2, instance_id="i"),
        joins(instance_id="i"),
        beat(epoch=2, instance_id="i"),
        look(),
    ),
    exchange(
        "consumer-group-static-leaves-for-good",
        create("@t"),
        joins(instance_id="i"),
        beat(epoch=-1, instance_id="i"),
        look(),
    ),
    exchange(
        "consumer-group-static-leaves-as-another", create("@t"), joins(instance_id="i"), beat("n", -1, instance_id="i")
    ),
)

_PATTERN: Final = {"subscribed_topic_names": None}
PATTERNS: Final = (
    *(
        exchange(f"consumer-group-regex-{label}", joins(**_PATTERN, subscribed_topic_regex=regex))
        for label, regex in {
            "open-bracket": "[",
            "open-group": "(",
            "back-reference": r"(a)\1",
            "look-ahead": "a(?=b)",
            "double-star": "a**",
            "matches-nothing": "no-such-topic-anywhere",
            "empty": "",
        }.items()
    ),
    exchange(
        "consumer-group-regex-and-names",
        create("@t"),
        joins(subscribed_topic_regex="no-such-topic-anywhere"),
        beat(epoch=2, until={"member_epoch": 3}, hidden=True),
        look(),
    ),
)

LOOKING: Final = (
    *(
        exchange(f"consumer-group-describe-v{version}", create("@t"), joins(), look(version=version))
        for version in (0, 1)
    ),
    exchange("consumer-group-describe-unknown", look("@none")),
    exchange("consumer-group-describe-empty-id", look("")),
    exchange("consumer-group-describe-none", Call("ConsumerGroupDescribe", 1, {"group_ids": []})),
    exchange("consumer-group-describe-twice", create("@t"), joins(), look("@g", "@none", "@g")),
    exchange("consumer-group-describe-operations", create("@t"), joins(), look(include_authorized_operations=True)),
    exchange("consumer-group-describe-operations-unknown", look(include_authorized_operations=True)),
    exchange("consumer-group-describe-a-classic-group", stable(), look()),
    exchange("consumer-group-describe-offsets-only", create("@t"), commit(), look()),
    exchange("consumer-group-described-as-classic", create("@t"), joins(), describe(), describe(version=5)),
    exchange(
        "consumer-group-listed",
        create("@t"),
        joins(),
        list_groups(),
        list_groups(4),
        list_groups(types_filter=["consumer"]),
    ),
    exchange("consumer-group-delete-with-members", create("@t"), joins(), delete()),
    exchange("consumer-group-delete-empty", create("@t"), joins(), beat(epoch=-1), delete(), look(), list_groups()),
)

_OF: Final = {"member": "m", "epoch": 2}
OFFSETS: Final = (
    *(
        exchange(f"consumer-group-commit-v{version}", create("@t"), joins(), commit(version=version, **_OF), fetch())
        for version in (2, 8, 9, 10)
    ),
    *(
        exchange(f"consumer-group-commit-{label}", create("@t"), joins(), commit(**fields), fetch())
        for label, fields in {
            "stale": {"member": "m", "epoch": 1},
            "future": {"member": "m", "epoch": 3},
            "unknown-member": {"member": "n", "epoch": 2},
            "without-epoch": {"member": "m"},
            "stranger": {},
            "stranger-v8": {"version": 8},
        }.items()
    ),
    exchange(
        "consumer-group-commit-after-leaving", create("@t"), joins(), beat(epoch=-1), commit(**_OF), commit(), fetch()
    ),
    *(
        exchange(f"consumer-group-fetch-as-{label}", create("@t"), joins(), commit(hidden=True, **_OF), fetch(**fields))
        for label, fields in {
            "member": {"member_id": "m", "member_epoch": 2},
            "stale-member": {"member_id": "m", "member_epoch": 1},
            "future-member": {"member_id": "m", "member_epoch": 3},
            "stranger": {"member_id": "n", "member_epoch": 2},
            "member-without-epoch": {"member_id": "m"},
        }.items()
    ),
    exchange("consumer-group-offset-delete-subscribed", create("@t"), joins(), commit(**_OF), offset_delete(), fetch()),
    exchange(
        "consumer-group-offset-delete-other-topic",
        create("@t"),
        create("@u"),
        joins(),
        commit({"@u": [0]}, **_OF),
        offset_delete({"@u": [0]}),
        fetch({"@u": [0]}),
    ),
    exchange("consumer-group-takes-over-offsets", create("@t"), commit(), joins(), fetch(), list_groups()),
    exchange(
        "consumer-group-becomes-classic", create("@t"), joins(), beat(epoch=-1), stable(), list_groups(), describe()
    ),
    exchange(
        "consumer-group-takes-over-an-empty-classic-group",
        create("@t"),
        stable(),
        leave(Saved("m")),
        joins(),
        look(),
        describe(),
    ),
)

EXCHANGES: Final[tuple[Exchange, ...]] = (*JOINING, *BEATING, *LEAVING, *STATIC, *PATTERNS, *LOOKING, *OFFSETS)
