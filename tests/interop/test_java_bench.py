"""`pybroker bench kafka`: both brokers are started, measured in turn, and written down."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.interop.kafka import jars

pytestmark = pytest.mark.java


def test_a_small_run_measures_everything_and_writes_the_page(tmp_path: Path) -> None:
    result, page = tmp_path / "result.json", tmp_path / "page.md"
    command = [sys.executable, "-m", "pybroker_server", "bench", "kafka", "--jars", str(jars()), "--rounds", "1"]
    command += ["--scale", "0.005", "--quick", "--only", "1-KB records", "--json", str(result), "--page", str(page)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(result.read_text())
    assert {target["name"] for target in found["targets"]} == {"pybroker", "Kafka"}
    assert all(seconds > 0 for each in found["readiness_s"].values() for seconds in each)
    assert len(found["growth"]["pybroker"]) == len(found["growth"]["Kafka"]) == 4
    for row in found["rows"]:
        for figure in row["figures"]:
            assert figure["values"]["Kafka"]
    assert "## Growth" in page.read_text()
