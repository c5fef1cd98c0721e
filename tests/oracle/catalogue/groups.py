"""Classic groups: joining, syncing, heartbeats, leaving, and how groups are listed, described and deleted.

KIP-345, KIP-394, KIP-518, KIP-559, KIP-814. Nobody waits for a time-out here: what needs a second member has one, on a
connection of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from tests.oracle.exchange import Await, Call, Exchange, Saved, Steps, exchange

_MEMBER_ID_REQUIRED_FROM: Final = 4
_SUBSCRIPTION: Final = b"\x00\x01\x00\x00\x00\x01\x00\x05sub-t\xff\xff\xff\xff\x00\x00\x00\x00"
_RANGE: Final = (("range", _SUBSCRIPTION),)


def join(
    member: Any = "",
    *,
    version: int = 9,
    group: str = "@g",
    protocols: Sequence[tuple[str, bytes]] = _RANGE,
    protocol_type: str = "consumer",
    session_ms: int = 30_000,
    rebalance_ms: int = 20_000,
    instance: str | None = None,
    **call: Any,
) -> Call:
    fields: dict[str, Any] = {
        "group_id": group,
        "session_timeout_ms": session_ms,
        "member_id": member,
        "protocol_type": protocol_type,
        "protocols": [{"name": name, "metadata": metadata} for name, metadata in protocols],
    }
    if version >= 1:
        fields["rebalance_timeout_ms"] = rebalance_ms
    if instance is not None:
        fields["group_instance_id"] = instance
    return Call("JoinGroup", version, fields, **call)


def sync(
    member: Any,
    generation: int = 1,
    assignments: Sequence[tuple[Any, bytes]] = (),
    *,
    version: int = 5,
    group: str = "@g",
    instance: str | None = None,
    protocol_type: str | None = "consumer",
    protocol_name: str | None = "range",
    **call: Any,
) -> Call:
    fields: dict[str, Any] = {
        "group_id": group,
        "generation_id": generation,
        "member_id": member,
        "assignments": [{"member_id": each, "assignment": data} for each, data in assignments],
    }
    if version >= 5:
        fields |= {"protocol_type": protocol_type, "protocol_name": protocol_name}
    if instance is not None:
        fields["group_instance_id"] = instance
    return Call("SyncGroup", version, fields, **call)


def heartbeat(
    member: Any, generation: int = 1, *, version: int = 4, group: str = "@g", instance: str | None = None, **call: Any
) -> Call:
    fields: dict[str, Any] = {"group_id": group, "generation_id": generation, "member_id": member}
    if instance is not None:
        fields["group_instance_id"] = instance
    return Call("Heartbeat", version, fields, **call)


def leave(*members: Any, version: int = 5, group: str = "@g", **call: Any) -> Call:
    """A member is an id, or (id, instance id)."""
    if version < 3:
        return Call("LeaveGroup", version, {"group_id": group, "member_id": members[0]}, **call)
    pairs = [each if isinstance(each, tuple) else (each, None) for each in members]
    listed = [{"member_id": member, "group_instance_id": instance} for member, instance in pairs]
    return Call("LeaveGroup", version, {"group_id": group, "members": listed}, **call)


def describe(*groups: str, version: int = 6, **fields: Any) -> Call:
    return Call("DescribeGroups", version, {"groups": groups or ["@g"], **fields})


def list_groups(version: int = 5, **filters: Any) -> Call:
    return Call("ListGroups", version, filters, own=True)


def delete(*groups: str, version: int = 2) -> Call:
    return Call("DeleteGroups", version, {"groups_names": groups or ["@g"]})


def member(name: str = "m", *, on: str = "a", wait: bool = True, hidden: bool = True, **fields: Any) -> list[Call]:
    """A dynamic member's two requests; its id is `Saved(name)` then."""
    return [
        join(on=on, save={name: "member_id"}, hidden=hidden, **fields),
        join(Saved(name), on=on, wait=wait, hidden=hidden, **fields),
    ]


def stable(name: str = "m", *, on: str = "a", **fields: Any) -> list[Call]:
    """A group of one member with its assignment."""
    group = fields.get("group", "@g")
    return [
        *member(name, on=on, **fields),
        sync(Saved(name), assignments=((Saved(name), b"mine"),), group=group, on=on, hidden=True),
    ]


_REBALANCING: Final = {"error_code": 27}


def second(name: str = "n", *, on: str = "b", version: int = 9, **fields: Any) -> list[Steps]:
    """A second member that waits for the first, which has seen it come."""
    return [
        join(on=on, save={name: "member_id"}, hidden=True, version=version, **fields),
        join(Saved(name), on=on, wait=False, version=version, **fields),
        heartbeat(Saved("m"), until=_REBALANCING, hidden=True),
    ]


def pair() -> list[Steps]:
    """Two members of generation 2 that have not synced; the first leads."""
    return [stable(), second(), join(Saved("m"), hidden=True), Await("b")]


JOINING: Final = (
    *(
        exchange(
            f"join-group-v{version}",
            join(version=version, save={"m": "member_id"}),
            [join(Saved("m"), version=version)] if version >= _MEMBER_ID_REQUIRED_FROM else [],
        )
        for version in range(10)
    ),
    exchange("join-group-empty-group-id", join(group="")),
    exchange("join-group-session-too-short", join(session_ms=5_999)),
    exchange("join-group-session-too-long", join(session_ms=1_800_001)),
    exchange("join-group-session-negative", join(session_ms=-1)),
    exchange("join-group-unknown-member-of-unknown-group", join("nobody")),
    exchange("join-group-unknown-member-of-known-group", stable(), join("nobody", on="b")),
    exchange("join-group-no-protocols", join(protocols=())),
    exchange("join-group-no-protocol-type", join(protocol_type="")),
    exchange("join-group-no-protocols-then-describe", join(protocols=()), describe(), list_groups()),
    exchange("join-group-other-protocol-type", stable(), join(protocol_type="connect", on="b")),
    exchange("join-group-no-common-protocol", stable(), join(protocols=(("sticky", b"x"),), on="b")),
    exchange(
        "join-group-follower-again-unchanged",
        pair(),
        sync(Saved("m"), 2, ((Saved("m"), b"1"), (Saved("n"), b"2"))),
        sync(Saved("n"), 2, on="b"),
        join(Saved("n"), on="b"),
        heartbeat(Saved("m"), 2),
    ),
    exchange("join-group-again-while-completing", member(), join(Saved("m"))),
    exchange(
        "join-group-changed-metadata-while-completing", member(), join(Saved("m"), protocols=(("range", b"other"),))
    ),
    exchange("join-group-leader-again-when-stable", stable(), join(Saved("m"))),
    exchange("join-group-with-changed-protocols", stable(), join(Saved("m"), protocols=(("sticky", b"x"),))),
    exchange("join-group-of-two-members", stable(), second(), join(Saved("m")), Await("b"), describe(), list_groups()),
    exchange(
        "join-group-votes-for-a-common-protocol",
        stable(protocols=(("a", b"1"), ("b", b"2"))),
        second(protocols=(("b", b"3"), ("c", b"4"))),
        join(Saved("m"), protocols=(("a", b"1"), ("b", b"2"))),
        Await("b"),
    ),
    exchange("join-group-pending-member-is-no-member", join(save={"m": "member_id"}, hidden=True), describe()),
    exchange(
        "join-group-pending-member-heartbeat",
        join(save={"m": "member_id"}, hidden=True),
        heartbeat(Saved("m")),
        sync(Saved("m")),
        leave(Saved("m")),
    ),
    exchange("join-group-protocol-named-twice", join(protocols=(("a", b"1"), ("a", b"2")), version=3)),
    exchange("join-group-empty-metadata", join(protocols=(("range", b""),), version=3)),
    exchange("join-group-malformed-subscription", join(protocols=(("range", b"\xff\xff\xff"),), version=3), describe()),
    exchange("join-group-other-type-of-group", join(protocol_type="connect", version=3), describe(), list_groups()),
    exchange("join-group-rebalance-timeout-zero", join(rebalance_ms=0, version=3)),
    exchange("join-group-rebalance-timeout-negative", join(rebalance_ms=-1, version=3)),
)

STATIC: Final = (
    exchange("static-join", join(instance="i"), describe()),
    exchange("static-join-with-member-id-unknown", join("nobody", instance="i")),
    exchange(
        "static-join-replaces-v9",
        join(instance="i", save={"m": "member_id"}),
        sync(Saved("m"), assignments=((Saved("m"), b"mine"),), instance="i"),
        join(instance="i", on="b", save={"n": "member_id"}),
        heartbeat(Saved("m"), instance="i"),
        heartbeat(Saved("m")),
        heartbeat(Saved("n"), instance="i", on="b"),
        sync(Saved("n"), instance="i", on="b"),
        sync(Saved("m"), instance="i"),
        leave((Saved("m"), "i")),
        describe(),
    ),
    *(
        exchange(
            f"static-join-replaces-v{version}",
            join(instance="i", save={"m": "member_id"}, version=version),
            sync(Saved("m"), assignments=((Saved("m"), b"mine"),)),
            join(instance="i", on="b", save={"n": "member_id"}, version=version),
            sync(Saved("n"), instance="i", on="b"),
        )
        for version in (5, 8)
    ),
    exchange(
        "static-join-replaces-while-completing",
        join(instance="i", save={"m": "member_id"}),
        join(instance="i", on="b", save={"n": "member_id"}),
        heartbeat(Saved("n"), 2, instance="i", on="b"),
    ),
    exchange(
        "static-join-replaces-with-other-protocol",
        join(instance="i", save={"m": "member_id"}),
        sync(Saved("m"), assignments=((Saved("m"), b"mine"),), instance="i"),
        join(instance="i", on="b", protocols=(("sticky", b"x"),)),
    ),
    exchange(
        "static-rejoin-with-id",
        join(instance="i", save={"m": "member_id"}),
        sync(Saved("m"), assignments=((Saved("m"), b"mine"),), instance="i"),
        join(Saved("m"), instance="i"),
        join(Saved("m"), instance="other"),
        join(Saved("m")),
    ),
    exchange("static-unknown-instance", stable(), heartbeat(Saved("m"), instance="i")),
    exchange(
        "static-leave-by-instance",
        join(instance="i", save={"m": "member_id"}),
        leave(("", "i")),
        leave(("", "i")),
        describe(),
    ),
)

SYNCING: Final = (
    *(
        exchange(
            f"sync-group-v{version}",
            member(),
            sync(Saved("m"), assignments=((Saved("m"), b"mine"),), version=version),
            sync(Saved("m"), version=version),
        )
        for version in range(6)
    ),
    exchange("sync-group-empty-group-id", sync("m", group="")),
    exchange("sync-group-unknown-group", sync("m")),
    exchange("sync-group-unknown-member", stable(), sync("nobody")),
    exchange("sync-group-stale-generation", stable(), sync(Saved("m"), 0), sync(Saved("m"), 2)),
    exchange("sync-group-other-protocol-type", stable(), sync(Saved("m"), protocol_type="connect")),
    exchange("sync-group-other-protocol-name", stable(), sync(Saved("m"), protocol_name="sticky")),
    exchange("sync-group-no-protocol-type", stable(), sync(Saved("m"), protocol_type=None)),
    exchange("sync-group-no-protocol-name", stable(), sync(Saved("m"), protocol_name=None)),
    exchange("sync-group-leader-assigns-nothing", member(), sync(Saved("m")), sync(Saved("m")), describe()),
    exchange(
        "sync-group-assigns-to-strangers", member(), sync(Saved("m"), assignments=(("nobody", b"x"),)), describe()
    ),
    exchange(
        "sync-group-of-two-members",
        pair(),
        sync(Saved("n"), 2, on="b", wait=False),
        sync(Saved("m"), 2, ((Saved("m"), b"1"), (Saved("n"), b"2"))),
        Await("b"),
        describe(),
    ),
    exchange("sync-group-while-preparing", stable(), second(), sync(Saved("m")), heartbeat(Saved("m"))),
    exchange(
        "sync-group-follower-when-rebalance-begins",
        pair(),
        sync(Saved("n"), 2, on="b", wait=False),
        join(Saved("m"), protocols=(("range", b"new"),), wait=False),
        Await("b"),
        join(Saved("n"), on="b"),
        Await("a"),
    ),
)

BEATING: Final = (
    *(exchange(f"heartbeat-v{version}", stable(), heartbeat(Saved("m"), version=version)) for version in range(5)),
    exchange("heartbeat-empty-group-id", heartbeat("m", group="")),
    exchange("heartbeat-unknown-group", heartbeat("m")),
    exchange("heartbeat-unknown-member", stable(), heartbeat("nobody")),
    exchange("heartbeat-stale-generation", stable(), heartbeat(Saved("m"), 0), heartbeat(Saved("m"), 2)),
    exchange("heartbeat-while-completing", member(), heartbeat(Saved("m"))),
    exchange("heartbeat-after-leaving", stable(), leave(Saved("m")), heartbeat(Saved("m"))),
)

LEAVING: Final = (
    *(
        exchange(
            f"leave-group-v{version}",
            stable(),
            leave(Saved("m"), version=version),
            leave(Saved("m"), version=version),
            describe(),
        )
        for version in range(6)
    ),
    exchange("leave-group-empty-group-id", leave("m", group="")),
    exchange("leave-group-empty-group-id-v2", leave("m", group="", version=2)),
    exchange("leave-group-unknown-group", leave("m", ("", "i"))),
    exchange("leave-group-unknown-group-v2", leave("m", version=2)),
    exchange("leave-group-nobody", stable(), leave()),
    exchange("leave-group-several", pair(), leave(Saved("m"), "nobody", Saved("n"), ("", "i")), describe()),
    exchange("leave-group-follower", pair(), leave(Saved("n"), on="b"), heartbeat(Saved("m"), 2), describe()),
    exchange(
        "leave-group-leader-while-other-waits",
        stable(),
        second(),
        leave(Saved("m")),
        Await("b"),
        describe(),
    ),
    exchange("leave-group-pending", join(save={"m": "member_id"}, hidden=True), leave(Saved("m")), leave(Saved("m"))),
)

LOOKING: Final = (
    *(exchange(f"describe-groups-v{version}", stable(), describe(version=version)) for version in range(7)),
    *(exchange(f"describe-groups-unknown-v{version}", describe(version=version)) for version in range(7)),
    exchange("describe-groups-none", Call("DescribeGroups", 6, {"groups": []})),
    exchange("describe-groups-empty-id", describe("")),
    exchange("describe-groups-operations", stable(), describe(include_authorized_operations=True)),
    exchange("describe-groups-operations-unknown", describe(include_authorized_operations=True)),
    exchange("describe-groups-operations-unknown-v5", describe(version=5, include_authorized_operations=True)),
    exchange("describe-groups-completing", member(), describe()),
    exchange("describe-groups-preparing", stable(), second(), describe()),
    exchange("describe-groups-empty", stable(), leave(Saved("m")), describe()),
    exchange("describe-groups-twice", stable(), describe("@g", "@other", "@g")),
    *(exchange(f"list-groups-v{version}", stable(), list_groups(version)) for version in range(6)),
    *(
        exchange(
            f"list-groups-by-{label}", stable(), leave(Saved("m")), stable("n", group="@h"), list_groups(**filters)
        )
        for label, filters in {
            "state": {"states_filter": ["Stable"]},
            "state-in-capitals": {"states_filter": ["STABLE"]},
            "states": {"states_filter": ["Empty", "Stable"]},
            "unknown-state": {"states_filter": ["Sleeping"]},
            "empty-state": {"states_filter": [""]},
            "type": {"types_filter": ["classic"]},
            "type-in-capitals": {"types_filter": ["Classic"]},
            "other-type": {"types_filter": ["consumer"]},
            "unknown-type": {"types_filter": ["herd"]},
            "state-and-type": {"states_filter": ["empty"], "types_filter": ["classic"]},
        }.items()
    ),
    *(
        exchange(
            f"delete-groups-v{version}", stable(), leave(Saved("m")), delete(version=version), delete(), describe()
        )
        for version in range(3)
    ),
    exchange("delete-groups-not-empty", stable(), delete(), describe()),
    exchange("delete-groups-several", stable(), delete("@g", "@none", "", "@g")),
    exchange("delete-groups-none", Call("DeleteGroups", 2, {"groups_names": []})),
)

EXCHANGES: Final[tuple[Exchange, ...]] = (*JOINING, *STATIC, *SYNCING, *BEATING, *LEAVING, *LOOKING)
