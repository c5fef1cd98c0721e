"""`pybroker produce`: records from standard input, a line each.

Rules of this file: every line is acknowledged before the command ends, or the command fails and says how many were not.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import click

from pybroker_server.cli.remote import bootstrap_option, client_of, key_values, run_async

if TYPE_CHECKING:
    from pybroker import Message

_CHUNK_BYTES = 1 << 18


@click.command()
@bootstrap_option
@click.argument("topic")
@click.option("-k", "--key", help="The key of every record.")
@click.option("-K", "--key-separator", metavar="TEXT", help="What parts key and value of a line, as in `-K :`.")
@click.option("-H", "--header", "headers", multiple=True, metavar="KEY=VALUE", help="A header; repeatable.")
@click.option("-p", "--partition", type=int, help="The partition; chosen by the key, or in turn, without.")
@click.option("-Z", "--tombstone", is_flag=True, help="An empty line is a null value.")
@click.option("--acks", type=click.Choice(["all", "1", "0"]), default="all", show_default=True)
@click.option(
    "-z",
    "--compression",
    type=click.Choice(["none", "gzip", "snappy", "lz4", "zstd"]),
    default="none",
    show_default=True,
)
def produce(
    bootstrap: str,
    topic: str,
    key: str | None,
    key_separator: str | None,
    headers: tuple[str, ...],
    partition: int | None,
    tombstone: bool,
    acks: str,
    compression: str,
) -> None:
    """Send lines of standard input to TOPIC, each as a record.

    \b
    echo hello | pybroker produce greetings
    pybroker produce orders -K : < orders.txt
    """
    given_headers = list(key_values(headers, "--header").items())

    def message(line: bytes) -> Message:
        from pybroker import Message

        record_key = None if key is None else key.encode()
        if key_separator is not None:
            before, found, after = line.partition(key_separator.encode())
            if not found:
                raise ValueError(f"a line has no {key_separator!r}: {line[:60]!r}")
            record_key, line = before, after
        return Message(None if tombstone and not line else line, record_key, given_headers or None, partition)

    async def work() -> int:
        from pybroker import Producer

        options: dict[str, Any] = {"acks": acks if acks == "all" else int(acks), "compression": compression}
        sent = 0
        async with client_of(bootstrap) as client, Producer(client, **options) as producer:
            async for lines in _lines():
                sent += len(await producer.send_many(topic, [message(line) for line in lines]))
        return sent

    count = run_async(f"cannot produce to {topic}", work)
    click.echo(f"{count} record{'' if count == 1 else 's'} sent to {topic}", err=True)


async def _lines() -> AsyncIterator[list[bytes]]:
    """Lines of standard input as they come, some at a time, without their ends."""
    stdin = sys.stdin.buffer
    if stdin.seekable():  # a file is no pipe that an event loop could wait for
        while found := stdin.readlines(_CHUNK_BYTES):
            yield [_stripped(line.removesuffix(b"\n")) for line in found]
        return
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), stdin)
    rest = b""
    try:
        while chunk := await reader.read(_CHUNK_BYTES):
            *lines, rest = (rest + chunk).split(b"\n")
            if lines:
                yield [_stripped(line) for line in lines]
        if rest:
            yield [_stripped(rest)]
    finally:
        transport.close()


def _stripped(line: bytes) -> bytes:
    return line.removesuffix(b"\r")
