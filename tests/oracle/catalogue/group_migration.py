"""Classic members in consumer groups, and groups that change between the protocols while they are in use (KIP-848)."""

from __future__ import annotations

from collections.abc import Sequence
from struct import pack
from typing import Any, Final

from tests.oracle.catalogue.consumer_groups import beat, create, joins, look, owned
from tests.oracle.catalogue.group_offsets import commit, fetch
from tests.oracle.catalogue.groups import describe, heartbeat, join, leave, list_groups, sync
from tests.oracle.exchange import Call, Exchange, Saved, exchange


class Subscription:
    """A consumer's JoinGroup metadata, with the topics of this exchange by their names."""

    def __init__(self, *topics: str, version: int = 1, owned: Sequence[tuple[str, Sequence[int]]] = ()) -> None:
        self._topics = topics
        self._version = version
        self._owned = owned

    def encode(self, resolve: Any) -> bytes:
        data = pack(">hi", self._version, len(self._topics)) + b"".join(_text(resolve(each)) for each in self._topics)
        data += pack(">i", -1)
        if self._version >= 1:
            data += pack(">i", len(self._owned))
            for topic, partitions in self._owned:
                data += _text(resolve(topic)) + pack(f">i{len(partitions)}i", len(partitions), *partitions)
        return data


class Assignment:
    """What the leader of a classic group assigns."""

    def __init__(self, **partitions: Sequence[int]) -> None:
        self._partitions = partitions

    def encode(self, resolve: Any) -> bytes:
        data = pack(">hi", 1, len(self._partitions))
        for topic, indexes in self._partitions.items():
            data += _text(resolve(f"@{topic}")) + pack(f">i{len(indexes)}i", len(indexes), *indexes)
        return data + pack(">i", -1)


def _text(value: str) -> bytes:
    return pack(">h", len(value)) + value.encode()


_T: Final = Subscription("@t")
_RANGE: Final = (("range", _T),)
_BOTH: Final = (("range", _T), ("roundrobin", _T))


def enters(name: str = "c", *, on: str = "b", version: int = 9, protocols: Any = _RANGE, **fields: Any) -> list[Call]:
    """A dynamic member of the classic protocol joins the consumer group."""
    call = {key: fields.pop(key) for key in ("hidden", "until") if key in fields}
    return [
        join(on=on, version=version, protocols=protocols, save={name: "member_id"}, **fields, **call),
        join(Saved(name), on=on, version=version, protocols=protocols, **fields, **call),
    ]


def classic(name: str = "c", *, partitions: Sequence[int] = (0, 1)) -> list[Call]:
    """A classic group of one member, which owns these partitions of `@t`."""
    return [
        *enters(name, on="a", hidden=True),
        sync(Saved(name), assignments=((Saved(name), Assignment(t=partitions)),), hidden=True),
    ]


ENTERING: Final = (
    exchange("classic-member-enters", create("@t", 2), joins(), enters(), look(), list_groups(), describe()),
    exchange("classic-member-enters-v3", create("@t", 2), joins(), join(on="b", version=3, protocols=_RANGE)),
    exchange("classic-member-enters-with-several-protocols", create("@t"), joins(), enters(protocols=_BOTH)),
    exchange("classic-member-enters-with-unknown-id", create("@t"), joins(), join("nobody", on="b", protocols=_RANGE)),
    exchange("classic-member-enters-without-protocols", create("@t"), joins(), join(on="b", protocols=(), version=3)),
    exchange(
        "classic-member-enters-with-another-type",
        create("@t"),
        joins(),
        join(on="b", protocols=_RANGE, protocol_type="connect", version=3),
    ),
    exchange(
        "classic-member-enters-with-a-malformed-subscription",
        create("@t"),
        joins(),
        join(on="b", protocols=(("range", b"\xff\xff"),), version=3),
    ),
    exchange(
        "classic-members-without-a-common-protocol",
        create("@t"),
        joins(),
        enters(hidden=True),
        join(on="d", protocols=(("roundrobin", _T),), version=3),
    ),
    exchange(
        "classic-member-static-enters", create("@t"), joins(), join(on="b", protocols=_RANGE, instance="i"), look()
    ),
    exchange(
        "classic-member-static-is-replaced",
        create("@t"),
        joins(),
        join(on="b", protocols=_RANGE, instance="i", save={"c": "member_id"}),
        join(on="d", protocols=_RANGE, instance="i", save={"e": "member_id"}),
        heartbeat(Saved("c"), 2, on="b", instance="i"),
        heartbeat(Saved("c"), 2, on="b"),
    ),
    exchange(
        "classic-member-syncs",
        create("@t", 2),
        joins(),
        enters(hidden=True),
        sync(Saved("c"), 2, on="b"),
        sync(Saved("c"), 1, on="b"),
        sync(Saved("c"), 2, on="b", protocol_name="roundrobin"),
        sync(Saved("c"), 2, on="b", protocol_type="connect"),
        sync("nobody", 2, on="b"),
        sync("m", 2, on="b"),
    ),
    exchange(
        "classic-member-heartbeats",
        create("@t", 2),
        joins(),
        enters(hidden=True),
        heartbeat(Saved("c"), 2, on="b"),
        heartbeat(Saved("c"), 1, on="b"),
        heartbeat("nobody", 2, on="b"),
        heartbeat("m", 2, on="b"),
        heartbeat(Saved("c"), 2, on="b", instance="i"),
    ),
    exchange(
        "classic-member-leaves",
        create("@t", 2),
        joins(),
        enters(hidden=True),
        leave(Saved("c"), "nobody", "m", on="b"),
        look(),
    ),
    exchange(
        "classic-member-receives-its-share",
        create("@t", 2),
        joins(),
        enters(hidden=True),
        heartbeat(Saved("c"), 2, on="b", until={"error_code": 27}),
        beat("m", 2, until={"member_epoch": 2}, topic_partitions=owned(0, 1), hidden=True),
        join(Saved("c"), on="b", protocols=_RANGE, until={"generation_id": 3}, hidden=True),
        sync(Saved("c"), 3, on="b"),
        beat("m", 2, topic_partitions=owned(0, 1), hidden=True),
        beat("m", 2, topic_partitions=owned(0), hidden=True),
        beat("m", 2, topic_partitions=[], hidden=True),
        heartbeat(Saved("c"), 3, on="b"),
        join(Saved("c"), on="b", protocols=_RANGE),
        sync(Saved("c"), 3, on="b"),
        look(),
    ),
    exchange(
        "classic-member-commits",
        create("@t", 2),
        joins(),
        enters(hidden=True),
        commit(member=Saved("c"), epoch=2, version=7),
        commit(member=Saved("c"), epoch=1, version=7),
        commit(member=Saved("c"), epoch=1, version=9),
        fetch(member_id=Saved("c"), member_epoch=2),
        fetch(member_id=Saved("c"), member_epoch=1),
    ),
)

CHANGING: Final = (
    exchange(
        "group-is-upgraded",
        create("@t", 2),
        classic(),
        joins("m", on="b"),
        look(),
        list_groups(),
        describe(),
        heartbeat(Saved("c"), 1),
        sync(Saved("c"), 1),
        join(Saved("c"), protocols=(("range", Subscription("@t", owned=(("@t", (0, 1)),))),)),
        look(),
    ),
    exchange(
        "group-of-another-type-is-not-upgraded",
        create("@t"),
        join(protocol_type="connect", version=3, hidden=True),
        joins("m", on="b"),
    ),
    exchange(
        "group-is-upgraded-before-its-assignment",
        create("@t", 2),
        enters("c", on="a", hidden=True),
        joins("m", on="b"),
        look(),
    ),
    exchange(
        "group-is-downgraded",
        create("@t", 2),
        classic(),
        joins("m", on="b"),
        beat("m", -1, on="b"),
        describe(),
        list_groups(),
        look(),
        heartbeat(Saved("c"), 1),
        join(Saved("c"), protocols=_RANGE),
    ),
    exchange(
        "group-keeps-its-offsets-when-upgraded",
        create("@t"),
        classic(partitions=(0,)),
        commit(member=Saved("c"), epoch=1),
        joins("m", on="b"),
        fetch(),
    ),
)

EXCHANGES: Final[tuple[Exchange, ...]] = (*ENTERING, *CHANGING)
