"""`pybroker serve`: settings in, a broker that runs until it is told to stop, an exit code out."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from pybroker_server import __version__
from pybroker_server.cli.errors import EXIT_OK, CliError, from_os_error
from pybroker_server.cli.settings import config_from, settings_from
from pybroker_server.cli.start_lines import ready_sentences, start_lines
from pybroker_server.config.listeners import Listener
from pybroker_server.config.load import Settings
from pybroker_server.config.views import BrokerConfig
from pybroker_server.runtime.loop import held_garbage_collector

_HELP = """Run a broker until SIGTERM or SIGINT.

FILE is a server.properties of Kafka's. Every configuration key is an option as well: --log-dirs PATH,
--num-partitions 3, --auto-create-topics-enable false; --override KEY=VALUE works too. The environment's
PYBROKER_LOG_DIRS and KAFKA_LOG_DIRS mean the same. Flags win over the environment, and that over the file.

\b
The options most used:
  --listeners PLAINTEXT://127.0.0.1:9092   addresses to listen on; PLAINTEXT://:9092 is every interface
  --advertised-listeners ...               addresses to tell clients, when they are not those they used
  --log-dirs PATH                          where the data lies
  --node-id N                              this broker's number
  --durability fsync|page-cache            what acks=all means
  --workers N                              N brokers on this machine, a cluster of its own

`pybroker config explain` lists all keys with their values in force.
"""


@click.command(help=_HELP, context_settings={"ignore_unknown_options": True})
@click.option("--config", "config_file", envvar="PYBROKER_CONFIG", metavar="FILE", help="A server.properties file.")
@click.option(
    "--log-format",
    type=click.Choice(["console", "json"]),
    default="console",
    envvar="PYBROKER_LOG_FORMAT",
    help="Log lines for people or for machines.",
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="info",
    envvar="PYBROKER_LOG_LEVEL",
    help="The least of what is logged.",
)
@click.option(
    "--workers",
    type=int,
    envvar="PYBROKER_WORKERS",
    metavar="N",
    help="Run N brokers on this machine, with node ids and ports that follow one another.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[FILE] [--KEY VALUE]...")
def serve(
    config_file: str | None, log_format: str, log_level: str, workers: int | None, arguments: tuple[str, ...]
) -> int:
    settings = settings_from(arguments, os.environ, config_file=config_file)
    config = config_from(settings)
    # After this the broker's own code is imported: structlog before it, in the way that `events` does it.
    from pybroker_server.runtime.clock import SystemClock
    from pybroker_server.telemetry.events import configure_logging

    configure_logging(SystemClock(), as_json=log_format == "json", level=log_level)
    if workers is not None:
        options = ["--log-format", log_format, "--log-level", log_level]
        return _run_workers(config, workers, arguments, [*options, *(["--config", config_file] if config_file else [])])
    _note_ignored(settings)
    return _run(config, as_json=log_format == "json")


def _run_workers(config: BrokerConfig, count: int, arguments: Sequence[str], options: Sequence[str]) -> int:
    from pybroker_server.cli.flags import parse_flags
    from pybroker_server.cli.worker_plan import command, plan_workers
    from pybroker_server.cli.workers import run_workers

    workers = plan_workers(config, count)
    flags = parse_flags(arguments)
    given = [(key, value) for key, value, _ in flags.settings]
    return run_workers(workers, [command(worker, given, [*options, *flags.files]) for worker in workers])


@held_garbage_collector()
def _run(config: BrokerConfig, *, as_json: bool) -> int:
    from pybroker_server.server import BrokerFailedError, StartError, run

    def started(bound: Sequence[Listener], node_id: int) -> None:
        _announce(config, bound, node_id, as_json=as_json)

    try:
        return run(config, started)
    except StartError as error:
        raise CliError("the broker cannot start", cause=str(error), hint=error.hint) from None
    except BrokerFailedError as error:
        raise CliError("the broker could not go on", cause=str(error)) from None
    except OSError as error:
        raise from_os_error("the broker cannot start", error) from None
    except KeyboardInterrupt:
        return EXIT_OK


def _announce(config: BrokerConfig, bound: Sequence[Listener], node_id: int, *, as_json: bool) -> None:
    from pybroker_server.telemetry.events import get_logger

    if not as_json and sys.stdout is not None:
        click.echo("\n".join(start_lines(config, bound, node_id=node_id, version=__version__)))
    logger = get_logger("pybroker.server")
    logger.info(
        "broker_started",
        version=__version__,
        node_id=node_id,
        data=",".join(config.log_dirs),
        durability=config.durability,
        listeners=",".join(str(listener) for listener in bound),
        advertised=",".join(str(listener) for listener in config.advertised_listeners) or "per connection",
    )
    for sentence in ready_sentences(node_id):
        click.echo(sentence) if not as_json else logger.info(sentence)


def _note_ignored(settings: Settings) -> None:
    from pybroker_server.telemetry.events import get_logger

    logger = get_logger("pybroker.config")
    if settings.ignored:
        logger.info("setting_ignored", settings=", ".join(settings.ignored))
    if settings.passed_over:
        logger.info("setting_ignored", variables=", ".join(settings.passed_over), reason="no such configuration key")
