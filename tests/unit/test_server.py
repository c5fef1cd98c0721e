"""The process around a broker: it ends when it is told to, and says what kept it from going on."""

import gc
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pybroker_server.config.views import BrokerConfig, broker_config
from pybroker_server.log.checkpoints import CLEAN_SHUTDOWN
from pybroker_server.server import BrokerFailedError, StartError, run


@pytest.fixture(autouse=True)
def settled_process() -> Iterator[None]:
    """A server settles the collector of its process; this one goes on."""
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def config_of(path: Path, port: int = 0) -> BrokerConfig:
    return broker_config({"log.dirs": str(path), "listeners": f"PLAINTEXT://127.0.0.1:{port}", "node.id": "4"})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(tmp_path: Path, number: signal.Signals) -> None:
    told: list[tuple[int, int]] = []

    def started(bound: object, node_id: int) -> None:
        told.append((bound[0].port, node_id))  # type: ignore[index]
        os.kill(os.getpid(), number)

    before = signal.getsignal(number)
    assert run(config_of(tmp_path), started) == 0
    [(port, node_id)] = told
    assert (port > 0, node_id) == (True, 4)
    assert (tmp_path / CLEAN_SHUTDOWN).exists()
    assert signal.getsignal(number) == before


def test_what_keeps_it_from_starting_is_one_plain_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(StartError, match="cannot listen on"):
        run(config_of(tmp_path, taken.getsockname()[1]))
    assert not (tmp_path / CLEAN_SHUTDOWN).exists()


def test_a_failure_that_a_user_can_read_is_told_without_a_traceback(tmp_path: Path) -> None:
    def started(bound: object, node_id: int) -> None:
        raise OSError(5, "Input/output error")

    with pytest.raises(BrokerFailedError, match="Input/output error"):
        run(config_of(tmp_path), started)
    assert not (tmp_path / CLEAN_SHUTDOWN).exists(), "the next start recovers"


def test_a_bug_shows_where_it_is(tmp_path: Path) -> None:
    def started(bound: object, node_id: int) -> None:
        raise ZeroDivisionError("a bug")

    with pytest.raises(BaseExceptionGroup) as caught:
        run(config_of(tmp_path), started)
    assert caught.group_contains(ZeroDivisionError)
