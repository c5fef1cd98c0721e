"""Many cases against one broker, or against two in turn: figures with their spread, and ratios taken pair by pair.

Rules: machines drift, so each round of a case runs on one broker and then on the other, and a ratio is that of two runs
that followed each other. The first round warms both up and is not counted, where asked for. A case that found a fault
in its records fails the suite.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pybroker_bench.cases import Case, Figure, topic_config
from pybroker_bench.errors import EXIT_USAGE, BenchError
from pybroker_bench.scenario import from_mapping
from pybroker_bench.target import Target

SCHEMA: Final = 1
_SCALED: Final = ("consumerBacklogMessages",)

Measure = Callable[[Any, Target], dict[str, Any]]
"""Runs a scenario against a target; its report."""


@dataclass(slots=True)
class Row:
    """One case: the figures of every target, a value for each round."""

    case: Case
    values: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    skipped: str = ""

    def note(self, target: str, figure: Figure, value: float | None) -> None:
        if value is not None:
            self.values.setdefault(_key(figure), {}).setdefault(target, []).append(value)

    def to_json(self, targets: Sequence[Target]) -> dict[str, Any]:
        case = self.case
        figures = []
        for figure in case.figures:
            values = self.values.get(_key(figure), {})
            found: dict[str, Any] = {
                "title": figure.title,
                "unit": figure.unit,
                "digits": figure.digits,
                "more_is_better": figure.more_is_better,
                "aim": figure.aim,
                "values": values,
            }
            if len(targets) == 2:
                pairs = zip(values.get(targets[0].name, []), values.get(targets[1].name, []), strict=False)
                found["ratios"] = [round(mine / other, 4) for mine, other in pairs if other]
            figures.append(found)
        return {
            "group": case.group,
            "title": case.title,
            "acks": case.acks,
            "durability": list(case.durability[: len(targets)]),
            "client": case.client,
            "figures": figures,
            "skipped": self.skipped,
        }


def _key(figure: Figure) -> str:
    return f"{figure.title}, {figure.unit}"


def run_cases(
    cases: Sequence[Case],
    targets: Sequence[Target],
    measure: Measure,
    *,
    client: str,
    rounds: int,
    scale: float,
    warms_up: bool,
    only: str = "",
    on_case: Callable[[Row], None],
) -> list[Row]:
    """Runs all of them that have `only` in their title. Raises BenchError when a case finds a fault in its records."""
    rows = []
    for case in _chosen(cases, only):
        row = Row(case)
        needed = case.replication
        if any(target.brokers < needed for target in targets):
            row.skipped = f"needs {needed} brokers"
        else:
            for number in range(rounds + warms_up):
                # Who begins changes, so that being second is nobody's advantage.
                turn = list(enumerate(targets)) if number % 2 == 0 else list(enumerate(targets))[::-1]
                for index, target in turn:
                    report = measure(scenario_of(case, index, target, client, scale), target)
                    if not report["is_clean"]:
                        raise BenchError(f"{case.title} on {target.name}: records were lost or harmed")
                    if number >= warms_up:
                        for figure in case.figures:
                            row.note(target.name, figure, figure.of(report))
        rows.append(row)
        on_case(row)
    return rows


def _chosen(cases: Sequence[Case], only: str) -> list[Case]:
    """Those with this in their title or group; all for an empty text."""
    chosen = [case for case in cases if only.lower() in f"{case.group}: {case.title}".lower()]
    if not chosen:
        raise BenchError(f"no case has {only!r} in its title", code=EXIT_USAGE)
    return chosen


def scenario_of(case: Case, index: int, target: Target, client: str, scale: float) -> Any:
    """The case as a scenario for the target of this index."""
    fields = dict(case.fields)
    for name in _SCALED:
        if name in fields:
            fields[name] = max(2_000, int(fields[name] * scale))
    for name in ("testDurationSeconds", "warmupDurationSeconds"):
        if name in fields:
            fields[name] = max(1.0, fields[name] * min(1.0, scale * 2))
    configs = topic_config(case.durability[index], target.is_pybroker)
    given = {"name": case.title, "client": case.client or client, "acks": case.acks, "topicConfig": configs}
    return from_mapping(given | {"replicationFactor": case.replication} | fields)


def lines_of(row: Row, targets: Sequence[Target]) -> Iterator[str]:
    """A row as text: for each figure the median of each target with its spread, and the ratio with its own."""
    case = row.case
    modes = " and ".join(dict.fromkeys(case.durability[: len(targets)]))
    yield f"{case.title}  (acks={case.acks}, {modes})" + (f": {row.skipped}" if row.skipped else "")
    if row.skipped:
        return
    for figure in row.to_json(targets)["figures"]:
        cells = [f"{t.name} {spread(figure['values'].get(t.name, []), figure['digits'])}" for t in targets]
        if figure.get("ratios"):
            cells.append(f"ratio {spread(figure['ratios'], 2)}")
        yield f"    {figure['title'] + ', ' + figure['unit']:30} " + "   ".join(cells)


def spread(values: Sequence[float], digits: int = 0) -> str:
    """The median, with the smallest and largest."""
    if not values:
        return "-"
    low, middle, high = min(values), statistics.median(values), max(values)
    if len(values) == 1:
        return f"{middle:,.{digits}f}"
    return f"{middle:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


def result_of(
    rows: Sequence[Row], targets: Sequence[Target], machine: Mapping[str, Any], client: str, rounds: int, scale: float
) -> dict[str, Any]:
    """The suite as JSON."""
    return {
        "schema": SCHEMA,
        "kind": "suite",
        "machine": dict(machine),
        "client": client,
        "rounds": rounds,
        "scale": scale,
        "targets": [target.to_json() for target in targets],
        "rows": [row.to_json(targets) for row in rows],
    }
