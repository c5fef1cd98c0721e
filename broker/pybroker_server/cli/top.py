"""`pybroker top`: brokers, topics and groups with their rates and latencies, renewed on a terminal.

Rules of this file: reads `/metrics` of the brokers that are named, in threads of its own, and keeps the last look at
each. A broker that does not answer is shown with the reason; the others go on.
"""

from __future__ import annotations

import sys
import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from http.client import HTTPException
from typing import Final

import click

from pybroker_server.cli.errors import EXIT_OK, EXIT_UNREACHABLE, CliError
from pybroker_server.cli.top_model import Failure, Look, Pair, View, view_of
from pybroker_server.runtime.clock import SystemClock

_DEFAULT: Final = "127.0.0.1:9644"
_TIMEOUT_S: Final = 5.0
_THREADS: Final = 16
_US_PER_S: Final = 1_000_000
_now_us = SystemClock().monotonic_us

_HELP = """Show brokers, topics and groups with their rates and latencies, renewed every second until interrupted.

It reads the metrics of the admin servers named with -a (`admin.listener`); name those of all brokers to see a whole
cluster. Latencies are those of the last interval, waits included: a fetch that waits for new records takes as long as
the consumer lets it. Elsewhere than on a terminal, and with -o json, one screen follows the other; --once is one
screen.
"""


@click.command(help=_HELP)
@click.option(
    "-a",
    "--admin",
    "addresses",
    multiple=True,
    default=[_DEFAULT],
    envvar="PYBROKER_ADMIN",
    show_default=True,
    metavar="HOST:PORT,...",
    help="Admin servers of brokers; repeatable.",
)
@click.option("-i", "--interval", "interval_s", default=1.0, show_default=True, type=click.FloatRange(min=0.1))
@click.option("-n", "--num", "count", type=click.IntRange(min=1), help="End after this many screens.")
@click.option("--once", is_flag=True, help="One screen, of one interval.")
@click.option("-r", "--rows", "rows_max", default=10, show_default=True, help="Topics and groups shown.")
@click.option("-o", "--output", type=click.Choice(["auto", "json"]), default="auto", help="Tables, or a JSON per line.")
def top(
    addresses: tuple[str, ...], interval_s: float, count: int | None, once: bool, rows_max: int, output: str
) -> int:
    named = [address.strip() for item in addresses for address in item.split(",") if address.strip()]
    views = _views(named, interval_s, 1 if once else count)
    try:
        if output == "json":
            _show_json(views)
        elif sys.stdout.isatty() and not once:
            _show_live(views, rows_max)
        else:
            _show_one_by_one(views, rows_max)
    except KeyboardInterrupt:
        pass  # how one leaves it
    return EXIT_OK


def _views(addresses: Sequence[str], interval_s: float, count: int | None) -> Iterator[View]:
    """A view per interval. Ends the command when no broker can be reached at all at the first look."""
    with ThreadPoolExecutor(_THREADS) as threads:
        looks: dict[str, Look] = {}
        shown = 0
        is_first = True
        while True:
            begun_us = _now_us()
            pairs: list[Pair] = []
            failures: list[Failure] = []
            for found in threads.map(look_at, addresses):
                if isinstance(found, Failure):
                    failures.append(found)
                else:
                    pairs.append((found, looks.get(found.address)))
                    looks[found.address] = found
            if is_first and not pairs:
                raise _nobody(failures)
            if not is_first:
                yield view_of(pairs, failures)
                shown += 1
                if shown == count:
                    return
            is_first = False
            time.sleep(max(interval_s - (_now_us() - begun_us) / _US_PER_S, 0))


def _nobody(failures: Sequence[Failure]) -> CliError:
    return CliError(
        "no broker's metrics can be read",
        cause="; ".join(f"{failure.address}: {failure.reason}" for failure in failures),
        hint="name admin servers with -a HOST:PORT; a broker's log says where its own is (admin_listening)",
        code=EXIT_UNREACHABLE,
    )


def look_at(address: str) -> Look | Failure:
    """Reads one broker's metrics."""
    try:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=_TIMEOUT_S) as answer:
            text = answer.read().decode()
        return Look(address, _now_us() / _US_PER_S, parsed(text))
    except urllib.error.URLError as error:
        return Failure(address, str(error.reason))
    except (OSError, HTTPException, ValueError) as error:
        return Failure(address, str(error) or type(error).__name__)


def parsed(text: str) -> dict[str, dict[frozenset[tuple[str, str]], float]]:
    """Prometheus's text format by metric and labels. Raises ValueError when it is none."""
    from prometheus_client.parser import text_string_to_metric_families

    found: dict[str, dict[frozenset[tuple[str, str]], float]] = defaultdict(dict)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name][frozenset(sample.labels.items())] = sample.value
    return dict(found)


def _show_json(views: Iterator[View]) -> None:
    import json

    for view in views:
        click.echo(json.dumps(asdict(view)))
        sys.stdout.flush()


def _show_one_by_one(views: Iterator[View], rows_max: int) -> None:
    from pybroker_server.cli.top_view import console, screen

    shown = console()
    for view in views:
        shown.print(screen(view, rows_max))


def _show_live(views: Iterator[View], rows_max: int) -> None:
    from rich.live import Live

    from pybroker_server.cli.top_view import console, screen

    with Live(console=console(), screen=True, auto_refresh=False) as live:
        for view in views:
            live.update(screen(view, rows_max), refresh=True)
