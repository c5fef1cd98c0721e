"""Kafka's own tools for clusters against three brokers of ours. Run by `make interop`; needs Java 17 and Maven."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.interop.kafka import tool
from tests.support.broker_cluster import BrokerCluster, broker_cluster, wait_until

pytestmark = pytest.mark.java


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerCluster]:
    with broker_cluster(tmp_path_factory.mktemp("java-cluster"), 3, {"default.replication.factor": "3"}) as running:
        running.wait_for_nodes(1, 2, 3)
        yield running


def run(cluster: BrokerCluster, name: str, *arguments: str) -> str:
    return tool(name, "--bootstrap-server", cluster.brokers[1].bootstrap, *arguments)


def test_kafka_topics_describes_leaders_replicas_and_in_sync_replicas(cluster: BrokerCluster) -> None:
    run(cluster, "kafka-topics", "--create", "--topic", "described", "--partitions", "3")
    told = run(cluster, "kafka-topics", "--describe", "--topic", "described")
    assert "PartitionCount: 3\tReplicationFactor: 3" in told
    lines = re.findall(r"Partition: (\d)\tLeader: (\d)\tReplicas: ([\d,]+)\tIsr: ([\d,]+)\tElr: *\tLastKnownElr:", told)
    assert [line[0] for line in lines] == ["0", "1", "2"]
    assert all(leader == replicas[0] and sorted(isr) == sorted(replicas) for _, leader, replicas, isr in lines)
    assert run(cluster, "kafka-topics", "--describe", "--under-replicated-partitions") == ""


def test_kafka_reassign_partitions_generates_executes_throttles_and_verifies(
    cluster: BrokerCluster, tmp_path: Path
) -> None:
    run(cluster, "kafka-topics", "--create", "--topic", "moving", "--replica-assignment", "1:2,2:3")
    wanted = tmp_path / "topics.json"
    wanted.write_text(json.dumps({"version": 1, "topics": [{"topic": "moving"}]}))
    generated = run(
        cluster,
        "kafka-reassign-partitions",
        "--generate",
        "--broker-list",
        "1,2,3",
        "--topics-to-move-json-file",
        str(wanted),
    )
    assert "Proposed partition reassignment configuration" in generated
    plan = tmp_path / "plan.json"
    target = [
        {"topic": "moving", "partition": 0, "replicas": [3, 1]},
        {"topic": "moving", "partition": 1, "replicas": [1, 2, 3]},
    ]
    plan.write_text(json.dumps({"version": 1, "partitions": target}))
    begun = run(
        cluster,
        "kafka-reassign-partitions",
        "--execute",
        "--reassignment-json-file",
        str(plan),
        "--throttle",
        "50000000",
    )
    assert "Successfully started partition reassignments for moving-0,moving-1" in begun

    def verified() -> str:
        told = run(cluster, "kafka-reassign-partitions", "--verify", "--reassignment-json-file", str(plan))
        return told if told.count("is completed") == 2 else ""

    assert "Clearing broker-level throttles" in wait_until(verified)
    assert [p.replicas for p in cluster.partitions("moving")] == [[3, 1], [1, 2, 3]]
    assert "No partition reassignments found" in run(cluster, "kafka-reassign-partitions", "--list")


def test_kafka_leader_election_gives_leadership_back(cluster: BrokerCluster) -> None:
    run(cluster, "kafka-topics", "--create", "--topic", "elected", "--replica-assignment", "2:1:3")
    cluster.brokers[2].restart()
    wait_until(lambda: [sorted(p.isrs) for p in cluster.partitions("elected")] == [[1, 2, 3]])
    assert cluster.partitions("elected")[0].leader != 2
    where = ("--topic", "elected", "--partition", "0")
    done = run(cluster, "kafka-leader-election", "--election-type", "preferred", *where)
    assert "Successfully completed leader election (PREFERRED) for partitions elected-0" in done
    wait_until(lambda: cluster.partitions("elected")[0].leader == 2)
    again = run(cluster, "kafka-leader-election", "--election-type", "preferred", *where)
    assert "Valid replica already elected for partitions elected-0" in again


def test_kafka_metadata_quorum_tells_the_controller(cluster: BrokerCluster) -> None:
    status = run(cluster, "kafka-metadata-quorum", "describe", "--status")
    leader = re.search(r"LeaderId: +(\d)", status)
    assert leader is not None
    assert int(leader[1]) in (1, 2, 3)
    rows = run(cluster, "kafka-metadata-quorum", "describe", "--replication").splitlines()[1:]
    roles = {int(row.split()[0]): row.split()[-1] for row in rows if row}
    assert roles == {node: "Leader" if node == int(leader[1]) else "Follower" for node in (1, 2, 3)}


def test_kafka_features_shows_what_is_in_force(cluster: BrokerCluster) -> None:
    told = run(cluster, "kafka-features", "describe")
    assert re.search(r"Feature: metadata.version\s.*FinalizedVersionLevel: 4\.3", told)
    assert re.search(r"Feature: eligible.leader.replicas.version\s.*FinalizedVersionLevel: 1", told)


def test_kafka_cluster_unregisters_a_broker_that_is_gone(cluster: BrokerCluster) -> None:
    cluster.add(4).start()
    cluster.wait_for_nodes(1, 2, 3, 4)
    cluster.brokers.pop(4).stop()
    bootstrap = cluster.brokers[1].bootstrap
    told = tool("kafka-cluster", "list-endpoints", "--bootstrap-server", bootstrap, "--include-fenced-brokers")
    assert re.search(r"^4 .*fenced", told, re.MULTILINE)
    done = tool("kafka-cluster", "unregister", "--bootstrap-server", bootstrap, "--id", "4")
    assert "Broker 4 is no longer registered" in done
