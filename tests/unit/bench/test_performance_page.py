"""The page of figures says what was reached and what was missed, from the JSON alone."""

from __future__ import annotations

from typing import Any

from pybroker_bench.performance_page import page_of


def _figure(title: str, ratios: list[float], aim: float | None, *, more: bool = True) -> dict[str, Any]:
    values = {"pybroker": [ratio * 100 for ratio in ratios], "Kafka": [100.0] * len(ratios)}
    return {
        "title": title,
        "unit": "records/s",
        "digits": 0,
        "more_is_better": more,
        "aim": aim,
        "values": values,
        "ratios": ratios,
    }


def _result(*figures: dict[str, Any]) -> dict[str, Any]:
    step = {"step": "nothing yet", "round_trip_ms": 1.0, "rss_bytes": 40_000_000, "seconds": None, "metadata_ms": None}
    grown = {"step": "5,000 partitions", "round_trip_ms": 1.1, "rss_bytes": 60_000_000, "seconds": 1, "metadata_ms": 9}
    row = {
        "group": "Throughput",
        "title": "100-byte records",
        "acks": "all",
        "durability": ["fsync", "page-cache"],
        "client": None,
        "figures": list(figures),
        "skipped": "",
    }
    skipped = row | {"title": "replicated", "figures": [], "skipped": "needs 3 brokers"}
    return {
        "machine": {"processor": "a CPU", "cores": 2, "memory_bytes": 2**33, "system": "Linux", "python": "3.11"},
        "kafka": {"version": "4.3.0", "heap": "1G", "settings": {"node.id": "1"}},
        "rounds": 3,
        "scale": 1.0,
        "seconds": 600,
        "readiness_s": {"pybroker": [0.4, 0.5], "Kafka": [2.3, 2.4]},
        "peak_rss_bytes": {"pybroker": 100_000_000, "Kafka": 900_000_000},
        "rows": [row, skipped],
        "growth": {"pybroker": [step, grown], "Kafka": [step, grown]},
    }


def test_an_aim_is_judged_by_the_median_whichever_way_is_better() -> None:
    page = page_of(
        _result(
            _figure("produced", [1.1, 1.3, 1.4], 1.2),
            _figure("consumed", [0.9, 0.95, 1.2], 1.0),
            _figure("CPU", [0.2, 0.3, 0.4], 0.33, more=False),
            _figure("memory", [1.5, 1.5, 1.5], 0.1, more=False),
        )
    )
    title = "Throughput: 100-byte records, acks=all, fsync/page-cache"
    assert f"- reached: {title}: produced: 1.30 (aim 1.20)" in page
    assert f"- **missed**: {title}: consumed: 0.95 (aim 1.00)" in page
    assert f"- reached: {title}: CPU: 0.30" in page
    assert f"- **missed**: {title}: memory: 1.50" in page
    assert "- reached: ready after start: 0.19 (aim 0.20)" in page
    assert "- **missed**: peak resident memory: 0.11 (aim 0.10)" in page
    assert "- reached: round trip with 5,000 partitions, beside none: 1.10 (aim 1.20)" in page


def test_what_is_compared_is_said_where_the_brokers_differ() -> None:
    page = page_of(_result(_figure("produced", [1.3], 1.2)))
    [line] = [line for line in page.splitlines() if line.startswith("| 100-byte records |")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1:] == [
        "all",
        "pybroker fsync, Kafka page-cache",
        "produced, records/s",
        "130",
        "100",
        "1.30",
        "≥ 1.20",
    ]
    assert "not run: needs 3 brokers" in page


def test_the_machine_and_kafkas_settings_are_told() -> None:
    page = page_of(_result(_figure("produced", [1.3], None)))
    assert "a CPU, 2 cores, 8 GB of memory" in page
    assert "node.id=1" in page
