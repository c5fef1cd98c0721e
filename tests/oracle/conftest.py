"""One broker for the whole catalogue: a process of its own, or the one that PYBROKER_TEST_BOOTSTRAP names."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from tests.oracle.runner import Player
from tests.support.broker_process import broker_process


@pytest.fixture(scope="session")
def player(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Player]:
    given = os.environ.get("PYBROKER_TEST_BOOTSTRAP")
    if given:
        yield Player(given)
        return
    with broker_process(tmp_path_factory.mktemp("oracle")) as bootstrap:
        yield Player(bootstrap)


@pytest.fixture(scope="session")
def used_entries() -> set[object]:
    """The entries of `meant.py` that an exchange has needed so far."""
    return set()
