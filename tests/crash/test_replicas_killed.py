"""What three brokers have acknowledged survives the death of any of them, and of all at once.

The brokers are processes of their own, the producer is librdkafka, idempotent with acks=all, and every fault comes at a
random moment of the load. `PYBROKER_TEST_KILLS` says how often. See `docs/replication.md`.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.support.replicated_load import replicated_load, spread_of

pytestmark = pytest.mark.campaign

KILLS = int(os.environ.get("PYBROKER_TEST_KILLS", "1"))


@pytest.mark.parametrize("kind", ["sqlite", "etcd"])
def test_leaders_killed_under_load_lose_and_double_nothing(tmp_path: Path, kind: str) -> None:
    with replicated_load(tmp_path, kind=kind, seed=1) as under_load:
        gaps = []
        controllers = 0
        for _ in range(KILLS):
            under_load.run_for_a_while()
            controller, leader = under_load.controller(), under_load.leader()
            controllers += controller == leader
            broker = under_load.cluster.brokers[leader]
            broker.kill()
            under_load.wait_for_progress()
            gaps.append(under_load.gaps_s[-1])
            broker.start()
            under_load.wait_for_all_in_sync()
        under_load.check()
        print(f"until 300 records were acknowledged after a kill, {spread_of(gaps)}; {controllers} led the cluster too")


def test_followers_killed_under_load_lose_and_double_nothing(tmp_path: Path) -> None:
    with replicated_load(tmp_path, seed=2) as under_load:
        for number in range(KILLS):
            under_load.run_for_a_while()
            leader = under_load.leader()
            follower = [node for node in under_load.cluster.brokers if node != leader][number % 2]
            under_load.cluster.brokers[follower].kill()
            under_load.wait_for_progress()
            under_load.cluster.brokers[follower].start()
            under_load.wait_for_all_in_sync()
        under_load.check()


def test_all_killed_at_once_lose_and_double_nothing(tmp_path: Path) -> None:
    with replicated_load(tmp_path, seed=3) as under_load:
        for _ in range(KILLS):
            under_load.run_for_a_while()
            for broker in under_load.cluster.brokers.values():
                broker.kill()
            for broker in under_load.cluster.brokers.values():
                broker.launch()
            for broker in under_load.cluster.brokers.values():
                broker.wait_until_ready()
            under_load.wait_for_all_in_sync()
        under_load.check()
