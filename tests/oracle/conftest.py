"""One broker for the whole catalogue: a process of its own, or the one that PYBROKER_TEST_BOOTSTRAP names."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from tests.oracle.exchange import Call, exchange
from tests.oracle.record import KAFKA_SETTINGS
from tests.oracle.runner import Player
from tests.support.broker_process import broker_process


@pytest.fixture(scope="session")
def player(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Player]:
    given = os.environ.get("PYBROKER_TEST_BOOTSTRAP")
    if given:
        yield _warm(Player(given))
        return
    with broker_process(tmp_path_factory.mktemp("oracle"), KAFKA_SETTINGS) as bootstrap:
        yield _warm(Player(bootstrap))


def _warm(player: Player) -> Player:
    """Coordinator topics are made when they are first needed; the recording was made with them."""
    for key_type in (0, 1):
        asked = {"key_type": key_type, "coordinator_keys": ["warm-up"]}
        player.play(exchange("warm-up", Call("FindCoordinator", 4, asked, until={"coordinators.0.error_code": 0})))
    return player


@pytest.fixture(scope="session")
def used_entries() -> set[object]:
    """The entries of `meant.py` that an exchange has needed so far."""
    return set()
