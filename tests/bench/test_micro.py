"""The micro-benchmarks all run, each has a baseline, and what is slower than its baseline is named."""

from __future__ import annotations

import json
from pathlib import Path

from tests.bench import micro, micro_codec, micro_paths


def test_every_row_does_its_work_and_has_a_baseline(tmp_path: Path) -> None:
    rows = micro_codec.rows() | micro_paths.rows(tmp_path)
    for work in rows.values():
        work()
    assert set(json.loads(micro.BASELINE.read_text())) == set(rows)


def test_a_row_is_slower_only_past_what_its_baseline_allows() -> None:
    baseline = {"same": 1.0, "a bit": 1.0, "much": 1.0}
    measured = {"same": (9.0, 1.0), "a bit": (9.0, 1.2), "much": (9.0, 1.5), "new": (9.0, 7.0)}
    assert micro.slower(measured, baseline) == ["much"]
