"""Layers: defaults < file < environment < flags, and what is said when a setting cannot be used."""

import pytest

from pybroker_server.config.load import ConfigErrors, Layer, load_settings


def test_each_layer_wins_over_the_one_before_key_by_key() -> None:
    settings = load_settings(
        file_text="num.partitions=2\nnode.id=4\nlog.retention.hours=5",
        environment={"KAFKA_NUM_PARTITIONS": "3", "KAFKA_NODE_ID": "5"},
        flags=[("num.partitions", "9", "--num-partitions")],
    )
    assert settings.value("num.partitions") == 9
    assert settings.value("node.id") == 5
    assert settings.value("log.retention.hours") == 5
    assert settings.value("message.max.bytes") == 1_048_588
    assert [each.layer for each in settings.by_name["num.partitions"].chain()] == [
        Layer.FLAG,
        Layer.ENVIRONMENT,
        Layer.FILE,
        Layer.DEFAULT,
    ]
    assert settings.by_name["node.id"].where == "environment KAFKA_NODE_ID"
    assert settings.by_name["log.retention.hours"].where == "server.properties, line 3"


def test_our_spelling_wins_over_kafkas_and_that_over_the_older_images() -> None:
    settings = load_settings(
        environment={
            "KAFKA_CFG_NODE_ID": "1",
            "KAFKA_NODE_ID": "2",
            "PYBROKER_NODE_ID": "3",
            "KAFKA_CFG_NUM_PARTITIONS": "7",
        }
    )
    assert settings.value("node.id") == 3
    assert settings.value("num.partitions") == 7


def test_names_that_surround_kafka_are_no_settings() -> None:
    settings = load_settings(
        environment={
            "KAFKA_HEAP_OPTS": "-Xmx1g",
            "KAFKA_JMX_PORT": "9999",
            "KAFKA_LOG4J_ROOT_LOGLEVEL": "INFO",
            "KAFKA_VERSION": "4.3.0",
            "KAFKA_PORT": "tcp://10.0.0.1:9092",
            "KAFKA_SERVICE_HOST": "10.0.0.1",
            "KAFKA_WHATEVER": "x",
            "PYBROKER_LOG_FORMAT": "json",
            "CLUSTER_ID": "abc",
        }
    )
    assert settings.passed_over == ("KAFKA_WHATEVER",)
    assert settings.value("cluster.id") == "abc"


def test_a_slip_in_an_environment_name_is_an_error() -> None:
    with pytest.raises(ConfigErrors, match=r"environment KAFKA_NUM_PARTITION.*did you mean num\.partitions"):
        load_settings(environment={"KAFKA_NUM_PARTITION": "3"})
    with pytest.raises(ConfigErrors, match="environment PYBROKER_WHATEVER"):
        load_settings(environment={"PYBROKER_WHATEVER": "3"})


def test_all_errors_are_reported_together() -> None:
    with pytest.raises(ConfigErrors) as caught:
        load_settings(
            file_text="node.id=x\nnum.partitons=1\nnum.io.threads=1\nnum.io.threads=2",
            flags=[("log.roll.hours", "0", "--log-roll-hours")],
        )
    said = [str(error) for error in caught.value.errors]
    assert said == [
        "node.id (server.properties, line 1): 'x' is not a whole number",
        "num.partitons (server.properties, line 2): no such configuration key; did you mean num.partitions?",
        "num.io.threads: given twice in server.properties, in lines 3 and 4; remove one of them",
        "log.roll.hours (--log-roll-hours): '0' is not allowed; allowed: at least 1",
    ]


def test_keys_of_other_kafkas_are_accepted_and_named() -> None:
    settings = load_settings(
        file_text="zookeeper.connect=localhost:2181\nprocess.roles=broker,controller\nconfluent.x=y"
    )
    assert settings.ignored == (
        "zookeeper.connect (server.properties, line 1)",
        "confluent.x (server.properties, line 3)",
    )


def test_listeners_follow_from_advertised_listeners_alone() -> None:
    settings = load_settings(environment={"KAFKA_ADVERTISED_LISTENERS": "PLAINTEXT://kafka:29092,OUT://localhost:9092"})
    assert settings.value("listeners") == ("PLAINTEXT://0.0.0.0:29092", "OUT://0.0.0.0:9092")
    assert settings.is_set("listeners")


def test_a_file_that_is_not_text_of_that_kind_is_one_error() -> None:
    with pytest.raises(ConfigErrors, match="not a properties file"):
        load_settings(file_text="x" * 2_000_000)
