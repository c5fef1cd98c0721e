"""`pybroker topic`: list, describe, create, configure, grow, trim and delete topics.

Rules of this file: what destroys shows a plan first and asks, unless `--yes`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from pybroker_server.cli.errors import CliError
from pybroker_server.cli.output import Cell, output_option, show_json, show_table
from pybroker_server.cli.remote import ask, bootstrap_option, confirm, key_values

if TYPE_CHECKING:
    from pybroker.admin import Admin, ConfigEntry, PartitionInfo, TopicInfo

_yes = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


@click.group()
def topic() -> None:
    """Topics of a cluster: this broker's or any Kafka's."""


@topic.command("list")
@bootstrap_option
@click.option("-i", "--internal", is_flag=True, help="Kafka's own topics too.")
def list_topics(bootstrap: str, internal: bool, output: str) -> None:
    """List topics."""

    async def work(admin: Admin) -> list[TopicInfo]:
        return await admin.topics(internal=internal)

    rows = [
        (each.name, len(each.partitions), each.replication_factor, _offline(each))
        for each in ask(bootstrap, "cannot list topics", work)
    ]
    show_table(("name", "partitions", "replicas", "without leader"), rows, output)


def _offline(info: TopicInfo) -> int:
    return sum(partition.leader < 0 for partition in info.partitions)


@topic.command()
@bootstrap_option
@click.argument("names", nargs=-1, required=True)
def describe(bootstrap: str, names: tuple[str, ...], output: str) -> None:
    """Show partitions of topics, with their leaders, replicas and offsets.

    LAG is how many bytes the log of the replica that is furthest behind lacks.
    """

    from pybroker import TopicPartition

    async def work(admin: Admin) -> list[tuple[Cell, ...]]:
        rows: list[tuple[Cell, ...]] = []
        sizes = await admin.replica_sizes()
        for name in names:
            info = await admin.topic(name)
            led = [partition.index for partition in info.partitions if partition.leader >= 0]
            begins = await admin.offsets(name, "earliest", led) if led else {}
            ends = await admin.offsets(name, "latest", led) if led else {}
            rows += [
                (
                    name,
                    each.index,
                    each.leader,
                    ",".join(map(str, each.replicas)),
                    ",".join(map(str, each.isr)),
                    _lag(each, sizes.get(TopicPartition(name, each.index), {})),
                    begins.get(each.index),
                    ends.get(each.index),
                )
                for each in info.partitions
            ]
        return rows

    rows = ask(bootstrap, "cannot describe", work)
    show_table(("topic", "partition", "leader", "replicas", "isr", "lag", "start offset", "end offset"), rows, output)


def _lag(info: PartitionInfo, sizes: Mapping[int, int]) -> int | None:
    """None when the leader's log is not known, or no other's."""
    others = [sizes[node] for node in info.replicas if node != info.leader and node in sizes]
    if info.leader not in sizes or not others:
        return None
    return max(sizes[info.leader] - min(others), 0)


@topic.command()
@bootstrap_option
@click.argument("names", nargs=-1, required=True)
@click.option("-p", "--partitions", type=int, default=-1, help="How many; the broker's num.partitions by default.")
@click.option("-r", "--replicas", type=int, default=-1, help="Copies of each partition; the broker's default.")
@click.option(
    "-c", "--config", "configs", multiple=True, metavar="KEY=VALUE", help="A topic configuration; repeatable."
)
@click.option("--if-not-exists", is_flag=True, help="Succeed when the topic is there already.")
def create(
    bootstrap: str,
    names: tuple[str, ...],
    partitions: int,
    replicas: int,
    configs: tuple[str, ...],
    if_not_exists: bool,
) -> None:
    """Create topics."""
    values = key_values(configs, "--config")
    for name in names:

        async def work(admin: Admin, name: str = name) -> bool:
            return await admin.create_topic(
                name, partitions=partitions, replication=replicas, configs=values, exist_ok=if_not_exists
            )

        made = ask(bootstrap, f"cannot create topic {name}", work)
        click.echo(f"created topic {name}" if made else f"topic {name} is there already")


@topic.command()
@bootstrap_option
@click.argument("name")
@click.option("-s", "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Set a value; repeatable.")
@click.option("-d", "--delete", "deletions", multiple=True, metavar="KEY", help="Go back to the default; repeatable.")
@click.option("-a", "--all", "show_all", is_flag=True, help="Show defaults too.")
def config(
    bootstrap: str, name: str, changes: tuple[str, ...], deletions: tuple[str, ...], show_all: bool, output: str
) -> None:
    """Show or change the configuration of a topic."""
    wanted: dict[str, str | None] = {**key_values(changes, "--set"), **dict.fromkeys(deletions)}

    async def work(admin: Admin) -> dict[str, ConfigEntry]:
        if wanted:
            await admin.alter_topic_configs(name, wanted)
        return await admin.topic_configs(name)

    found = ask(bootstrap, f"cannot configure topic {name}", work)
    rows = [
        (each.name, each.value, each.source)
        for each in sorted(found.values(), key=lambda entry: entry.name)
        if show_all or each.source == "topic" or each.name in wanted
    ]
    show_table(("key", "value", "source"), rows, output)


@topic.command()
@bootstrap_option
@click.argument("name")
@click.argument("partitions", type=int)
@_yes
def grow(bootstrap: str, name: str, partitions: int, yes: bool) -> None:
    """Give a topic more partitions: PARTITIONS in all."""

    async def look(admin: Admin) -> TopicInfo:
        return await admin.topic(name)

    present = len(ask(bootstrap, f"cannot grow topic {name}", look).partitions)
    confirm(
        f"{name}: {present} partitions become {partitions}. Keys are spread anew: records of a key that come later may"
        " lie in another partition than the earlier ones.",
        is_sure=yes,
    )

    async def work(admin: Admin) -> None:
        await admin.grow_topic(name, partitions)

    ask(bootstrap, f"cannot grow topic {name}", work)
    click.echo(f"{name} has {partitions} partitions")


@topic.command()
@bootstrap_option
@click.argument("name")
@click.option("-p", "--partition", "partitions", type=int, multiple=True, help="Only this one; repeatable.")
@click.option(
    "--before", "before", default="end", show_default=True, help="Delete records before: end, an offset, or @TIME."
)
@_yes
def trim(bootstrap: str, name: str, partitions: tuple[int, ...], before: str, yes: bool, output: str) -> None:
    """Delete the oldest records of a topic."""
    from pybroker_server.cli.offset_questions import offsets_of

    async def plan(admin: Admin) -> tuple[dict[int, int], dict[int, int]]:
        wanted = list(partitions) or [each.index for each in (await admin.topic(name)).partitions]
        begins = await admin.offsets(name, "earliest", wanted)
        return begins, await offsets_of(admin, name, before, wanted)

    begins, targets = ask(bootstrap, f"cannot trim topic {name}", plan)
    losses = {index: max(targets[index] - begin, 0) for index, begin in begins.items()}
    lines = [
        f"  partition {i}: offsets {begins[i]} to {targets[i]}, {lost} at most" for i, lost in losses.items() if lost
    ]
    if not lines:
        click.echo("nothing to delete", err=True)
        return
    confirm("\n".join([f"{name}: these records will be deleted:", *lines]), is_sure=yes)

    async def work(admin: Admin) -> dict[int, int]:
        return await admin.delete_records(name, {index: targets[index] for index, lost in losses.items() if lost})

    rows = [(name, index, begin) for index, begin in ask(bootstrap, f"cannot trim topic {name}", work).items()]
    show_table(("topic", "partition", "start offset"), rows, output)


@topic.command()
@bootstrap_option
@click.argument("names", nargs=-1, required=True)
@_yes
def delete(bootstrap: str, names: tuple[str, ...], yes: bool, output: str) -> None:
    """Delete topics and all their records."""

    async def look(admin: Admin) -> list[tuple[str, int]]:
        found = []
        for name in names:
            begins, ends = await admin.offsets(name, "earliest"), await admin.offsets(name, "latest")
            found.append((name, sum(ends.values()) - sum(begins.values())))
        return found

    lines = [f"  {name}, with {count} records" for name, count in ask(bootstrap, "cannot delete", look)]
    confirm("\n".join(["these topics will be deleted:", *lines]), is_sure=yes)
    deleted: list[str] = []

    async def work(admin: Admin) -> None:
        for name in names:
            await admin.delete_topic(name)
            deleted.append(name)

    try:
        ask(bootstrap, "cannot delete", work)
    except CliError:
        for name in deleted:
            click.echo(f"deleted topic {name}")
        raise
    if output == "json":
        show_json([{"topic": name} for name in deleted])
    else:
        click.echo("\n".join(f"deleted topic {name}" for name in deleted))


for _command in (list_topics, describe, config, trim, delete):
    _command.params.append(output_option())
