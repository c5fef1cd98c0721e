"""A measurement that is interrupted leaves nothing behind: no broker, no worker."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.campaign

TIMEOUT_S = 60


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _is_running(pid: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_no_process_is_left_of_a_measurement_that_is_interrupted(told: signal.Signals) -> None:
    command = [sys.executable, "-m", "pybroker_server", "bench", "run", "end-to-end", "-q", "--duration", "300"]
    measuring = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + TIMEOUT_S
    try:
        while len(started := _children(measuring.pid)) < 3:  # the broker, the producers, the consumers
            assert measuring.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        measuring.send_signal(told)
        _, errors = measuring.communicate(timeout=TIMEOUT_S)
    finally:
        measuring.kill()
    assert measuring.returncode == 130
    assert "Traceback" not in errors
    while left := [pid for pid in started if _is_running(pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)
