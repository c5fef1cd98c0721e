"""The cases of the suite: LinkedIn's table of 2014, row by row, with columns for acks and durability, and record sizes.

A case is a scenario in a few fields, what is read off its report, and how safe an acknowledged record is in it. Rules:
a mode of durability is asked for in each broker's own words, as configuration of the topic. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

PAGE_CACHE: Final = "page-cache"
FSYNC: Final = "fsync"


@dataclass(frozen=True, slots=True)
class Figure:
    """A number of a report. `aim`: the ratio to the second broker that is to be reached (not exceeded, where less is
    better)."""

    title: str
    path: tuple[str | int, ...]
    unit: str = "records/s"
    more_is_better: bool = True
    digits: int = 0
    aim: float | None = None

    def of(self, report: Mapping[str, Any]) -> float | None:
        found: Any = report
        for step in self.path:
            if found is None or (isinstance(step, int) and step >= len(found)):
                return None
            found = found.get(step) if isinstance(step, str) else found[step]
        return None if found is None else float(found)

    def aiming(self, ratio: float) -> Figure:
        return Figure(self.title, self.path, self.unit, self.more_is_better, self.digits, ratio)


FILLED: Final = Figure("produced", ("filled", "records_per_second"))
FILLED_MB: Final = Figure("produced", ("filled", "mb_per_second"), "MB/s", digits=1)
PRODUCED: Final = Figure("produced", ("produced", "records_per_second"))
CONSUMED: Final = Figure("consumed", ("consumed", 0, "records_per_second"))
FILL_CPU: Final = Figure("broker CPU, producing", ("broker", "fill_cpu_s_per_gb"), "s/GB", False, 2)
READ_CPU: Final = Figure("broker CPU, consuming", ("broker", "cpu_s_per_gb"), "s/GB", False, 2)
E2E_MEAN: Final = Figure("end to end, mean", ("latency_ms", "end_to_end", "mean"), "ms", False, 2)
E2E_P50: Final = Figure("end to end, p50", ("latency_ms", "end_to_end", "p50"), "ms", False, 2)
E2E_P99: Final = Figure("end to end, p99", ("latency_ms", "end_to_end", "p99"), "ms", False, 2)
PUBLISH_P50: Final = Figure("publish, p50", ("latency_ms", "publish", "p50"), "ms", False, 2)
PUBLISH_P99: Final = Figure("publish, p99", ("latency_ms", "publish", "p99"), "ms", False, 2)


@dataclass(frozen=True, slots=True)
class Case:
    """One row of a table. `durability`: of the first broker's topic and of the second's, PAGE_CACHE or FSYNC."""

    title: str
    fields: Mapping[str, Any]
    figures: tuple[Figure, ...]
    acks: str = "1"
    durability: tuple[str, str] = (PAGE_CACHE, PAGE_CACHE)
    replication: int = 1
    client: str | None = None
    group: str = ""


def backlog(records: int, size: int = 100, **more: Any) -> dict[str, Any]:
    """Fields of a case that writes so many records as fast as it goes, and then reads them."""
    return {
        "partitionsPerTopic": 4,
        "messageSize": size,
        "consumerBacklogMessages": records,
        "produceDuringTest": False,
        "batchBytes": 1_000_000,
        "verify": False,
        **more,
    }


def only_produce(records: int, size: int = 100, **more: Any) -> dict[str, Any]:
    return backlog(records, size, subscriptionsPerTopic=0, **more)


def topic_config(durability: str, is_pybroker: bool) -> dict[str, str]:
    """What makes a topic as durable as that."""
    if is_pybroker:
        return {"durability": durability}
    return {"flush.messages": "1"} if durability == FSYNC else {}


_MODES: Final = (("1", PAGE_CACHE), ("all", PAGE_CACHE), ("all", FSYNC))
_TOGETHER: Final = {
    "partitionsPerTopic": 4,
    "messageSize": 100,
    "batchBytes": 1_000_000,
    "verify": False,
    "testDurationSeconds": 5,
    "warmupDurationSeconds": 1,
}
_LATENCY: Final = {
    "messageSize": 100,
    "producerRate": 500,
    "testDurationSeconds": 10,
    "warmupDurationSeconds": 2,
}
SIZES: Final = {10: 3_000_000, 100: 3_000_000, 1_000: 500_000, 10_000: 50_000, 100_000: 5_000}


def linkedin() -> list[Case]:
    """The table of 2014 (100-byte records), each row with acks=1, and acks=all without and with fsync."""
    three = {"producersPerTopic": 3, "processes": 3}
    cases = []
    for acks, mode in _MODES:
        rows: list[tuple[str, dict[str, Any], tuple[Figure, ...], int]] = [
            ("1 producer, no replication", only_produce(3_000_000), (FILLED, FILLED_MB), 1),
            ("1 producer, 3 replicas", only_produce(3_000_000), (FILLED, FILLED_MB), 3),
            ("3 producers, 3 replicas", only_produce(3_000_000, **three), (FILLED, FILLED_MB), 3),
            ("3 producers, no replication", only_produce(3_000_000, **three), (FILLED, FILLED_MB), 1),
            ("1 producer and 1 consumer", _TOGETHER, (PRODUCED, CONSUMED), 1),
            ("end-to-end latency at 500 records/s", _LATENCY, (E2E_P50, E2E_P99), 1),
        ]
        cases += [
            Case(title, fields, figures, acks, (mode, mode), replicas, group="LinkedIn's table, 100-byte records")
            for title, fields, figures, replicas in rows
        ]
    for title, more in (
        ("1 consumer", {}),
        ("3 consumers", {"consumerPerSubscription": 3, "processes": 3, "partitionsPerTopic": 6}),
    ):
        fields = backlog(3_000_000) | more
        cases.append(Case(title, fields, (CONSUMED,), group="LinkedIn's table, 100-byte records"))
    return cases


def sizes() -> list[Case]:
    """What a record's size does."""
    figures = (FILLED, FILLED_MB, CONSUMED)
    return [
        Case(f"{size:,} B", backlog(records, size), figures, "all", (FSYNC, FSYNC), group="Record sizes, acks=all")
        for size, records in SIZES.items()
    ]


def replicated() -> list[Case]:
    """What three replicas cost: 6 partitions, with and without waiting for all of them."""
    fields = only_produce(2_000_000, partitionsPerTopic=6)
    figures = (FILLED.aiming(2.0), FILL_CPU.aiming(0.2))
    modes = [("1", (PAGE_CACHE, PAGE_CACHE)), ("all", (PAGE_CACHE, PAGE_CACHE)), ("all", (FSYNC, PAGE_CACHE))]
    return [
        Case("6 partitions, 3 replicas", fields, figures, acks, durability, replication=3, group="Three replicas")
        for acks, durability in modes
    ]


def workers() -> list[Case]:
    """One machine's brokers beside a single one: 6 partitions without replication, shared out among them."""
    fields = only_produce(3_000_000, partitionsPerTopic=6)
    two = {"producersPerTopic": 2, "processes": 2}
    figures = (FILLED, FILL_CPU)
    return [
        Case("1 producer, 6 partitions", fields, figures, group="Workers"),
        Case("2 producers, 6 partitions", fields | two, figures, group="Workers"),
    ]


def aims() -> list[Case]:
    """What pybroker is to reach beside Kafka: the first broker is pybroker, the second Kafka."""
    return [*_aims_of_speed(), *_aims_of_durability(), *_aims_of_latency()]


_SINGLES: Final = {"batchMessages": 1, "partitionsPerTopic": 4}
_WAITING: Final = {
    "producersPerTopic": 16,
    "partitionsPerTopic": 16,
    "messagesInFlight": 1,
    "batchMessages": 1,
    "subscriptionsPerTopic": 0,
    "testDurationSeconds": 5,
    "warmupDurationSeconds": 1,
    "verify": False,
}
_THIRD: Final = 1 / 3


def _aims_of_speed() -> list[Case]:
    speed: dict[str, Any] = {"group": "Throughput"}
    whole = (FILLED.aiming(1.2), CONSUMED.aiming(1.0), FILL_CPU.aiming(_THIRD), READ_CPU)
    return [
        Case("100-byte records", backlog(3_000_000), whole, **speed),
        Case("1-KB records", backlog(500_000, 1000), (FILLED.aiming(2.0), CONSUMED), **speed),
        Case("100-byte records, one per batch", only_produce(200_000, **_SINGLES), (FILLED.aiming(4.0),), **speed),
    ]


def _aims_of_durability() -> list[Case]:
    """Ours safe beside Kafka's page cache; then both as safe."""
    ours: dict[str, Any] = {"acks": "all", "durability": (FSYNC, PAGE_CACHE), "group": "Durability"}
    both: dict[str, Any] = {"acks": "all", "durability": (FSYNC, FSYNC), "group": "Durability"}
    produced = (FILLED.aiming(1.0), FILL_CPU)
    waiting = (PRODUCED.aiming(5.0), PUBLISH_P50, PUBLISH_P99)
    return [
        Case("100-byte records", only_produce(3_000_000), produced, **ours),
        Case("1-KB records", only_produce(500_000, 1000), produced, **ours),
        Case("100-byte records, one per batch", only_produce(20_000, **_SINGLES), (FILLED.aiming(5.0),), **both),
        Case("16 producers, each waiting for every record", _WAITING, waiting, client="sdk", **both),
    ]


def _aims_of_latency() -> list[Case]:
    given: dict[str, Any] = {"client": "confluent-kafka", "group": "Latency"}
    figures = (E2E_MEAN, E2E_P50.aiming(1.0), E2E_P99.aiming(1.0))
    title = "end to end, 500 records/s"
    return [
        Case(title, _LATENCY, figures, **given),
        Case(title, _LATENCY, figures, "all", (FSYNC, PAGE_CACHE), **given),
    ]
