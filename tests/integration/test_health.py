"""`pybroker health`, as a HEALTHCHECK runs it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.broker_process import ROOT, BrokerProcess, free_port, without_settings

PACKAGES = os.pathsep.join(str(ROOT / name) for name in ("protocol", "client", "broker", "bench"))


def health(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pybroker_server", "health", *arguments],
        env={**without_settings(os.environ), "PYTHONPATH": PACKAGES, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_broker_that_serves_is_healthy_and_one_that_ended_is_not(broker_process: BrokerProcess) -> None:
    done = health("-b", broker_process.bootstrap)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"healthy: {broker_process.bootstrap} answered in ")
    assert done.stdout.endswith(", 1 broker\n")
    broker_process.stop()
    done = health("-b", broker_process.bootstrap)
    assert done.returncode == 1
    assert "is not healthy" in done.stderr


def test_without_an_address_it_asks_the_broker_of_the_environment(broker_process: BrokerProcess) -> None:
    everywhere = f"PLAINTEXT://:{broker_process.port}"
    done = health("-o", "json", KAFKA_LISTENERS=everywhere, KAFKA_LOG_DIRS="/nonexistent")
    told = json.loads(done.stdout)
    assert told.pop("latency_ms") > 0
    assert len(told.pop("cluster_id")) == 22
    assert told == {"healthy": True, "address": f"localhost:{broker_process.port}", "brokers": 1}
    assert health("--listeners", everywhere).returncode == 0


def test_a_broker_that_hangs_is_not_healthy(broker_process: BrokerProcess) -> None:
    os.kill(broker_process.pid, signal.SIGSTOP)
    try:
        done = health("-b", broker_process.bootstrap, "--timeout", "0.5", "-o", "json")
        assert done.returncode == 1
        assert json.loads(done.stdout) == {
            "healthy": False,
            "address": broker_process.bootstrap,
            "reason": "timed out",
        }
    finally:
        os.kill(broker_process.pid, signal.SIGCONT)


@pytest.fixture
def web_server() -> Iterator[int]:
    """Something else on the port: it answers every connection with HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            peer, _ = server.accept()
            with peer:
                peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                peer.recv(1000)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


def test_something_else_on_the_port_is_not_healthy(web_server: int) -> None:
    done = health("-b", f"127.0.0.1:{web_server}")
    assert done.returncode == 1
    assert "no Kafka broker" in done.stderr


def test_nobody_on_the_port_is_not_healthy(tmp_path: Path) -> None:
    done = health("-b", f"127.0.0.1:{free_port()}")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Connection refused" in done.stderr


def test_it_loads_neither_an_event_loop_nor_the_sdk() -> None:
    """It runs every few seconds beside the broker."""
    script = (
        "import sys\nfrom pybroker_server.cli.main import main\n"
        f"try:\n    main(['health', '-b', '127.0.0.1:{free_port()}'])\nexcept SystemExit:\n    pass\n"
        "print([m for m in ('asyncio', 'pybroker', 'aiohttp', 'rich', 'structlog') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
