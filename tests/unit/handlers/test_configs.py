"""Describing and changing configuration: what Apache Kafka 4.3.0 answered to the same requests."""

from __future__ import annotations

import pytest
from tests.support.admin import AdminBroker, an_admin_broker

from pybroker_protocol.messages import (
    AlterConfigsRequest,
    DescribeConfigsRequest,
    DescribeConfigsResponse,
    IncrementalAlterConfigsRequest,
    ListConfigResourcesRequest,
)
from pybroker_server.config.definitions import BROKER, TOPIC
from pybroker_server.controller.topics import NewTopic

TOPIC_TYPE, BROKER_TYPE = 2, 4
SET, DELETE, APPEND, SUBTRACT = range(4)
Result = DescribeConfigsResponse.DescribeConfigsResult


async def with_topic(broker: AdminBroker, name: str = "t", **configs: str) -> None:
    overrides = {key.replace("_", "."): value for key, value in configs.items()}
    [outcome] = await broker.cluster.controller.create_topics(
        [NewTopic(name, 1, 1, configs=overrides)], broker.cluster.config
    )
    assert outcome.error is None


async def describe(
    broker: AdminBroker,
    resource_type: int,
    name: str,
    keys: list[str] | None = None,
    *,
    version: int = 4,
    synonyms: bool = False,
    documentation: bool = False,
) -> Result:
    request = DescribeConfigsRequest(
        resources=[
            DescribeConfigsRequest.DescribeConfigsResource(
                resource_type=resource_type, resource_name=name, configuration_keys=keys
            )
        ],
        include_synonyms=synonyms,
        include_documentation=documentation,
    )
    [result] = (await broker.ask(version, request)).results
    assert (result.resource_type, result.resource_name) == (resource_type, name)
    assert isinstance(result, Result)
    return result


def values(result: Result) -> dict[str, str | None]:
    return {config.name: config.value for config in result.configs}


async def test_all_keys_of_a_topic_with_their_sources() -> None:
    async with an_admin_broker({"log.retention.ms": "7000"}) as broker:
        await with_topic(broker, segment_ms="99")
        result = await describe(broker, TOPIC_TYPE, "t")
        assert (result.error_code, result.error_message) == (0, "")
        public = {name for name, definition in TOPIC.items() if not definition.internal}
        assert set(values(result)) == public
        by_name = {config.name: config for config in result.configs}
        told = {n: (by_name[n].value, by_name[n].config_source) for n in ("segment.ms", "retention.ms", "flush.ms")}
        assert told == {"segment.ms": ("99", 1), "retention.ms": ("7000", 4), "flush.ms": ("9223372036854775807", 5)}
        assert by_name["segment.ms"].config_type == 5
        assert all(not c.synonyms and c.documentation is None and not c.read_only for c in result.configs)


async def test_null_and_empty_key_lists_mean_all_and_unknown_keys_are_left_out() -> None:
    async with an_admin_broker() as broker:
        await with_topic(broker)
        everything = values(await describe(broker, TOPIC_TYPE, "t"))
        assert values(await describe(broker, TOPIC_TYPE, "t", [])) == everything
        some = await describe(broker, TOPIC_TYPE, "t", ["retention.ms", "nope"])
        assert values(some) == {"retention.ms": "604800000"}


async def test_synonyms_and_documentation_when_asked() -> None:
    async with an_admin_broker() as broker:
        await with_topic(broker, cleanup_policy="compact")
        keys = ["cleanup.policy"]
        [config] = (await describe(broker, TOPIC_TYPE, "t", keys, synonyms=True, documentation=True)).configs
        assert [(s.name, s.value, s.source) for s in config.synonyms] == [
            ("cleanup.policy", "compact", 1),
            ("log.cleanup.policy", "delete", 5),
        ]
        assert config.documentation == TOPIC["cleanup.policy"].doc
        [old] = (await describe(broker, TOPIC_TYPE, "t", keys, synonyms=True, version=1)).configs
        assert len(old.synonyms) == 2


async def test_the_own_broker_is_described_and_no_other() -> None:
    async with an_admin_broker(brokers=(1, 2)) as broker:
        keys = ["node.id", "log.retention.ms", "log.segment.bytes"]
        result = await describe(broker, BROKER_TYPE, "1", keys)
        by_name = {config.name: config for config in result.configs}
        assert (by_name["node.id"].value, by_name["node.id"].config_source) == ("1", 4)
        assert by_name["node.id"].read_only
        assert (by_name["log.retention.ms"].value, by_name["log.retention.ms"].config_source) == (None, 5)
        assert not by_name["log.segment.bytes"].read_only
        assert {n for n, d in BROKER.items() if not d.internal} <= set(values(await describe(broker, BROKER_TYPE, "1")))
        for name in ("2", "-1", "abc", "99999999999"):
            assert (await describe(broker, BROKER_TYPE, name)).error_code == 42


async def test_no_value_of_a_sensitive_key_leaves_the_broker() -> None:
    async with an_admin_broker({"ssl.key.password": "hunter2"}) as broker:
        result = await describe(broker, BROKER_TYPE, "1", synonyms=True)
        config = next(c for c in result.configs if c.name == "ssl.key.password")
        assert (config.value, config.is_sensitive) == (None, True)
        assert all(synonym.value is None for synonym in config.synonyms)


@pytest.mark.parametrize(
    ("resource_type", "name", "code"),
    [(2, "nope", 3), (2, "x/y", 17), (2, "", 17), (0, "x", 42), (3, "x", 42), (77, "x", 42)],
)
async def test_what_cannot_be_described(resource_type: int, name: str, code: int) -> None:
    async with an_admin_broker() as broker:
        result = await describe(broker, resource_type, name)
        assert (result.error_code, result.configs) == (code, [])


async def test_a_type_that_kafka_does_not_know_spoils_the_whole_request() -> None:
    async with an_admin_broker() as broker:
        await with_topic(broker)
        asked = [
            DescribeConfigsRequest.DescribeConfigsResource(
                resource_type=resource_type, resource_name="t", configuration_keys=None
            )
            for resource_type in (2, 77)
        ]
        answer = await broker.ask(4, DescribeConfigsRequest(resources=asked))
        assert [(r.error_code, r.configs) for r in answer.results] == [(42, []), (42, [])]


Change = tuple[str, int, str | None]


def incremental(
    *resources: tuple[int, str, list[Change]], validate_only: bool = False
) -> IncrementalAlterConfigsRequest:
    return IncrementalAlterConfigsRequest(
        resources=[
            IncrementalAlterConfigsRequest.AlterConfigsResource(
                resource_type=resource_type,
                resource_name=name,
                configs=[
                    IncrementalAlterConfigsRequest.AlterableConfig(name=key, config_operation=operation, value=value)
                    for key, operation, value in changes
                ],
            )
            for resource_type, name, changes in resources
        ],
        validate_only=validate_only,
    )


@pytest.mark.parametrize(
    ("resource_type", "name", "changes", "code"),
    [
        (2, "t", [("retention.ms", SET, "5")], 0),
        (2, "t", [("retention.ms", SET, " 5 ")], 0),
        (2, "t", [("retention.ms", DELETE, None)], 0),
        (2, "t", [("retention.ms", DELETE, "zzz")], 0),
        (2, "t", [("nope", DELETE, None)], 0),
        (2, "t", [("nope", SET, "1")], 40),
        (2, "t", [("retention.ms", SET, None)], 42),
        (2, "t", [("retention.ms", SET, "x")], 40),
        (2, "t", [("retention.ms", SET, "NaN")], 40),
        (2, "t", [("retention.ms", SET, "9" * 30)], 40),
        (2, "t", [("min.insync.replicas", SET, "-1")], 40),
        (2, "t", [("retention.ms", APPEND, "5")], 40),
        (2, "t", [("cleanup.policy", APPEND, None)], 42),
        (2, "t", [("cleanup.policy", APPEND, "compact")], 0),
        (2, "t", [("cleanup.policy", SUBTRACT, "delete")], 0),
        (2, "t", [("retention.ms", 9, "1")], 42),
        (2, "t", [("retention.ms", SET, "5"), ("retention.ms", SET, "6")], 42),
        (2, "t", [("cleanup.policy", APPEND, "compact"), ("cleanup.policy", SUBTRACT, "delete")], 42),
        (2, "t", [], 0),
        (2, "no", [("retention.ms", SET, "5")], 3),
        (2, "no", [], 3),
        (2, "x/y", [("retention.ms", SET, "5")], 17),
        (2, "", [("retention.ms", SET, "5")], 42),
        (2, "__cluster_metadata", [("retention.ms", SET, "5")], 3),
        (4, "1", [("log.retention.ms", SET, "5")], 0),
        (4, "", [("log.retention.ms", SET, "5")], 0),
        (4, "1", [("node.id", SET, "5")], 42),
        (4, "7", [("log.retention.ms", SET, "5")], 42),
        (4, "x", [("log.retention.ms", SET, "5")], 42),
        (4, "-5", [("log.retention.ms", SET, "5")], 42),
        (4, "1", [("log.retention.ms", SET, "x")], 42),
        (4, "1", [("log.retention.ms", SET, None)], 42),
        (0, "x", [("a", SET, "b")], 42),
        (77, "x", [("a", SET, "b")], 42),
    ],
)
async def test_incremental_changes(resource_type: int, name: str, changes: list[Change], code: int) -> None:
    async with an_admin_broker() as broker:
        await with_topic(broker, segment_ms="99")
        before = broker.cluster.image
        for validate_only in (True, False):
            request = incremental((resource_type, name, changes), validate_only=validate_only)
            [result] = (await broker.ask(1, request)).responses
            assert (int(result.error_code), result.resource_type, result.resource_name) == (code, resource_type, name)
            assert (result.error_message is None) == (code == 0)
            if code or validate_only:
                assert broker.cluster.image is before


async def test_lists_are_appended_to_and_subtracted_from() -> None:
    async with an_admin_broker() as broker:
        await with_topic(broker)
        steps = [
            (APPEND, "compact", "delete,compact"),
            (APPEND, "delete,compact", "delete,compact"),
            (SUBTRACT, "compact", "delete"),
            (SUBTRACT, "x", "delete"),
            (SUBTRACT, "delete", ""),
        ]
        for operation, value, expected in steps:
            await broker.ask(1, incremental((2, "t", [("cleanup.policy", operation, value)])))
            assert values(await describe(broker, TOPIC_TYPE, "t", ["cleanup.policy"])) == {"cleanup.policy": expected}
        await broker.ask(1, incremental((2, "t", [("cleanup.policy", DELETE, None)])))
        assert values(await describe(broker, TOPIC_TYPE, "t", ["cleanup.policy"])) == {"cleanup.policy": "delete"}


async def test_resources_of_one_request_are_answered_one_by_one() -> None:
    async with an_admin_broker() as broker:
        await with_topic(broker)
        await with_topic(broker, "u")
        change: list[Change] = [("retention.ms", SET, "7")]
        request = incremental(
            (2, "t", change), (2, "no", change), (2, "u", change), (2, "u", change), (77, "g", change)
        )
        answer = await broker.ask(1, request)
        assert [int(r.error_code) for r in answer.responses] == [0, 3, 42, 42, 42]
        assert dict(broker.cluster.image.topics_by_name["t"].configs) == {"retention.ms": "7"}
        assert dict(broker.cluster.image.topics_by_name["u"].configs) == {}


def replacing(
    resource_type: int, name: str, *configs: tuple[str, str | None], validate_only: bool = False
) -> AlterConfigsRequest:
    return AlterConfigsRequest(
        resources=[
            AlterConfigsRequest.AlterConfigsResource(
                resource_type=resource_type,
                resource_name=name,
                configs=[AlterConfigsRequest.AlterableConfig(name=key, value=value) for key, value in configs],
            )
        ],
        validate_only=validate_only,
    )


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (replacing(2, "t", ("nope", "9")), 40),
        (replacing(2, "t", ("retention.ms", None)), 42),
        (replacing(2, "t", ("retention.ms", "x")), 40),
        (replacing(2, "t", ("retention.ms", "1"), ("retention.ms", "2")), 42),
        (replacing(2, "no"), 3),
        (replacing(4, "9"), 42),
        (replacing(8, "1"), 42),
        (replacing(2, "t", validate_only=True), 0),
        (replacing(4, "1", validate_only=True), 0),
    ],
)
async def test_replacing_that_changes_nothing(request_: AlterConfigsRequest, code: int) -> None:
    async with an_admin_broker() as broker:
        await with_topic(broker, segment_ms="99")
        before = broker.cluster.image
        for version in (0, 1, 2):
            [result] = (await broker.ask(version, request_)).responses
            assert int(result.error_code) == code
        assert broker.cluster.image is before


async def test_replacing_takes_back_what_is_not_named() -> None:
    async with an_admin_broker() as broker:
        await with_topic(broker, segment_ms="99", retention_ms="5")
        await broker.ask(2, replacing(2, "t", ("retention.ms", "9")))
        assert dict(broker.cluster.image.topics_by_name["t"].configs) == {"retention.ms": "9"}
        await broker.ask(2, replacing(2, "t"))
        assert dict(broker.cluster.image.topics_by_name["t"].configs) == {}


async def test_cluster_wide_values_are_described_for_the_nameless_broker() -> None:
    async with an_admin_broker() as broker:
        await broker.ask(1, incremental((4, "", [("log.retention.ms", SET, "5000")])))
        result = await describe(broker, BROKER_TYPE, "")
        assert [(c.name, c.value, c.config_source) for c in result.configs] == [("log.retention.ms", "5000", 3)]


async def test_resources_are_listed_by_type() -> None:
    async with an_admin_broker(brokers=(1, 2)) as broker:
        await with_topic(broker, "b")
        await with_topic(broker, "a")

        async def listed(version: int, *types: int) -> tuple[int, list[tuple[int, str]]]:
            answer = await broker.ask(version, ListConfigResourcesRequest(resource_types=list(types)))
            return answer.error_code, [(r.resource_type, r.resource_name) for r in answer.config_resources]

        assert await listed(0) == (0, [])
        assert await listed(1) == (0, [(4, "1"), (4, "2"), (2, "a"), (2, "b")])
        assert await listed(1, 2) == (0, [(2, "a"), (2, "b")])
        assert await listed(1, 4, 4) == (0, [(4, "1"), (4, "2")])
        assert await listed(1, 16) == (0, [])
        assert await listed(1, 77) == (35, [])
