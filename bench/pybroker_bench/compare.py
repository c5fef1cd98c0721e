"""Two reports beside each other: what changed, and by what factor. Pure but for reading the files.

Rules: a factor is B over A. Whether more is better depends on the figure, and is said. Reports of different scenarios,
or of different settings that matter, are compared all the same, with the difference named.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pybroker_bench.errors import EXIT_USAGE, BenchError
from pybroker_bench.report import SCHEMA

_RATES: Final = (("produced, records/s", "produced"), ("consumed, records/s", "consumed"))
_LATENCIES: Final = ("publish", "ack", "end_to_end", "commit")
_PERCENTILES: Final = ("p50", "p99", "p99_9", "max")
_COSTS: Final = (("broker CPU, s per GB", "cpu_s_per_gb"), ("broker peak memory, bytes", "peak_rss_bytes"))


def read(path: str) -> dict[str, Any]:
    """A report that was written with --json. Raises BenchError for what is none."""
    try:
        found = json.loads(Path(path).read_text())
    except OSError as error:
        raise BenchError(f"cannot read {path}", cause=error.strerror, code=EXIT_USAGE) from None
    except ValueError as error:
        raise BenchError(f"{path} is no JSON", cause=str(error), code=EXIT_USAGE) from None
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        hint = "write one with `pybroker bench run SCENARIO --json FILE`"
        raise BenchError(f"{path} is no report of this version", hint=hint, code=EXIT_USAGE)
    return found


def rows_of(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[tuple[str, float, float, bool]]:
    """(what, in A, in B, whether more is better) of everything that both have."""
    for title, name in _RATES:
        mine, other = _rate(a, name), _rate(b, name)
        if mine and other:
            yield title, mine, other, True
    for name in _LATENCIES:
        for percentile in _PERCENTILES:
            if name in a["latency_ms"] and name in b["latency_ms"]:
                title = f"{name.replace('_', ' ')} {percentile.replace('_', '.')}, ms"
                yield title, a["latency_ms"][name][percentile], b["latency_ms"][name][percentile], False
    for title, name in _COSTS:
        mine, other = a["broker"][name], b["broker"][name]
        if mine is not None and other is not None:
            yield title, mine, other, False


def _rate(report: Mapping[str, Any], name: str) -> float:
    found = report[name]
    if isinstance(found, list):
        return sum(float(each["records_per_second"]) for each in found)
    return float(found["records_per_second"])


def lines_of(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[str]:
    """The comparison, a line at a time."""
    for title, mine, other in _differences(a, b):
        yield f"note: {title} differs: {mine} and {other}"
    yield f"{'':30}{'A':>16}{'B':>16}{'B / A':>10}"
    for title, mine, other, more_is_better in rows_of(a, b):
        ratio = other / mine if mine else 0.0
        is_better = ratio > 1 if more_is_better else ratio < 1
        word = "" if 0.97 <= ratio <= 1.03 else " better" if is_better else " worse"
        yield f"{title:30}{mine:>16,.2f}{other:>16,.2f}{ratio:>10.2f}{word}"


def _differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name, mine in a["scenario"].items():
        if name != "name" and mine != b["scenario"].get(name):
            yield name, mine, b["scenario"].get(name)
    if a["target"]["durability"] != b["target"]["durability"]:
        yield "durability", a["target"]["durability"], b["target"]["durability"]
    if a["machine"] != b["machine"]:
        yield "the machine", a["machine"]["processor"], b["machine"]["processor"]
