"""`pybroker cluster`: who is there, whether all is well, and moving replicas and leaders about.

Rules of this file: what changes where data lies shows a plan first and asks, unless `--yes`. Moves are carried out by
the cluster; a command waits for them, and may be left at any time.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import click

from pybroker_server.cli.cluster_plan import Key, NoRoomError, Place, plan_balance, plan_drain
from pybroker_server.cli.errors import EXIT_FAILED, EXIT_OK, CliError
from pybroker_server.cli.output import Cell, output_option, show_table
from pybroker_server.cli.remote import ask, bootstrap_option, confirm

if TYPE_CHECKING:
    from pybroker import Admin
    from pybroker.admin import PartitionInfo
    from pybroker.admin_brokers import BrokerInfo, Move

LOOK_AGAIN_S: Final = 0.5
SHOWN_MAX: Final = 30
_yes = click.option("-y", "--yes", is_flag=True, help="Do not ask.")
_wait = click.option("--wait/--no-wait", default=True, show_default=True, help="Stay until the moves are over.")


@dataclass(frozen=True, slots=True)
class View:
    """All that the commands look at, read one after the other."""

    brokers: Sequence[BrokerInfo]
    controller: int
    partitions: Mapping[Key, PartitionInfo]
    moves: Mapping[Key, Move]

    @property
    def places(self) -> list[Place]:
        return [Place(broker.node_id, broker.rack) for broker in self.brokers if not broker.is_fenced]


async def view(admin: Admin) -> View:
    brokers = await admin.brokers()
    partitions = {
        (topic.name, each.index): each for topic in await admin.topics(internal=True) for each in topic.partitions
    }
    moves = {(tp.topic, tp.partition): move for tp, move in (await admin.moves()).items()}
    return View(brokers, await admin.controller(), partitions, moves)


@click.group()
def cluster() -> None:
    """The brokers of a cluster, and what lies on them."""


@cluster.command()
@bootstrap_option
def status(bootstrap: str, output: str) -> None:
    """Show the brokers: who is there, who controls, and how much each leads and holds."""
    seen = ask(bootstrap, "cannot show the cluster", view)
    leads = Counter(each.leader for each in seen.partitions.values())
    holds = Counter(node for each in seen.partitions.values() for node in each.replicas)
    behind = Counter(node for each in seen.partitions.values() for node in each.replicas if node not in each.isr)
    rows: list[tuple[Cell, ...]] = [
        (
            broker.node_id,
            f"{broker.host}:{broker.port}",
            broker.rack,
            "away" if broker.is_fenced else "controller" if broker.node_id == seen.controller else "there",
            leads[broker.node_id],
            holds[broker.node_id],
            behind[broker.node_id],
        )
        for broker in seen.brokers
    ]
    show_table(("node", "address", "rack", "state", "leads", "replicas", "not in sync"), rows, output)


@cluster.command()
@bootstrap_option
def health(bootstrap: str, output: str) -> int:
    """Show what is not well; exits with 1 if anything is."""
    seen = ask(bootstrap, "cannot look at the cluster", view)
    rows = problems(seen)
    show_table(("problem", "what", "detail"), rows, output)
    return EXIT_FAILED if rows else EXIT_OK


def problems(seen: View) -> list[tuple[str, str, str]]:
    """(problem, of what, detail), the worst first."""
    offline, behind = [], []
    for (name, index), each in sorted(seen.partitions.items()):
        what, replicas = f"{name}-{index}", _words(each.replicas)
        if each.leader < 0:
            offline.append(("no leader", what, f"replicas {replicas}, in sync {_words(each.isr) or 'none'}"))
        elif len(each.isr) < len(each.replicas) and (name, index) not in seen.moves:
            missing = [node for node in each.replicas if node not in each.isr]
            behind.append(("not in sync", what, f"replicas {_words(missing)} of {replicas}"))
    away = [("broker away", str(b.node_id), f"{b.host}:{b.port}") for b in seen.brokers if b.is_fenced]
    none = [("no controller", "cluster", "nothing can be elected")] if seen.controller < 0 else []
    return [*none, *offline, *away, *behind]


@cluster.command()
@bootstrap_option
@click.argument("names", nargs=-1, metavar="TOPIC[-PARTITION]...")
@click.option("--to", "to", metavar="NODE,NODE,...", help="The brokers, the preferred leader first.")
@click.option("--cancel", is_flag=True, help="Stop moves that are under way.")
@_wait
@_yes
def move(bootstrap: str, names: tuple[str, ...], to: str | None, cancel: bool, wait: bool, yes: bool) -> None:
    """Move partitions to other brokers, or stop moving them; without arguments show what moves."""
    seen = ask(bootstrap, "cannot look at the cluster", view)
    if not names:
        rows: list[tuple[Cell, ...]] = [
            (f"{name}-{index}", _words(each.replicas), _words(each.adding), _words(each.removing))
            for (name, index), each in sorted(seen.moves.items())
        ]
        show_table(("partition", "replicas", "coming", "going"), rows, "auto")
        return
    keys = [key for name in names for key in _keys(name, seen.partitions)]
    if cancel:
        _carry_out(bootstrap, dict.fromkeys(key for key in keys if key in seen.moves), seen, wait=False, is_sure=yes)
        return
    if to is None:
        raise click.UsageError("say where to: --to 1,2,3, or --cancel")
    target = _nodes(to)
    _carry_out(bootstrap, dict.fromkeys(keys, target), seen, wait=wait, is_sure=yes)


@cluster.command()
@bootstrap_option
@click.argument("node", type=int)
@_wait
@_yes
def drain(bootstrap: str, node: int, wait: bool, yes: bool) -> None:
    """Move everything away from a broker, so that it can be stopped for good."""
    seen = ask(bootstrap, "cannot look at the cluster", view)
    layout = {key: each.replicas for key, each in seen.partitions.items()}
    try:
        moves = plan_drain(layout, node, seen.places)
    except NoRoomError as error:
        raise CliError(f"broker {node} cannot be drained", cause=str(error), hint="add a broker first") from None
    _carry_out(bootstrap, moves, seen, wait=wait, is_sure=yes)
    if wait:
        click.echo(f"broker {node} holds nothing: stop it, then `pybroker cluster forget {node}`", err=True)


@cluster.command()
@bootstrap_option
@click.option("--leaders-only", is_flag=True, help="Only give leadership back to preferred replicas.")
@_wait
@_yes
def balance(bootstrap: str, leaders_only: bool, wait: bool, yes: bool) -> None:
    """Spread replicas evenly over the brokers, then give leadership back to preferred replicas."""
    seen = ask(bootstrap, "cannot look at the cluster", view)
    if not leaders_only:
        moves = plan_balance({key: each.replicas for key, each in seen.partitions.items()}, seen.places)
        _carry_out(bootstrap, moves, seen, wait=wait, is_sure=yes)

    async def work(admin: Admin) -> int:
        outcomes = await admin.elect_leaders()
        return sum(error is None for error in outcomes.values())

    click.echo(f"{ask(bootstrap, 'cannot elect leaders', work)} leaders changed", err=True)


@cluster.command()
@bootstrap_option
@click.argument("node", type=int)
@_yes
def forget(bootstrap: str, node: int, yes: bool) -> None:
    """Strike a broker that is gone for good off the list."""
    seen = ask(bootstrap, "cannot look at the cluster", view)
    left = sum(node in each.replicas for each in seen.partitions.values())
    note = f", and {left} partitions still count on it" if left else ""
    confirm(f"broker {node} will not be waited for any more{note}", is_sure=yes)

    async def work(admin: Admin) -> None:
        await admin.unregister_broker(node)

    ask(bootstrap, f"cannot forget broker {node}", work)
    click.echo(f"broker {node} is forgotten")


def _carry_out(
    bootstrap: str, moves: Mapping[Key, Sequence[int] | None], seen: View, *, wait: bool, is_sure: bool
) -> None:
    """Shows the moves, asks, begins them, and waits until they are over."""
    if not moves:
        click.echo("nothing to move", err=True)
        return
    lines = [
        f"  {name}-{index}: {_words(seen.partitions[name, index].replicas)} -> {_words(to) if to else 'back'}"
        for (name, index), to in sorted(moves.items())
    ]
    more = len(lines) - SHOWN_MAX
    shown = lines[:SHOWN_MAX] + ([f"  and {more} more"] if more > 0 else [])
    confirm("\n".join([f"{len(moves)} partitions will move:", *shown]), is_sure=is_sure)

    async def work(admin: Admin) -> None:
        from pybroker import TopicPartition

        await admin.move({TopicPartition(*key): to for key, to in moves.items()})
        while wait:
            left = [tp for tp in await admin.moves() if tuple(tp) in moves]
            if not left:
                break
            if sys.stderr.isatty():
                click.echo(f"\r{len(left)} of {len(moves)} are moving ", nl=False, err=True)
            await asyncio.sleep(LOOK_AGAIN_S)

    ask(bootstrap, "cannot move partitions", work)
    if sys.stderr.isatty():
        click.echo(err=True)
    click.echo(f"{len(moves)} partitions moved" if wait else f"{len(moves)} partitions are moving", err=True)


def _keys(word: str, partitions: Mapping[Key, PartitionInfo]) -> list[Key]:
    """`orders` is all of its partitions, `orders-3` one."""
    name, dash, index = word.rpartition("-")
    if dash and index.isdecimal() and (name, int(index)) in partitions:
        return [(name, int(index))]
    found = [key for key in sorted(partitions) if key[0] == word]
    if not found:
        raise CliError(f"there is no topic or partition {word}", hint="`pybroker topic list` shows them")
    return found


def _nodes(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in text.split(","))
    except ValueError:
        raise click.UsageError(f"--to {text!r} is not a list of node ids") from None


def _words(nodes: Sequence[int]) -> str:
    return ",".join(map(str, nodes))


for _command in (status, health):
    _command.params.append(output_option())
