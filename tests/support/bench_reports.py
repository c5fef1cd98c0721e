"""A report of a measurement that never took place, made by the code that makes real ones."""

from __future__ import annotations

from typing import Any

from pybroker_bench.counting import Flow, Window
from pybroker_bench.measure import Outcome
from pybroker_bench.meter import Usage
from pybroker_bench.report import report_of
from pybroker_bench.scenario import from_mapping
from pybroker_bench.series import Series
from pybroker_bench.target import Target
from pybroker_bench.verify import Verdict

SECOND = 1_000_000_000


def made_report(
    records: int = 1000, latency_ms: float = 2.0, verdict: Verdict | None = None, **fields: Any
) -> dict[str, Any]:
    """`records` a second for three seconds, with latencies around `latency_ms`."""
    scenario = from_mapping({"name": "<made>", "testDurationSeconds": 3, "warmupDurationSeconds": 0, **fields})
    window = Window()
    window.set(SECOND, 4 * SECOND)
    produced, consumed, series = Flow(window, "publish"), Flow(window, "end_to_end"), Series()
    for second in (1, 2, 3):
        for flow, name, factor in ((produced, "publish", 1), (consumed, "end_to_end", 2)):
            flow.came(second * SECOND, records, records * 100)
            for share in range(20):
                due = second * SECOND
                flow.took(name, due + int(latency_ms * 1e6 * factor * (0.5 + share / 20)), [due])
        series.add(second * SECOND, {"produced": [produced.progress()], "consumed": [consumed.progress()]})
    outcome = Outcome(
        scenario,
        Target("pybroker", "localhost:9092", durability="fsync", brokers=1),
        scenario.duration_s,
        producers=[{"flow": produced.to_json(), "account": {}}],
        consumers=[{"subscription": 0, "flow": consumed.to_json(), "rejoins": 0}],
        verdict=verdict or Verdict(checked=3 * records),
        before=Usage(1.0, 0.5, 40_000_000, 50_000_000),
        after=Usage(2.0, 1.0, 45_000_000, 60_000_000),
        generator_cpu_s=1.0,
        generator_processes=2,
        durability="fsync",
        rss_bytes=[40_000_000, 41_000_000, 42_000_000],
    )
    return report_of(outcome, series.to_json())
