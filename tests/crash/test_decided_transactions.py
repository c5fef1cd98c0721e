"""A transaction that was decided comes to its end, whatever step the broker died in."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from tests.oracle.catalogue.transactions import added, begun, describe, end
from tests.oracle.exchange import Call, exchange
from tests.oracle.runner import Player
from tests.oracle.vocabulary import create, list_offsets
from tests.support.broker_process import BrokerProcess
from tests.support.mortal_coordinator import BEFORE_MARKERS, STEPS

PARTITIONS = 3
COMMITTED_ONLY = 1
COMMAND = (sys.executable, "-m", "tests.support.mortal_coordinator", "serve")


@pytest.mark.parametrize(("step", "commit"), [*((step, True) for step in STEPS), (BEFORE_MARKERS, False)])
def test_its_markers_are_written_after_the_restart(tmp_path: Path, step: str, commit: bool) -> None:
    settings = {"transaction.state.log.num.partitions": "2", "offsets.topic.num.partitions": "2"}
    broker = BrokerProcess(tmp_path / "data", settings=settings, command=COMMAND, environment={"DIE_AT": step})
    broker.start()
    every = {"txn": list(range(PARTITIONS))}
    finding = Call(
        "FindCoordinator",
        4,
        {"key_type": 1, "coordinator_keys": ["x"]},
        until={"coordinators.0.error_code": 0},
        hidden=True,
    )
    begin = exchange(
        "begin", create("txn", PARTITIONS), finding, begun("x"), added(every, name="x"), end(name="x", commit=commit)
    )
    [answer] = Player(broker.bootstrap).play(begin)
    assert answer.get("outcome") == "closed" or answer["answer"]["error_code"] == 0
    broker.wait()
    again = BrokerProcess(tmp_path / "data", settings=settings)
    again.start()
    state = "CompleteCommit" if commit else "CompleteAbort"
    complete = describe("x", until={"transaction_states.0.transaction_state": state})
    ends = [list_offsets("txn", partition=index, isolation=COMMITTED_ONLY) for index in range(PARTITIONS)]
    described, *shown = Player(again.bootstrap).play(exchange("look", complete, ends))
    assert described["answer"]["transaction_states"][0]["transaction_state"] == state
    stable: list[Any] = [one["answer"]["topics"][0]["partitions"][0]["offset"] for one in shown]
    # A marker may be written twice, and is where the broker died in between; an offset of 0 would be none.
    assert all(offset in (1, 2) for offset in stable), stable
    again.stop()
