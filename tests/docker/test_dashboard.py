"""The Grafana dashboard: every query asks for metrics and labels that there are, in PromQL that Prometheus reads."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.containers import DOCKER

from pybroker_server.admin.table import METRICS

DASHBOARD: dict[str, Any] = json.loads((DOCKER / "grafana" / "dashboards" / "pybroker.json").read_text())
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = [
    pytest.param(target["expr"], id=f"{panel['title']}-{target['refId']}")
    for panel in PANELS
    for target in panel["targets"]
]
VARIABLES = {variable["name"] for variable in DASHBOARD["templating"]["list"]}
USUAL = {
    "process_cpu_seconds_total": (),
    "process_resident_memory_bytes": (),
    "python_gc_collections_total": ("generation",),
}
"""What prometheus-client tells of every Python process."""
ADDED_BY_PROMETHEUS = {"instance", "job"}
_METRIC = re.compile(r"\b(?:kafka|pybroker|process|python)_[a-z_]+\b(?:\{(?P<selectors>[^}]*)\})?")
_SELECTED = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_GROUPED = re.compile(r"\bby \(([^)]*)\)")
_GRAFANA = {"$__rate_interval": "1m", "$broker": ".*", "$topic": ".*"}


def labels_of(name: str) -> set[str]:
    """Those of a metric, by its name in a query; KeyError for one that there is not."""
    if name in USUAL:
        return {*USUAL[name], *ADDED_BY_PROMETHEUS}
    if name.endswith("_bucket"):
        metric = METRICS[name.removesuffix("_bucket")]
        assert metric.type == "histogram"
        return {*metric.labels, "le", *ADDED_BY_PROMETHEUS}
    return {*METRICS[name].labels, *ADDED_BY_PROMETHEUS}


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_asks_for_what_there_is(query: str) -> None:
    found = list(_METRIC.finditer(query))
    assert found
    known: set[str] = set()
    for metric in found:
        name = metric[0].partition("{")[0]
        labels = labels_of(name)
        assert set(_SELECTED.findall(metric["selectors"] or "")) <= labels
        known |= labels
    for grouped in _GROUPED.findall(query):
        assert {label.strip() for label in grouped.split(",")} <= known


@pytest.mark.parametrize("query", QUERIES)
def test_counters_are_asked_for_their_rate_and_gauges_are_not(query: str) -> None:
    moves = {
        "kafka_consumergroup_current_offset"
    }  # a gauge, because it can be set back; its rate is how fast one reads
    for metric in _METRIC.finditer(query):
        name = metric[0].partition("{")[0]
        counts = name.endswith(("_total", "_bucket"))
        is_rated = f"rate({metric[0]}[" in query
        assert is_rated == counts or name in moves, name


def test_queries_are_promql(tmp_path: Path) -> None:
    """As Prometheus's own tool reads them: each as a rule that records."""
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed (Debian: prometheus)")
    rules = []
    for number, param in enumerate(QUERIES):
        expression = str(param.values[0])
        for variable, value in _GRAFANA.items():
            expression = expression.replace(variable, value)
        rules.append({"record": f"panel:{number}", "expr": expression})
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run(["promtool", "check", "rules", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_variables_are_declared_and_asked_of_metrics_that_there_are() -> None:
    used = set(re.findall(r"\$\{?([a-z_]+)\}?", json.dumps(DASHBOARD))) - {"__rate_interval", "__all"}
    assert used == VARIABLES
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            asked = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"])
            assert asked is not None
            assert asked[2] in labels_of(asked[1])


def test_panels_do_not_lie_over_each_other() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_every_kind_of_metric_has_a_panel() -> None:
    """What the table has and no panel shows is left out on purpose."""
    shown = {
        match[0].partition("{")[0].removesuffix("_bucket") for q in QUERIES for match in _METRIC.finditer(q.values[0])
    }
    left_out = {
        "kafka_broker_info",
        "kafka_consumergroup_current_offset_sum",
        "kafka_consumergroup_lag_sum",
        "kafka_topic_partition_current_offset",
        "kafka_topic_partition_in_sync_replica",
        "kafka_topic_partition_leader_is_preferred",
        "kafka_topic_partition_oldest_offset",
        "kafka_topic_partition_replicas",
        "pybroker_blocking_work",
        "pybroker_buffer_pool_idle_bytes",
        "pybroker_cleaner_passes_total",
        "pybroker_connections_accepted_total",
        "pybroker_consumergroup_info",
        "pybroker_fetch_sessions",
        "pybroker_half_received_requests",
        "pybroker_info",
        "pybroker_log_directory_total_bytes",
        "pybroker_metadata_revision",
        "pybroker_partition_high_watermark",
        "pybroker_partition_last_stable_offset",
        "pybroker_partition_log_end_offset",
        "pybroker_partition_log_segments",
        "pybroker_request_bytes_total",
        "pybroker_request_memory_bytes",
        "pybroker_request_memory_limit_bytes",
        "pybroker_requests_with_trailing_bytes_total",
        "pybroker_response_bytes_total",
        "pybroker_topic_batches_in_total",
    }
    assert set(METRICS) - shown == left_out
