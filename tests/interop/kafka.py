"""Apache Kafka's own tools and broker, fetched as Maven artifacts, for `make interop` and `make oracle`.

Needs `java` (17 or newer) and `mvn` on PATH. The jars are kept in `.cache/kafka-<version>` of the repository; the
broker runs in KRaft mode on loopback, with one node or several.

    python -m tests.interop.kafka jars                     fetch the jars and print their folder
    python -m tests.interop.kafka tool kafka-topics ...     run one of Kafka's tools
    python -m tests.interop.kafka record [PARTS]            start brokers, record the oracle's answers, stop them
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

VERSION = "4.3.0"
ROOT = Path(__file__).resolve().parents[2]
_TOOLS = "org.apache.kafka.tools"
TOOL_CLASSES = {
    "kafka-topics": f"{_TOOLS}.TopicCommand",
    "kafka-configs": "kafka.admin.ConfigCommand",
    "kafka-console-producer": f"{_TOOLS}.ConsoleProducer",
    "kafka-console-consumer": f"{_TOOLS}.consumer.ConsoleConsumer",
    "kafka-consumer-groups": f"{_TOOLS}.consumer.group.ConsumerGroupCommand",
    "kafka-producer-perf-test": f"{_TOOLS}.ProducerPerformance",
    "kafka-consumer-perf-test": f"{_TOOLS}.ConsumerPerformance",
    "kafka-get-offsets": f"{_TOOLS}.GetOffsetShell",
    "kafka-delete-records": f"{_TOOLS}.DeleteRecordsCommand",
    "kafka-log-dirs": f"{_TOOLS}.LogDirsCommand",
    "kafka-dump-log": f"{_TOOLS}.DumpLogSegments",
    "kafka-broker-api-versions": f"{_TOOLS}.BrokerApiVersionsCommand",
    "kafka-cluster": f"{_TOOLS}.ClusterTool",
    "kafka-reassign-partitions": f"{_TOOLS}.reassign.ReassignPartitionsCommand",
    "kafka-leader-election": f"{_TOOLS}.LeaderElectionCommand",
    "kafka-metadata-quorum": f"{_TOOLS}.MetadataQuorumCommand",
    "kafka-features": f"{_TOOLS}.FeatureCommand",
    "kafka-transactions": f"{_TOOLS}.TransactionsCommand",
}


class Missing(Exception):
    """Java or Maven is not here, or the artifacts cannot be fetched: says what to install."""


def jars() -> Path:
    """The folder with Kafka's jars, fetched once. Raises Missing."""
    folder = ROOT / ".cache" / f"kafka-{VERSION}"
    if (folder / ".complete").exists():
        return folder
    for command in ("java", "mvn"):
        if shutil.which(command) is None:
            raise Missing(f"{command} is not on PATH: install a Java 17 runtime and Maven to run Kafka's tools")
    folder.mkdir(parents=True, exist_ok=True)
    pom = Path(__file__).with_name("pom.xml")
    command = [
        "mvn",
        "-q",
        "-B",
        "-f",
        str(pom),
        "dependency:copy-dependencies",
        f"-DoutputDirectory={folder}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Missing(f"Maven could not fetch Kafka {VERSION}: {done.stdout[-500:]}")
    (folder / ".complete").touch()
    return folder


def java_command(main_class: str, *arguments: str, heap: str = "512M") -> list[str]:
    options = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", f"-Xmx{heap}"]
    return ["java", *options, "-cp", f"{jars()}/*", main_class, *arguments]


def compiled(name: str, folder: Path) -> list[str]:
    """The command that runs the class `name` of `tests/interop/java`, compiled into `folder`."""
    source = Path(__file__).with_name("java") / f"{name}.java"
    command = ["javac", "-cp", f"{jars()}/*", "-d", str(folder), str(source)]
    subprocess.run(command, check=True, capture_output=True, text=True)
    made = java_command(name)
    made[made.index("-cp") + 1] += f":{folder}"
    return made


def tool(name: str, *arguments: str, stdin: str | None = None, timeout_s: float = 120) -> str:
    """Runs one of Kafka's tools; its standard output. Raises CalledProcessError with both streams as a note."""
    command = java_command(TOOL_CLASSES[name], *arguments)
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout_s, check=False)
    if done.returncode != 0:
        error = subprocess.CalledProcessError(done.returncode, [name, *arguments], done.stdout, done.stderr)
        error.add_note(done.stdout + done.stderr)
        raise error
    return done.stdout


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for_port(port: int, process: subprocess.Popen[bytes], timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise Missing(f"Kafka ended with status {process.returncode} before it opened port {port}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.1)
    raise Missing(f"Kafka did not open port {port} in {timeout_s:.0f} s")


@contextlib.contextmanager
def broker(settings: dict[str, str] | None = None) -> Iterator[str]:
    """A real Kafka broker with one node on free ports of loopback; yields its bootstrap address."""
    with brokers(1, settings) as addresses:
        yield addresses[0]


@contextlib.contextmanager
def brokers(count: int, settings: dict[str, str] | None = None) -> Iterator[list[str]]:
    """A real Kafka cluster of so many nodes on loopback, with the ids from 1 on; yields their addresses in order."""
    ports = [_free_port() for _ in range(count)]
    controller_ports = [_free_port() for _ in range(count)]
    voters = ",".join(f"{node}@127.0.0.1:{port}" for node, port in enumerate(controller_ports, 1))
    processes: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory() as folder:
        try:
            for node, (port, controller_port) in enumerate(zip(ports, controller_ports, strict=True), 1):
                lines = _node_settings(node, count, port, controller_port, voters, os.path.join(folder, f"data{node}"))
                config = Path(folder, f"node{node}.properties")
                config.write_text("".join(f"{key}={value}\n" for key, value in (lines | (settings or {})).items()))
                format_storage = java_command(
                    "kafka.tools.StorageTool", "format", "-t", "AAAAAAAAQACAAAAAAAAAAQ", "-c", str(config)
                )
                subprocess.run(format_storage, check=True, capture_output=True)
                command = java_command("kafka.Kafka", str(config), heap="1G")
                processes.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            for port, process in zip(ports, processes, strict=True):
                _wait_for_port(port, process)
            yield [f"127.0.0.1:{port}" for port in ports]
        finally:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait(30)


def _node_settings(node: int, count: int, port: int, controller_port: int, voters: str, data: str) -> dict[str, str]:
    replicas = str(min(count, 3))
    return {
        "process.roles": "broker,controller",
        "node.id": str(node),
        "controller.quorum.voters": voters,
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
        "log.dirs": data,
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": "1",
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
    }


def _record(wanted: list[str]) -> None:
    """These parts of the oracle's catalogues, or all."""
    from tests.oracle import record
    from tests.oracle.cluster import PARTS as CLUSTER_PARTS

    alone = [part for part in wanted if part not in CLUSTER_PARTS]
    together = [part for part in wanted if part in CLUSTER_PARTS]
    if alone or not wanted:
        with broker(record.KAFKA_SETTINGS) as bootstrap:
            record.record(bootstrap, alone)
    if together or not wanted:
        with brokers(3, record.CLUSTER_SETTINGS) as addresses:
            record.record_cluster(addresses[0], together)


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["jars"]:
        print(jars())
        return 0
    if arguments[:1] == ["tool"] and len(arguments) > 1:
        command = java_command(TOOL_CLASSES.get(arguments[1], arguments[1]), *arguments[2:])
        return subprocess.run(command, check=False).returncode
    if arguments[:1] == ["record"]:
        _record(arguments[1:])
        return 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Missing as missing:
        sys.exit(f"cannot run Kafka here: {missing}")
