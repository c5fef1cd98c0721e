"""Scenario files: OpenMessaging's names are understood, what is not known is refused with what would be right."""

from __future__ import annotations

import pytest

from pybroker_bench.builtin import SCENARIOS, fields_of
from pybroker_bench.errors import BenchError
from pybroker_bench.scenario import Scenario, from_mapping, load

WORKLOAD = """
name: 1 topic / 16 partitions / 1Kb
topics: 1
partitionsPerTopic: 16
keyDistributor: "NO_KEY"
messageSize: 1024
payloadFile: "payload/payload-1Kb.data"
useRandomizedPayloads: true
randomBytesRatio: 0.5
randomizedPayloadPoolSize: 1000
subscriptionsPerTopic: 2
consumerPerSubscription: 4
producersPerTopic: 3
producerRate: 50000
consumerBacklogSizeGB: 0
testDurationMinutes: 15
warmupDurationMinutes: 1
"""


def test_a_workload_file_of_openmessaging_is_understood(tmp_path) -> None:
    path = tmp_path / "workload.yaml"
    path.write_text(WORKLOAD)
    scenario = from_mapping(load(path))
    assert (scenario.partitions, scenario.message_size, scenario.rate) == (16, 1024, 50_000.0)
    assert (scenario.subscriptions, scenario.consumers, scenario.producers) == (2, 4, 3)
    assert (scenario.duration_s, scenario.warmup_s) == (900.0, 60.0)


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_built_in_scenario_can_be_run(name: str) -> None:
    assert from_mapping(fields_of(name)).name == name


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_survives_being_written_and_read(name: str) -> None:
    scenario = from_mapping(fields_of(name))
    again = from_mapping(scenario.to_json())
    assert again.to_json() == scenario.to_json()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"partitionPerTopic": 4}, "partitionsPerTopic"),
        ({"topics": "four"}, "whole number"),
        ({"topics": True}, "whole number"),
        ({"topics": 0}, "at least 1"),
        ({"producerRate": "fast"}, "number"),
        ({"client": "kafka-python"}, "confluent-kafka"),
        ({"acks": 2}, "all, 1, 0"),
        ({"messageSize": 0}, "at least 1"),
        ({"transactionMessages": 10, "client": "librdkafka"}, "transactions"),
        ({"rebalanceIntervalSeconds": 1}, "consumerGroups"),
        ({"produceDuringTest": False}, "consumerBacklogMessages"),
    ],
)
def test_what_cannot_be_is_refused_with_what_would_be_right(given: dict[str, object], said: str) -> None:
    with pytest.raises(BenchError) as refused:
        from_mapping(given)
    assert said in refused.value.format_message()
    assert refused.value.exit_code == 2


def test_records_too_small_for_a_stamp_are_counted_and_not_checked() -> None:
    assert from_mapping({"messageSize": 10}).is_verified is False
    assert from_mapping({"messageSize": 28}).is_verified is True


def test_sizes_may_be_mixed_with_weights() -> None:
    scenario = from_mapping({"messageSize": {100: 3, 200: 1}})
    assert scenario.mean_bytes == 125


def test_a_drivers_properties_are_read_as_text_too() -> None:
    scenario = from_mapping({"topicConfig": "min.insync.replicas=1\nretention.ms = 1000\n"})
    assert scenario.topic_config == {"min.insync.replicas": "1", "retention.ms": "1000"}


def test_the_default_scenario_is_valid() -> None:
    assert from_mapping({}) == Scenario()


def test_an_unknown_name_of_a_scenario_names_the_nearest() -> None:
    with pytest.raises(BenchError) as refused:
        fields_of("troughput")
    assert "throughput" in refused.value.format_message()
