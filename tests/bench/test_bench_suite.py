"""`pybroker bench suite` against two brokers in turn: a table with ratios, and JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.campaign


def test_a_suite_runs_its_cases_on_both_brokers_and_prints_ratios(bootstrap: str, tmp_path: Path) -> None:
    path = tmp_path / "suite.json"
    command = [sys.executable, "-m", "pybroker_server", "bench", "suite", "-b", bootstrap, "--against", bootstrap]
    command += ["--only", ": 1 consumer", "--rounds", "1", "--scale", "0.001", "--client", "sdk", "--json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(path.read_text())
    assert set(result) == {"schema", "kind", "machine", "client", "rounds", "scale", "targets", "rows"}
    assert {row["title"] for row in result["rows"]} == {"1 consumer"}
    for row in result["rows"]:
        for figure in row["figures"]:
            assert len(figure["ratios"]) == 1
            assert figure["values"]["A"][0] > 0
    assert "ratio" in done.stdout


def test_replicated_rows_run_on_a_cluster_that_is_started_for_them(tmp_path: Path) -> None:
    path = tmp_path / "suite.json"
    command = [sys.executable, "-m", "pybroker_server", "bench", "suite", "--workers", "3", "--only", "1 producer, 3"]
    command += ["--rounds", "1", "--scale", "0.001", "--client", "sdk", "--json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(path.read_text())
    assert result["targets"][0]["brokers"] == 3
    assert [row["acks"] for row in result["rows"]] == ["1", "all", "all"]
    assert all(row["figures"][0]["values"]["pybroker"] for row in result["rows"])


def test_several_workers_are_measured_beside_one(tmp_path: Path) -> None:
    path = tmp_path / "workers.json"
    command = [sys.executable, "-m", "pybroker_server", "bench", "workers", "--rounds", "1", "--scale", "0.001"]
    done = subprocess.run([*command, "--json", str(path)], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(path.read_text())
    assert [(target["name"], target["brokers"]) for target in result["targets"]] == [("2 workers", 2), ("1 worker", 1)]
    for row in result["rows"]:
        produced, cpu = row["figures"]
        assert len(produced["ratios"]) == 1
        assert len(cpu["values"]["2 workers"]) == 1
    assert "ratio" in done.stdout


def test_three_replicas_are_measured_with_what_they_cost(tmp_path: Path) -> None:
    path = tmp_path / "suite.json"
    command = [sys.executable, "-m", "pybroker_server", "bench", "suite", "--workers", "3", "--only", "6 partitions, 3"]
    command += ["--rounds", "1", "--scale", "0.001", "--json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(path.read_text())["rows"]
    assert [row["acks"] for row in rows] == ["1", "all", "all"]
    assert all(len(figure["values"]["pybroker"]) == 1 for row in rows for figure in row["figures"])


def test_a_case_that_is_not_there_is_said_in_words(bootstrap: str) -> None:
    command = [sys.executable, "-m", "pybroker_server", "bench", "suite", "-b", bootstrap, "--only", "no such"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "no case has 'no such' in its title" in done.stderr
