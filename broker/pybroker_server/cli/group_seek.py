"""The plan of `pybroker group seek`: where a group is, and where it would go on.

Rules of this file: a plan asks and changes nothing. A target outside of what a partition holds is moved to its ends, so
that what the plan shows is what readers will get.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pybroker_server.cli.errors import EXIT_USAGE, CliError
from pybroker_server.cli.offset_questions import resolve
from pybroker_server.cli.offsets import Position
from pybroker_server.cli.output import Cell

if TYPE_CHECKING:
    from pybroker import Admin

PLAN_COLUMNS: Final = ("group", "topic", "partition", "before", "after", "effect")

Where = tuple[str, int]


@dataclass(frozen=True, slots=True)
class SeekOptions:
    """What the user asked for: one of `target`, `by`, `like` and `lines` (of TOPIC,PARTITION,OFFSET) is given."""

    group: str
    topics: tuple[tuple[str, list[int] | None], ...]
    target: Position | None
    by: int | None
    like: str | None
    lines: list[str] | None


@dataclass(frozen=True, slots=True)
class SeekPlan:
    """`members`: how many are in the group now; it can be moved while there is none."""

    group: str
    before: dict[Where, int]
    after: dict[Where, int]
    members: int


async def plan_seek(admin: Admin, options: SeekOptions) -> SeekPlan:
    from pybroker.errors import NotFound

    before = {(tp.topic, tp.partition): each.offset for tp, each in (await admin.group_offsets(options.group)).items()}
    try:
        members = len((await admin.group(options.group)).members)
    except NotFound:
        members = 0
    wanted = await _wanted(admin, options, before)
    after: dict[Where, int] = {}
    for topic in sorted({topic for topic, _ in wanted}):
        after |= await _after(admin, options, before, topic, [index for name, index in wanted if name == topic])
    return SeekPlan(options.group, before, dict(sorted(after.items())), members)


async def _wanted(admin: Admin, options: SeekOptions, before: dict[Where, int]) -> list[Where]:
    """The partitions to move: the named ones, else those of the file or the other group, else all committed ones."""
    if options.topics:
        chosen = []
        for topic, indexes in options.topics:
            present = [partition.index for partition in (await admin.topic(topic)).partitions]
            chosen += [(topic, index) for index in (present if indexes is None else indexes)]
        return chosen
    if options.lines is not None:
        return list(_parse_lines(options.lines))
    if options.like is not None:
        return [(tp.topic, tp.partition) for tp in await admin.group_offsets(options.like)]
    if not before:
        raise CliError(
            f"cannot move group {options.group}",
            cause="it has committed nothing, so it is not known what it reads",
            hint=f"name topics: pybroker group seek {options.group} TOPIC --to start",
            code=EXIT_USAGE,
        )
    return list(before)


async def _after(
    admin: Admin, options: SeekOptions, before: dict[Where, int], topic: str, indexes: list[int]
) -> dict[Where, int]:
    if options.target is not None:
        found = await resolve(admin, topic, options.target, indexes)
        return {(topic, index): offset for index, offset in found.items()}
    targets: dict[Where, int]
    if options.by is not None:
        targets = {where: offset + options.by for where, offset in before.items()}
    elif options.like is not None:
        other = await admin.group_offsets(options.like)
        targets = {(tp.topic, tp.partition): each.offset for tp, each in other.items()}
    else:
        targets = _parse_lines(options.lines or [])
    chosen = {(topic, index): targets[topic, index] for index in indexes if (topic, index) in targets}
    if not chosen:
        return {}
    begins = await admin.offsets(topic, "earliest", [index for _, index in chosen])
    ends = await admin.offsets(topic, "latest", [index for _, index in chosen])
    return {where: min(max(offset, begins[where[1]]), ends[where[1]]) for where, offset in chosen.items()}


def _parse_lines(lines: list[str]) -> dict[Where, int]:
    """TOPIC,PARTITION,OFFSET as `kafka-consumer-groups --export` writes it. Raises ValueError."""
    found: dict[Where, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        parts = [part.strip().strip('"') for part in line.split(",")]
        if len(parts) != 3 or not parts[0] or not parts[1].isdecimal() or not parts[2].isdecimal():
            raise ValueError(f"line {number} is not TOPIC,PARTITION,OFFSET: {line!r}")
        found[parts[0], int(parts[1])] = int(parts[2])
    return found


def plan_rows(plan: SeekPlan) -> list[tuple[Cell, ...]]:
    return [
        (
            plan.group,
            topic,
            index,
            plan.before.get((topic, index)),
            after,
            _effect(plan.before.get((topic, index)), after),
        )
        for (topic, index), after in plan.after.items()
    ]


def _effect(before: int | None, after: int) -> str:
    if before is None:
        return "starts there"
    if after == before:
        return "stays"
    return f"skips {after - before}" if after > before else f"repeats {before - after}"
