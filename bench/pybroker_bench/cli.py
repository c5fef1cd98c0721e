"""`pybroker bench`: the commands of the load generator.

Rules: a measurement that found a fault in what it read ends with exit code 1, whatever its rates. Results go to
standard output, progress and notes to standard error.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from pybroker_bench.builtin import SCENARIOS, fields_of
from pybroker_bench.errors import EXIT_FAILED, EXIT_USAGE, BenchError
from pybroker_bench.live import watching
from pybroker_bench.scenario import CLIENTS, FIELDS, Scenario, from_mapping, load


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def bench() -> None:
    """Measure a broker, pybroker or any Kafka, and check every record meanwhile."""
    import resource

    # Thousands of connections are open files, here and in the brokers that are started from here.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # Being told to end is an interruption: what was started here ends too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@bench.command()
def scenarios() -> None:
    """List the built-in scenarios, and the fields of a scenario file."""
    for name, (summary, _) in SCENARIOS.items():
        click.echo(f"{name:18} {summary}")
    click.echo("\nFields of a scenario file (YAML, OpenMessaging's names):")
    for name, each in FIELDS.items():
        default = {} if name == "topicConfig" else each.default
        click.echo(f"  {name:28} {json.dumps(default):12} {each.metadata['help']}".rstrip())


@bench.command()
@click.argument("scenario")
@click.option("-b", "--bootstrap", metavar="HOST:PORT", help="A broker that runs; without it a pybroker is started.")
@click.option("--client", type=click.Choice(CLIENTS), help="What drives the broker.")
@click.option("--acks", type=click.Choice(["all", "1", "0"]))
@click.option("--rate", type=float, help="Records per second of all producers; 0: as fast as it goes.")
@click.option("--duration", type=float, metavar="SECONDS")
@click.option("--warmup", type=float, metavar="SECONDS")
@click.option("--seed", type=int)
@click.option("--verify/--no-verify", default=None, help="Check every record (default), or only count: pure speed.")
@click.option("--set", "changes", multiple=True, metavar="FIELD=VALUE", help="Any other field; repeatable.")
@click.option("--durability", type=click.Choice(["fsync", "page-cache"]), help="Of the broker that is started.")
@click.option("--workers", type=click.IntRange(1), help="Start a cluster of so many brokers.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False, allow_dash=True), help="Write the result here.")
@click.option("--html", "html_path", type=click.Path(dir_okay=False), help="Write a page with charts here.")
@click.option(
    "--drain-quiet", default=15.0, show_default=True, metavar="SECONDS", help="What has not come by then is lost."
)
@click.option("--keep-topics", is_flag=True, help="Leave the records there.")
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
def run(
    scenario: str,
    bootstrap: str | None,
    changes: tuple[str, ...],
    durability: str | None,
    workers: int | None,
    json_path: str | None,
    html_path: str | None,
    drain_quiet: float,
    keep_topics: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Run SCENARIO: a built-in name (see `scenarios`) or a YAML file.

    \b
    pybroker bench run throughput
    pybroker bench run latency -b kafka:9092 --client confluent-kafka --rate 50000
    """
    chosen = chosen_scenario(scenario, options, changes)
    with target_broker(bootstrap, durability, workers=workers) as (address, local):
        report = measured(chosen, address, local, keeps_topics=keep_topics, quiet_s=drain_quiet, is_quiet=quiet)
    show(report, json_path)
    if html_path:
        from pybroker_bench.page import page_of

        Path(html_path).write_text(page_of(report))
    if not report["produced"]["all_records"]:
        raise BenchError("not a single record was acknowledged", code=EXIT_FAILED)
    if not report["is_clean"]:
        raise BenchError("records were lost, duplicated, reordered or corrupted", code=EXIT_FAILED)


def chosen_scenario(name: str, options: dict[str, Any], changes: tuple[str, ...]) -> Scenario:
    """The scenario of this name or file, with what the command line changes. Raises BenchError."""
    path = Path(name)
    given = {"name": path.stem, **load(path)} if path.is_file() else fields_of(name)
    names = {
        "client": "client",
        "acks": "acks",
        "rate": "producerRate",
        "seed": "seed",
        "verify": "verify",
        "duration": "testDurationSeconds",
        "warmup": "warmupDurationSeconds",
    }
    given |= {names[key]: value for key, value in options.items() if value is not None}
    for change in changes:
        field, equals, text = change.partition("=")
        if not equals:
            raise BenchError(f"--set {change!r} is not FIELD=VALUE", code=EXIT_USAGE)
        given[field] = _value(text)
    return from_mapping(given)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


@contextlib.contextmanager
def target_broker(
    bootstrap: str | None, durability: str | None, *settings: str, workers: int | None = None
) -> Iterator[tuple[str, Any]]:
    """(address, the broker if it was started for this, with these flags)."""
    if bootstrap is not None:
        if durability is not None or workers is not None:
            raise BenchError("--durability and --workers are for a broker that is started here", code=EXIT_USAGE)
        yield bootstrap, None
        return
    from pybroker_bench.target import local_pybroker

    with local_pybroker("--durability", durability or "fsync", *settings, workers=workers or 1) as local:
        yield local.bootstrap, local


def measured(
    scenario: Scenario,
    address: str,
    local: Any,
    *,
    name: str = "",
    keeps_topics: bool = False,
    quiet_s: float = 15.0,
    is_quiet: bool = False,
) -> dict[str, Any]:
    """Runs a scenario against a broker; the report. Raises BenchError when it could not be carried out."""
    import uvloop

    from pybroker_bench.measure import Measurement
    from pybroker_bench.report import report_of
    from pybroker_bench.series import Series
    from pybroker_bench.target import learn

    series = Series()

    async def work() -> dict[str, Any]:
        target = await learn(name or ("pybroker" if local else "the broker"), address, local)
        outcome = await Measurement(scenario, target, progress, keeps_topics=keeps_topics, quiet_s=quiet_s).run()
        return report_of(outcome, series.to_json())

    with (
        watching(scenario.name, series, is_quiet=is_quiet) as progress,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        return runner.run(work())


def show(report: dict[str, Any], json_path: str | None) -> None:
    """The table on standard output, and the JSON where it is wanted (`-`: instead of the table)."""
    from pybroker_bench.tables import lines_of

    if json_path == "-":
        click.echo(json.dumps(report))
        return
    for line in lines_of(report):
        click.echo(line)
    if json_path:
        Path(json_path).write_text(json.dumps(report, indent=1) + "\n")


@bench.command()
@click.option("-b", "--bootstrap", metavar="HOST:PORT", help="A broker that runs; without it a pybroker is started.")
@click.option("--against", metavar="HOST:PORT", help="Another broker, to run every round on in turn.")
@click.option("--client", type=click.Choice(CLIENTS), default="librdkafka", show_default=True)
@click.option("--workers", type=click.IntRange(1), help="Start a cluster of so many brokers: replicas need three.")
@click.option("--only", default="", metavar="TEXT", help="Only cases with this in their title.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--scale", default=1.0, show_default=True, help="Multiplies the number of records.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False), help="Write the result here.")
def suite(
    bootstrap: str | None,
    against: str | None,
    client: str,
    rounds: int,
    scale: float,
    workers: int | None,
    only: str,
    json_path: str | None,
) -> None:
    """LinkedIn's table of 2014, and record sizes; with --against pairwise, with ratios."""
    from pybroker_bench.cases import linkedin, replicated, sizes
    from pybroker_bench.target import learn

    with target_broker(bootstrap, None, workers=workers) as (address, local):
        targets = [asyncio.run(learn("pybroker" if local else "A", address, local))]
        if against is not None:
            targets.append(asyncio.run(learn("B", against)))
        chosen = [*linkedin(), *replicated(), *sizes()]
        measure_cases(chosen, targets, client, rounds, scale, only=only, json_path=json_path)


@bench.command()
@click.option("--workers", default=2, show_default=True, type=click.IntRange(2), help="Of the cluster beside one.")
@click.option("--client", type=click.Choice(CLIENTS), default="librdkafka", show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--scale", default=1.0, show_default=True, help="Multiplies the number of records.")
@click.option("--json", "json_path", type=click.Path(dir_okay=False), help="Write the result here.")
def workers(workers: int, client: str, rounds: int, scale: float, json_path: str | None) -> None:
    """`pybroker serve --workers N` beside one worker, in turn: records/s and CPU of the brokers."""
    from pybroker_bench import cases
    from pybroker_bench.target import learn, local_pybroker

    with local_pybroker(workers=workers) as several, local_pybroker() as one:
        targets = [
            asyncio.run(learn(f"{workers} workers", several.bootstrap, several)),
            asyncio.run(learn("1 worker", one.bootstrap, one)),
        ]
        measure_cases(cases.workers(), targets, client, rounds, scale, json_path=json_path)


def measure_cases(
    chosen: Sequence[Any],
    targets: list[Any],
    client: str,
    rounds: int,
    scale: float,
    *,
    only: str = "",
    json_path: str | None,
) -> None:
    """Runs the cases on every target in turn, tells each row when it is done, and writes the result down."""
    from pybroker_bench.meter import machine
    from pybroker_bench.suite import lines_of, result_of, run_cases

    def show_row(row: Any) -> None:
        for line in lines_of(row, targets):
            click.echo(line)

    rows = run_cases(
        chosen,
        targets,
        measure_target,
        client=client,
        rounds=rounds,
        scale=scale,
        warms_up=len(targets) > 1,
        only=only,
        on_case=show_row,
    )
    if json_path:
        result = result_of(rows, targets, machine(), client, rounds, scale)
        Path(json_path).write_text(json.dumps(result, indent=1) + "\n")


def measure_target(scenario: Scenario, target: Any) -> dict[str, Any]:
    """One measurement of a suite."""
    return measured(scenario, target.bootstrap, None, name=target.name)


@bench.command()
@click.option("--jars", required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--quick", is_flag=True, help="A third of the records, two rounds, only what has an aim.")
@click.option("--rounds", type=int, help="5, quick: 2")
@click.option("--scale", type=float, help="Multiplies the number of records: 1, quick: 0.3")
@click.option("--only", default="", metavar="TEXT", help="Of the cases, only those with this in their title.")
@click.option("--json", "json_path", default="performance.json", show_default=True, type=click.Path(dir_okay=False))
@click.option("--page", "page_path", type=click.Path(dir_okay=False), help="Write docs/performance.md here.")
def kafka(
    jars: Path,
    quick: bool,
    rounds: int | None,
    scale: float | None,
    only: str,
    json_path: str,
    page_path: str | None,
) -> None:
    """Measure pybroker beside Apache Kafka, both started here; JARS is a folder of Kafka's Maven artifacts."""
    from pybroker_bench.performance_page import page_of as performance
    from pybroker_bench.versus import versus

    result = versus(
        jars,
        measure_target,
        rounds=rounds or (2 if quick else 5),
        scale=scale or (0.3 if quick else 1.0),
        tables=not quick,
        only=only,
        say=click.echo,
    )
    Path(json_path).write_text(json.dumps(result, indent=1) + "\n")
    if page_path:
        Path(page_path).write_text(performance(result))


@bench.command()
@click.argument("a", type=click.Path(dir_okay=False))
@click.argument("b", type=click.Path(dir_okay=False))
def compare(a: str, b: str) -> None:
    """Compare two results that `run --json` wrote."""
    from pybroker_bench.compare import lines_of, read

    for line in lines_of(read(a), read(b)):
        click.echo(line)


@bench.command()
@click.argument("result", type=click.Path(dir_okay=False))
@click.argument("html", type=click.Path(dir_okay=False))
def page(result: str, html: str) -> None:
    """Make the page with charts, HTML, of a RESULT that `run --json` wrote."""
    from pybroker_bench.compare import read
    from pybroker_bench.page import page_of

    Path(html).write_text(page_of(read(result)))


@bench.command()
@click.option("-b", "--bootstrap", metavar="HOST:PORT", help="A broker that runs; without it a pybroker is started.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--scale", default=1.0, show_default=True, help="Multiplies the number of requests.")
def groups(bootstrap: str | None, rounds: int, scale: float) -> None:
    """What consumer groups cost: commits, heartbeats, 1,000 groups, a large rebalance."""
    from uuid import uuid4

    from pybroker import Admin
    from pybroker_bench.groups_table import lines_of
    from pybroker_bench.target import admin_client, learn

    topic = f"bench-groups-{uuid4().hex[:8]}"

    async def prepare(address: str, local: Any) -> Any:
        target = await learn("pybroker", address, local)
        async with admin_client(address) as client, Admin(client=client) as admin:
            await admin.create_topic(topic, partitions=4)
        return target

    with target_broker(bootstrap, None) as (address, local):
        target = asyncio.run(prepare(address, local))
        for line in lines_of(target, topic, rounds, scale):
            click.echo(line)


@bench.command()
@click.option("-b", "--bootstrap", metavar="HOST:PORT", help="A broker that runs; without it a pybroker is started.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--size", "size_mb", default=256, show_default=True, type=click.IntRange(min=32), help="MB of log.")
def compaction(bootstrap: str | None, rounds: int, size_mb: int) -> None:
    """What log compaction costs: MB/s, and what producers wait meanwhile."""
    from pybroker_bench.compaction import SETTINGS, lines_of
    from pybroker_bench.target import learn

    with target_broker(bootstrap, None, *SETTINGS) as (address, local):
        target = asyncio.run(learn("pybroker", address, local))
        for line in lines_of(target, rounds, size_mb):
            click.echo(line)
