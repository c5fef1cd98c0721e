"""What a start loads before it serves. Modules are counted, not milliseconds: a count is the same on every machine."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

MODULES_MAX = 600
"""Of all modules, the interpreter's own included. A start is mostly imports: raise it only for what a start needs."""

NOT_BEFORE_IT_SERVES = {
    "aiohttp": "the admin server loads it with its first connection, etcd's store when it is used",
    "prometheus_client": "as aiohttp",
    "rich": "for tables of the command line",
    "pybroker": "the SDK is for the command line and for users",
    "pybroker_bench": "the load generator is a program of its own",
    "re2": "loaded with the first pattern that somebody subscribes to",
    "yaml": "for scenarios of the load generator",
    "argparse": "nobody's",
    "decimal": "for numbers in answers to DescribeConfigs",
    "shutil": "for deletions",
    "email": "nobody's: packages look their own version up with it",
    "importlib.metadata": "as email",
    "pybroker_server.admin.http": "loaded with the first connection",
    "pybroker_server.coordinator.group.shard": "loaded with the first partition of groups, or once the broker is ready",
    "pybroker_server.log.compaction_pass": "loaded with the first pass",
    "pybroker_server.metadata.etcd": "another kind of store",
    "pybroker_server.metadata.memory": "another kind of store",
}

SCRIPT = """
import os, signal, sys, threading
from pybroker_server.cli import main, serve

def announce(*args, **options):
    print(sorted(sys.modules))
    os.kill(os.getpid(), signal.SIGTERM)

serve._announce = announce
main.main(["serve", "--log-dirs", sys.argv[1], "--listeners", "PLAINTEXT://127.0.0.1:0", "--admin-listener",
    "127.0.0.1:0"])
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The modules of a fresh broker at the moment it serves."""
    directory: Path = tmp_path_factory.mktemp("start") / "data"
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(directory)], capture_output=True, text=True, timeout=60, check=True
    )
    [told] = [line for line in done.stdout.splitlines() if line.startswith("['")]
    return set(ast.literal_eval(told))


@pytest.mark.parametrize(("name", "reason"), NOT_BEFORE_IT_SERVES.items(), ids=NOT_BEFORE_IT_SERVES)
def test_a_start_does_not_wait_for_what_it_does_not_need(loaded: set[str], name: str, reason: str) -> None:
    assert name not in loaded, reason


def test_a_start_loads_no_more_modules_than_it_did(loaded: set[str]) -> None:
    assert len(loaded) <= MODULES_MAX
