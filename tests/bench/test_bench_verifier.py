"""A loss, a duplicate, a swap and a flipped bit, planted on the wire behind right checksums, are each caught and fail
the run; the same load without them passes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.broker_process import free_port, running_broker
from tests.support.tampering_proxy import Harm, TamperingProxy, duplicate_one, flip_a_bit, lose_one, swap_two

from pybroker_bench.verify import Verdict


def _unharmed(values: list[bytes]) -> list[bytes]:
    return values


@pytest.mark.parametrize(
    ("harm", "faults", "code"),
    [
        (lose_one, {"lost": 1}, 1),
        (duplicate_one, {"duplicated": 1}, 1),
        (swap_two, {"reordered": 1}, 1),
        (flip_a_bit, {"corrupted": 1, "lost": 1}, 1),
        (_unharmed, {}, 0),
    ],
)
def test_what_is_done_to_a_record_on_its_way_is_caught(
    harm: Harm, faults: dict[str, int], code: int, tmp_path: Path
) -> None:
    port = free_port()
    advertised = {"advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}"}
    result = tmp_path / "result.json"
    with (
        running_broker(tmp_path / "data", advertised) as broker,
        TamperingProxy(port, broker.port, harm) as proxy,
    ):
        # acks=1: an idempotent producer's next sequence number would tell the broker that a record is missing.
        command = [sys.executable, "-m", "pybroker_server", "bench", "run", "backlog", "--acks", "1", "-q"]
        command += ["-b", f"127.0.0.1:{port}", "--set", "consumerBacklogMessages=2000", "--json", str(result)]
        command += ["--drain-quiet", "5"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert proxy.is_done, done.stderr
    assert result.exists(), done.stdout + done.stderr
    assert done.returncode == code, done.stdout + done.stderr
    verdict = json.loads(result.read_text())["verification"]
    assert {name: verdict[name] for name in Verdict.FAULTS if verdict[name]} == faults
