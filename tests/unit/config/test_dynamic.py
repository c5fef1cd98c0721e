"""Dynamic changes of topic and broker configuration, with Kafka's two kinds of refusal."""

import pytest

from pybroker_server.config.dynamic import (
    Alteration,
    AlterOperation,
    ConfigRequestError,
    alter_broker,
    alter_group,
    alter_topic,
    apply_dynamic,
    replace_broker,
    replace_group,
    replace_topic,
)
from pybroker_server.config.values import ConfigError
from pybroker_server.config.views import broker_config

CONFIG = broker_config()
SET, DELETE, APPEND, SUBTRACT = AlterOperation


def test_set_delete_append_subtract_on_a_topic() -> None:
    current = {"retention.ms": "5"}
    changed = alter_topic(
        current,
        [
            Alteration("retention.ms", DELETE, None),
            Alteration("max.message.bytes", SET, " 100 "),
            Alteration("cleanup.policy", APPEND, "compact"),
            Alteration("no.such.key", DELETE, None),
        ],
        CONFIG,
    )
    assert changed == {"max.message.bytes": "100", "cleanup.policy": "delete,compact"}
    assert current == {"retention.ms": "5"}
    again = alter_topic(changed, [Alteration("cleanup.policy", APPEND, "compact")], CONFIG)
    assert again["cleanup.policy"] == "delete,compact"
    less = alter_topic(again, [Alteration("cleanup.policy", SUBTRACT, "delete,nothing")], CONFIG)
    assert less["cleanup.policy"] == "compact"


@pytest.mark.parametrize(
    ("alteration", "kind", "says"),
    [
        (Alteration("retenton.ms", SET, "5"), ConfigError, "did you mean retention.ms"),
        (Alteration("retention.ms", SET, "x"), ConfigError, "not a whole number"),
        (Alteration("retention.ms", SET, None), ConfigRequestError, "null"),
        (Alteration("retention.ms", APPEND, "5"), ConfigError, "for lists"),
        (Alteration("remote.storage.enable", SET, "true"), ConfigError, "no remote storage"),
        (Alteration("max.compaction.lag.ms", SET, "5"), ConfigError, "more than max.compaction.lag.ms"),
    ],
)
def test_what_a_topic_refuses(alteration: Alteration, kind: type[ConfigError], says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        alter_topic({"min.compaction.lag.ms": "10"}, [alteration], CONFIG)
    assert type(caught.value) is kind


def test_a_key_twice_in_one_request_is_refused() -> None:
    twice = [Alteration("retention.ms", SET, "5")] * 2
    with pytest.raises(ConfigRequestError, match="twice"):
        alter_topic({}, twice, CONFIG)


def test_new_topics_take_their_overrides_as_they_are_given() -> None:
    assert replace_topic({"retention.ms": "5", "segment.ms": None}, CONFIG) == {"retention.ms": "5"}
    with pytest.raises(ConfigError, match="no such topic key"):
        replace_topic({"log.retention.ms": None}, CONFIG)


@pytest.mark.parametrize(
    ("name", "value", "cluster_wide", "says"),
    [
        ("num.partitions", "4", False, "cannot be changed while"),
        ("listeners", "PLAINTEXT://:1", False, "cannot be changed while"),
        ("listener.name.a.ssl.keystore.password", "x", False, "cannot be changed while"),
        ("principal.builder.class", "x", True, "only be set for one broker"),
        ("message.max.bytes", "-4", False, "at least 0"),
        ("log.retention.ms", "0", True, "-1 or more"),
    ],
)
def test_what_a_broker_refuses_is_an_invalid_request(name: str, value: str, cluster_wide: bool, says: str) -> None:
    with pytest.raises(ConfigRequestError, match=says):
        alter_broker({}, [Alteration(name, SET, value)], CONFIG, cluster_wide=cluster_wide)


def test_an_unknown_broker_key_is_an_invalid_config() -> None:
    with pytest.raises(ConfigError, match=r"did you mean message\.max\.bytes") as caught:
        alter_broker({}, [Alteration("mesage.max.bytes", SET, "1")], CONFIG, cluster_wide=False)
    assert type(caught.value) is ConfigError


def test_a_broker_override_wins_over_the_clusters_and_both_over_the_file() -> None:
    static = broker_config({"message.max.bytes": "10", "log.retention.hours": "1"})
    changed = apply_dynamic(static, {"message.max.bytes": "20", "log.retention.ms": "7"}, {"message.max.bytes": "30"})
    assert changed.topic_values({})["max.message.bytes"] == 30
    assert changed.topic_values({})["retention.ms"] == 7
    only_cluster = apply_dynamic(changed, {"message.max.bytes": "20"}, {})
    assert only_cluster.topic_values({})["max.message.bytes"] == 20
    assert only_cluster.topic_values({})["retention.ms"] == 3_600_000
    assert apply_dynamic(only_cluster, {}, {}).topic_defaults == static.topic_defaults


def test_replacing_drops_what_is_not_named() -> None:
    assert replace_broker({"max.connections": "5", "message.max.bytes": None}, CONFIG, cluster_wide=True) == {
        "max.connections": "5"
    }


def test_a_groups_own_settings_stay_within_the_brokers_bounds_and_in_proportion() -> None:
    wide = broker_config({"group.consumer.max.heartbeat.interval.ms": "100000"})
    longer = Alteration("consumer.heartbeat.interval.ms", SET, "60000")
    with pytest.raises(ConfigError, match=r"more than group.consumer.max.heartbeat.interval.ms \(15000\)"):
        alter_group({}, [longer], CONFIG)
    with pytest.raises(ConfigError, match=r"45000 is not more than consumer.heartbeat.interval.ms \(60000\)"):
        alter_group({}, [longer], wide)
    kept = alter_group({"consumer.session.timeout.ms": "50000"}, [Alteration("no.such", DELETE, None)], CONFIG)
    assert kept == {"consumer.session.timeout.ms": "50000"}
    assert replace_group(
        {"share.auto.offset.reset": "by_duration:PT1H", "streams.num.standby.replicas": None}, CONFIG
    ) == {"share.auto.offset.reset": "by_duration:PT1H"}
