"""The example of four services does what it says, in one process and in several of which one is killed."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.broker_process import ROOT, running_broker
from tests.support.sdk import TIME_LIMIT_S, read_all, take
from tests.support.sdk_members import FAST_GROUPS

from pybroker import Consumer

COUNT = 1_000
SCRIPT = ROOT / "examples" / "order_pipeline.py"
OWED = sum((6, 4, 1)[number % 3] for number in range(COUNT))  # coffee, tea, water, in turn


@pytest.fixture
def bootstrap(tmp_path: Path) -> Iterator[str]:
    with running_broker(tmp_path / "data", FAST_GROUPS) as broker:
        yield broker.bootstrap


@contextmanager
def role(bootstrap: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    path = os.pathsep.join(str(ROOT / name) for name in ("protocol", "client"))
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), *arguments],
        env={**os.environ, "PYTHONPATH": path, "PYBROKER_BOOTSTRAP": bootstrap, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def output(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    return said


async def check_topics(bootstrap: str) -> int:
    """Every order is enriched, the poison message alone is dead; how many orders came again."""
    enriched = [r for found in (await read_all(bootstrap, "orders.enriched")).values() for r in found]
    ids = [json.loads(record.value)["id"] for record in enriched]
    assert set(ids) == set(range(COUNT))
    letters = (await read_all(bootstrap, "orders.dead"))[0]
    assert {(letter.key, letter.value) for letter in letters} == {(b"c7", b"{poison")}
    told = {name: (value or b"").decode() for name, value in letters[0].headers}
    assert (told["__dlq.errors.topic"], told["__dlq.errors.delivery.count"]) == ("orders", "3")
    assert told["__dlq.errors.exception"] == "pybroker.errors.DecodeFailed"
    return len(ids) - COUNT


async def test_all_orders_arrive_and_the_poison_message_is_put_aside(bootstrap: str) -> None:
    with role(bootstrap) as everything:
        said = output(everything)
    assert f"bill: {COUNT} orders, {OWED} owed" in said
    assert f"ship: {COUNT} orders to 20 customers" in said
    assert "dead: b'{poison' from orders-" in said
    assert "tried 3 times: pybroker.errors.DecodeFailed" in said
    assert await check_topics(bootstrap) == 0, "nobody failed, so nothing comes twice"


async def test_a_service_that_is_killed_in_the_middle_is_carried_on_by_another(bootstrap: str) -> None:
    with role(bootstrap, "bill") as bill, role(bootstrap, "ship") as ship:
        with role(bootstrap, "emit") as emit:
            assert "emit: 1000 orders" in output(emit)
        with role(bootstrap, "enrich") as killed:
            async with asyncio.timeout(TIME_LIMIT_S), Consumer("orders.enriched", bootstrap=bootstrap) as watcher:
                await watcher.ready()
                while sum((await watcher.offsets("latest")).values()) < COUNT // 10:
                    await asyncio.sleep(0)
            killed.kill()
        with role(bootstrap, "enrich"):
            assert f"bill: {COUNT} orders, {OWED} owed" in output(bill)
            assert f"ship: {COUNT} orders to 20 customers" in output(ship)
            async with Consumer("orders.dead", bootstrap=bootstrap, start="earliest") as dead:
                await take(dead, 1)
    await check_topics(bootstrap)
