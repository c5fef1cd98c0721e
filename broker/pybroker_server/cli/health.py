"""`pybroker health`: is a broker ready for clients? For HEALTHCHECK lines, probes and scripts; needs no HTTP client.

Rules of this file: one connection and two requests over a blocking socket; neither the SDK nor an event loop is
imported, since it runs every few seconds. Exit code 0 or 1, as Docker wants it.
"""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from pybroker_server.cli.errors import EXIT_FAILED, CliError
from pybroker_server.runtime.clock import SystemClock

if TYPE_CHECKING:
    from pybroker_protocol.schema.classes import Message

_now_us = SystemClock().monotonic_us
_US_PER_S: Final = 1_000_000
_EVERYWHERE: Final = ("", "0.0.0.0", "::")
_API_VERSIONS: Final = 18, 0
_METADATA: Final = 3, 12
_MAX_ANSWER_BYTES: Final = 16 * 1024 * 1024
_HELP = """Ask a broker whether it serves clients; exit code 0 when it does, 1 when it does not.

Without -b it asks the broker that `pybroker serve` would start from the same FILE, environment and options, on this
machine: in a container, `pybroker health` is enough. It is healthy when it answers ApiVersions and Metadata, and the
cluster has a broker that is not fenced.
"""


class Health(NamedTuple):
    """What a healthy broker said."""

    address: str
    cluster_id: str
    brokers: int
    latency_ms: float


@click.command(help=_HELP, context_settings={"ignore_unknown_options": True})
@click.option("-b", "--bootstrap", "address", metavar="HOST:PORT", help="The broker to ask.")
@click.option("-t", "--timeout", "timeout_s", default=3.0, show_default=True, help="Seconds to wait, all in all.")
@click.option("-o", "--output", type=click.Choice(["auto", "json"]), default="auto", help="A line, or JSON.")
@click.option("--config", "config_file", envvar="PYBROKER_CONFIG", metavar="FILE", help="A server.properties file.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[FILE] [--KEY VALUE]...")
def health(
    address: str | None, timeout_s: float, output: str, config_file: str | None, arguments: tuple[str, ...]
) -> int:
    host, port = _split(address) if address else _own_address(config_file, arguments)
    try:
        found = ask(host, port, timeout_s)
    except (OSError, ValueError) as error:
        reason = str(error) or type(error).__name__
        if output == "json":
            _show_json({"healthy": False, "address": f"{host}:{port}", "reason": reason})
            return EXIT_FAILED
        raise CliError(f"{host}:{port} is not healthy", cause=reason) from None
    if output == "json":
        _show_json({"healthy": True, **found._asdict()})
    else:
        click.echo(
            f"healthy: {found.address} answered in {found.latency_ms} ms, cluster {found.cluster_id},"
            f" {found.brokers} broker{'s' if found.brokers != 1 else ''}"
        )
    return 0


def ask(host: str, port: int, timeout_s: float) -> Health:
    """Asks one broker. Raises OSError and ValueError with a reason for people."""
    from pybroker_protocol.messages import ApiVersionsRequest, MetadataRequest

    begun_us = _now_us()
    deadline_us = begun_us + int(timeout_s * _US_PER_S)
    with socket.create_connection((host, port), timeout_s) as connection:
        versions = _exchange(connection, *_API_VERSIONS, ApiVersionsRequest(), deadline_us)
        if versions.error_code:
            raise ValueError(f"ApiVersions was answered with error {versions.error_code}")
        metadata = _exchange(connection, *_METADATA, MetadataRequest(topics=[]), deadline_us)
    if not metadata.brokers:
        raise ValueError("it answers, and the cluster has no broker that is not fenced")
    latency_ms = round((_now_us() - begun_us) / 1000, 1)
    return Health(f"{host}:{port}", metadata.cluster_id or "", len(metadata.brokers), latency_ms)


def _exchange(connection: socket.socket, api_key: int, version: int, request: Message, deadline_us: int) -> Any:
    from pybroker_protocol.errors import ProtocolError
    from pybroker_protocol.frame import SIZE_BYTES, decode_response, encode_request

    _arm(connection, deadline_us)
    connection.sendall(b"".join(encode_request(api_key, version, version, "pybroker-health", request)))
    size = int.from_bytes(_receive(connection, SIZE_BYTES, deadline_us), "big", signed=True)
    if not SIZE_BYTES <= size <= _MAX_ANSWER_BYTES:
        raise ValueError(f"an answer of {size} bytes: this is no Kafka broker")
    try:
        return decode_response(api_key, version, memoryview(_receive(connection, size, deadline_us)))[1]
    except ProtocolError as error:
        raise ValueError(f"this is no Kafka broker: {error}") from None


def _receive(connection: socket.socket, count: int, deadline_us: int) -> bytes:
    received = b""
    while len(received) < count:
        _arm(connection, deadline_us)
        part = connection.recv(count - len(received))
        if not part:
            raise ConnectionError("it closed the connection")
        received += part
    return received


def _arm(connection: socket.socket, deadline_us: int) -> None:
    """The next call takes until the deadline at most."""
    connection.settimeout(max(deadline_us - _now_us(), 1000) / _US_PER_S)


def _own_address(config_file: str | None, arguments: tuple[str, ...]) -> tuple[str, int]:
    """Where the broker of these settings listens for clients."""
    from pybroker_server.cli.settings import config_from, settings_from

    first = config_from(settings_from(arguments, os.environ, config_file=config_file)).listeners[0]
    return ("localhost" if first.host in _EVERYWHERE else first.host), first.port


def _split(address: str) -> tuple[str, int]:
    host, colon, port = address.split(",")[0].rpartition(":")
    if not colon or not port.isdecimal():
        raise click.UsageError(f"{address!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


def _show_json(value: object) -> None:
    from pybroker_server.cli.output import show_json

    show_json(value)
