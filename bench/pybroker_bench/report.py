"""The result of a measurement as JSON: the one shape that tables, pages, comparisons and the documentation read.

`SCHEMA` numbers the shape; it goes up when a field changes its meaning. Rates are per second of the measured time,
sizes are of the records' values, a GB is 10^9 bytes. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from pybroker_bench.counting import merged
from pybroker_bench.histogram import Histogram
from pybroker_bench.measure import Outcome
from pybroker_bench.meter import Usage, machine

SCHEMA: Final = 1
LATENCIES: Final = ("publish", "ack", "publish_delay", "end_to_end", "commit")
_BUSY: Final = 0.85


def report_of(outcome: Outcome, series: list[dict[str, Any]]) -> dict[str, Any]:
    """Everything that is known of one measurement."""
    scenario = outcome.scenario
    produced = _produced(outcome)
    consumed = [_consumed(outcome, number) for number in range(scenario.all_subscriptions)]
    latencies, histograms = _latencies(outcome)
    return {
        "schema": SCHEMA,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "scenario": scenario.to_json(),
        "target": outcome.target.to_json() | {"durability": outcome.durability},
        "machine": machine(),
        "produced": produced,
        "consumed": consumed,
        "filled": _rates(outcome.filled, int(outcome.filled * scenario.mean_bytes), outcome.filled_s)
        if scenario.backlog
        else None,
        "latency_ms": latencies,
        "broker": _broker(outcome, produced, consumed),
        "generator": _generator(outcome),
        "verification": outcome.verdict.to_json(),
        "unread": outcome.unread,
        # Where nothing at all was acknowledged there is nothing that could have been lost.
        "is_clean": outcome.verdict.is_clean and outcome.unread == 0 and produced["all_records"] > 0,
        "killed_at_s": outcome.killed_at_s,
        "cold_files": outcome.cold_files if scenario.is_backlog_cold else None,
        "series": series,
        "histograms_ns": histograms,
    }


def _produced(outcome: Outcome) -> dict[str, Any]:
    flows = [each["flow"] for each in outcome.producers]
    found = _rates(sum(f["records"] for f in flows), sum(f["bytes"] for f in flows), outcome.window_s)
    errors: dict[str, int] = {}
    for flow in flows:
        for why, count in flow["errors"].items():
            errors[why] = errors.get(why, 0) + count
    return found | {
        "all_records": sum(f["all_records"] for f in flows),
        "failed": sum(f["failed"] for f in flows),
        "errors": errors,
        "longest_pause_ms": _pause(flows),
    }


def _consumed(outcome: Outcome, subscription: int) -> dict[str, Any]:
    """One subscription. Where only a backlog is read, the time counts from the first records to the last."""
    mine = [each for each in outcome.consumers if each["subscription"] == subscription]
    flows = [each["flow"] for each in mine]
    seconds, records = outcome.window_s, sum(f["records"] for f in flows)
    size = sum(f["bytes"] for f in flows)
    is_replay = subscription >= outcome.scenario.subscriptions
    if not outcome.scenario.is_producing or is_replay:
        began = [f["first_ns"] for f in flows if f["first_ns"]]
        seconds = (max(f["last_ns"] for f in flows) - min(began)) / 1e9 if began else 0.0
        first = min((f for f in flows if f["first_ns"]), key=lambda f: f["first_ns"], default=None)
        counted = sum(f["all_records"] for f in flows) - (first["first_count"] if first else 0)
        records, size = counted, int(counted * outcome.scenario.mean_bytes)
    return _rates(records, size, seconds) | {
        "subscription": subscription,
        "is_replay": is_replay,
        "all_records": sum(f["all_records"] for f in flows),
        "rejoins": sum(each["rejoins"] for each in mine),
        "longest_pause_ms": _pause(flows),
    }


def _rates(records: int, size: int, seconds: float) -> dict[str, Any]:
    return {
        "records": records,
        "bytes": size,
        "seconds": round(seconds, 4),
        "records_per_second": round(records / seconds, 1) if seconds else 0.0,
        "mb_per_second": round(size / seconds / 1e6, 3) if seconds else 0.0,
    }


def _pause(flows: Sequence[Mapping[str, Any]]) -> float:
    return round(max((f["longest_pause_ns"] for f in flows), default=0) / 1e6, 3)


def _latencies(outcome: Outcome) -> tuple[dict[str, Any], dict[str, Any]]:
    tailing = [e for e in outcome.consumers if e["subscription"] < outcome.scenario.subscriptions]
    if not outcome.scenario.is_producing:
        tailing = []  # how old a backlog is says nothing
    flows = [each["flow"] for each in (*outcome.producers, *tailing)]
    found: dict[str, Histogram] = {name: merged(flows, name) for name in LATENCIES}
    kept = {name: each for name, each in found.items() if each.count}
    return {name: h.summary_ms() for name, h in kept.items()}, {name: h.to_json() for name, h in kept.items()}


def _broker(outcome: Outcome, produced: Mapping[str, Any], consumed: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the broker's processes cost; all None where they could not be seen."""
    # A broker that was killed is another process afterwards, with counters of its own.
    before, after = outcome.before if outcome.killed_at_s is None else None, outcome.after
    moved = produced["bytes"] if outcome.scenario.is_producing else sum(each["bytes"] for each in consumed)
    found: dict[str, Any] = dict.fromkeys(
        ("user_s", "system_s", "cpu_s_per_gb", "fill_cpu_s_per_gb", "rss_bytes", "peak_rss_bytes")
    )
    found["rss_series_bytes"] = outcome.rss_bytes
    if after is not None:
        found |= {"rss_bytes": after.rss_bytes, "peak_rss_bytes": after.peak_rss_bytes}
    if before is not None and after is not None:
        found |= {
            "user_s": round(after.user_s - before.user_s, 3),
            "system_s": round(after.system_s - before.system_s, 3),
            "cpu_s_per_gb": _per_gb(before, after, moved),
        }
    if outcome.backlog_before is not None and outcome.backlog_after is not None:
        size = int(outcome.scenario.backlog * outcome.scenario.mean_bytes)
        found["fill_cpu_s_per_gb"] = _per_gb(outcome.backlog_before, outcome.backlog_after, size)
    return found


def _per_gb(before: Usage, after: Usage, size: int) -> float | None:
    return round((after.cpu_s - before.cpu_s) / (size / 1e9), 4) if size else None


def _generator(outcome: Outcome) -> dict[str, Any]:
    """How busy the load's own processes were: one that is busy all the time measures itself."""
    seconds = outcome.scenario.warmup_s + outcome.window_s
    share = outcome.generator_cpu_s / seconds / max(1, outcome.generator_processes) if seconds else 0.0
    return {
        "processes": outcome.generator_processes,
        "cpu_s": round(outcome.generator_cpu_s, 2),
        "busy_share": round(share, 3),
        "is_bottleneck": share > _BUSY,
    }
