"""Kafka's own performance tools as a client: what they print, as figures."""

from __future__ import annotations

import re
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Final

from pybroker_bench.errors import BenchError
from pybroker_bench.kafka_broker import java

_TOOLS: Final = "org.apache.kafka.tools"
_TIMEOUT_S: Final = 300.0
_SENT: Final = re.compile(r"^(\d+) records sent, ([\d.]+) records/sec", re.MULTILINE)


def produce(jars: Path, bootstrap: str, topic: str, records: int, size: int, acks: str) -> float:
    """Records per second of kafka-producer-perf-test. Raises BenchError when it fails."""
    settings = (f"acks={acks}", "linger.ms=5", "batch.size=262144")
    output = _run(
        jars,
        f"{_TOOLS}.ProducerPerformance",
        *("--topic", topic, "--num-records", str(records), "--record-size", str(size), "--throughput", "-1"),
        *("--bootstrap-server", bootstrap, "--command-property", *settings),
    )
    found = _SENT.findall(output)
    if not found or int(found[-1][0]) != records:
        raise BenchError("kafka-producer-perf-test did not say how fast it was", cause=output[-500:])
    return float(found[-1][1])


def consume(jars: Path, bootstrap: str, topic: str, records: int) -> float:
    """Records per second while fetching, of kafka-consumer-perf-test. Raises BenchError when it fails."""
    output = _run(
        jars,
        f"{_TOOLS}.ConsumerPerformance",
        *("--bootstrap-server", bootstrap, "--topic", topic, "--num-records", str(records), "--timeout", "60000"),
    )
    lines = [[cell.strip() for cell in line.split(",")] for line in output.splitlines()]
    for heading, values in pairwise(lines):
        if "fetch.nMsg.sec" in heading and len(values) == len(heading):
            figures = dict(zip(heading, values, strict=True))
            if float(figures["data.consumed.in.nMsg"]) >= records:
                return float(figures["fetch.nMsg.sec"])
    raise BenchError("kafka-consumer-perf-test did not read everything", cause=output[-500:])


def _run(jars: Path, main_class: str, *arguments: str) -> str:
    command = java(jars, main_class, *arguments)
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode:
        raise BenchError(f"{main_class.rpartition('.')[2]} failed", cause=(done.stdout + done.stderr)[-1000:])
    return done.stdout
