"""DescribeConfigs: everything is listed, with the sources and synonyms that Kafka 4.3 answers."""

from pybroker_server.config.definitions import BROKER, TOPIC
from pybroker_server.config.describe import (
    ConfigSource,
    DescribedConfig,
    describe_broker,
    describe_cluster_defaults,
    describe_topic,
)
from pybroker_server.config.dynamic import apply_dynamic
from pybroker_server.config.load import load_settings
from pybroker_server.config.views import broker_config, build_broker_config


def by_name(described: list[DescribedConfig]) -> dict[str, DescribedConfig]:
    return {each.name: each for each in described}


def said(described: DescribedConfig) -> list[tuple[str, str | None, str]]:
    return [(each.name, each.value, each.source.name) for each in described.synonyms]


def test_all_keys_are_described_but_kafkas_internal_ones() -> None:
    names = set(by_name(describe_broker(broker_config())))
    assert names == {name for name, definition in BROKER.items() if not definition.internal}
    names = set(by_name(describe_topic({}, broker_config())))
    assert names == {name for name, definition in TOPIC.items() if not definition.internal}


def test_a_key_without_any_setting_has_its_default_as_the_only_synonym() -> None:
    found = by_name(describe_topic({}, broker_config()))
    assert said(found["max.message.bytes"]) == [("message.max.bytes", "1048588", "DEFAULT")]
    assert found["max.message.bytes"].source is ConfigSource.DEFAULT
    # Kafka lists nothing where the first broker key in the chain has no value.
    assert said(found["retention.ms"]) == []
    assert found["retention.ms"].value == "604800000"
    assert said(found["remote.storage.enable"]) == []


def test_synonyms_go_from_the_strongest_source_to_the_weakest() -> None:
    static = build_broker_config(
        load_settings(
            file_text="message.max.bytes=9\nlog.retention.hours=24", environment={"KAFKA_MESSAGE_MAX_BYTES": "10"}
        )
    )
    config = apply_dynamic(static, {"message.max.bytes": "20", "log.retention.ms": "777"}, {"message.max.bytes": "30"})
    expected = [
        ("message.max.bytes", "30", "DYNAMIC_BROKER"),
        ("message.max.bytes", "20", "DYNAMIC_DEFAULT_BROKER"),
        ("message.max.bytes", "10", "STATIC_BROKER"),
        ("message.max.bytes", "1048588", "DEFAULT"),
    ]
    assert said(by_name(describe_broker(config))["message.max.bytes"]) == expected
    topic = by_name(describe_topic({"max.message.bytes": "40"}, config))
    assert said(topic["max.message.bytes"]) == [("max.message.bytes", "40", "TOPIC"), *expected]
    assert said(topic["retention.ms"]) == [
        ("log.retention.ms", "777", "DYNAMIC_DEFAULT_BROKER"),
        ("log.retention.hours", "24", "STATIC_BROKER"),
        ("log.retention.hours", "168", "DEFAULT"),
    ]


def test_secrets_are_named_but_never_shown() -> None:
    canary = "canary-7261"
    config = broker_config({"ssl.keystore.password": canary, "listener.name.in.ssl.key.password": canary})
    described = describe_broker(config)
    assert canary not in repr(described)
    found = by_name(described)
    assert found["ssl.keystore.password"].sensitive
    assert said(found["ssl.keystore.password"]) == [("ssl.keystore.password", None, "STATIC_BROKER")]
    assert "listener.name.in.ssl.key.password" in found


def test_both_names_of_the_node_id_say_the_adopted_one() -> None:
    found = by_name(describe_broker(broker_config().with_node_id(5)))
    assert (found["node.id"].value, found["broker.id"].value) == ("5", "5")


def test_the_defaults_of_all_brokers_are_only_what_was_set() -> None:
    described = describe_cluster_defaults({"message.max.bytes": "20", "from.a.newer.version": "1"})
    assert [(each.name, each.value, each.source) for each in described] == [
        ("message.max.bytes", "20", ConfigSource.DYNAMIC_DEFAULT_BROKER)
    ]
