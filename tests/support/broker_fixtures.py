"""Fixtures for tests that need a broker process; a folder's `conftest.py` imports them by name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.broker_process import BrokerProcess, running_broker


@pytest.fixture(scope="session")
def bootstrap(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`127.0.0.1:port` of one broker for all tests, or what PYBROKER_TEST_BOOTSTRAP names."""
    given = os.environ.get("PYBROKER_TEST_BOOTSTRAP")
    if given:
        yield given
        return
    with running_broker(tmp_path_factory.mktemp("broker") / "data") as broker:
        yield broker.bootstrap


@pytest.fixture
def broker_process(tmp_path: Path) -> Iterator[BrokerProcess]:
    """A broker of the test's own, to be stopped, killed and started again."""
    broker = BrokerProcess(tmp_path / "data")
    broker.start()
    yield broker
    broker.close()
