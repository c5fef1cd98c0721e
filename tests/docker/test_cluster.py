"""`docker/compose.cluster.yaml` and `compose.monitoring.yaml` as they are written, in namespaces."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.containers import DOCKER, WAIT_S, Container, Network, has_programs, network, read_compose, why_not

pytestmark = pytest.mark.campaign

SERVICES: dict[str, Any] = read_compose(DOCKER / "compose.monitoring.yaml")["services"]
BROKERS = ("kafka-1", "kafka-2", "kafka-3")
ON_THE_HOST = "localhost:19092,localhost:29092,localhost:39092"
IN_THE_NETWORK = "kafka-1:9092,kafka-2:9092,kafka-3:9092"
CLIENT = """
import sys
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition
bootstrap, topic, first, last = sys.argv[1:]
failed = []
producer = Producer({"bootstrap.servers": bootstrap, "acks": "all", "message.timeout.ms": 50000})
for number in range(int(first), int(last)):
    producer.produce(topic, str(number), partition=0, on_delivery=lambda e, m: failed.append(str(e)) if e else None)
assert producer.flush(55) == 0 and not failed, failed
consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "readers", "enable.auto.commit": False})
consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
got = []
while len(got) < int(last):
    message = consumer.poll(30)
    assert message is not None and not message.error(), message and message.error()
    got.append(int(message.value()))
assert got == list(range(int(last))), got
consumer.close()
print("whole")
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    """Every broker healthy, in the order that `depends_on` says."""
    reason = why_not()
    if reason is None and not has_programs(SERVICES["etcd"]["image"]):
        reason = "etcd and etcdctl are not installed (Debian: etcd-server, etcd-client)"
    if reason is not None:
        pytest.skip(f"containers cannot be run here: {reason}")
    directory: Path = tmp_path_factory.mktemp("cluster")
    with network(directory) as host:
        etcd = host.add_service("etcd", SERVICES["etcd"])
        brokers = [host.add_service(name, SERVICES[name]) for name in BROKERS]
        host.add("client", arguments=["sleep", "600"], environment={"PATH": "/usr/local/bin:/usr/bin:/bin"})
        host.add_service("load", SERVICES["load"])
        host.add_service("prometheus", SERVICES["prometheus"])
        etcd.start()
        etcd.wait_until_healthy()
        for broker in brokers:
            broker.start()
        for broker in brokers:
            broker.wait_until_healthy()
        host.containers["client"].start()
        host.containers["client"].wait_until_booted()
        yield host
        assert [broker.name for broker in brokers if broker.stop() != 0] == []


def on_the_host(host: Network, topic: str, first: int, last: int) -> None:
    done = host.on_host(sys.executable, "-c", CLIENT, ON_THE_HOST, topic, str(first), str(last))
    assert done.stdout == "whole\n", done.stdout + done.stderr


def in_the_network(host: Network, topic: str, first: int, last: int) -> None:
    client = host.containers["client"]
    python = "/opt/pybroker/bin/python"
    done = client.run(python, "-c", CLIENT, IN_THE_NETWORK, topic, str(first), str(last), check=False)
    assert done.stdout == "whole\n", done.stdout + done.stderr


def describe(host: Network, topic: str, at: Container) -> list[dict[str, Any]]:
    told = at.run("pybroker", "topic", "describe", topic, "-b", f"{at.name}:9092", "-o", "json")
    found: list[dict[str, Any]] = json.loads(told.stdout)
    return found


def test_clients_on_the_host_and_in_the_network_reach_every_broker(cluster: Network) -> None:
    on_the_host(cluster, "shared", 0, 100)
    in_the_network(cluster, "shared", 100, 200)
    [partition] = describe(cluster, "shared", cluster.containers["kafka-2"])
    assert sorted(partition["replicas"].split(",")) == ["1", "2", "3"], "three copies without a word"
    assert sorted(partition["isr"].split(",")) == ["1", "2", "3"]


def test_a_killed_broker_is_not_missed_and_comes_back(cluster: Network) -> None:
    in_the_network(cluster, "surviving", 0, 100)
    [partition] = describe(cluster, "surviving", cluster.containers["kafka-1"])
    leader = cluster.containers[f"kafka-{partition['leader']}"]
    other = next(cluster.containers[name] for name in BROKERS if name != leader.name)
    leader.kill()
    in_the_network(cluster, "surviving", 100, 200)
    leader.start()
    leader.wait_until_healthy()
    in_the_network(cluster, "surviving", 200, 300)
    deadline = time.monotonic() + WAIT_S
    while len(describe(cluster, "surviving", other)[0]["isr"].split(",")) < 3:
        assert time.monotonic() < deadline, leader.log()
        time.sleep(0.5)


def test_the_load_of_the_monitoring_file_runs_and_loses_nothing(cluster: Network) -> None:
    load = cluster.containers["load"]
    load.arguments = [*load.arguments, "--duration", "2", "--warmup", "1"]
    assert SERVICES["load"]["restart"] == "unless-stopped"
    for _ in range(3):  # as the engine would, should it not come up the first time
        load.start()
        assert load.process is not None
        code = load.process.wait(WAIT_S)
        load.process = None
        if code == 0:
            break
    assert "none lost, duplicated, reordered or corrupted" in load.log(), load.log()
    assert "records lost" not in load.log()


def asked(host: Network, query: str) -> list[tuple[dict[str, str], str]]:
    """(labels, value) of each series that Prometheus answers with."""
    arguments = ["curl", "-sG", "http://127.0.0.1:9090/api/v1/query", "--data-urlencode", f"query={query}"]
    done = host.on_host(*arguments)
    results = json.loads(done.stdout)["data"]["result"] if done.returncode == 0 else []
    return [(each["metric"], each["value"][1]) for each in results]


def test_prometheus_scrapes_every_broker_and_no_series_comes_from_two(cluster: Network) -> None:
    if not has_programs(SERVICES["prometheus"]["image"]):
        pytest.skip("prometheus is not installed")
    on_the_host(cluster, "watched", 0, 10)
    cluster.containers["prometheus"].start()
    wanted = {(f"{name}:9644", "1") for name in BROKERS}
    deadline = time.monotonic() + WAIT_S
    while {(labels["instance"], value) for labels, value in asked(cluster, "pybroker_ready")} != wanted:
        assert time.monotonic() < deadline, cluster.containers["prometheus"].log()
        time.sleep(0.5)
    assert asked(cluster, "sum(kafka_brokers)") == [({}, "3")]
    assert asked(cluster, 'count(kafka_topic_partition_leader{topic="watched"})') == [({}, "1")]
    assert asked(cluster, 'sum(kafka_topic_partition_in_sync_replica{topic="watched"})') == [({}, "3")]
    assert asked(cluster, 'sum(kafka_topic_partition_current_offset{topic="watched"})') == [({}, "10")]
    named = "label_replace({__name__=~'kafka_.*'}, 'name', '$1', '__name__', '(.+)')"
    assert asked(cluster, f"max(count without (instance) ({named}))") == [({}, "1")]
