"""Apache Kafka from its Maven artifacts, started on this machine to be measured: one node in KRaft mode, or several.

Rules: the settings are those below and no others, and are told with the results. Each JVM has a heap of 1 GB, as
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
    """A broker, or a cluster, with data directories of its own; can be stopped and started again."""

    def __init__(self, folder: Path, jars: Path, nodes: int = 1) -> None:
        ports = _free_ports(2 * nodes)
        brokers, controllers = ports[:nodes], ports[nodes:]
        self.port: int = brokers[0]
        self.bootstrap = f"127.0.0.1:{self.port}"
        self._jars = jars
        self._processes: list[subprocess.Popen[bytes]] = []
        self._folders = [folder / str(number) for number in range(1, nodes + 1)]
        voters = ",".join(f"{number}@127.0.0.1:{port}" for number, port in enumerate(controllers, 1))
        for number, (own, port, controller) in enumerate(zip(self._folders, brokers, controllers, strict=True), 1):
            own.mkdir()
            settings = SETTINGS | {
                "node.id": str(number),
                "controller.quorum.voters": voters,
                "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
                "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
                "log.dirs": str(own / "data"),
            }
            config = own / "server.properties"
            config.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
            command = java(jars, "kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c", str(config))
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise BenchError("Kafka's storage could not be formatted", cause=(done.stdout + done.stderr)[-500:])

    def start(self) -> float:
        """Returns with the seconds until it answered a Metadata request. Raises BenchError if it does not."""
        for folder in self._folders:
            with (folder / "log").open("ab") as log:
                command = java(self._jars, "kafka.Kafka", str(folder / "server.properties"), heap=HEAP)
                self._processes.append(subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT))
        return wait_for_metadata(self.port, self._processes[0], self._folders[0] / "log", len(self._folders))

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()


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
