"""`pybroker bench run` against a real broker, with each client: records go through, are checked, and are reported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pybroker_bench.scenario import FIELDS

pytestmark = pytest.mark.campaign

SHORT = ("--duration", "1", "--warmup", "0.3", "-q")


def _bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pybroker_server", "bench", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def _run(bootstrap: str, tmp_path: Path, *arguments: str) -> dict[str, Any]:
    path = tmp_path / "result.json"
    done = _bench("run", *arguments, "-b", bootstrap, "--json", str(path), *SHORT)
    assert done.returncode == 0, done.stdout + done.stderr
    report: dict[str, Any] = json.loads(path.read_text())
    return report


@pytest.mark.parametrize("client", ["sdk", "confluent-kafka", "librdkafka"])
def test_every_client_produces_and_reads_back_what_was_acknowledged(
    bootstrap: str, tmp_path: Path, client: str
) -> None:
    report = _run(bootstrap, tmp_path, "throughput", "--client", client, "--rate", "3000")
    verdict = report["verification"]
    assert report["is_clean"]
    assert verdict["is_enabled"]
    assert verdict["checked"] == report["produced"]["all_records"] == 3900
    assert report["latency_ms"]["end_to_end"]["count"] == 3000


def test_a_rate_is_kept_and_latencies_count_from_when_a_record_was_due(bootstrap: str, tmp_path: Path) -> None:
    report = _run(bootstrap, tmp_path, "end-to-end", "--rate", "200")
    assert report["produced"]["all_records"] == 260
    latency = report["latency_ms"]
    assert latency["publish"]["count"] == latency["ack"]["count"] == latency["end_to_end"]["count"] == 200
    assert latency["publish"]["max"] >= latency["ack"]["max"]


def test_verification_can_be_left_out_and_the_report_says_so(bootstrap: str, tmp_path: Path) -> None:
    given = ("--no-verify", "--client", "librdkafka", "--set", "consumerBacklogMessages=20000")
    report = _run(bootstrap, tmp_path, "backlog", *given)
    assert report["verification"]["is_enabled"] is False
    assert report["consumed"][0]["all_records"] == report["filled"]["records"] + 2000 == 20_000


def test_keys_mixed_sizes_and_compression_arrive_whole(bootstrap: str, tmp_path: Path) -> None:
    scenario = tmp_path / "mixed.yaml"
    scenario.write_text(
        "topics: 2\npartitionsPerTopic: 3\nkeyDistributor: ZIPF\nmessageSize: {50: 5, 2000: 1}\n"
        "compression: lz4\nproducersPerTopic: 2\nsubscriptionsPerTopic: 2\nconsumerPerSubscription: 2\n"
        "producerRate: 2000\n"
    )
    report = _run(bootstrap, tmp_path, str(scenario))
    assert report["is_clean"]
    assert report["verification"]["checked"] == 2 * report["produced"]["all_records"] == 2 * 2600


def test_a_backlog_is_written_first_and_then_read(bootstrap: str, tmp_path: Path) -> None:
    report = _run(bootstrap, tmp_path, "backlog", "--set", "consumerBacklogMessages=5000")
    assert report["verification"]["checked"] == 5000
    assert report["consumed"][0]["records_per_second"] > 0


def test_the_json_has_the_shape_that_is_promised(bootstrap: str, tmp_path: Path) -> None:
    report = _run(bootstrap, tmp_path, "end-to-end", "--rate", "100")
    assert report["schema"] == 1
    assert set(report) == {
        "schema", "at", "scenario", "target", "machine", "produced", "consumed", "filled", "latency_ms", "broker",
        "generator", "verification", "unread", "is_clean", "killed_at_s", "cold_files", "series", "histograms_ns",
    }  # fmt: skip
    assert set(report["scenario"]) == set(FIELDS)
    assert set(report["latency_ms"]["publish"]) == {
        "count", "mean", "p50", "p90", "p99", "p99_9", "p99_99", "min", "max",
    }  # fmt: skip
    assert report["target"]["durability"] == "fsync"
    assert report["target"]["brokers"] == 1
    assert report["broker"]["peak_rss_bytes"] > report["broker"]["rss_bytes"] / 2 > 0
    assert report["broker"]["cpu_s_per_gb"] > 0
    assert report["series"][0]["second"] == 0


def test_a_broker_that_is_killed_under_load_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    options = ("--rate", "300", "--set", "killBrokerAfterSeconds=1", "--duration", "3", "--warmup", "0.3", "-q")
    done = _bench("run", "broker-kill", *options, "--json", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(path.read_text())
    assert report["killed_at_s"] >= 1
    assert report["verification"]["checked"] == report["produced"]["all_records"] == 990


def test_members_that_come_and_go_lose_and_repeat_nothing(bootstrap: str, tmp_path: Path) -> None:
    scenario = ("rebalance", "--rate", "300", "--set", "consumerPerSubscription=2")
    report = _run(bootstrap, tmp_path, *scenario, "--set", "rebalanceIntervalSeconds=1")
    assert report["consumed"][0]["rejoins"] >= 1
    assert report["verification"]["checked"] >= report["produced"]["all_records"] == 390


def test_a_subscription_replays_everything_while_another_reads_the_tail(bootstrap: str, tmp_path: Path) -> None:
    report = _run(bootstrap, tmp_path, "replay", "--rate", "300", "--set", "consumerBacklogMessages=2000")
    tail, replay = report["consumed"]
    assert replay["is_replay"]
    assert tail["all_records"] == replay["all_records"] == 2000 + 390


@pytest.mark.parametrize("client", ["sdk", "confluent-kafka"])
def test_records_of_aborted_transactions_are_never_read_and_all_others_are(
    bootstrap: str, tmp_path: Path, client: str
) -> None:
    scenario = ("transactions", "--rate", "500", "--client", client, "--set", "transactionAbortRatio=0.5")
    report = _run(bootstrap, tmp_path, *scenario)
    # 1.3 seconds of five transactions a second: seven, of which three are aborted.
    assert report["verification"]["checked"] == report["produced"]["all_records"] == 400
    assert report["produced"]["failed"] == 0
    assert report["latency_ms"]["commit"]["count"] > 0


def test_a_broker_that_is_not_there_is_said_in_words(tmp_path: Path) -> None:
    done = _bench("run", "throughput", "-b", "127.0.0.1:1", *SHORT)
    assert done.returncode == 3
    assert "no broker at 127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_an_address_a_broker_is_started_for_the_measurement() -> None:
    done = _bench("run", "end-to-end", "--rate", "50", "--durability", "page-cache", *SHORT)
    assert done.returncode == 0, done.stderr
    assert "durability=page-cache" in done.stdout
    assert "none lost, duplicated, reordered or corrupted" in done.stdout


def test_what_is_wrong_with_a_scenario_is_said_in_words() -> None:
    done = _bench("run", "throughput", "--set", "partitions=3")
    assert done.returncode == 2
    assert "partitionsPerTopic" in done.stderr
