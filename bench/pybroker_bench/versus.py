"""pybroker beside Apache Kafka on this machine: everything that docs/performance.md says, measured in one run.

Rules: both brokers are started for the measurement, with directories of their own and the settings that are told with
the results, and stay up through all the pairs; the first round of every case is not counted, so that the JVM is warm.
Memory is read where a broker's life ends. Nothing is left out because it was lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from pybroker import Admin
from pybroker_bench import cases, growth, kafka_tools
from pybroker_bench.cases import Case, Figure
from pybroker_bench.kafka_broker import HEAP, SETTINGS, KafkaBroker, version_of
from pybroker_bench.meter import machine
from pybroker_bench.suite import Measure, Row, lines_of, run_cases
from pybroker_bench.target import LocalBroker, Target, admin_client, learn

SCHEMA: Final = 1
CLIENT: Final = "librdkafka"
_TOOL_CASE: Final = Case(
    "100-byte records",
    {},
    (
        Figure("produced", ("produced",), aim=1.0),
        Figure("consumed", ("consumed",), aim=1.0),
    ),
    client="kafka-producer-perf-test, kafka-consumer-perf-test",
    group="Kafka's own tools",
)
_TOOL_RECORDS: Final = 2_000_000
Say = Callable[[str], None]


def versus(
    jars: Path, measure: Measure, *, rounds: int, scale: float, tables: bool, only: str, say: Say
) -> dict[str, Any]:
    """Everything, as JSON. `tables`: LinkedIn's table and the record sizes too. Raises BenchError."""
    began = time.monotonic()
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": "versus",
        "machine": machine(),
        "kafka": {"version": version_of(jars), "heap": HEAP, "settings": SETTINGS},
        "client": CLIENT,
        "rounds": rounds,
        "scale": scale,
    }
    result["readiness_s"] = _readiness(jars, max(rounds, 3), say)

    def run(chosen: list[Case], targets: list[Target]) -> list[Row]:
        return run_cases(
            chosen,
            targets,
            measure,
            client=CLIENT,
            rounds=rounds,
            scale=scale,
            warms_up=True,
            only=only,
            on_case=lambda row: _say_all(say, row, targets),
        )

    with _both(jars) as targets:
        rows = run(cases.aims() + ([*cases.linkedin(), *cases.sizes()] if tables else []), targets)
        rows.append(_tools(jars, targets, rounds, int(_TOOL_RECORDS * scale)))
        _say_all(say, rows[-1], targets)
        result["rows"] = [row.to_json(targets) for row in rows]
        result["targets"] = [target.to_json() for target in targets]
        result["peak_rss_bytes"] = {target.name: _usage(target).peak_rss_bytes for target in targets}
        say(f"peak memory: {result['peak_rss_bytes']}")
    if not only:
        with _both(jars, brokers=3) as targets:
            result["rows"] += [row.to_json(targets) for row in run(cases.replicated(), targets)]
    with _both(jars) as targets:
        result["growth"] = {}
        for target in targets:
            result["growth"][target.name] = growth.grow(target, measure)
            for step in result["growth"][target.name]:
                say(f"{target.name}: {step}")
    result["seconds"] = round(time.monotonic() - began)
    return result


def _usage(target: Target) -> Any:
    usage = target.usage()
    assert usage is not None, f"{target.name} has gone"
    return usage


def _say_all(say: Say, row: Row, targets: list[Target]) -> None:
    for line in lines_of(row, targets):
        say(line)


@contextlib.contextmanager
def _both(jars: Path, brokers: int = 1) -> Iterator[list[Target]]:
    """pybroker and Kafka, started for the length of a block; clusters of so many brokers."""
    with tempfile.TemporaryDirectory(prefix="pybroker-bench-") as ours, tempfile.TemporaryDirectory() as theirs:
        broker = LocalBroker(Path(ours), (), brokers)
        kafka = KafkaBroker(Path(theirs), jars, brokers)
        try:
            broker.start()
            kafka.start()
            yield [
                asyncio.run(learn("pybroker", broker.bootstrap)),
                asyncio.run(learn("Kafka", kafka.bootstrap)),
            ]
        finally:
            kafka.stop()
            broker.stop()


def _readiness(jars: Path, times: int, say: Say) -> dict[str, list[float]]:
    """Seconds from the start of the process to the first answered Metadata request; the data directories exist."""
    found: dict[str, list[float]] = {"pybroker": [], "Kafka": []}
    with tempfile.TemporaryDirectory() as ours, tempfile.TemporaryDirectory() as theirs:
        brokers: Mapping[str, Any] = {
            "pybroker": LocalBroker(Path(ours), ()),
            "Kafka": KafkaBroker(Path(theirs), jars),
        }
        for number in range(times + 1):
            for name, broker in brokers.items():
                try:
                    seconds = broker.start()
                finally:
                    broker.stop()
                if number:  # the first start makes the directories
                    found[name].append(round(seconds, 3))
    say("ready after, s: " + ", ".join(f"{name} {statistics.median(each):.2f}" for name, each in found.items()))
    return found


def _tools(jars: Path, targets: list[Target], rounds: int, records: int) -> Row:
    """Kafka's producer and consumer as they come, driven by Kafka's own tools."""
    row = Row(_TOOL_CASE)
    produced, consumed = _TOOL_CASE.figures
    for number in range(rounds + 1):
        for target in targets if number % 2 == 0 else targets[::-1]:
            topic = f"bench-tools-{uuid4().hex[:8]}"
            asyncio.run(_create(target, topic))
            sent = kafka_tools.produce(jars, target.bootstrap, topic, records, 100, "1")
            read = kafka_tools.consume(jars, target.bootstrap, topic, records)
            if number:
                row.note(target.name, produced, sent)
                row.note(target.name, consumed, read)
    return row


async def _create(target: Target, topic: str) -> None:
    configs = cases.topic_config(cases.PAGE_CACHE, target.is_pybroker)
    async with admin_client(target.bootstrap) as client, Admin(client=client) as admin:
        await admin.create_topic(topic, partitions=4, replication=1, configs=configs)
