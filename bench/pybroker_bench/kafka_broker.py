"""Apache Kafka from its Maven artifacts, started on this machine to be measured: one node in KRaft mode.

Rules: the settings are those below and no others, and are told with the results. The JVM has a heap of 1 GB, as
`kafka-server-start` gives it. Needs Java 17 on PATH and a folder with Kafka's jars.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from pybroker_bench.errors import BenchError
from pybroker_bench.readiness import wait_for_metadata

HEAP: Final = "1G"
SETTINGS: Final = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    "num.network.threads": "3",
    "num.io.threads": "8",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
}
_CLUSTER_ID: Final = "AAAAAAAAQACAAAAAAAAAAQ"
_STOP_S: Final = 30.0


def java(jars: Path, main_class: str, *arguments: str, heap: str = "512M") -> list[str]:
    """The command that runs a class of Kafka's. Raises BenchError without Java or jars."""
    if shutil.which("java") is None:
        raise BenchError("java is not on PATH", hint="install a Java 17 runtime")
    if not any(jars.glob("kafka-clients-*.jar")):
        raise BenchError(f"there are no jars of Kafka in {jars}", hint="`make bench-kafka` fetches them")
    quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    return ["java", quiet, f"-Xmx{heap}", f"-Xms{heap}", "-cp", f"{jars}/*", main_class, *arguments]


def version_of(jars: Path) -> str:
    """Of the artifacts in the folder."""
    found = sorted(jars.glob("kafka-clients-*.jar"))
    return found[0].stem.removeprefix("kafka-clients-") if found else "unknown"


class KafkaBroker:
    """A broker with a data directory of its own; can be stopped and started again."""

    def __init__(self, folder: Path, jars: Path) -> None:
        self.port, controller = _free_ports(2)
        self.bootstrap = f"127.0.0.1:{self.port}"
        self._jars = jars
        self._config = folder / "server.properties"
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        settings = SETTINGS | {
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "log.dirs": str(folder / "data"),
        }
        self._config.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        command = java(jars, "kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c", str(self._config))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError("Kafka's storage could not be formatted", cause=(done.stdout + done.stderr)[-500:])

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> float:
        """Returns with the seconds until it answered a Metadata request. Raises BenchError if it does not."""
        with self._log.open("ab") as log:
            command = java(self._jars, "kafka.Kafka", str(self._config), heap=HEAP)
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        return wait_for_metadata(self.port, self._process, self._log)

    def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


@contextlib.contextmanager
def local_kafka(jars: Path) -> Iterator[KafkaBroker]:
    """A Kafka for the length of a block."""
    with tempfile.TemporaryDirectory(prefix="kafka-bench-") as folder:
        broker = KafkaBroker(Path(folder), jars)
        try:
            broker.start()
            yield broker
        finally:
            broker.stop()


def _free_ports(count: int) -> Sequence[Any]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
