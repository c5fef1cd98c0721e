"""Thousands of small transactions of one client library on three brokers, while all that can die or hang does.

`PYBROKER_TXN_COUNT` says how many transactions the workers commit while faults go on.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.support.broker_cluster import BrokerCluster, broker_cluster
from tests.support.pipeline import SETTINGS, Pipeline, make_topics

COUNT = int(os.environ.get("PYBROKER_TXN_COUNT", "300"))
COUNT_PER_FAULT = 60
"""On the average; a fault may also come upon the last one."""
SHORT_LEASES = {"broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "500"}
PAUSE_S = 3.5
STUCK_BESIDE_A_HUNG_BROKER = {"kafka-python"}
"""Libraries whose new clients wait for a bootstrap server that hangs, and fail, instead of asking another one (as of
kafka-python 3.0): they go on when it does."""


def commit_under_faults(folder: Path, library: str, program: Sequence[str]) -> None:
    """`program`: the worker, see `Pipeline`. Each record comes out once and in order, and nothing stays undecided."""
    chance = random.Random(library)
    settings = {**SETTINGS, "min.insync.replicas": "2", "transaction.state.log.min.isr": "2", **SHORT_LEASES}
    with broker_cluster(folder, 3, settings) as cluster:
        cluster.wait_for_nodes(1, 2, 3)
        make_topics(cluster.bootstrap, replicas=3)
        pipeline = Pipeline(cluster.bootstrap, folder, "consumer", program=program, batch=3)
        faults: dict[str, Callable[[], None]] = {
            "broker killed": lambda: kill(cluster, chance.randint(1, 3), pipeline),
            "broker paused": lambda: pause(cluster, chance.randint(1, 3), pipeline, library),
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


def pause(cluster: BrokerCluster, node_id: int, pipeline: Pipeline, library: str) -> None:
    """For longer than its lease: when it wakes up it leads nothing any more. Meanwhile the others go on."""
    broker = cluster.brokers[node_id]
    broker.suspend()
    try:
        if library not in STUCK_BESIDE_A_HUNG_BROKER:
            pipeline.reader.wait_for(20)
        time.sleep(PAUSE_S)
    finally:
        broker.resume()


def kill(cluster: BrokerCluster, node_id: int, pipeline: Pipeline) -> None:
    """The others go on without it; then it comes back."""
    broker = cluster.brokers[node_id]
    broker.kill()
    pipeline.reader.wait_for(20)
    broker.start()
