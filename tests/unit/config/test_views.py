"""What the parts see: resolved paths, listeners, topic defaults, and rules that join keys."""

import os.path

import pytest

from pybroker_server.config.definitions import BROKER
from pybroker_server.config.listeners import Listener
from pybroker_server.config.load import load_settings
from pybroker_server.config.values import ConfigError
from pybroker_server.config.views import KEYS_WITH_EFFECT, broker_config, build_broker_config


def test_without_a_setting_it_is_safe_and_ready() -> None:
    config = broker_config()
    assert config.listeners == (Listener("PLAINTEXT", "PLAINTEXT", "127.0.0.1", 9092),)
    assert config.advertised_listeners == ()
    assert config.log_dirs == (os.path.expanduser("~/.local/share/pybroker"),)
    assert config.metadata_store_url == f"sqlite:///{config.log_dirs[0]}/cluster-metadata.db"
    assert config.node_id is None
    assert config.durability == "fsync"


def test_log_dirs_win_over_log_dir() -> None:
    config = broker_config({"log.dir": "/a", "log.dirs": "/b, /c/../d"})
    assert config.log_dirs == ("/b", "/d")


def test_the_older_name_of_the_node_id_counts_and_both_are_described_alike() -> None:
    config = broker_config({"broker.id": "7"})
    assert config.node_id == 7
    assert config.settings.value("node.id") == 7
    adopted = broker_config().with_node_id(3)
    assert adopted.node_id == 3
    assert adopted.settings.value("broker.id") == 3


def test_a_pasted_kraft_file_serves_its_client_listeners_only() -> None:
    settings = load_settings(
        file_text="""
            process.roles=broker,controller
            controller.quorum.voters=1@localhost:9093
            listeners=PLAINTEXT://:9092,CONTROLLER://:9093,EXTERNAL://[::1]:9094
            controller.listener.names=CONTROLLER
            listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,EXTERNAL:PLAINTEXT
            advertised.listeners=PLAINTEXT://host:9092
            inter.broker.listener.name=EXTERNAL
        """
    )
    config = build_broker_config(settings)
    assert [str(listener) for listener in config.listeners] == ["PLAINTEXT://:9092", "EXTERNAL://[::1]:9094"]
    assert config.listeners[1].host == "::1"
    assert config.advertised_listeners == (Listener("PLAINTEXT", "PLAINTEXT", "host", 9092),)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"listeners": "PLAINTEXT:9092"}, "not an address"),
        ({"listeners": "PLAINTEXT://:99999"}, "above 65535"),
        ({"listeners": "INSIDE://:9092"}, "add INSIDE:PLAINTEXT to listener.security.protocol.map"),
        ({"listeners": "PLAINTEXT://:1,PLAINTEXT://:2"}, "given twice"),
        ({"listeners": "SSL://:9092"}, "does not serve yet"),
        ({"listeners": "C://:1", "controller.listener.names": "C"}, "none is left for clients"),
        ({"advertised.listeners": "PLAINTEXT://0.0.0.0:9092", "listeners": "PLAINTEXT://:9092"}, "no client can"),
        ({"advertised.listeners": "SSL://h:9092", "listeners": "PLAINTEXT://:9092"}, "is no listener"),
        ({"listener.security.protocol.map": "A:TLS"}, "not a pair"),
        ({"listener.security.protocol.map": "A:SSL,a:PLAINTEXT"}, "two protocols"),
        ({"inter.broker.listener.name": "X"}, "is no listener"),
        ({"log.dirs": "/a,/b,/a"}, "/a is given twice"),
        ({"max.connections.per.ip.overrides": "host"}, "not a pair"),
        ({"queued.max.request.bytes": "1000"}, "would never let in"),
        ({"log.retention.ms": "0"}, "-1 or more than 0"),
        ({"broker.heartbeat.interval.ms": "9001"}, "more than broker.session.timeout.ms"),
    ],
)
def test_settings_that_do_not_go_together(values: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        broker_config(values)


def test_connection_limits_per_address() -> None:
    config = broker_config({"max.connections.per.ip.overrides": "10.0.0.1:5, [::1]:7"})
    assert config.max_connections_per_ip_overrides == {"10.0.0.1": 5, "::1": 7}


@pytest.mark.parametrize(
    ("broker", "retention_ms"),
    [
        ({}, 604_800_000),
        ({"log.retention.hours": "2"}, 7_200_000),
        ({"log.retention.hours": "2", "log.retention.minutes": "3"}, 180_000),
        ({"log.retention.hours": "2", "log.retention.minutes": "3", "log.retention.ms": "4"}, 4),
        ({"log.retention.hours": "-1"}, -1),
    ],
)
def test_topic_retention_comes_from_the_finest_unit_that_is_set(broker: dict[str, str], retention_ms: int) -> None:
    assert broker_config(broker).topic_values({})["retention.ms"] == retention_ms


def test_topic_overrides_win_over_broker_keys() -> None:
    config = broker_config({"message.max.bytes": "2000", "durability": "page-cache"})
    values = config.topic_values({"cleanup.policy": "compact", "max.message.bytes": "3000"})
    assert values["max.message.bytes"] == 3000
    assert values["cleanup.policy"] == ("compact",)
    assert values["durability"] == "page-cache"
    assert config.topic_values({})["max.message.bytes"] == 2000


def test_internal_topics_have_as_many_replicas_as_there_are_brokers_up_to_kafkas_default() -> None:
    key = "offsets.topic.replication.factor"
    assert [broker_config().internal_replication_factor(key, n) for n in (1, 2, 3, 9)] == [1, 2, 3, 3]
    assert broker_config({key: "2"}).internal_replication_factor(key, 1) == 2


def test_keys_with_effect_are_declared() -> None:
    assert set(BROKER) >= KEYS_WITH_EFFECT
