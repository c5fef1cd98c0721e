"""`pybroker consume`: records to standard output, alone or as a member of a group.

Rules of this file: bytes are printed as they are, or as the format says; nothing else goes to standard output. With a
range the command ends when every partition has reached its end, also where the last offsets are no records. In a group
what was printed is committed.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from pybroker_server.cli.offset_questions import resolve
from pybroker_server.cli.offsets import Anchor, OffsetError, OffsetRange, parse_offset
from pybroker_server.cli.record_format import FormatError, ShownRecord, as_json, compile_format
from pybroker_server.cli.remote import bootstrap_option, client_of, run_async
from pybroker_server.runtime.clock import SystemClock

if TYPE_CHECKING:
    from pybroker import Consumer
    from pybroker.record import Record

_POLL_S = 0.2
_CHUNK_RECORDS = 1_000
_PLAIN = r"%v\n"


@dataclass(slots=True)
class _Bounds:
    """Where reading begins and ends, by topic and partition; `ends` is None for on and on."""

    begins: dict[tuple[str, int], int]
    ends: dict[tuple[str, int], int] | None


@click.command()
@bootstrap_option
@click.argument("topics", nargs=-1, required=True)
@click.option(
    "-o", "--offset", default="end", show_default=True, help="start, end, N, +N, -N, N-M, N:M, :end, @TIME, @TIME:TIME."
)
@click.option("-n", "--num", type=click.IntRange(min=1), help="End after this many records.")
@click.option("-g", "--group", help="As a member of this group, from where it is; -o says where, if it is nowhere yet.")
@click.option("-p", "--partition", "partitions", type=int, multiple=True, help="Only this one; repeatable.")
@click.option("-f", "--format", "template", help="As in '%k %v\\n'; %t %p %o %d %h and more. 'json' is a JSON line.")
@click.option(
    "--isolation",
    type=click.Choice(["read_uncommitted", "read_committed"]),
    default="read_uncommitted",
    show_default=True,
    help="read_committed leaves out what transactions did not commit.",
)
def consume(
    bootstrap: str,
    topics: tuple[str, ...],
    offset: str,
    num: int | None,
    group: str | None,
    partitions: tuple[int, ...],
    template: str | None,
    isolation: str,
) -> None:
    """Print records of TOPICS.

    \b
    pybroker consume greetings -o start
    pybroker consume orders -o @-1h:end -f '%d{iso} %k: %v\\n'
    pybroker consume orders -g billing -o start
    """
    try:
        wanted = parse_offset(offset, SystemClock().wall_ms())
        show = _renderer(template)
    except (OffsetError, FormatError) as error:
        raise click.UsageError(str(error)) from None
    start_in_group = "latest"
    if group is not None:
        if partitions:
            raise click.UsageError("the members of a group share whole topics: --group or --partition, not both")
        start_in_group = _start_in_group(wanted)

    async def work() -> None:
        from pybroker import Consumer

        if group is not None:
            await _in_group(bootstrap, topics, group, start_in_group, num, show, isolation)
            return
        async with client_of(bootstrap) as client:
            bounds = await _bounds(client, topics, partitions, wanted)
            reader = Consumer(client=client, partitions=list(bounds.begins), isolation=isolation)  # type: ignore[arg-type]
            async with reader as consumer:
                for where, begin in bounds.begins.items():
                    consumer.seek(begin, [where])
                await _print(consumer, bounds, num, show)

    try:
        run_async("cannot consume", work)
    except BrokenPipeError:
        # Whoever read has seen enough, as `head` does; Python must not complain about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _renderer(template: str | None) -> Callable[[Record], bytes]:
    if template == "json":
        return lambda record: json.dumps(as_json(_shown(record)), ensure_ascii=False).encode() + b"\n"
    piece = compile_format(_PLAIN if template is None else template)
    return lambda record: piece(_shown(record))


def _shown(record: Record) -> ShownRecord:
    return ShownRecord(
        record.topic,
        record.partition,
        record.offset,
        record.timestamp_ms,
        record.raw_key,
        record.raw_value,
        tuple(record.headers),
        record.leader_epoch,
    )


def _start_in_group(wanted: OffsetRange) -> str:
    start = {Anchor.START: "earliest", Anchor.END: "latest"}.get(wanted.begin.anchor)
    if start is None or wanted.end is not None:
        raise click.UsageError(
            "with --group, --offset is start or end, where the group begins that is nowhere yet;"
            " `pybroker group seek` moves a group"
        )
    return start


async def _in_group(
    bootstrap: str,
    topics: tuple[str, ...],
    group: str,
    start: str,
    num: int | None,
    show: Callable[[Record], bytes],
    isolation: str,
) -> None:
    from pybroker import Admin, Consumer

    async with client_of(bootstrap) as client:
        async with Admin(client=client) as admin:
            for name in topics:
                await admin.topic(name)
        options: dict[str, Any] = {"start": start, "isolation": isolation}
        async with Consumer(*topics, group=group, client=client, **options) as consumer:
            out, left = sys.stdout.buffer, num
            while left is None or left > 0:
                wanted = _CHUNK_RECORDS if left is None else min(left, _CHUNK_RECORDS)
                records = await consumer.poll(wanted, time_limit=_POLL_S)
                out.write(b"".join(map(show, records)))
                out.flush()
                if left is not None:
                    left -= len(records)


async def _bounds(client: object, topics: tuple[str, ...], only: tuple[int, ...], wanted: OffsetRange) -> _Bounds:
    from pybroker import Admin

    bounds = _Bounds({}, None if wanted.end is None else {})
    async with Admin(client=client) as admin:  # type: ignore[arg-type]
        for name in topics:
            present = [partition.index for partition in (await admin.topic(name)).partitions]
            indexes = list(only) or present
            for index, begin in (await resolve(admin, name, wanted.begin, indexes)).items():
                bounds.begins[name, index] = begin
            if wanted.end is not None and bounds.ends is not None:
                for index, end in (await resolve(admin, name, wanted.end, indexes)).items():
                    bounds.ends[name, index] = end
    return bounds


async def _print(consumer: Consumer, bounds: _Bounds, num: int | None, show: Callable[[Record], bytes]) -> None:
    out, left = sys.stdout.buffer, num
    while not _is_over(consumer, bounds):
        records = await consumer.poll(_CHUNK_RECORDS, time_limit=_POLL_S)
        for record in records:
            where = (record.topic, record.partition)
            if bounds.ends is not None and record.offset >= bounds.ends[where]:
                continue
            out.write(show(record))
            if left is not None:
                left -= 1
                if not left:
                    out.flush()
                    return
        out.flush()


def _is_over(consumer: Consumer, bounds: _Bounds) -> bool:
    if bounds.ends is None:
        return False
    return all((consumer.position(*where) or 0) >= end for where, end in bounds.ends.items())
