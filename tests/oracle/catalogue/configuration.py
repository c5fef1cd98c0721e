"""DescribeConfigs, IncrementalAlterConfigs, AlterConfigs, ListConfigResources: of topics, the broker, and others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tests.oracle.exchange import NODE_NAME, Call, Exchange, Steps, exchange
from tests.oracle.vocabulary import APPEND, DELETE, SET, SUBTRACT, alter, configs, create, describe_topic_configs

_TOPIC, _BROKER, _BROKER_LOGGER, _METRICS, _GROUP = 2, 4, 8, 16, 32


def _describe(*resources: tuple[int, Any, Sequence[str] | None], version: int = 4, **fields: Any) -> Call:
    asked = [
        {"resource_type": kind, "resource_name": name, "configuration_keys": keys} for kind, name, keys in resources
    ]
    return Call("DescribeConfigs", version, {"resources": asked, **fields})


_BROKER_KEYS: Final = (
    "message.max.bytes",
    "log.retention.ms",
    "log.retention.minutes",
    "log.retention.hours",
    "log.retention.bytes",
    "log.segment.bytes",
    "log.cleanup.policy",
    "log.roll.hours",
    "log.roll.ms",
    "log.flush.interval.messages",
    "log.message.timestamp.type",
    "log.message.timestamp.after.max.ms",
    "min.insync.replicas",
    "unclean.leader.election.enable",
    "compression.type",
    "num.partitions",
    "auto.create.topics.enable",
    "delete.topic.enable",
    "num.io.threads",
    "socket.request.max.bytes",
    "max.connections",
    "fetch.max.bytes",
    "connections.max.idle.ms",
    "node.id",
    "ssl.keystore.password",
    "offsets.topic.num.partitions",
    "transaction.max.timeout.ms",
    "producer.id.expiration.ms",
    "max.incremental.fetch.session.cache.slots",
    "no.such.config",
)

DESCRIBE: Final = (
    *(
        exchange(
            f"describe-configs-topic-v{version}",
            create("@t", retention_ms="1000"),
            describe_topic_configs("@t", version=version),
        )
        for version in range(1, 5)
    ),
    exchange(
        "describe-configs-topic-without-synonyms",
        create("@t", retention_ms="1000"),
        describe_topic_configs("@t", synonyms=False),
    ),
    exchange(
        "describe-configs-topic-named",
        create("@t", cleanup_policy="compact"),
        describe_topic_configs("@t", "cleanup.policy", "retention.ms", "no.such.config"),
    ),
    exchange(
        "describe-configs-topic-named-twice", create("@t"), describe_topic_configs("@t", "retention.ms", "retention.ms")
    ),
    exchange("describe-configs-topic-no-keys", create("@t"), _describe((_TOPIC, "@t", []))),
    exchange(
        "describe-configs-topic-documentation",
        create("@t"),
        _describe((_TOPIC, "@t", ["retention.ms"]), include_documentation=True),
    ),
    exchange("describe-configs-unknown-topic", _describe((_TOPIC, "@no", None))),
    exchange("describe-configs-invalid-topic-name", _describe((_TOPIC, "a/b", None))),
    exchange("describe-configs-empty-topic-name", _describe((_TOPIC, "", None))),
    exchange(
        "describe-configs-two-topics",
        create("@t"),
        create("@u", retention_ms="5"),
        _describe(
            (_TOPIC, "@t", ["retention.ms"]), (_TOPIC, "@u", ["retention.ms"]), (_TOPIC, "@no", ["retention.ms"])
        ),
    ),
    exchange(
        "describe-configs-same-topic-twice",
        create("@t"),
        _describe((_TOPIC, "@t", ["retention.ms"]), (_TOPIC, "@t", ["segment.ms"])),
    ),
    exchange("describe-configs-nothing", _describe()),
    exchange("describe-configs-broker", _describe((_BROKER, NODE_NAME, _BROKER_KEYS), include_synonyms=True)),
    exchange("describe-configs-broker-v1", _describe((_BROKER, NODE_NAME, _BROKER_KEYS[:3]), version=1)),
    exchange("describe-configs-broker-default", _describe((_BROKER, "", ["log.retention.ms"]))),
    exchange("describe-configs-broker-default-all", _describe((_BROKER, "", None))),
    exchange("describe-configs-another-broker", _describe((_BROKER, "99", None))),
    exchange("describe-configs-broker-not-a-number", _describe((_BROKER, "one", None))),
    exchange("describe-configs-broker-negative", _describe((_BROKER, "-1", None))),
    exchange("describe-configs-loggers-of-another-broker", _describe((_BROKER_LOGGER, "99", None))),
    exchange("describe-configs-loggers-without-a-name", _describe((_BROKER_LOGGER, "", None))),
    exchange("describe-configs-unknown-type", _describe((99, "x", None))),
    exchange("describe-configs-type-zero", _describe((0, "x", None))),
    exchange("describe-configs-client-metrics", _describe((_METRICS, "nobody", None))),
    exchange("describe-configs-client-metrics-empty-name", _describe((_METRICS, "", None))),
    exchange(
        "describe-configs-topic-and-unknown-type",
        create("@t"),
        _describe((_TOPIC, "@t", ["retention.ms"]), (99, "x", None)),
    ),
)


def _altered(label: str, *changes: tuple[str, int, str | None], **settings: Any) -> Exchange:
    """Changes a topic's configs; then what they are, for the names that were touched."""
    names = sorted({name for name, _, _ in changes})
    return exchange(
        f"incremental-alter-{label}",
        create("@t", **settings),
        alter("@t", *changes),
        _settled(),
        describe_topic_configs("@t", *names),
    )


def _settled() -> list[Call]:
    """Changes are seen in the order they were made: waits until one more of them is."""
    mark = "file.delete.delay.ms"
    return [
        alter("@t", (mark, SET, "77777"), hidden=True),
        describe_topic_configs("@t", mark, hidden=True, until={f"results|0|configs|{mark}|value": "77777"}),
    ]


INCREMENTAL: Final = (
    _altered("set", ("retention.ms", SET, "1234")),
    _altered("set-two", ("retention.ms", SET, "1234"), ("segment.bytes", SET, "2000000")),
    _altered("set-again", ("retention.ms", SET, "5"), retention_ms="4"),
    _altered("delete", ("retention.ms", DELETE, None), retention_ms="4"),
    _altered("delete-with-a-value", ("retention.ms", DELETE, "9"), retention_ms="4"),
    _altered("delete-what-is-not-set", ("retention.ms", DELETE, None)),
    _altered("delete-unknown", ("no.such.config", DELETE, None)),
    _altered("append", ("cleanup.policy", APPEND, "compact")),
    _altered("append-to-set", ("cleanup.policy", APPEND, "delete"), cleanup_policy="compact"),
    _altered("append-what-is-there", ("cleanup.policy", APPEND, "compact"), cleanup_policy="compact"),
    _altered(
        "append-several",
        ("leader.replication.throttled.replicas", APPEND, "0:1,1:1"),
        leader_replication_throttled_replicas="2:1",
    ),
    _altered("append-invalid", ("cleanup.policy", APPEND, "nonsense")),
    _altered("append-to-a-number", ("retention.ms", APPEND, "5")),
    _altered("append-empty", ("cleanup.policy", APPEND, "")),
    _altered("subtract", ("cleanup.policy", SUBTRACT, "compact"), cleanup_policy="compact,delete"),
    _altered("subtract-what-is-not-there", ("cleanup.policy", SUBTRACT, "compact"), cleanup_policy="delete"),
    _altered("subtract-from-default", ("cleanup.policy", SUBTRACT, "delete")),
    _altered("subtract-the-last", ("cleanup.policy", SUBTRACT, "compact"), cleanup_policy="compact"),
    _altered("subtract-from-a-number", ("retention.ms", SUBTRACT, "5")),
    _altered("unknown-operation", ("retention.ms", 9, "5")),
    _altered("negative-operation", ("retention.ms", -1, "5")),
    _altered("unknown-name", ("no.such.config", SET, "1")),
    _altered("empty-name", ("", SET, "1")),
    _altered("wrong-value", ("retention.ms", SET, "soon")),
    _altered("null-value", ("retention.ms", SET, None)),
    _altered("empty-value", ("retention.ms", SET, "")),
    _altered("one-good-one-bad", ("retention.ms", SET, "77"), ("segment.bytes", SET, "-5")),
    _altered("same-name-twice", ("retention.ms", SET, "1"), ("retention.ms", SET, "2")),
    _altered("set-and-delete-one-name", ("retention.ms", SET, "1"), ("retention.ms", DELETE, None)),
    _altered("nothing"),
    _altered("long-value", ("leader.replication.throttled.replicas", SET, ",".join(f"{n}:1" for n in range(3_000)))),
    exchange("incremental-alter-v0", create("@t"), alter("@t", ("retention.ms", SET, "1234"), version=0)),
    exchange("incremental-alter-unknown-topic", alter("@no", ("retention.ms", SET, "1"))),
    exchange("incremental-alter-invalid-topic", alter("a/b", ("retention.ms", SET, "1"))),
    exchange("incremental-alter-empty-topic", alter("", ("retention.ms", SET, "1"))),
)


def _incremental(
    *resources: tuple[int, Any, Sequence[tuple[str, int, str | None]]], validate_only: bool = False
) -> Call:
    altered = [
        {
            "resource_type": kind,
            "resource_name": name,
            "configs": [
                {"name": key, "config_operation": operation, "value": value} for key, operation, value in changes
            ],
        }
        for kind, name, changes in resources
    ]
    return Call("IncrementalAlterConfigs", 1, {"resources": altered, "validate_only": validate_only})


_RETENTION: Final = [("retention.ms", SET, "1234")]

RESOURCES: Final = (
    exchange(
        "incremental-alter-validate-only",
        create("@t"),
        _incremental((_TOPIC, "@t", _RETENTION), validate_only=True),
        describe_topic_configs("@t", "retention.ms"),
    ),
    exchange(
        "incremental-alter-validate-only-wrong",
        create("@t"),
        _incremental((_TOPIC, "@t", [("retention.ms", SET, "x")]), validate_only=True),
    ),
    exchange(
        "incremental-alter-two-topics",
        create("@t"),
        create("@u"),
        _incremental((_TOPIC, "@t", _RETENTION), (_TOPIC, "@u", _RETENTION)),
    ),
    exchange(
        "incremental-alter-good-and-unknown-topic",
        create("@t"),
        _incremental((_TOPIC, "@t", _RETENTION), (_TOPIC, "@no", _RETENTION)),
    ),
    exchange(
        "incremental-alter-same-topic-twice",
        create("@t"),
        _incremental((_TOPIC, "@t", _RETENTION), (_TOPIC, "@t", [("segment.bytes", SET, "2000000")])),
        describe_topic_configs("@t", "retention.ms"),
    ),
    exchange("incremental-alter-no-resources", _incremental()),
    exchange("incremental-alter-unknown-type", _incremental((99, "x", _RETENTION))),
    exchange("incremental-alter-type-zero", _incremental((0, "x", _RETENTION))),
    exchange("incremental-alter-another-broker", _incremental((_BROKER, "99", [("log.retention.ms", SET, "1000")]))),
    exchange(
        "incremental-alter-broker-not-a-number", _incremental((_BROKER, "one", [("log.retention.ms", SET, "1000")]))
    ),
    exchange("incremental-alter-broker-read-only", _incremental((_BROKER, NODE_NAME, [("num.partitions", SET, "3")]))),
    exchange(
        "incremental-alter-broker-unknown",
        _incremental((_BROKER, NODE_NAME, [("no.such.config", SET, "3")])),
        _incremental((_BROKER, NODE_NAME, [("no.such.config", DELETE, None)])),
    ),
    exchange(
        "incremental-alter-broker-wrong-value", _incremental((_BROKER, NODE_NAME, [("log.retention.ms", SET, "soon")]))
    ),
    exchange(
        "incremental-alter-broker-validate-only",
        _incremental((_BROKER, NODE_NAME, [("log.retention.ms", SET, "86400000")]), validate_only=True),
    ),
    exchange(
        "incremental-alter-broker-default-validate-only",
        _incremental((_BROKER, "", [("log.retention.ms", SET, "86400000")]), validate_only=True),
    ),
    exchange(
        "incremental-alter-broker-then-back",
        _incremental((_BROKER, NODE_NAME, [("log.cleaner.threads", SET, "2")])),
        _incremental((_BROKER, NODE_NAME, [("log.cleaner.threads", DELETE, None)])),
    ),
)


def _replace(topic: str, settings: Mapping[str, str | None], *, version: int = 2, validate_only: bool = False) -> Call:
    resource = {"resource_type": _TOPIC, "resource_name": topic, "configs": configs(settings)}
    return Call("AlterConfigs", version, {"resources": [resource], "validate_only": validate_only})


def _replaced(label: str, settings: Mapping[str, str | None], *steps: Steps, **before: Any) -> Exchange:
    return exchange(
        f"alter-configs-{label}",
        create("@t", **before),
        _replace("@t", settings),
        _settled(),
        describe_topic_configs("@t", "retention.ms", "segment.bytes"),
        steps,
    )


ALTER: Final = (
    *(
        exchange(f"alter-configs-v{version}", create("@t"), _replace("@t", {"retention.ms": "5"}, version=version))
        for version in range(3)
    ),
    _replaced("replaces-all", {"retention.ms": "5"}, segment_bytes="2000000"),
    _replaced("to-nothing", {}, retention_ms="5", segment_bytes="2000000"),
    _replaced("null-value", {"retention.ms": None}, retention_ms="5"),
    _replaced("wrong-value", {"retention.ms": "x"}, retention_ms="5"),
    _replaced("unknown-name", {"no.such.config": "x"}, retention_ms="5"),
    exchange("alter-configs-unknown-topic", _replace("@no", {"retention.ms": "5"})),
    exchange(
        "alter-configs-validate-only",
        create("@t"),
        _replace("@t", {"retention.ms": "5"}, validate_only=True),
        describe_topic_configs("@t", "retention.ms"),
    ),
    exchange(
        "alter-configs-same-name-twice",
        create("@t"),
        Call(
            "AlterConfigs",
            2,
            {
                "resources": [
                    {
                        "resource_type": _TOPIC,
                        "resource_name": "@t",
                        "configs": [{"name": "retention.ms", "value": "1"}, {"name": "retention.ms", "value": "2"}],
                    }
                ]
            },
        ),
    ),
    exchange(
        "alter-configs-same-topic-twice",
        create("@t"),
        Call(
            "AlterConfigs",
            2,
            {
                "resources": [
                    {"resource_type": _TOPIC, "resource_name": "@t", "configs": configs({"retention.ms": "1"})}
                ]
                * 2
            },
        ),
    ),
    exchange(
        "alter-configs-unknown-type",
        Call("AlterConfigs", 2, {"resources": [{"resource_type": 77, "resource_name": "x", "configs": []}]}),
    ),
    exchange("alter-configs-nothing", Call("AlterConfigs", 2, {"resources": []})),
    exchange(
        "alter-configs-another-broker",
        Call(
            "AlterConfigs",
            2,
            {
                "resources": [
                    {"resource_type": _BROKER, "resource_name": "99", "configs": configs({"log.retention.ms": "1"})}
                ]
            },
        ),
    ),
)


def _listed(version: int, *types: int) -> Call:
    return Call("ListConfigResources", version, {} if version == 0 else {"resource_types": types}, own=True)


LIST: Final = (
    exchange("list-config-resources-v0", _listed(0)),
    exchange("list-config-resources-topics", create("@t"), create("@u", retention_ms="5"), _listed(1, _TOPIC)),
    exchange("list-config-resources-brokers", _listed(1, _BROKER)),
    exchange("list-config-resources-client-metrics", _listed(1, _METRICS)),
    exchange("list-config-resources-groups", _listed(1, _GROUP)),
    exchange("list-config-resources-loggers", _listed(1, _BROKER_LOGGER)),
    exchange("list-config-resources-all", create("@t"), _listed(1)),
    exchange("list-config-resources-two-types", create("@t"), _listed(1, _TOPIC, _BROKER)),
    exchange("list-config-resources-same-type-twice", create("@t"), _listed(1, _TOPIC, _TOPIC)),
    exchange("list-config-resources-unknown-type", _listed(1, 99)),
    exchange("list-config-resources-unknown-and-known-type", _listed(1, _TOPIC, 99)),
    exchange("list-config-resources-type-zero", _listed(1, 0)),
)

EXCHANGES: Final[tuple[Exchange, ...]] = (*DESCRIBE, *INCREMENTAL, *RESOURCES, *ALTER, *LIST)
