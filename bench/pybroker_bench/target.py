"""The broker under measurement: one that runs already, or a pybroker started for the occasion.

Rules: what can be learnt of the target is asked of the target itself: its brokers, and the durability in force, from
DescribeConfigs. What it costs is seen where its processes run on this machine.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pybroker import Admin, Client, KafkaError
from pybroker.errors import ConnectionFailed
from pybroker_bench.errors import EXIT_UNREACHABLE, BenchError
from pybroker_bench.meter import Usage, listener_pid, usage_of_all
from pybroker_bench.readiness import wait_for_metadata

_STOP_S: Final = 30.0
_CONNECT_S: Final = 5.0
_NEVER: Final = 1 << 62


@dataclass(slots=True)
class Target:
    """`pids` is empty when no process of it can be seen: its CPU and memory are then left out."""

    name: str
    bootstrap: str
    pids: Sequence[int] = ()
    durability: str = "unknown"
    brokers: int = 0
    local: LocalBroker | None = None
    is_pybroker: bool = True
    settings: Mapping[str, str] = field(default_factory=dict)

    def usage(self) -> Usage | None:
        return usage_of_all(self.pids)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "bootstrap": self.bootstrap,
            "brokers": self.brokers,
            "durability": self.durability,
            "settings": dict(self.settings),
        }


def admin_client(bootstrap: str) -> Client:
    return Client(bootstrap, client_id="pybroker-bench", connect_timeout=_CONNECT_S)


async def learn(name: str, bootstrap: str, local: LocalBroker | None = None) -> Target:
    """What the cluster says of itself. Raises BenchError when it cannot be reached."""
    target = Target(name, bootstrap, local=local)
    try:
        async with admin_client(bootstrap) as client, Admin(client=client) as admin:
            cluster = await admin.cluster()
            target.brokers = len(cluster.brokers)
            found = [listener_pid(broker.host, broker.port) for broker in cluster.brokers]
            # Half of what a cluster costs would be taken for the whole.
            target.pids = [pid for pid in found if pid is not None] if None not in found else []
            configs = await admin.broker_configs(cluster.brokers[0].node_id)
            values = {key: entry.value for key, entry in configs.items()}
            target.durability = durability_of(values)
            target.is_pybroker = "durability" in values
            shown = ("durability", "log.flush.interval.messages", "min.insync.replicas", "default.replication.factor")
            target.settings = {key: str(values[key]) for key in shown if values.get(key) is not None}
    except ConnectionFailed as error:
        hint = "start one with `pybroker serve`, or leave out -b: a broker is then started for the measurement"
        raise BenchError(f"no broker at {bootstrap}", cause=error.message, hint=hint, code=EXIT_UNREACHABLE) from None
    except KafkaError as error:
        raise BenchError(f"{bootstrap} cannot be asked what it is", cause=error.message) from None
    return target


def durability_of(configs: Mapping[str, str | None]) -> str:
    """When an acknowledged record is on the disk: `fsync` before the acknowledgement, `page-cache` some time after."""
    mode = configs.get("durability")
    if mode is not None:
        return mode
    interval = configs.get("flush.messages") or configs.get("log.flush.interval.messages")
    if interval is None:
        return "unknown"
    messages = int(interval)
    if messages == 1:
        return "fsync"
    return "page-cache" if messages > _NEVER else f"fsync every {messages} messages"


class LocalBroker:
    """`pybroker serve` on a free port with a data directory of its own; can be killed and started again.

    With several workers it is a cluster of as many brokers, which share the machine.
    """

    def __init__(self, folder: Path, settings: Sequence[str], workers: int = 1) -> None:
        port = _free_ports(workers)
        self.workers = workers
        self.port: int = port
        self.bootstrap = f"127.0.0.1:{port}"
        self._command = [sys.executable, "-m", "pybroker_server", "serve", "--log-dirs", str(folder / "data")]
        self._command += ["--listeners", f"PLAINTEXT://127.0.0.1:{port}", *settings]
        # Several may run on one machine, for which there is one address of the admin server.
        self._command += ["--admin-listener", "", *(["--workers", str(workers)] if workers > 1 else [])]
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> float:
        """Returns with the seconds until it answered a Metadata request. Raises BenchError if it does not."""
        with self._log.open("ab") as log:
            kept = {key: value for key, value in os.environ.items() if not key.startswith(("KAFKA_", "PYBROKER_"))}
            self._process = subprocess.Popen(self._command, stdout=log, stderr=subprocess.STDOUT, env=kept)
        return wait_for_metadata(self.port, self._process, self._log, self.workers)

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()


@contextlib.contextmanager
def local_pybroker(*settings: str, workers: int = 1) -> Iterator[LocalBroker]:
    """A broker, or a cluster, for the length of a block; `settings` are flags of `pybroker serve`."""
    with tempfile.TemporaryDirectory(prefix="pybroker-bench-") as folder:
        broker = LocalBroker(Path(folder), settings, workers)
        try:
            broker.start()
            yield broker
        finally:
            broker.stop()


def _free_ports(count: int) -> int:
    """The first of so many free ports that follow each other."""
    while True:
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(socket.socket())
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                for number in range(1, count):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port + number))
            except (OSError, OverflowError):
                continue
            return port
