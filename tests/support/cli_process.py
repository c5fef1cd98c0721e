"""Commands of `pybroker` in a process of their own, for tests that have other things under way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

from tests.support.broker_process import ROOT

TIMEOUT_S = 120


def pybroker_command(*arguments: str) -> Any:
    """Runs it to its end, which must be a good one; what it printed, read as JSON if `-o json` was asked for."""
    packages = os.pathsep.join(str(ROOT / name) for name in ("protocol", "client", "broker", "bench"))
    done = subprocess.run(
        [sys.executable, "-m", "pybroker_server", *arguments],
        env={**os.environ, "PYTHONPATH": packages},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout) if "json" in arguments else done.stdout
