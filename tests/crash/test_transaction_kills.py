"""An exactly-once pipeline through kill -9 and pauses of brokers and workers: every record once, in both its targets.

`PYBROKER_TXN_KILLS` says how often something is killed or paused.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.broker_cluster import broker_cluster
from tests.support.broker_process import running_broker
from tests.support.pipeline import SETTINGS, WORKERS, Pipeline, make_topics, python_worker
from tests.support.small_transactions import commit_under_faults, kill

pytestmark = pytest.mark.campaign

KILLS = int(os.environ.get("PYBROKER_TXN_KILLS", "3"))


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
    commit_under_faults(tmp_path, library, python_worker(library))
