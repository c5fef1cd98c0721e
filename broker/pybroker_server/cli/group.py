"""`pybroker group`: list, describe, configure, delete groups; how far they are behind, and where they go on.

Rules of this file: what destroys shows a plan and asks, unless `--yes`; `seek` changes nothing unless `--execute`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

import click

from pybroker_server.cli.errors import CliError
from pybroker_server.cli.group_lag import LAG_COLUMNS, Watch, lag_rows, read_lags
from pybroker_server.cli.group_seek import PLAN_COLUMNS, SeekOptions, plan_rows, plan_seek
from pybroker_server.cli.group_words import owned, parse_partitions, parse_target
from pybroker_server.cli.offsets import OffsetError
from pybroker_server.cli.output import Cell, output_option, show_json, show_table
from pybroker_server.cli.remote import ask, bootstrap_option, confirm, key_values
from pybroker_server.runtime.clock import SystemClock

if TYPE_CHECKING:
    from pybroker import Admin
    from pybroker.admin import ConfigEntry
    from pybroker.group_info import GroupInfo, GroupListing

_STATES = ["Stable", "Empty", "PreparingRebalance", "CompletingRebalance", "Assigning", "Reconciling", "Dead"]


@click.group()
def group() -> None:
    """Consumer groups of a cluster, of both protocols."""


@group.command("list")
@bootstrap_option
@click.option(
    "-s", "--state", "states", multiple=True, type=click.Choice(_STATES, case_sensitive=False), help="Only these."
)
@click.option("-k", "--kind", "kinds", multiple=True, type=click.Choice(["classic", "consumer"]), help="Only these.")
def list_groups(bootstrap: str, states: tuple[str, ...], kinds: tuple[str, ...], output: str) -> None:
    """List groups."""

    async def work(admin: Admin) -> list[GroupListing]:
        return await admin.groups(states=states, kinds=kinds)

    rows = [
        (each.name, each.kind or None, each.state, each.protocol_type or None, each.coordinator)
        for each in ask(bootstrap, "cannot list groups", work)
    ]
    show_table(("group", "kind", "state", "protocol", "coordinator"), rows, output)


@group.command()
@bootstrap_option
@click.argument("names", nargs=-1, required=True)
def describe(bootstrap: str, names: tuple[str, ...], output: str) -> None:
    """Show who is in groups, and what each member reads.

    On a terminal also how far they are behind; elsewhere ask `pybroker group lag` for that.
    """

    async def work(admin: Admin) -> list[GroupInfo]:
        return [await admin.group(name) for name in names]

    found = ask(bootstrap, "cannot describe", work)
    if output == "json":
        show_json([_as_object(info) for info in found])
        return
    columns = ("group", "kind", "state", "assignor", "epoch", "member", "instance", "client", "host", "reads")
    show_table(columns, [row for info in found for row in _member_rows(info)], output)
    if output == "auto" and sys.stdout.isatty():
        click.echo()
        show_table(
            LAG_COLUMNS, lag_rows(ask(bootstrap, "cannot describe", lambda admin: read_lags(admin, names))), output
        )


def _member_rows(info: GroupInfo) -> list[tuple[Cell, ...]]:
    """A line for each member, one without a member for an empty group."""
    epoch = info.epoch if info.epoch >= 0 else None
    head = (info.name, info.kind, info.state, info.assignor or None, epoch)
    if not info.members:
        return [(*head, None, None, None, None, None)]
    return [
        (*head, each.member_id, each.instance_id, each.client_id, each.host, owned(each.assigned) or None)
        for each in info.members
    ]


def _as_object(info: GroupInfo) -> dict[str, object]:
    return {
        "group": info.name,
        "kind": info.kind,
        "state": info.state,
        "protocol": info.protocol_type,
        "assignor": info.assignor,
        "epoch": info.epoch if info.epoch >= 0 else None,
        "coordinator": info.coordinator,
        "members": [
            {
                "member": each.member_id,
                "instance": each.instance_id,
                "client": each.client_id,
                "host": each.host,
                "epoch": each.epoch if each.epoch >= 0 else None,
                "topics": list(each.topics),
                "pattern": each.pattern,
                "reads": [{"topic": tp.topic, "partition": tp.partition} for tp in each.assigned],
            }
            for each in info.members
        ],
    }


@group.command()
@bootstrap_option
@click.argument("names", nargs=-1)
@click.option("-w", "--watch", is_flag=True, help="Again and again, with rates, until interrupted.")
@click.option(
    "-i", "--interval", default=2.0, show_default=True, type=click.FloatRange(min=0.05), help="Seconds, with --watch."
)
@click.option("-n", "--num", type=click.IntRange(min=1), help="With --watch: end after this many times.")
def lag(bootstrap: str, names: tuple[str, ...], watch: bool, interval: float, num: int | None, output: str) -> None:
    """Show how far groups are behind, by partition; all groups unless named.

    With --watch the column "per s" is how many records a second the group commits, and "time left" how long it needs
    for the rest at that rate if nothing is added.
    """
    if watch:
        ask(bootstrap, "cannot show the lag", Watch(names, interval, num, output).run)
        return
    show_table(
        LAG_COLUMNS, lag_rows(ask(bootstrap, "cannot show the lag", lambda admin: read_lags(admin, names))), output
    )


def _show_lag(bootstrap: str, names: tuple[str, ...], output: str) -> None:
    lags = ask(bootstrap, "cannot show the lag", lambda admin: read_lags(admin, names))
    show_table(LAG_COLUMNS, lag_rows(lags), output)


@group.command()
@bootstrap_option
@click.argument("name")
@click.argument("topics", nargs=-1, metavar="[TOPIC[:PARTITIONS]]...")
@click.option(
    "--to", "to", metavar="WHERE", help="start, end, OFFSET, -N from the end, +N from the start, @TIME, or 1h30m ago."
)
@click.option("--by", "by", type=int, metavar="N", help="N records on from where the group is; back when negative.")
@click.option("--like", "like", metavar="GROUP", help="To where another group is.")
@click.option("--from-file", "file", type=click.File("r"), help="Lines of TOPIC,PARTITION,OFFSET; - is standard input.")
@click.option("-x", "--execute", is_flag=True, help="Do it; else the plan is shown and nothing is changed.")
def seek(
    bootstrap: str,
    name: str,
    topics: tuple[str, ...],
    to: str | None,
    by: int | None,
    like: str | None,
    file: TextIO | None,
    execute: bool,
    output: str,
) -> None:
    """Let a group that nobody is in go on from elsewhere: shows before and after, does it with --execute.

    \b
    pybroker group seek billing --to start
    pybroker group seek billing orders:0,3-5 --to 2h
    pybroker group seek billing --by -100 --execute
    """
    if sum(given is not None for given in (to, by, like, file)) != 1:
        raise click.UsageError("say where to go: one of --to, --by, --like and --from-file")
    try:
        target = None if to is None else parse_target(to, SystemClock().wall_ms())
        lines = None if file is None else file.read().splitlines()
        options = SeekOptions(name, tuple(map(parse_partitions, topics)), target, by, like, lines)
    except OffsetError as error:
        raise click.UsageError(str(error)) from None

    plan = ask(bootstrap, f"cannot move group {name}", lambda admin: plan_seek(admin, options))
    if execute:
        if plan.members:
            raise CliError(
                f"cannot move group {name}",
                cause=f"it has {_members(plan.members)}, which would not notice and commit over it",
                hint="stop its consumers first",
            )

        async def work(admin: Admin) -> None:
            await admin.alter_group_offsets(name, plan.after)

        ask(bootstrap, f"cannot move group {name}", work)
    show_table(PLAN_COLUMNS, plan_rows(plan), output)
    if not execute:
        held = f"; the group has {_members(plan.members)}, to be stopped first" if plan.members else ""
        click.echo(f"nothing was changed: --execute does it{held}", err=True)


def _members(count: int) -> str:
    return "1 member" if count == 1 else f"{count} members"


@group.command()
@bootstrap_option
@click.argument("names", nargs=-1, required=True)
@click.option("-t", "--topic", "topics", multiple=True, help="Only what is committed in this topic; repeatable.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def delete(bootstrap: str, names: tuple[str, ...], topics: tuple[str, ...], yes: bool, output: str) -> None:
    """Delete groups that nobody is in, with all that they have committed."""

    async def look(admin: Admin) -> dict[str, list[tuple[str, int]]]:
        committed = {}
        for name in names:
            await admin.group(name)
            offsets = await admin.group_offsets(name)
            committed[name] = [(tp.topic, tp.partition) for tp in offsets if not topics or tp.topic in topics]
        return committed

    plans = ask(bootstrap, "cannot delete", look)
    heading = "these positions will be deleted:" if topics else "these groups and their positions will be deleted:"
    lines = [f"  {name}: {owned(partitions) or 'none'}" for name, partitions in plans.items()]
    confirm("\n".join([heading, *lines]), is_sure=yes)
    deleted: list[str] = []

    async def work(admin: Admin) -> None:
        for name, partitions in plans.items():
            if topics:
                await admin.delete_group_offsets(name, partitions)
            else:
                await admin.delete_group(name, missing_ok=True)
            deleted.append(name)

    try:
        ask(bootstrap, "cannot delete", work)
    finally:
        if output == "json":
            show_json([{"group": name} for name in deleted])
        else:
            what = "offsets of group" if topics else "group"
            for name in deleted:
                click.echo(f"deleted {what} {name}")


@group.command()
@bootstrap_option
@click.argument("name")
@click.option("-s", "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Set a value; repeatable.")
@click.option("-d", "--delete", "deletions", multiple=True, metavar="KEY", help="Go back to the broker's; repeatable.")
@click.option("-a", "--all", "show_all", is_flag=True, help="Show what the group has from the broker too.")
def config(
    bootstrap: str, name: str, changes: tuple[str, ...], deletions: tuple[str, ...], show_all: bool, output: str
) -> None:
    """Show or change the configuration of a group, which need not exist yet.

    \b
    pybroker group config billing -s consumer.session.timeout.ms=50000
    """
    wanted: dict[str, str | None] = {**key_values(changes, "--set"), **dict.fromkeys(deletions)}

    async def work(admin: Admin) -> dict[str, ConfigEntry]:
        if wanted:
            await admin.alter_group_configs(name, wanted)
        return await admin.group_configs(name)

    found = ask(bootstrap, f"cannot configure group {name}", work)
    rows = [
        (each.name, each.value, each.source)
        for each in sorted(found.values(), key=lambda entry: entry.name)
        if show_all or each.source == "group" or each.name in wanted
    ]
    show_table(("key", "value", "source"), rows, output)


for _command in (config, list_groups, describe, lag, seek, delete):
    _command.params.append(output_option())
