"""A broker under measurement: one that runs already, or a pybroker started for the occasion."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from uuid import uuid4

from pybroker_bench.loads import LoadResult, LoadSpec
from pybroker_bench.meter import Usage, usage

_START_TIMEOUT_S = 30.0
_LOAD_TIMEOUT_S = 300.0


class TargetError(Exception):
    """The broker did not come up, or a load against it failed; says what it printed."""


@dataclass(frozen=True, slots=True)
class Target:
    """`pid` is None when the broker's process cannot be seen: its CPU and memory are then left out."""

    name: str
    bootstrap: str
    pid: int | None

    def usage(self) -> Usage | None:
        return None if self.pid is None else usage(self.pid)

    def create_topic(self, partitions: int) -> str:
        from confluent_kafka.admin import AdminClient
        from confluent_kafka.cimpl import NewTopic

        topic = f"bench-{uuid4().hex[:12]}"
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        admin.create_topics([NewTopic(topic, partitions, 1)])[topic].result(60)
        return topic

    def run(self, spec: LoadSpec) -> LoadResult:
        command = [sys.executable, "-m", "pybroker_bench.loads", json.dumps(asdict(spec))]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LOAD_TIMEOUT_S, check=False)
        if done.returncode != 0:
            raise TargetError(f"{spec.kind} against {self.name} failed:\n{done.stderr[-1500:]}")
        return LoadResult(**json.loads(done.stdout.splitlines()[-1]))


@contextlib.contextmanager
def local_pybroker(*settings: str) -> Iterator[tuple[Target, float]]:
    """Starts `pybroker serve` on a free port with a data directory of its own.

    Yields the target and the seconds from process start to the first answered Metadata request.
    """
    import socket

    from confluent_kafka.admin import AdminClient

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as output:
        command = [sys.executable, "-m", "pybroker_server", "serve", "--log-dirs", f"{folder}/data"]
        command += ["--listeners", f"PLAINTEXT://127.0.0.1:{port}", *settings]
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            _wait_for_port(process, port, started)
            AdminClient({"bootstrap.servers": f"127.0.0.1:{port}"}).list_topics(timeout=10)
            seconds = time.perf_counter() - started
            yield Target("pybroker", f"127.0.0.1:{port}", process.pid), seconds
        finally:
            process.terminate()
            process.wait(30)


def _wait_for_port(process: subprocess.Popen[bytes], port: int, started: float) -> None:
    import socket

    while time.perf_counter() - started < _START_TIMEOUT_S:
        if process.poll() is not None:
            raise TargetError(f"pybroker ended with status {process.returncode} before it listened")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.005)
    raise TargetError(f"pybroker did not listen on port {port} in {_START_TIMEOUT_S:.0f} s")


def parse_target(text: str, name: str) -> Target:
    """`HOST:PORT` or `HOST:PORT@PID`."""
    match = re.fullmatch(r"([^@]+:\d+)(?:@(\d+))?", text)
    if match is None:
        raise TargetError(f"{text!r} is no HOST:PORT or HOST:PORT@PID")
    return Target(name, match[1], int(match[2]) if match[2] else None)
