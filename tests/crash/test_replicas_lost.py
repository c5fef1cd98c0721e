"""Replicas that hang, forget or lose their disk: nothing that was acknowledged goes with them.

See `test_replicas_killed.py` for the load. `PYBROKER_TEST_KILLS` says how often each fault comes.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path

import pytest
from tests.support.broker_cluster import wait_until
from tests.support.power_cut import cut_power
from tests.support.replicated_load import SETTINGS, TOPIC, replicated_load

pytestmark = pytest.mark.campaign

FAULTS = max(int(os.environ.get("PYBROKER_TEST_KILLS", "1")) // 2, 1)
LEASE_S = int(SETTINGS["broker.session.timeout.ms"]) / 1000


def test_a_leader_that_hangs_longer_than_its_lease_acknowledges_nothing_that_is_lost(tmp_path: Path) -> None:
    with replicated_load(tmp_path, seed=4) as under_load:
        for _ in range(FAULTS):
            under_load.run_for_a_while()
            leader = under_load.leader()
            broker = under_load.cluster.brokers[leader]
            broker.suspend()
            others = next(node for node in under_load.cluster.brokers if node != leader)
            wait_until(
                lambda leader=leader, others=others: (
                    under_load.cluster.partitions(TOPIC, node_id=others)[0].leader not in (leader, -1)
                )
            )
            under_load.wait_for_progress()
            time.sleep(under_load.chance.uniform(0, LEASE_S / 2))
            broker.resume()
            under_load.wait_for_progress()
            under_load.wait_for_all_in_sync()
        under_load.check()


def test_a_broker_that_comes_back_empty_is_filled_and_loses_nothing_for_others(tmp_path: Path) -> None:
    with replicated_load(tmp_path, seed=5) as under_load:
        for _ in range(FAULTS):
            under_load.run_for_a_while()
            broker = under_load.cluster.brokers[under_load.leader()]
            broker.kill()
            shutil.rmtree(broker.data_dir)
            broker.start()
            under_load.wait_for_progress()
            under_load.wait_for_all_in_sync()
        under_load.check()


def test_a_power_cut_of_any_broker_loses_and_doubles_nothing(tmp_path: Path) -> None:
    with replicated_load(tmp_path, seed=6) as under_load:
        cluster = under_load.cluster
        for number in range(FAULTS):
            under_load.run_for_a_while()
            node = under_load.leader() % 3 + 1 if number % 2 else under_load.leader()
            broker = cluster.brokers[node]
            journal = str(tmp_path / f"undo-{node}.journal")
            broker.stop()
            broker.command = [sys.executable, "-m", "tests.support.power_cut_broker", journal]
            broker.start()
            under_load.wait_for_all_in_sync()
            under_load.run_for_a_while()
            broker.kill()
            cut_power(journal, seed=number)
            broker.start()
            under_load.wait_for_all_in_sync()
        under_load.check()
