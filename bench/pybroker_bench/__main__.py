"""`python -m pybroker_bench`: the rates that the README speaks of, on this machine, in this minute.

Every scenario runs in rounds; with `--against`, each round runs it on both brokers in turn and the ratio is taken pair
by pair, because machines drift. Medians are printed with the smallest and largest value beside them.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import click

from pybroker_bench import groups
from pybroker_bench.loads import LoadSpec
from pybroker_bench.target import Target, TargetError, local_pybroker, parse_target


@dataclass(frozen=True, slots=True)
class Scenario:
    """A produce load, then a consume load of what it wrote (None: leave it)."""

    title: str
    produce: str
    consume: str | None
    records: int
    record_bytes: int = 100
    acks: str = "1"
    batch_records: int = 0


BROKER_SCENARIOS = [
    Scenario("100 B, acks=1", "librdkafka produce", "librdkafka consume", 3_000_000),
    Scenario("100 B, acks=all", "librdkafka produce", "librdkafka consume", 3_000_000, acks="all"),
    Scenario("1 KB, acks=1", "librdkafka produce", "librdkafka consume", 500_000, record_bytes=1000),
    Scenario("1 KB, acks=all", "librdkafka produce", "librdkafka consume", 500_000, record_bytes=1000, acks="all"),
    Scenario("one record per batch, acks=1", "librdkafka produce", None, 200_000, batch_records=1),
    Scenario("one record per batch, acks=all", "librdkafka produce", None, 100_000, acks="all", batch_records=1),
]
CLIENT_SCENARIOS = [
    Scenario("SDK (send_many, batches)", "SDK produce", "SDK consume", 500_000, acks="all"),
    Scenario("confluent-kafka", "confluent-kafka produce", "confluent-kafka consume", 500_000, acks="all"),
    Scenario("aiokafka", "aiokafka produce", "aiokafka consume", 100_000, acks="all"),
    Scenario("kafka-python", "kafka-python produce", "kafka-python consume", 50_000, acks="all"),
]
PARTITIONS = 4


@dataclass(slots=True)
class Figures:
    """One scenario on one broker, a value per round."""

    produced_per_second: list[float]
    consumed_per_second: list[float]
    cpu_seconds_per_gb: list[float]
    consume_cpu_seconds_per_gb: list[float]


def _run_round(target: Target, scenario: Scenario, figures: Figures, scale: float) -> None:
    records = max(1000, int(scenario.records * scale))
    gigabytes = records * scenario.record_bytes / 1e9
    topic = target.create_topic(PARTITIONS)
    spec = LoadSpec(
        scenario.produce,
        target.bootstrap,
        topic,
        PARTITIONS,
        records,
        scenario.record_bytes,
        scenario.acks,
        scenario.batch_records,
    )
    before = target.usage()
    figures.produced_per_second.append(target.run(spec).records_per_second)
    after = target.usage()
    if before and after:
        figures.cpu_seconds_per_gb.append((after.cpu_seconds - before.cpu_seconds) / gigabytes)
    if scenario.consume is None:
        return
    spec = LoadSpec(scenario.consume, target.bootstrap, topic, PARTITIONS, records, scenario.record_bytes)
    before = after
    figures.consumed_per_second.append(target.run(spec).records_per_second)
    after = target.usage()
    if before and after:
        figures.consume_cpu_seconds_per_gb.append((after.cpu_seconds - before.cpu_seconds) / gigabytes)


def _spread(values: list[float], unit: str = "", digits: int = 0) -> str:
    if not values:
        return "-"
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:,.{digits}f}{unit} ({low:,.{digits}f} to {high:,.{digits}f})"


def _ratio(ours: list[float], theirs: list[float]) -> str:
    pairs = [a / b for a, b in zip(ours, theirs, strict=True) if b]
    return _spread(pairs, digits=2) if pairs else "-"


def _report(scenario: Scenario, targets: list[Target], figures: dict[str, Figures]) -> None:
    click.echo(f"\n{scenario.title}")
    rows = [
        ("produced, records/s", "produced_per_second", 0),
        ("consumed, records/s", "consumed_per_second", 0),
        ("broker CPU producing, s/GB", "cpu_seconds_per_gb", 2),
        ("broker CPU consuming, s/GB", "consume_cpu_seconds_per_gb", 2),
    ]
    for label, attribute, digits in rows:
        columns = [getattr(figures[t.name], attribute) for t in targets]
        if not any(columns):
            continue
        cells = [f"{t.name} {_spread(values, digits=digits)}" for t, values in zip(targets, columns, strict=True)]
        if len(columns) == 2:
            cells.append(f"ratio {_ratio(columns[0], columns[1])}")
        click.echo(f"  {label:28} " + "   ".join(cells))


def _report_groups(target: Target, rounds: int, scale: float) -> None:
    """Rates and the broker's CPU per request; the median round, the smallest and largest beside it."""
    topic = target.create_topic(PARTITIONS)
    bootstrap, click_line = target.bootstrap, "  {:28} {}"
    loads: dict[str, Callable[[], Coroutine[Any, Any, groups.Rate]]] = {
        "offset commits": lambda: groups.commits(bootstrap, topic, int(40_000 * scale)),
        "heartbeats, classic": lambda: groups.classic_heartbeats(bootstrap, int(80_000 * scale)),
        "heartbeats, KIP-848": lambda: groups.consumer_heartbeats(bootstrap, topic, int(80_000 * scale)),
        "members of 1,000 groups of 5": lambda: groups.many_groups(bootstrap, topic, int(1_000 * scale), 5),
    }
    click.echo("\nconsumer groups, per second and broker CPU in microseconds for each")
    for title, load in loads.items():
        rates, cpu = [], []
        for _ in range(rounds):
            before = target.usage()
            rate = asyncio.run(load())
            after = target.usage()
            rates.append(rate.per_second)
            if before and after:
                cpu.append((after.cpu_seconds - before.cpu_seconds) / rate.count * 1e6)
        click.echo(click_line.format(title, f"{_spread(rates)}   CPU {_spread(cpu, digits=1)}"))
    found = [asyncio.run(groups.large_rebalance(bootstrap)) for _ in range(rounds)]
    click.echo(click_line.format("rebalance of 200 members", _spread([each.seconds * 1000 for each in found], " ms")))
    click.echo(
        click_line.format(
            "  others wait meanwhile",
            f"{_spread([each.median_lag_ms for each in found], ' ms', 1)},"
            f" at most {_spread([each.largest_lag_ms for each in found], ' ms', 1)}",
        )
    )


@click.command(help=__doc__)
@click.option("--bootstrap", help="HOST:PORT[@PID] of a running broker; without it a pybroker is started.")
@click.option("--against", help="HOST:PORT[@PID] of another broker to run every round on as well.")
@click.option("--rounds", default=3, show_default=True, help="Runs of each scenario on each broker.")
@click.option("--scale", default=1.0, show_default=True, help="Multiplies the number of records.")
@click.option("--clients/--no-clients", default=True, help="Also compare Python clients on the same broker.")
@click.option("--durability", type=click.Choice(["fsync", "page-cache"]), default="fsync", show_default=True)
def main(bootstrap: str | None, against: str | None, rounds: int, scale: float, clients: bool, durability: str) -> None:
    try:
        with contextlib.ExitStack() as stack:
            if bootstrap is None:
                target, seconds = stack.enter_context(local_pybroker("--durability", durability))
                idle = target.usage()
                click.echo(
                    f"pybroker, durability={durability}: first Metadata answer {seconds * 1000:.0f} ms after start"
                )
                if idle is not None:
                    click.echo(f"idle resident memory {idle.rss_bytes / 1e6:.1f} MB")
            else:
                target = parse_target(bootstrap, "pybroker")
            targets = [target] + ([parse_target(against, "other")] if against else [])
            for scenario in BROKER_SCENARIOS + (CLIENT_SCENARIOS if clients else []):
                figures = {t.name: Figures([], [], [], []) for t in targets}
                for _ in range(rounds):
                    for each in targets:
                        _run_round(each, scenario, figures[each.name], scale)
                _report(scenario, targets, figures)
            for each in targets:
                click.echo(f"\n{each.name}")
                _report_groups(each, rounds, scale)
            peak = target.usage()
            if peak is not None:
                now, most = peak.rss_bytes / 1e6, peak.peak_rss_bytes / 1e6
                click.echo(f"\nresident memory at the end {now:.1f} MB, at its peak {most:.1f} MB")
    except TargetError as failed:
        raise click.ClickException(str(failed)) from failed


if __name__ == "__main__":
    main()
