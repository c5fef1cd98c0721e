"""Acknowledged means durable: kill -9 and power loss in the middle of writes, again and again, lose nothing.

The broker is a process of its own, the producer is librdkafka, idempotent with acks=all, and every cut comes at a
random moment of the load. See `docs/durability.md`.
"""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

import confluent_kafka.admin
from tests.support.acked_load import AckedLoad, check, read_back
from tests.support.broker_process import BrokerProcess
from tests.support.power_cut import cut_power

KILLS = 50
POWER_CUTS = 20
PARTITIONS = 4
# Small segments, so that rolls, index files and producer snapshots are cut in the middle as well.
TOPIC_CONFIG = {"segment.bytes": "1048576", "index.interval.bytes": "1024"}


def _create_topic(bootstrap: str, topic: str) -> None:
    admin = confluent_kafka.admin.AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
    new = confluent_kafka.admin.NewTopic(topic, PARTITIONS, 1, config=TOPIC_CONFIG)
    admin.create_topics([new])[topic].result(30)


def _run_for_a_while(load: AckedLoad, chance: random.Random) -> None:
    """Until the producer has made progress since the last cut, then a random moment more: never a cut of idleness."""
    before = load.acked_count
    deadline = time.monotonic() + 30
    while load.acked_count < before + 200:
        assert time.monotonic() < deadline, "the producer stands still after a restart"
        time.sleep(0.005)
    time.sleep(chance.uniform(0, 0.15))


def test_fifty_kills_under_load_lose_and_double_nothing(tmp_path: Path) -> None:
    chance = random.Random(50)
    broker = BrokerProcess(tmp_path / "data")
    broker.start()
    load = AckedLoad(broker.bootstrap, "kills", PARTITIONS)
    try:
        _create_topic(broker.bootstrap, "kills")
        load.start()
        for _ in range(KILLS):
            _run_for_a_while(load, chance)
            broker.kill()
            broker.start()
    finally:
        load.stop()
    check(load, read_back(broker.bootstrap, "kills", PARTITIONS))
    broker.stop()


def test_twenty_power_cuts_under_load_lose_and_double_nothing(tmp_path: Path) -> None:
    """Every second cut tears the unsynced tail at a random byte instead of dropping all of it."""
    chance = random.Random(20)
    journal = str(tmp_path / "undo.journal")
    main = [sys.executable, "-m", "tests.support.power_cut_broker", journal]
    broker = BrokerProcess(tmp_path / "data", command=main)
    broker.start()
    load = AckedLoad(broker.bootstrap, "cuts", PARTITIONS)
    undone = 0
    try:
        _create_topic(broker.bootstrap, "cuts")
        load.start()
        for number in range(POWER_CUTS):
            _run_for_a_while(load, chance)
            broker.kill()
            undone += cut_power(journal, seed=number if number % 2 else None)
            broker.start()
    finally:
        load.stop()
    check(load, read_back(broker.bootstrap, "cuts", PARTITIONS))
    broker.stop()
    assert undone > POWER_CUTS, "the cuts came when nothing was unsynced: they prove nothing"
