"""Kafka's own tools on the transactions of a broker, and on the log that it keeps of them. Run by `make interop`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from tests.interop.kafka import tool
from tests.oracle.batches import Batch, Rec
from tests.oracle.catalogue.transactions import FINDING, added, begun, describe, end
from tests.oracle.exchange import Call, Saved, exchange
from tests.oracle.runner import Player
from tests.oracle.vocabulary import create, produce
from tests.support.broker_process import BrokerProcess, running_broker

pytestmark = pytest.mark.java

TRANSACTIONAL = 0x10


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[BrokerProcess]:
    with running_broker(tmp_path / "data", {"transaction.state.log.num.partitions": "2"}) as started:
        Player(started.bootstrap).play(exchange("warm-up", FINDING))
        yield started


def transactions(broker: BrokerProcess, *arguments: str) -> list[list[str]]:
    """The table's lines without its head, as columns."""
    out = tool("kafka-transactions", "--bootstrap-server", broker.bootstrap, *arguments)
    return [line.split() for line in out.splitlines()[1:] if line.strip()]


def write(topic: str, name: str) -> Call:
    producer = {"producer_id": Saved("pid"), "epoch": Saved("epoch"), "sequence": 0}
    batch = Batch((Rec(b"v"),), attributes=TRANSACTIONAL, **producer)
    return produce(topic, batch, version=11, transactional_id=name, hidden=True)


def test_transactions_are_listed_and_described(broker: BrokerProcess) -> None:
    name, topic = f"id-{uuid4().hex[:8]}", f"t-{uuid4().hex[:8]}"
    Player(broker.bootstrap).play(
        exchange("open", create(topic, 2), begun(name), added({topic: [0, 1]}, name=name), begun(f"{name}-idle"))
    )
    listed = {row[0]: row[3] for row in transactions(broker, "list")}
    assert listed == {name: "Ongoing", f"{name}-idle": "Empty"}
    by_pattern = transactions(broker, "list", "--transactional-id-pattern", f"{name}-.*")
    assert [row[0] for row in by_pattern] == [f"{name}-idle"]
    [row] = transactions(broker, "describe", "--transactional-id", name)
    assert row[4] == "Ongoing"
    assert {f"{topic}-0", f"{topic}-1"} == set(row[-1].split(","))


@pytest.mark.parametrize("commit", [True, False], ids=["commit", "abort"])
def test_dump_log_reads_our_transactions_and_markers(broker: BrokerProcess, commit: bool) -> None:
    """D3: both logs are in Kafka's own format."""
    topic = f"t-{uuid4().hex[:8]}"
    done = describe(
        "dumped",
        until={"transaction_states.0.transaction_state": "CompleteCommit" if commit else "CompleteAbort"},
        hidden=True,
    )
    Player(broker.bootstrap).play(
        exchange(
            "end",
            create(topic),
            begun("dumped"),
            added({topic: [0]}, name="dumped"),
            write(topic, "dumped"),
            end(name="dumped", commit=commit),
            done,
        )
    )
    broker.stop()
    states: list[int] = []
    for log in sorted(broker.data_dir.glob("__transaction_state-*/*.log")):
        out = tool("kafka-dump-log", "--transaction-log-decoder", "--files", str(log))
        assert "isvalid: false" not in out
        states += [int(s) for s in re.findall(r'"transactionalId":"dumped".*?"transactionStatus":(\d)', out)]
    assert states == ([0, 1, 2, 4] if commit else [0, 1, 3, 5])
    data = ",".join(str(log) for log in sorted(broker.data_dir.glob(f"{topic}-0/*.log")))
    dumped = tool("kafka-dump-log", "--print-data-log", "--files", data)
    assert "isTransactional: true isControl: true" in dumped
    assert f"endTxnMarker: {'COMMIT' if commit else 'ABORT'} coordinatorEpoch: 0" in dumped
    broker.start()
