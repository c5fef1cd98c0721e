"""What happens to transactions and transactional ids with time, on a broker whose clocks run fast."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.oracle.catalogue.transactions import FINDING, added, begun, complete, describe, end, init
from tests.oracle.exchange import exchange
from tests.oracle.runner import Player
from tests.oracle.vocabulary import create, list_offsets
from tests.support.broker_process import running_broker

COMMITTED_ONLY = 1
TRANSACTIONAL_ID_NOT_FOUND = 105
SOON = {
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "100",
    "transactional.id.expiration.ms": "1000",
    "transaction.remove.expired.transaction.cleanup.interval.ms": "100",
    "transaction.state.log.num.partitions": "2",
}


@pytest.fixture(scope="module")
def player(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Player]:
    with running_broker(tmp_path_factory.mktemp("times") / "data", SOON) as broker:
        player = Player(broker.bootstrap)
        player.play(exchange("coordinator", FINDING))
        yield player


def test_a_transaction_that_is_open_for_too_long_is_aborted(player: Player) -> None:
    """Its partitions get their marker, and its producer may no longer commit."""
    save = {"pid": "producer_id", "epoch": "producer_epoch"}
    marked = list_offsets("@t", isolation=COMMITTED_ONLY, until={"topics.0.partitions.0.offset": 1})
    aborted, shown, late = player.play(
        exchange(
            "timeout",
            create("@t"),
            init(timeout_ms=200, save=save, until={"error_code": 0}, hidden=True),
            added(),
            complete(commit=False),
            marked,
            end(),
        )
    )
    assert aborted["answer"]["transaction_states"][0]["transaction_state"] == "CompleteAbort"
    assert shown["answer"]["topics"][0]["partitions"][0]["offset"] == 1
    assert late["answer"]["error_code"] == 48


def test_a_transactional_id_that_nobody_uses_is_forgotten(player: Player) -> None:
    gone = describe(until={"transaction_states.0.error_code": TRANSACTIONAL_ID_NOT_FOUND})
    [described] = player.play(exchange("expiry", begun(), gone))
    assert described["answer"]["transaction_states"][0]["error_code"] == TRANSACTIONAL_ID_NOT_FOUND
