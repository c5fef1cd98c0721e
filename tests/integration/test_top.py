"""`pybroker top` against broker processes under load."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from tests.support.broker_process import free_port, running_broker

from pybroker_server.cli.main import main


def top(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["top", *arguments])
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The admin address of a broker to which somebody produces all the time."""
    admin = f"127.0.0.1:{free_port()}"
    stop = threading.Event()
    with running_broker(tmp_path_factory.mktemp("top") / "data", {"admin.listener": admin}) as broker:
        producer = Producer({"bootstrap.servers": broker.bootstrap, "linger.ms": 5})
        begun = threading.Event()

        def produce() -> None:
            while not stop.is_set():
                producer.produce("busy", b"x" * 100, on_delivery=lambda error, message: begun.set())
                producer.poll(0.001)

        thread = threading.Thread(target=produce)
        thread.start()
        try:
            assert begun.wait(30)
            yield admin
        finally:
            stop.set()
            thread.join()
            producer.flush(30)


def test_rates_of_a_broker_under_load_as_json(loaded: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = top(capsys, "-a", loaded, "-o", "json", "-n", "2", "-i", "0.5")
    assert code == 0
    views: list[Any] = [json.loads(line) for line in out.splitlines()]
    assert len(views) == 2
    for view in views:
        [broker] = view["brokers"]
        assert broker["ready"]
        assert broker["records_in_per_s"] > 0
        assert broker["produce_p50_ms"] <= broker["produce_p99_ms"]
        assert broker["resident_bytes"] > 10_000_000
        assert view["topics"][0]["topic"] == "busy"
        assert view["brokers_in_cluster"] == 1
        assert view["unreachable"] == []


def test_one_screen_as_tables(loaded: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = top(capsys, "-a", loaded, "--once", "-i", "0.2")
    assert code == 0
    assert out.startswith("pybroker top  cluster ")
    assert "busy" in out


def test_several_brokers_are_shown_together_and_one_that_is_away_with_its_reason(
    loaded: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second, gone = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    with running_broker(tmp_path / "data", {"admin.listener": second, "node.id": "2"}):
        code, out, _ = top(capsys, "-a", f"{loaded},{second}", "-a", gone, "-o", "json", "--once", "-i", "0.2")
    assert code == 0
    view = json.loads(out)
    assert [(broker["node_id"], broker["address"]) for broker in view["brokers"]] == [(1, loaded), (2, second)]
    [away] = view["unreachable"]
    assert away["address"] == gone
    assert "refused" in away["reason"]


def test_nobody_to_ask_is_told_with_what_to_try(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = top(capsys, "-a", f"127.0.0.1:{free_port()}", "--once")
    assert (code, out) == (3, "")
    assert "-a HOST:PORT" in err
