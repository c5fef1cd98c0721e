"""Three broker processes: who leads when one is killed, hangs, stops or comes back."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaException, Producer, TopicPartition
from confluent_kafka.admin import NewTopic
from tests.support.broker_cluster import BrokerCluster, broker_cluster, wait_until
from tests.support.broker_process import BrokerProcess
from tests.support.etcd import Etcd

NEVER = {"broker.session.timeout.ms": "600000"}
SOON = {"broker.session.timeout.ms": "2000", "broker.heartbeat.interval.ms": "300"}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[BrokerCluster]:
    """Leases last longer than any test: what happens, happens without them."""
    with broker_cluster(tmp_path, 3, NEVER) as running:
        running.wait_for_nodes(1, 2, 3)
        yield running


def create(cluster: BrokerCluster, topic: str, partitions: int) -> None:
    admin = cluster.admin()
    for future in admin.create_topics([NewTopic(topic, partitions, 3)]).values():
        future.result(timeout=30)


def wait_for_leaders(cluster: BrokerCluster, topic: str, *nodes: int, told_by: int) -> None:
    """Until that broker says that these, and only these, lead every partition."""
    wait_until(lambda: {p.leader for p in cluster.partitions(topic, node_id=told_by)} == set(nodes))


def test_a_killed_leader_is_replaced_long_before_its_lease_ends(cluster: BrokerCluster) -> None:
    create(cluster, "t", 6)
    wait_for_leaders(cluster, "t", 1, 2, 3, told_by=1)
    cluster.brokers[1].kill()
    wait_for_leaders(cluster, "t", 2, 3, told_by=2)
    for partition in cluster.partitions("t", node_id=2):
        assert sorted(partition.isrs) == [2, 3]
    cluster.brokers[2].kill()
    wait_for_leaders(cluster, "t", 3, told_by=3)
    # The last one in sync is remembered: nobody else leads until it is back.
    cluster.brokers[3].kill()
    cluster.brokers[1].start()
    wait_for_leaders(cluster, "t", -1, told_by=1)
    cluster.brokers[3].start()
    wait_for_leaders(cluster, "t", 3, told_by=1)


def test_a_broker_that_stops_hands_over_first_and_a_restart_of_all_leaves_no_partition_without_a_leader(
    cluster: BrokerCluster,
) -> None:
    create(cluster, "t", 6)
    for node, others in ((1, (2, 3)), (2, (3,))):
        cluster.brokers[node].stop()
        wait_for_leaders(cluster, "t", *others, told_by=3)
    cluster.brokers[3].stop()
    for broker in cluster.brokers.values():
        broker.launch()
    for broker in cluster.brokers.values():
        broker.wait_until_ready()
    wait_for_leaders(cluster, "t", 3, told_by=1)


def test_a_leader_that_hangs_is_replaced_when_its_lease_ends_and_returns_as_a_follower(
    tmp_path: Path, etcd: Etcd
) -> None:
    cluster = BrokerCluster(tmp_path, f"etcd://{etcd.address}/hanging", SOON)
    try:
        cluster.start(3)
        cluster.wait_for_nodes(1, 2, 3)
        create(cluster, "t", 6)
        os.kill(cluster.brokers[1].pid, signal.SIGSTOP)
        wait_for_leaders(cluster, "t", 2, 3, told_by=2)
        os.kill(cluster.brokers[1].pid, signal.SIGCONT)
        cluster.wait_for_nodes(1, 2, 3)
        wait_for_leaders(cluster, "t", 2, 3, told_by=1)
    finally:
        cluster.close()


def test_two_brokers_with_one_node_id_are_not_let_in(tmp_path: Path) -> None:
    with broker_cluster(tmp_path, 1, SOON) as cluster:
        settings = {"node.id": "1", "metadata.store.url": cluster.store_url, **SOON}
        twin = BrokerProcess(tmp_path / "twin", settings=settings)
        twin.launch()
        assert twin.wait() == 1
        assert "another broker runs as node 1" in twin.log()
        assert cluster.brokers[1].is_alive


def test_a_deletion_of_records_is_answered_when_every_replica_has_let_go_of_them(cluster: BrokerCluster) -> None:
    create(cluster, "t", 1)
    producer = Producer({"bootstrap.servers": cluster.bootstrap})
    for _ in range(10):
        producer.produce("t", b"v")
    assert producer.flush(30) == 0
    leader = cluster.partitions("t")[0].leader
    admin = cluster.admin(leader)
    hanging = cluster.brokers[leader % 3 + 1]

    def delete(before: int) -> int:
        futures = admin.delete_records([TopicPartition("t", 0, before)], operation_timeout=1.0)
        return sum(future.result(timeout=30).low_watermark for future in futures.values())

    assert delete(3) == 3
    hanging.suspend()
    with pytest.raises(KafkaException, match="REQUEST_TIMED_OUT"):
        delete(7)
    hanging.resume()
    assert delete(7) == 7
