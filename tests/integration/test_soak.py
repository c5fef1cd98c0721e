"""At full speed for minutes: memory stays flat, and every record that was acknowledged comes back as it was.

Short by default; `PYBROKER_TEST_SOAK_S=300` is the measurement, which prints the curve of resident memory.

    PYBROKER_TEST_SOAK_S=300 python -m pytest -s -o faulthandler_timeout=0 tests/integration/test_soak.py
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from tests.support.broker_process import ROOT, BrokerProcess, running_broker

SOAK_S = int(os.environ.get("PYBROKER_TEST_SOAK_S", "4"))
SETTINGS = {
    # Segments come and go, as in the life of a broker: a minute's records would fill a disk.
    "log.segment.bytes": str(64 * 1024 * 1024),
    "log.retention.bytes": str(2 * 1024 * 1024 * 1024),
    "log.retention.check.interval.ms": "2000",
}
MEBIBYTE = 1024 * 1024
GROWTH_MAX_BYTES = 16 * MEBIBYTE
"""From the second quarter to the last: buffers have found their size by then."""

SWING_MAX_BYTES = 48 * MEBIBYTE
"""In the last quarter: memory that comes and goes is garbage that waited for its collector."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc"),
]


def load(broker: BrokerProcess, result: Path) -> list[tuple[float, int]]:
    """Drives the broker with the load generator; (seconds, resident bytes) meanwhile."""
    arguments = ["bench", "run", "throughput", "-b", broker.bootstrap, "--client", "confluent-kafka", "-q"]
    arguments += ["--duration", str(SOAK_S), "--warmup", "1", "--set", "messageSize=1000", "--json", str(result)]
    packages = os.pathsep.join(str(ROOT / name) for name in ("protocol", "client", "broker", "bench"))
    curve: list[tuple[float, int]] = []
    begun = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-m", "pybroker_server", *arguments],
        env={**os.environ, "PYTHONPATH": packages},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        while process.poll() is None:
            curve.append((time.monotonic() - begun, broker.resident_bytes()))
            time.sleep(0.5)
        assert process.stdout is not None
        told = process.stdout.read()
    assert process.returncode == 0, told
    return curve


def test_memory_stays_flat_and_nothing_is_lost_at_full_speed(tmp_path: Path) -> None:
    with running_broker(tmp_path / "data", SETTINGS) as broker:
        curve = load(broker, tmp_path / "result.json")
    result: dict[str, Any] = json.loads((tmp_path / "result.json").read_text())
    show(curve, result)
    checked = result["verification"]
    assert checked["checked"] > 0
    assert result["is_clean"], checked
    second, last = quarter(curve, 1), quarter(curve, 3)
    assert last - second <= GROWTH_MAX_BYTES, f"{second // MEBIBYTE} MiB became {last // MEBIBYTE} MiB"
    sizes = [size for _, size in curve[len(curve) * 3 // 4 :]]
    assert max(sizes) - min(sizes) <= SWING_MAX_BYTES


def quarter(curve: list[tuple[float, int]], number: int) -> int:
    """The median of resident memory in one quarter of the time, 0 to 3."""
    step = len(curve) / 4
    return int(median(size for _, size in curve[int(number * step) : int((number + 1) * step)]))


def show(curve: list[tuple[float, int]], result: dict[str, Any]) -> None:
    every = max(len(curve) // 30, 1)
    for seconds, size in curve[::every]:
        print(f"{seconds:6.1f} s  {size / MEBIBYTE:6.1f} MiB")
    print(json.dumps(result["verification"]))
