"""Brokers on hosts of their own that are cut off from the others and from the metadata store, but not from clients.

The producer's acknowledgements are what counts: nothing acknowledged on either side of the cut may be lost, doubled or
moved. `PYBROKER_TEST_CUTS` says how often. Needs root for network namespaces.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import NewTopic
from tests.support import netns
from tests.support.acked_load import AckedLoad
from tests.support.broker_cluster import BrokerCluster, wait_until
from tests.support.broker_process import BrokerProcess
from tests.support.etcd import Etcd
from tests.support.replicated_load import PARTITIONS, SETTINGS, TOPIC, TOPIC_CONFIG, ReplicatedLoad, spread_of

CUTS = int(os.environ.get("PYBROKER_TEST_CUTS", "1"))
LEASE_S = int(SETTINGS["broker.session.timeout.ms"]) / 1000
REASON = netns.why_not()
pytestmark = [pytest.mark.campaign, pytest.mark.skipif(REASON is not None, reason=REASON or "")]


class SpreadCluster(BrokerCluster):
    """Each broker on a host of its own."""

    def __init__(self, directory: Path, store_url: str, hosts: netns.Network) -> None:
        super().__init__(directory, store_url, SETTINGS)
        self.hosts = hosts

    def add_on(self, node_id: int) -> BrokerProcess:
        address = self.hosts.address(node_id)
        broker = self.add(
            node_id,
            {"listeners": f"PLAINTEXT://{address}:9092", "broker.rack": f"r{node_id}"},
        )
        broker.command = [*self.hosts.command(node_id), *broker.command]
        broker.bootstrap = f"{address}:9092"
        return broker


@contextlib.contextmanager
def spread_load(directory: Path, hosts: netns.Network) -> Iterator[tuple[ReplicatedLoad, str]]:
    """The load, and the address of the metadata store."""
    etcd = Etcd(directory / "etcd", host=netns.GATEWAY)
    cluster = SpreadCluster(directory, f"etcd://{etcd.address}/spread", hosts)
    load = AckedLoad("", TOPIC, PARTITIONS)
    etcd.start()
    try:
        for node_id in hosts.numbers:
            cluster.add_on(node_id).launch()
        for broker in cluster.brokers.values():
            broker.wait_until_ready()
        cluster.wait_for_nodes(*hosts.numbers)
        admin = cluster.admin()
        admin.create_topics([NewTopic(TOPIC, PARTITIONS, 3, config=TOPIC_CONFIG)])[TOPIC].result(30)
        load.bootstrap = cluster.bootstrap
        load.start()
        yield ReplicatedLoad(cluster, load, random.Random(7)), etcd.address
    finally:
        load.abandon()
        cluster.close()
        etcd.kill()


@pytest.mark.parametrize(
    ("inward", "outward"), [(True, True), (True, False), (False, True)], ids=["both-ways", "deaf", "mute"]
)
def test_a_leader_that_is_cut_off_from_brokers_and_store_loses_nothing(
    tmp_path: Path, inward: bool, outward: bool
) -> None:
    beyond_lease_s: list[float] = []
    with netns.network(3) as hosts, spread_load(tmp_path, hosts) as (under_load, store):
        for _ in range(CUTS):
            under_load.run_for_a_while()
            victim = under_load.leader()
            others = [hosts.address(number) for number in hosts.numbers if number != victim]
            began = time.monotonic()
            hosts.cut(victim, *others, store, inward=inward, outward=outward)
            witness = next(number for number in hosts.numbers if number != victim)
            wait_until(
                lambda witness=witness, victim=victim: all(
                    p.leader not in (-1, victim) for p in under_load.cluster.partitions(TOPIC, node_id=witness)
                )
            )
            under_load.wait_for_progress()
            beyond_lease_s.append(time.monotonic() - began - LEASE_S)
            hosts.heal(victim)
            under_load.wait_for_all_in_sync()
        under_load.check()
    print(f"the producer got on after the lease had ended, {spread_of(beyond_lease_s)}")
