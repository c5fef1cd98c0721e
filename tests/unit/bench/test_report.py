"""What a report says, in each of its forms."""

from __future__ import annotations

import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.support.bench_reports import made_report

from pybroker_bench.compare import lines_of as compared
from pybroker_bench.compare import read, rows_of
from pybroker_bench.errors import BenchError
from pybroker_bench.page import page_of
from pybroker_bench.tables import lines_of
from pybroker_bench.verify import Verdict


def test_rates_are_per_second_of_the_measured_time_and_costs_per_gb() -> None:
    report = made_report(records=1000)
    assert report["produced"]["records_per_second"] == report["consumed"][0]["records_per_second"] == 1000
    assert report["produced"]["mb_per_second"] == 0.1
    assert report["broker"]["cpu_s_per_gb"] == pytest.approx(1.5 / 0.0003)
    assert report["latency_ms"]["publish"]["count"] == 60
    assert report["latency_ms"]["publish"]["p50"] == pytest.approx(2.0, rel=0.06)


def test_the_table_says_how_safe_what_was_measured_is() -> None:
    text = "\n".join(lines_of(made_report()))
    assert "acks=all, durability=fsync" in text
    assert "none lost, duplicated, reordered or corrupted" in text


def test_the_table_names_every_fault() -> None:
    verdict = Verdict(checked=10, lost=3, corrupted=1, examples=["lost: 3 records of producer 1"])
    report = made_report(verdict=verdict)
    text = "\n".join(lines_of(report))
    assert report["is_clean"] is False
    assert "3 lost, 1 corrupted" in text
    assert "lost: 3 records of producer 1" in text


def test_a_page_needs_no_network_and_its_charts_can_be_drawn() -> None:
    page = page_of(made_report())
    assert not re.search(r"(src|href)\s*=|url\(|@import|<script", page)
    charts = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(charts) == 4
    for each in charts:
        drawn = ElementTree.fromstring(each)
        assert drawn.findall("polyline")
        for line in drawn.findall("polyline"):
            points = [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
            assert all(0 <= x <= 720 and 0 <= y <= 260 for x, y in points)


def test_a_page_escapes_what_it_was_given() -> None:
    page = page_of(made_report())
    assert "&lt;made&gt;" in page
    assert "<made>" not in page


def test_a_comparison_says_which_way_is_better() -> None:
    slow, fast = made_report(records=1000, latency_ms=4.0), made_report(records=2000, latency_ms=2.0)
    lines = {line[:30].strip(): line for line in compared(slow, fast)}
    assert lines["produced, records/s"].endswith("2.00 better")
    assert lines["publish p50, ms"].endswith("better")
    assert {line[:30].strip(): line for line in compared(fast, slow)}["produced, records/s"].endswith("0.50 worse")


def test_a_comparison_with_itself_finds_nothing() -> None:
    report = made_report()
    assert all(mine == other for _, mine, other, _ in rows_of(report, report))
    assert not any(line.endswith(("better", "worse")) or line.startswith("note") for line in compared(report, report))


def test_a_comparison_names_settings_that_differ() -> None:
    lines = list(compared(made_report(), made_report(acks="1", partitionsPerTopic=4)))
    assert "note: acks differs: all and 1" in lines
    assert "note: partitionsPerTopic differs: 1 and 4" in lines


def test_what_is_no_report_is_refused(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.json"
    for text in ("{}", "no json", json.dumps({"schema": 99})):
        wrong.write_text(text)
        with pytest.raises(BenchError):
            read(str(wrong))
    with pytest.raises(BenchError):
        read(str(tmp_path / "absent.json"))


def test_a_report_that_was_written_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text(json.dumps(made_report()))
    assert read(str(path))["produced"]["records"] == 3000
