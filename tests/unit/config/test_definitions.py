"""The table of keys against what Kafka 4.3 itself says of them, and the notation it is written in."""

from pathlib import Path

import pytest

from pybroker_server.config.definitions import BROKER, IGNORED, OWN, TOPIC, find_broker, is_ignored, nearest
from pybroker_server.config.notation import ConfigType, UpdateMode, parse_table
from pybroker_server.config.values import default_value, format_value

MEANT_DEFAULTS = {
    "listeners": "PLAINTEXT://127.0.0.1:9092",
    "log.dir": "~/.local/share/pybroker",
    "max.connections": "10000",
    "queued.max.request.bytes": "268435456",
}
QUOTA_KEYS_BESIDE_KAFKAS_TABLE = {
    "leader.replication.throttled.rate",
    "follower.replication.throttled.rate",
    "replica.alter.log.dirs.io.max.bytes.per.second",
}
AUTHORIZER_KEYS = {"super.users", "allow.everyone.if.no.acl.found"}


def kafka_facts(scope: str) -> dict[str, list[str]]:
    lines = (Path(__file__).parent / "kafka_4_3_configs.tsv").read_text().splitlines()
    rows = [line.split("\t") for line in lines if not line.startswith("#")]
    return {row[1]: row[2:] for row in rows if row[0] == scope}


def test_every_key_of_kafka_is_known_and_no_other_beside_our_own() -> None:
    assert set(BROKER) - set(kafka_facts("broker")) == OWN | QUOTA_KEYS_BESIDE_KAFKAS_TABLE | AUTHORIZER_KEYS
    assert set(kafka_facts("broker")) <= set(BROKER)
    assert set(TOPIC) - set(kafka_facts("topic")) == {"durability", "message.format.validation"}
    assert set(kafka_facts("topic")) <= set(TOPIC)


@pytest.mark.parametrize(("scope", "table"), [("broker", BROKER), ("topic", TOPIC)])
def test_type_default_and_update_mode_are_kafkas(scope: str, table: dict) -> None:  # type: ignore[type-arg]
    different = {}
    for name, (kind, default, mode, internal) in kafka_facts(scope).items():
        ours = table[name]
        text = format_value(default_value(ours))
        said = (ours.type.name.lower(), "-" if text is None else text, ours.update.value, ours.internal)
        expected = (kind, MEANT_DEFAULTS.get(name, default) if scope == "broker" else default, mode)
        if said != (*expected, internal == "internal"):
            different[name] = said
    assert different == {}


def test_every_topic_key_with_a_source_names_a_broker_key_of_its_type() -> None:
    for definition in TOPIC.values():
        for source in definition.sources:
            broker = BROKER[source.name]
            numbers = (ConfigType.INT, ConfigType.LONG)
            assert broker.type is definition.type or (broker.type in numbers and definition.type in numbers)


def test_every_key_says_what_it_does_in_a_sentence() -> None:
    for definition in (*BROKER.values(), *TOPIC.values()):
        assert definition.doc.endswith("."), definition.name
        assert len(definition.doc) > 15, definition.name


def test_ignored_keys_are_not_declared_too() -> None:
    assert not IGNORED & set(BROKER)
    assert is_ignored("zookeeper.connect")
    assert not is_ignored("zookeepr")


def test_a_listener_prefix_finds_the_key_behind_it() -> None:
    assert find_broker("listener.name.internal.max.connections") is BROKER["max.connections"]
    assert find_broker("listener.name.ext.scram-sha-256.sasl.jaas.config") is BROKER["sasl.jaas.config"]
    assert find_broker("listener.name.ext.nonsense") is None


@pytest.mark.parametrize(
    ("slip", "meant"),
    [("log.dir", "log.dir"), ("log_dirs", "log.dirs"), ("num.partition", "num.partitions"), ("xyzzy", None)],
)
def test_nearest_names_the_key_that_was_meant(slip: str, meant: str | None) -> None:
    assert nearest(slip, BROKER) == meant


def test_notation_reads_a_declaration() -> None:
    table = parse_table("a.b | int | -1 | 1..9|-1 | cluster-wide | internal \\\n".replace(" \\\n", "") + "\n    Says.")
    found = table["a.b"]
    assert (found.allowed.low, found.allowed.high, found.allowed.extra) == (1, 9, -1)
    assert found.update is UpdateMode.CLUSTER_WIDE
    assert found.internal
    assert found.allowed.sentence() == "1 to 9, or -1"


@pytest.mark.parametrize(
    "text",
    [
        "a | int | 1 | - | read-only",
        "a | int | 1 | - | read-only\nnot indented",
        "a | int | 1 | maybe(1) | read-only\n    Doc.",
        "a | int | 1 | - | sometimes\n    Doc.",
        "a | int | 1 | - | read-only | loud\n    Doc.",
        "a | int | 1 | - | read-only\n    Doc.\na | int | 1 | - | read-only\n    Doc.",
    ],
)
def test_a_mistake_in_a_table_is_an_error_at_import(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_table(text)
