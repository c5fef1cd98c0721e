"""An exactly-once pipeline through kill -9 and pauses of brokers and workers: every record once, in both its targets.

`PYBROKER_TXN_KILLS` says how often something is killed or paused, `PYBROKER_TXN_COUNT` how many transactions a client
library commits while faults go on.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.broker_cluster import BrokerCluster, broker_cluster
from tests.support.broker_process import BrokerProcess, running_broker
from tests.support.pipeline import SETTINGS, WORKERS, Pipeline, make_topics

pytestmark = pytest.mark.campaign

COUNT = int(os.environ.get("PYBROKER_TXN_COUNT", "300"))
KILLS = int(os.environ.get("PYBROKER_TXN_KILLS", "3"))
SHORT_LEASES = {"broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "500"}
PAUSE_S = 3.5
COUNT_PER_FAULT = 60


def run(pipeline: Pipeline, faults: list[Callable[[], None]], chance: random.Random) -> None:
    """One fault after the other, each in the middle of the work."""
    try:
        for number in range(KILLS):
            pipeline.reader.wait_for(20)
            time.sleep(chance.uniform(0, 0.3))
            faults[number % len(faults)]()
        pipeline.finish()
    finally:
        pipeline.close()


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_every_record_comes_out_once_whatever_dies(tmp_path: Path, protocol: str) -> None:
    with running_broker(tmp_path / "data", SETTINGS) as broker:

        def kill_broker() -> None:
            broker.kill()
            broker.start()

        make_topics(broker.bootstrap)
        pipeline = Pipeline(broker.bootstrap, tmp_path, protocol)
        first, second = pipeline.workers
        faults = [kill_broker, first.kill, kill_broker, second.pause, kill_broker, second.kill]
        run(pipeline, faults, random.Random(protocol))


def test_every_record_comes_out_once_on_a_cluster_whose_brokers_die_in_turn(tmp_path: Path) -> None:
    chance = random.Random(3)
    settings = {**SETTINGS, "min.insync.replicas": "2", "transaction.state.log.min.isr": "2"}
    with broker_cluster(tmp_path, 3, settings) as cluster:
        cluster.wait_for_nodes(1, 2, 3)
        make_topics(cluster.bootstrap, replicas=3)
        pipeline = Pipeline(cluster.bootstrap, tmp_path, "consumer")
        first, second = pipeline.workers
        kills = [lambda node_id=node_id: kill(cluster, node_id, pipeline) for node_id in (1, 2, 3)]
        run(pipeline, [kills[0], first.kill, kills[1], second.pause, kills[2], second.kill], chance)


@pytest.mark.parametrize("library", list(WORKERS))
def test_small_transactions_while_brokers_and_workers_are_killed_and_paused(tmp_path: Path, library: str) -> None:
    chance = random.Random(library)
    settings = {**SETTINGS, "min.insync.replicas": "2", "transaction.state.log.min.isr": "2", **SHORT_LEASES}
    with broker_cluster(tmp_path, 3, settings) as cluster:
        cluster.wait_for_nodes(1, 2, 3)
        make_topics(cluster.bootstrap, replicas=3)
        pipeline = Pipeline(cluster.bootstrap, tmp_path, "consumer", library=library, batch=3)
        faults: dict[str, Callable[[], None]] = {
            "broker killed": lambda: kill(cluster, chance.randint(1, 3), pipeline),
            "broker paused": lambda: pause(cluster, chance.randint(1, 3), pipeline),
            "worker killed": lambda: chance.choice(pipeline.workers).kill(),
            "worker paused": lambda: chance.choice(pipeline.workers).pause(),
        }
        done: Counter[str] = Counter()
        try:
            while pipeline.transactions < COUNT:
                pipeline.wait_for_transactions(chance.randint(1, 2 * COUNT_PER_FAULT))
                name = chance.choice(list(faults))
                faults[name]()
                done[name] += 1
            pipeline.finish()
        finally:
            print(f"{library}: {pipeline.transactions} transactions, {dict(done)}")
            pipeline.close()


def pause(cluster: BrokerCluster, node_id: int, pipeline: Pipeline) -> None:
    """For longer than its lease: when it wakes up it leads nothing any more."""
    broker = cluster.brokers[node_id]
    broker.suspend()
    try:
        pipeline.reader.wait_for(20)
        time.sleep(PAUSE_S)
    finally:
        broker.resume()


def kill(cluster: BrokerCluster, node_id: int, pipeline: Pipeline) -> None:
    """The others go on without it; then it comes back."""
    broker: BrokerProcess = cluster.brokers[node_id]
    broker.kill()
    pipeline.reader.wait_for(20)
    broker.start()
