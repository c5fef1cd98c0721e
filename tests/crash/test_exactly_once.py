"""The example of exactly once does what it says while its services and the broker are killed again and again."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.broker_process import ROOT, BrokerProcess, running_broker
from tests.support.sdk_members import FAST_GROUPS

pytestmark = pytest.mark.campaign

KILLS = int(os.environ.get("PYBROKER_TEST_KILLS", "3"))
COUNT = max(2_000, 1_000 * KILLS)
RATES = {"eur": 100, "gbp": 117, "usd": 93}
KINDS = sorted(RATES)
SCRIPT = ROOT / "examples" / "exactly_once.py"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    settings = {**FAST_GROUPS, "offsets.topic.num.partitions": "4", "transaction.state.log.num.partitions": "4"}
    with running_broker(tmp_path / "data", settings) as started:
        yield started


class Service:
    """A role of the example in a process of its own."""

    def __init__(self, bootstrap: str, folder: Path, *arguments: str) -> None:
        self._command = [sys.executable, str(SCRIPT), *arguments]
        self._said = (folder / f"{'-'.join(arguments)}.log").open("ab+")
        self._environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(str(ROOT / name) for name in ("protocol", "client")),
            "PYBROKER_BOOTSTRAP": bootstrap,
            "PYTHONUNBUFFERED": "1",
            "COUNT": str(COUNT),
            "DATABASE": str(folder / "payments.sqlite"),
        }
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command, env=self._environment, stdout=self._said, stderr=subprocess.STDOUT
        )

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        self.kill()
        self._said.close()

    @property
    def said(self) -> str:
        self._said.seek(0)
        return self._said.read().decode()

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    def last_words(self, time_limit_s: float) -> str:
        """What it said last, once it has ended as it should."""
        try:
            code = self._process.wait(time_limit_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running: {self.said}") from None
        assert code == 0, self.said
        return self.said.splitlines()[-1]


def expected_windows() -> dict[str, dict[str, int]]:
    windows: dict[str, dict[str, int]] = {}
    for number in range(COUNT):
        window = windows.setdefault(str(number // 100 * 10), dict.fromkeys(KINDS, 0))
        window[KINDS[number % 3]] += 1
    return windows


def test_every_payment_is_stored_and_counted_once(broker: BrokerProcess, tmp_path: Path) -> None:
    chance = random.Random(7)
    services = {
        name: Service(broker.bootstrap, tmp_path, *name.split())
        for name in ("emit", "store", "count", "enrich 1", "enrich 2")
    }
    try:
        for number in range(2 * KILLS):
            time.sleep(chance.uniform(0.5, 2.0))  # faults come at any moment
            if number % 2:
                broker.kill()
                broker.start()
            else:
                victim = services[chance.choice(["enrich 1", "enrich 2", "store"])]
                if victim.is_running:
                    victim.kill()
                    victim.start()
        for name in ("enrich 1", "enrich 2"):
            assert services[name].is_running, services[name].said
        emitted = services["emit"].last_words(120)
        stored = services["store"].last_words(120)
        counted = services["count"].last_words(120)
    except AssertionError as error:
        for name, service in services.items():
            error.add_note(f"{name} said:\n{service.said[-3_000:]}")
        raise
    finally:
        for service in services.values():
            service.close()
    assert emitted == f"emit: {COUNT} payments and a bad one"
    cents = sum(RATES[KINDS[number % 3]] for number in range(COUNT))
    assert stored == f"store: {COUNT} payments, {cents} cents"
    assert json.loads(counted.removeprefix("count: ")) == expected_windows()
