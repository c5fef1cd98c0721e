"""What commands that talk to a cluster share: where it is, how one is asked, and what its errors mean to a user.

Rules of this file: the SDK is imported here, when such a command runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from pybroker_server.cli.errors import EXIT_FAILED, EXIT_NOT_FOUND, EXIT_UNREACHABLE, EXIT_USAGE, CliError

if TYPE_CHECKING:
    from pybroker import Admin, Client

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_BOOTSTRAP: Final = "localhost:9092"
_CONNECT_TIMEOUT_S: Final = 3.0
_HINTS: Final = {
    "TOPIC_ALREADY_EXISTS": "--if-not-exists leaves it as it is",
    "INVALID_TOPIC_EXCEPTION": "a name has 1 to 249 of letters, digits, dot, underscore and dash",
    "INVALID_CONFIG": "`pybroker topic config TOPIC --all` lists every key, `pybroker group config` a group's",
    "INVALID_REPLICATION_FACTOR": "`pybroker topic describe` shows the brokers; there cannot be more replicas",
    "INVALID_PARTITIONS": "partitions can only be added",
    "GROUP_ID_NOT_FOUND": "`pybroker group list` shows them",
    "TRANSACTIONAL_ID_NOT_FOUND": "`pybroker txn list` shows them",
    "NON_EMPTY_GROUP": "stop its consumers first; `pybroker group describe GROUP` shows them",
    "UNKNOWN_MEMBER_ID": "it has members now: stop its consumers first",
    "GROUP_SUBSCRIBED_TO_TOPIC": "its consumers read that topic: stop them first",
}


def bootstrap_option(function: F) -> F:
    """`-b host:port`, the same on every command that talks to a cluster."""
    return click.option(
        "-b",
        "--bootstrap",
        default=DEFAULT_BOOTSTRAP,
        show_default=True,
        envvar=["PYBROKER_BOOTSTRAP", "KAFKA_BOOTSTRAP_SERVERS"],
        metavar="HOST:PORT,...",
        help="Some brokers of the cluster.",
    )(function)


def client_of(bootstrap: str) -> Client:
    """A client for a command: somebody waits in front of it, so one that reaches no broker says so soon."""
    from pybroker import Client

    return Client(bootstrap, client_id="pybroker-cli", connect_timeout=_CONNECT_TIMEOUT_S)


def ask(bootstrap: str, what: str, work: Callable[[Admin], Awaitable[T]]) -> T:
    """Runs `work` with an admin of the cluster. Errors of the cluster end the command in words."""
    from pybroker import Admin

    async def run() -> T:
        async with client_of(bootstrap) as client, Admin(client=client) as admin:
            return await work(admin)

    return run_async(what, run)


def run_async(what: str, work: Callable[[], Awaitable[T]]) -> T:
    """Runs `work` on an event loop; `what` is what failed if it fails."""
    from pybroker.errors import ConnectionFailed, KafkaError, NotFound

    async def run() -> T:
        return await work()

    try:
        return asyncio.run(run())
    except ConnectionFailed as error:
        hint = "start one with `pybroker serve`, or name another with -b HOST:PORT"
        raise CliError(what, cause=error.message, hint=hint, code=EXIT_UNREACHABLE) from None
    except NotFound as error:
        hint = _HINTS.get(error.name, "`pybroker topic list` shows them")
        raise CliError(what, cause=error.message, hint=hint, code=EXIT_NOT_FOUND) from None
    except KafkaError as error:
        raise CliError(what, cause=error.message, hint=_HINTS.get(error.name), code=EXIT_FAILED) from None
    except ValueError as error:
        raise CliError(what, cause=str(error), code=EXIT_USAGE) from None


def key_values(items: tuple[str, ...], option: str) -> dict[str, str]:
    """`key=value` words as a dictionary."""
    found: dict[str, str] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals or not key.strip():
            raise click.UsageError(f"{option} {item!r} is not KEY=VALUE")
        found[key.strip()] = value
    return found


def confirm(plan: str, *, is_sure: bool) -> None:
    """Shows what will be done and asks, unless told not to."""
    click.echo(plan, err=True)
    if not is_sure:
        click.confirm("Go on?", abort=True, err=True)
