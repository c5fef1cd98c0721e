"""A report as one HTML file that needs nothing else: tables, and charts of rates and latencies. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from pybroker_bench.charts import Axis, Line, chart
from pybroker_bench.histogram import Histogram
from pybroker_bench.tables import COLUMNS, LATENCY_TITLES, lines_of

_STYLE: Final = """
:root { color-scheme: light dark; --line: #8884; --quiet: #888; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; } th, td { padding: .25rem .7rem; border-bottom: 1px solid var(--line); }
td { text-align: right; font-variant-numeric: tabular-nums; } th { text-align: left; font-weight: 600; }
figure { margin: 1.5rem 0; } figcaption { font-weight: 600; } svg { width: 100%; height: auto; }
svg text { font: 11px system-ui, sans-serif; fill: var(--quiet); } .grid { stroke: var(--line); }
polyline { fill: none; stroke-width: 1.8; } .legend span { margin-right: 1.2rem; }
.legend i { display: inline-block; width: .8rem; height: .8rem; margin-right: .4rem; }
.good { color: #059669; } .bad { color: #dc2626; font-weight: 600; }
pre { overflow-x: auto; border: 1px solid var(--line); padding: .8rem; }
"""
_PERCENTS: Final = (50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99, 99.999)


def page_of(report: Mapping[str, Any]) -> str:
    """The whole file."""
    scenario, target = report["scenario"], report["target"]
    title = f"{scenario['name']}: {scenario['client']} against {target['name']}"
    verdict = "clean" if report["is_clean"] else "NOT clean"
    tone = "good" if report["is_clean"] else "bad"
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(report['at'])}, acks={escape(scenario['acks'])}, durability={escape(target['durability'])},"
        f' verification: <span class="{tone}">{verdict}</span></p>',
        f"<pre>{escape(chr(10).join(list(lines_of(report))[2:]))}</pre>",
        _latency_table(report["latency_ms"]),
        _rate_chart(report),
        _latency_chart(report),
        _percentile_chart(report["histograms_ns"]),
        _memory_chart(report["broker"]["rss_series_bytes"]),
        "<h2>Where and how</h2>",
        _facts(report["machine"] | {"bootstrap": target["bootstrap"], "brokers": target["brokers"]}),
        "<h2>Scenario</h2>",
        _facts(scenario),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>{''.join(body)}</body></html>\n"
    )


def _latency_table(latencies: Mapping[str, Mapping[str, float]]) -> str:
    if not latencies:
        return ""
    head = "".join(f"<th>{column.replace('_', '.')}</th>" for column in COLUMNS)
    rows = [
        f"<tr><th>{escape(LATENCY_TITLES[name])}</th>"
        + "".join(f"<td>{figures[column]:,.2f}</td>" for column in COLUMNS)
        + "</tr>"
        for name, figures in latencies.items()
    ]
    return f"<h2>Latency, ms</h2><table><tr><th></th>{head}</tr>{''.join(rows)}</table>"


def _rate_chart(report: Mapping[str, Any]) -> str:
    # The last second is cut short wherever the test ended: it would show as a fall.
    series = report["series"][:-1]
    lines = [Line(name, [(each["second"], each[name]) for each in series]) for name in ("produced", "consumed")]
    return chart("Records per second", Axis("seconds"), Axis("records/s"), lines)


def _latency_chart(report: Mapping[str, Any]) -> str:
    lines = []
    for name in LATENCY_TITLES:
        for percentile in ("p50", "p99"):
            key = f"{name}_{percentile}_ms"
            points = [(each["second"], each[key]) for each in report["series"] if key in each]
            if name in ("publish", "end_to_end", "commit"):
                lines.append(Line(f"{name.replace('_', ' ')} {percentile}", points))
    return chart("Latency in each second", Axis("seconds"), Axis("ms", is_logarithmic=True), lines)


def _percentile_chart(histograms: Mapping[str, Any]) -> str:
    """Percentiles spaced by how rare what exceeds them is, as HDR plots have them."""
    ticks = [(float(index), f"{percent:g}%") for index, percent in enumerate(_PERCENTS)]
    lines = []
    for name, stored in histograms.items():
        histogram = Histogram.from_json(stored)
        points = [(float(i), histogram.percentile(percent) / 1e6) for i, percent in enumerate(_PERCENTS)]
        lines.append(Line(LATENCY_TITLES[name], points))
    return chart("Latency by percentile", Axis("percentile", ticks), Axis("ms", is_logarithmic=True), lines)


def _memory_chart(series: Sequence[int | None]) -> str:
    points = [(float(second), size / 1e6) for second, size in enumerate(series) if size is not None]
    return chart("The broker's resident memory", Axis("seconds"), Axis("MB"), [Line("resident", points)])


def _facts(facts: Mapping[str, Any]) -> str:
    shown = {name: value if isinstance(value, str) else json.dumps(value) for name, value in facts.items()}
    rows = [f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in shown.items()]
    return f"<table>{''.join(rows)}</table>"
