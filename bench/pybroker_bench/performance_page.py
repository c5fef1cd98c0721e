"""docs/performance.md, made from the JSON of `pybroker bench kafka`: wins and losses alike. Pure.

python -m pybroker_bench.performance_page RESULT.json > docs/performance.md
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

OURS, THEIRS = "pybroker", "Kafka"


def page_of(result: Mapping[str, Any]) -> str:
    """The whole page. `result`: what `versus` returned."""
    return "\n".join(_lines(result)) + "\n"


def _lines(result: Mapping[str, Any]) -> Iterator[str]:
    machine, kafka = result["machine"], result["kafka"]
    yield "# Performance"
    yield ""
    yield (
        f"pybroker beside Apache Kafka {kafka['version']} on one machine in one run, written by `make bench-kafka`:"
        f" {machine['processor']}, {machine['cores']} cores, {machine['memory_bytes'] / 2**30:.0f} GB of memory,"
        f" {machine['system']}, Python {machine['python']}. Brokers and load share the cores."
    )
    yield ""
    yield (
        f"Kafka has a heap of {kafka['heap']} and is warm: the first round of every case is not counted. Each of the"
        f" {result['rounds']} rounds runs on both brokers, one after the other; a ratio is that of such a pair, and"
        " what is shown is the median with the smallest and the largest. The client is librdkafka with nothing in"
        " Python per record, unless a row says otherwise. *page-cache* and *fsync* say when a record is acknowledged:"
        " once the operating system has it, or once the disk has. An aim is what the ratio has to reach (or may not"
        " exceed where less is better)."
    )
    yield ""
    yield from _verdict(result)
    yield from _start_and_memory(result)
    group = None
    for row in result["rows"]:
        if row["group"] != group:
            group = row["group"]
            yield ""
            yield f"## {group}"
            yield ""
            yield "| Case | acks | durability | figure | pybroker | Kafka | ratio | aim |"
            yield "|---|---|---|---|---:|---:|---:|---:|"
        yield from _row(row)
    yield from _growth(result)
    yield ""
    yield "Where the time goes: [the load generator](bench.md#where-the-time-goes)."
    yield ""
    yield "## Kafka's settings"
    yield ""
    yield "Those of `server.properties` that are not Kafka's defaults:"
    yield ""
    yield "```properties"
    yield from (f"{key}={value}" for key, value in kafka["settings"].items())
    yield "```"
    yield ""
    yield f"The run took {result['seconds'] / 60:.0f} minutes at scale {result['scale']:g}."


def _verdict(result: Mapping[str, Any]) -> Iterator[str]:
    """Which aims were reached."""
    met: list[str] = []
    missed: list[str] = []
    for title, ratio, aim, more_is_better in _aims(result):
        reached = ratio >= aim if more_is_better else ratio <= aim
        (met if reached else missed).append(f"{title}: {ratio:.2f} (aim {aim:.2f})")
    yield "## Aims"
    yield ""
    yield f"Reached: {len(met)}. Missed: {len(missed)}."
    yield ""
    yield from (f"- reached: {each}" for each in met)
    yield from (f"- **missed**: {each}" for each in missed)
    yield ""


def _aims(result: Mapping[str, Any]) -> Iterator[tuple[str, float, float, bool]]:
    """(what, the median ratio, the aim, whether more is better)."""
    for row in result["rows"]:
        for figure in row["figures"]:
            if figure["aim"] is not None and figure.get("ratios"):
                modes = "/".join(dict.fromkeys(row["durability"]))
                title = f"{row['group']}: {row['title']}, acks={row['acks']}, {modes}: {figure['title']}"
                yield title, statistics.median(figure["ratios"]), figure["aim"], figure["more_is_better"]
    ready = {name: statistics.median(each) for name, each in result["readiness_s"].items()}
    yield "ready after start", ready[OURS] / ready[THEIRS], 0.2, False
    peak = result["peak_rss_bytes"]
    yield "peak resident memory", peak[OURS] / peak[THEIRS], 0.1, False
    ours = result["growth"][OURS]
    base = ours[0]["round_trip_ms"]
    for step in ours[1:]:
        yield (
            f"round trip with {step['step'].removeprefix('and ')}, beside none",
            step["round_trip_ms"] / base,
            1.2,
            False,
        )


def _start_and_memory(result: Mapping[str, Any]) -> Iterator[str]:
    yield "## Start and memory"
    yield ""
    yield "| | pybroker | Kafka |"
    yield "|---|---:|---:|"
    ready = result["readiness_s"]
    yield f"| process start to first Metadata answer, s | {_spread(ready[OURS], 2)} | {_spread(ready[THEIRS], 2)} |"
    peak = result["peak_rss_bytes"]
    yield f"| peak resident memory of the whole run, MB | {peak[OURS] / 1e6:,.0f} | {peak[THEIRS] / 1e6:,.0f} |"
    growth = result["growth"]
    before = [growth[name][0]["rss_bytes"] / 1e6 for name in (OURS, THEIRS)]
    yield f"| resident memory of a new broker, MB | {before[0]:,.0f} | {before[1]:,.0f} |"


def _row(row: Mapping[str, Any]) -> Iterator[str]:
    modes = row["durability"]
    mode = modes[0] if len(set(modes)) == 1 else f"pybroker {modes[0]}, Kafka {modes[1]}"
    title = f"{row['title']} ({row['client']})" if row["client"] else row["title"]
    if row["skipped"]:
        yield f"| {title} | {row['acks']} | {mode} | not run: {row['skipped']} | | | | |"
        return
    for number, figure in enumerate(row["figures"]):
        first = (title, row["acks"], mode) if number == 0 else ("", "", "")
        digits = figure["digits"]
        cells = [_spread(figure["values"].get(name, []), digits) for name in (OURS, THEIRS)]
        ratio = _spread(figure.get("ratios", []), 2)
        sign = "≥" if figure["more_is_better"] else "≤"
        aim = "" if figure["aim"] is None else f"{sign} {figure['aim']:.2f}"
        yield f"| {' | '.join(first)} | {figure['title']}, {figure['unit']} | {' | '.join(cells)} | {ratio} | {aim} |"


def _growth(result: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield "## Growth"
    yield ""
    yield "The median of a produce round trip (one record at a time, acks=1) and memory, as a new broker is given more:"
    yield ""
    yield "| | round trip, ms | | memory, MB | | took, s | | metadata of all, ms | |"
    yield "|---|---:|---:|---:|---:|---:|---:|---:|---:|"
    yield "| | pybroker | Kafka | pybroker | Kafka | pybroker | Kafka | pybroker | Kafka |"
    for ours, theirs in zip(result["growth"][OURS], result["growth"][THEIRS], strict=True):
        cells = [ours["step"]]
        for name, digits, factor in (
            ("round_trip_ms", 3, 1.0),
            ("rss_bytes", 0, 1e-6),
            ("seconds", 2, 1.0),
            ("metadata_ms", 1, 1.0),
        ):
            cells += ["" if e[name] is None else f"{e[name] * factor:,.{digits}f}" for e in (ours, theirs)]
        yield f"| {' | '.join(cells)} |"


def _spread(values: Sequence[float], digits: int) -> str:
    if not values:
        return ""
    middle = f"{statistics.median(values):,.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


if __name__ == "__main__":
    print(page_of(json.loads(Path(sys.argv[1]).read_text())), end="")
