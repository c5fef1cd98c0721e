"""`pybroker txn`: list, describe and abort transactions; find those that hang.

Rules of this file: what aborts shows a plan first and asks, unless `--yes`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from pybroker_server.cli.errors import EXIT_NOT_FOUND, CliError
from pybroker_server.cli.group_words import owned, parse_partitions
from pybroker_server.cli.offsets import OffsetError, parse_duration_ms
from pybroker_server.cli.output import Cell, output_option, show_json, show_table
from pybroker_server.cli.remote import ask, bootstrap_option, confirm
from pybroker_server.runtime.clock import SystemClock

if TYPE_CHECKING:
    from pybroker import Admin
    from pybroker.admin_transactions import HangingTransaction, TransactionInfo, TransactionListing

_STATES = [
    "Empty",
    "Ongoing",
    "PrepareCommit",
    "PrepareAbort",
    "CompleteCommit",
    "CompleteAbort",
    "PrepareEpochFence",
    "Dead",
]
_HANGING_COLUMNS = ("topic", "partition", "producer id", "epoch", "start offset", "last written", "transactional id")
_yes = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


@click.group()
def txn() -> None:
    """Transactions of a cluster."""


@txn.command("list")
@bootstrap_option
@click.option("-s", "--state", "states", multiple=True, type=click.Choice(_STATES), help="Only these; repeatable.")
@click.option("--open-for", metavar="DURATION", help="Only what is open for longer, as in 90s or 5m.")
def list_transactions(bootstrap: str, states: tuple[str, ...], open_for: str | None, output: str) -> None:
    """List transactional ids."""
    seconds = -1.0 if open_for is None else _seconds(open_for)

    async def work(admin: Admin) -> list[TransactionListing]:
        return await admin.transactions(states=states, open_for=seconds)

    rows = [
        (each.transactional_id, each.state, each.producer_id, each.coordinator)
        for each in ask(bootstrap, "cannot list transactions", work)
    ]
    show_table(("transactional id", "state", "producer id", "coordinator"), rows, output)


@txn.command()
@bootstrap_option
@click.argument("names", nargs=-1, required=True)
def describe(bootstrap: str, names: tuple[str, ...], output: str) -> None:
    """Show transactional ids, with what is under way: since when, and in which partitions."""

    async def work(admin: Admin) -> list[TransactionInfo]:
        return [await admin.transaction(name) for name in names]

    now = datetime.fromtimestamp(SystemClock().wall_ms() / 1000, UTC)
    rows: list[tuple[Cell, ...]] = []
    for each in ask(bootstrap, "cannot describe", work):
        age_s = round((now - each.started).total_seconds(), 1) if each.started else None
        rows.append(
            (
                each.transactional_id,
                each.state,
                each.producer_id,
                each.producer_epoch,
                each.timeout_ms,
                each.started.isoformat(timespec="milliseconds") if each.started else None,
                age_s,
                owned(each.partitions) or None,
                each.coordinator,
            )
        )
    columns = (
        "transactional id", "state", "producer id", "epoch", "timeout ms", "started", "open s", "writes to",
        "coordinator",
    )  # fmt: skip
    show_table(columns, rows, output)


@txn.command()
@bootstrap_option
@click.argument("topics", nargs=-1, metavar="[TOPIC[:PARTITIONS]]...")
@click.option(
    "--older-than", default="15m", show_default=True, metavar="DURATION", help="Whose last record is older than that."
)
def hanging(bootstrap: str, topics: tuple[str, ...], older_than: str, output: str) -> None:
    """Find transactions that partitions wait for and that no coordinator will end; in all topics unless named.

    Readers of what is committed stand still there. `pybroker txn abort --hanging TOPIC:PARTITION` ends them.
    """
    seconds = _seconds(older_than)
    found = ask(bootstrap, "cannot look for hanging transactions", lambda admin: _find(admin, topics, seconds))
    show_table(_HANGING_COLUMNS, [_hanging_row(each) for each in found], output)


@txn.command()
@bootstrap_option
@click.argument("names", nargs=-1, metavar="[TRANSACTIONAL_ID]...")
@click.option("--hanging", "hangs", multiple=True, metavar="TOPIC:PARTITION", help="What hangs there; repeatable.")
@click.option("--older-than", default="15m", show_default=True, metavar="DURATION", help="With --hanging.")
@_yes
def abort(
    bootstrap: str, names: tuple[str, ...], hangs: tuple[str, ...], older_than: str, yes: bool, output: str
) -> None:
    """Abort what is open under transactional ids and fence their producers; or end what hangs in a partition."""
    if bool(names) == bool(hangs):
        raise click.UsageError("name transactional ids, or partitions with --hanging, one of them")
    if hangs:
        _abort_hanging(bootstrap, hangs, _seconds(older_than), output, is_sure=yes)
        return

    async def look(admin: Admin) -> list[TransactionInfo]:
        return [await admin.transaction(name) for name in names]

    plans = ask(bootstrap, "cannot abort", look)
    lines = [f"  {each.transactional_id}: {each.state}, {owned(each.partitions) or 'no partitions'}" for each in plans]
    confirm("\n".join(["these are aborted, and their producers cannot go on:", *lines]), is_sure=yes)

    async def work(admin: Admin) -> None:
        for name in names:
            await admin.abort_transaction(name)

    ask(bootstrap, "cannot abort", work)
    if output == "json":
        show_json([{"transactional_id": name} for name in names])
    else:
        click.echo("\n".join(f"aborted and fenced {name}" for name in names))


def _abort_hanging(bootstrap: str, hangs: tuple[str, ...], older_than_s: float, output: str, *, is_sure: bool) -> None:
    found = ask(bootstrap, "cannot abort", lambda admin: _find(admin, hangs, older_than_s))
    if not found:
        raise CliError(
            "cannot abort",
            cause=f"nothing hangs in {', '.join(hangs)} for as long",
            hint="`pybroker txn hanging` shows what does; --older-than looks for younger ones",
            code=EXIT_NOT_FOUND,
        )
    lines = [
        f"  {each.partition}: producer {each.producer.producer_id}, from offset {each.producer.start_offset}"
        for each in found
    ]
    confirm("\n".join(["these transactions are aborted:", *lines]), is_sure=is_sure)

    async def work(admin: Admin) -> None:
        for each in found:
            await admin.abort_hanging(each)

    ask(bootstrap, "cannot abort", work)
    show_table(_HANGING_COLUMNS, [_hanging_row(each) for each in found], output)


async def _find(admin: Admin, words: tuple[str, ...], older_than_s: float) -> list[HangingTransaction]:
    if not words:
        return await admin.hanging_transactions(older_than=older_than_s)
    wanted = []
    for topic, indexes in map(parse_partitions, words):
        if indexes is None:
            indexes = [partition.index for partition in (await admin.topic(topic)).partitions]
        wanted += [(topic, index) for index in indexes]
    return await admin.hanging_transactions(wanted, older_than=older_than_s)


def _hanging_row(each: HangingTransaction) -> tuple[Cell, ...]:
    producer = each.producer
    written = producer.last_written.isoformat(timespec="milliseconds") if producer.last_written else None
    return (
        *each.partition,
        producer.producer_id,
        producer.producer_epoch,
        producer.start_offset,
        written,
        each.transactional_id,
    )


def _seconds(text: str) -> float:
    try:
        return parse_duration_ms(text) / 1000
    except OffsetError as error:
        raise click.UsageError(str(error)) from None


for _command in (list_transactions, describe, hanging, abort):
    _command.params.append(output_option())
