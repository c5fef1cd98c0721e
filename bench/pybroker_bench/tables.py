"""A report as people read it: a few lines on a terminal or in a log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

LATENCY_TITLES: Final = {
    "publish": "publish (due to acknowledged)",
    "ack": "ack (sent to acknowledged)",
    "publish_delay": "publish delay (due to sent)",
    "end_to_end": "end to end (due to read)",
    "commit": "transaction commit",
}
COLUMNS: Final = ("mean", "p50", "p90", "p99", "p99_9", "p99_99", "max")
TO_BE_CLEAN: Final = ("lost", "duplicated", "reordered", "corrupted", "misplaced", "unsent", "aborted_seen")


def lines_of(report: Mapping[str, Any]) -> Iterator[str]:
    """The report, a line at a time."""
    scenario, target = report["scenario"], report["target"]
    yield (
        f"{scenario['name']}: {scenario['client']} against {target['name']} at {target['bootstrap']},"
        f" acks={scenario['acks']}, durability={target['durability']}"
    )
    yield ""
    produced = report["produced"]
    if report["filled"]:
        yield _rate("backlog written", report["filled"])
    if scenario["produceDuringTest"]:
        yield _rate("produced", produced)
    for each in report["consumed"]:
        name = "replayed" if each["is_replay"] else "consumed"
        title = name if len(report["consumed"]) == 1 else f"{name}, subscription {each['subscription'] + 1}"
        yield _rate(title, each)
    if produced["failed"]:
        reasons = "; ".join(f"{why} ({count} times)" for why, count in produced["errors"].items())
        yield f"  {produced['failed']:,} records were not acknowledged: {reasons}"
    yield from _latencies(report["latency_ms"])
    yield from _costs(report)
    yield from _verification(report)


def _rate(title: str, flow: Mapping[str, Any]) -> str:
    text = f"  {title:28} {flow['records_per_second']:>12,.0f} records/s {flow['mb_per_second']:>9,.2f} MB/s"
    return f"{text}   ({flow['records']:,} in {flow['seconds']:.2f} s)"


def _latencies(latencies: Mapping[str, Any]) -> Iterator[str]:
    if not latencies:
        return
    yield ""
    yield "  " + f"{'latency, ms':34}" + "".join(f"{name.replace('_', '.'):>10}" for name in COLUMNS)
    for name, figures in latencies.items():
        yield "  " + f"{LATENCY_TITLES[name]:34}" + "".join(f"{figures[column]:>10,.2f}" for column in COLUMNS)


def _costs(report: Mapping[str, Any]) -> Iterator[str]:
    broker, generator = report["broker"], report["generator"]
    yield ""
    if broker["peak_rss_bytes"] is None:
        yield "  broker: its processes cannot be seen from here, so neither can what it costs"
    else:
        cpu = "" if broker["cpu_s_per_gb"] is None else f"{broker['cpu_s_per_gb']:.2f} CPU seconds per GB, "
        yield f"  broker: {cpu}{broker['peak_rss_bytes'] / 1e6:,.0f} MB resident at its peak"
    busy = f"  load: {generator['processes']} processes, {generator['busy_share']:.0%} busy"
    yield busy + (": the load generator is the limit, not the broker" if generator["is_bottleneck"] else "")
    if report["killed_at_s"] is not None:
        pause = report["produced"]["longest_pause_ms"]
        yield f"  broker killed after {report['killed_at_s']:.1f} s; nothing was acknowledged for {pause:,.0f} ms"
    rejoins = sum(each["rejoins"] for each in report["consumed"])
    if rejoins:
        pause = max(each["longest_pause_ms"] for each in report["consumed"])
        yield f"  {rejoins} times a member left and came back; the longest that nothing was read was {pause:,.0f} ms"
    if report["cold_files"] == 0:
        yield "  the backlog could not be dropped from the page cache: it was read from memory"


def _verification(report: Mapping[str, Any]) -> Iterator[str]:
    found = report["verification"]
    if not found["is_enabled"]:
        yield "  verification: off, records were only counted" + _unread(report)
        return
    faults = {name: found[name] for name in TO_BE_CLEAN if found[name]}
    yield (
        f"  verification: {found['checked']:,} records checked, "
        + (
            ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in faults.items())
            if faults
            else "none lost, duplicated, reordered or corrupted"
        )
        + _unread(report)
    )
    if found["redelivered"]:
        yield f"  {found['redelivered']:,} records were delivered again after a rebalance"
    if found["unknown"]:
        yield f"  {found['unknown']:,} records were sent and never acknowledged: they may be there or not"
    for example in found["examples"]:
        yield f"    {example}"


def _unread(report: Mapping[str, Any]) -> str:
    return f"; {report['unread']:,} acknowledged records never came" if report["unread"] else ""
