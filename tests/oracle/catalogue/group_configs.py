"""Configuration of groups: described, changed, listed, and what a consumer group's members are told (KIP-848)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from tests.oracle.catalogue.consumer_groups import beat, create, joins
from tests.oracle.exchange import Call, Exchange, Saved, exchange
from tests.oracle.vocabulary import APPEND, DELETE, SET, SUBTRACT, configs

_GROUP: Final = 32
_SESSION: Final = "consumer.session.timeout.ms"
_HEARTBEAT: Final = "consumer.heartbeat.interval.ms"


def _describe(*names: str, group: str = "@g", version: int = 4, **call: Any) -> Call:
    asked = {"resource_type": _GROUP, "resource_name": group, "configuration_keys": list(names) or None}
    return Call("DescribeConfigs", version, {"resources": [asked], "include_synonyms": True}, **call)


def _alter(*changes: tuple[str, int, str | None], group: str = "@g", validate_only: bool = False) -> Call:
    altered = [{"name": name, "config_operation": operation, "value": value} for name, operation, value in changes]
    resource = {"resource_type": _GROUP, "resource_name": group, "configs": altered}
    return Call("IncrementalAlterConfigs", 1, {"resources": [resource], "validate_only": validate_only})


def _replace(values: Mapping[str, str | None], group: str = "@g") -> Call:
    resource = {"resource_type": _GROUP, "resource_name": group, "configs": configs(values)}
    return Call("AlterConfigs", 2, {"resources": [resource]})


def _shown(name: str, value: str) -> Call:
    return _describe(name, until={f"results|0|configs|{name}|value": value}, hidden=True)


def _settled(mark: str = "share.delivery.count.limit") -> list[Call]:
    """Changes are seen in the order they were made: waits until one more of them is."""
    altered = [{"name": mark, "config_operation": SET, "value": "7"}]
    resource = {"resource_type": _GROUP, "resource_name": "@g", "configs": altered}
    return [Call("IncrementalAlterConfigs", 1, {"resources": [resource]}, hidden=True), _shown(mark, "7")]


def _listed() -> Call:
    return Call("ListConfigResources", 1, {"resource_types": [_GROUP]}, own=True)


def _set(label: str, name: str, value: str | None, operation: int = SET) -> Exchange:
    return exchange(f"group-config-{label}", _alter((name, operation, value)), _settled(), _describe(name))


EXCHANGES: Final[tuple[Exchange, ...]] = (
    *(exchange(f"group-configs-described-v{version}", _describe(version=version)) for version in range(1, 5)),
    exchange("group-configs-named", _describe(_SESSION, "no.such.config")),
    exchange("group-configs-without-a-name", _describe(group="")),
    exchange("group-config-without-a-name", _alter((_SESSION, SET, "46000"), group="")),
    exchange("group-configs-replaced-without-a-name", _replace({_SESSION: "46000"}, group="")),
    _set("session", _SESSION, "46000"),
    _set("session-padded", _SESSION, " 46000 "),
    _set("session-below-the-brokers", _SESSION, "44999"),
    _set("session-above-the-brokers", _SESSION, "60001"),
    _set("session-at-the-brokers-bound", _SESSION, "60000"),
    _set("session-no-number", _SESSION, "soon"),
    _set("session-empty", _SESSION, ""),
    _set("session-null", _SESSION, None),
    _set("session-too-large-for-an-int", _SESSION, "99999999999"),
    _set("session-appended", _SESSION, "1", APPEND),
    _set("session-subtracted", _SESSION, "1", SUBTRACT),
    _set("unknown-operation", _SESSION, "46000", 9),
    _set("heartbeat", _HEARTBEAT, "15000"),
    _set("heartbeat-zero", _HEARTBEAT, "0"),
    _set("heartbeat-below-the-brokers", _HEARTBEAT, "4999"),
    _set("heartbeat-above-the-brokers", _HEARTBEAT, "15001"),
    _set("assignment-interval-zero", "consumer.assignment.interval.ms", "0"),
    _set("assignment-interval-negative", "consumer.assignment.interval.ms", "-1"),
    _set("assignment-interval-above-the-brokers", "consumer.assignment.interval.ms", "15001"),
    _set("share-reset-by-duration", "share.auto.offset.reset", "by_duration:P1DT2H3M4.5S"),
    _set("share-reset-earliest", "share.auto.offset.reset", "earliest"),
    _set("share-reset-in-capitals", "share.auto.offset.reset", "EARLIEST"),
    _set("share-reset-by-negative-duration", "share.auto.offset.reset", "by_duration:-PT1H"),
    _set("share-reset-by-no-duration", "share.auto.offset.reset", "by_duration:1h"),
    _set("share-reset-by-empty-duration", "share.auto.offset.reset", "by_duration:PT"),
    _set("share-isolation", "share.isolation.level", "read_committed"),
    _set("share-isolation-unknown", "share.isolation.level", "dirty"),
    _set("share-renewal-off", "share.renew.acknowledge.enable", "false"),
    _set("share-renewal-unknown", "share.renew.acknowledge.enable", "maybe"),
    _set("share-lock-below-the-brokers", "share.record.lock.duration.ms", "14999"),
    _set("share-lock-above-the-brokers", "share.record.lock.duration.ms", "60001"),
    _set("share-locks-above-the-brokers", "share.partition.max.record.locks", "4001"),
    _set("streams-standbys", "streams.num.standby.replicas", "2"),
    _set("streams-standbys-above-the-brokers", "streams.num.standby.replicas", "3"),
    _set("streams-delay", "streams.initial.rebalance.delay.ms", "100000000"),
    _set("unknown", "no.such.config", "1"),
    _set("unknown-deleted", "no.such.config", None, DELETE),
    _set("brokers-own-name", "group.consumer.session.timeout.ms", "46000"),
    exchange(
        "group-config-of-two-names-one-wrong",
        _alter((_SESSION, SET, "46000"), ("no.such.config", SET, "1")),
        _settled(),
        _describe(_SESSION),
    ),
    exchange("group-config-of-one-name-twice", _alter((_SESSION, SET, "46000"), (_SESSION, SET, "47000"))),
    exchange(
        "group-config-validate-only",
        _alter((_SESSION, SET, "46000"), validate_only=True),
        _settled(),
        _describe(_SESSION),
    ),
    exchange("group-config-validate-only-wrong", _alter((_SESSION, SET, "1"), validate_only=True)),
    exchange(
        "group-config-deleted",
        _alter((_SESSION, SET, "46000")),
        _shown(_SESSION, "46000"),
        _alter((_SESSION, DELETE, None)),
        _settled(),
        _describe(_SESSION),
    ),
    exchange(
        "group-configs-replaced",
        _alter((_SESSION, SET, "46000"), (_HEARTBEAT, SET, "6000")),
        _shown(_SESSION, "46000"),
        _replace({_HEARTBEAT: "7000"}),
        _shown(_HEARTBEAT, "7000"),
        _describe(_SESSION, _HEARTBEAT),
    ),
    exchange("group-configs-replaced-wrong", _replace({_SESSION: "1"})),
    exchange("group-configs-replaced-null", _replace({_SESSION: None})),
    exchange("group-configs-replaced-unknown", _replace({"no.such.config": "1"})),
    exchange(
        "group-configs-listed",
        _listed(),
        _alter((_SESSION, SET, "46000")),
        _shown(_SESSION, "46000"),
        _listed(),
        _alter((_SESSION, DELETE, None)),
        _shown(_SESSION, "45000"),
        _listed(),
    ),
    exchange(
        "group-config-members-are-told",
        create("@t"),
        joins(save={"e": "member_epoch"}),
        _alter((_HEARTBEAT, SET, "6000")),
        _shown(_HEARTBEAT, "6000"),
        beat("m", Saved("e"), until={"heartbeat_interval_ms": 6000}),
    ),
)
