"""The README reader's path, as written: `make serve`, then the examples, on the default address."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def _is_open(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.5):
        return True
    return False


@pytest.fixture(scope="module")
def make_serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[subprocess.Popen[bytes]]:
    """`make serve` with nothing set but where its data goes."""
    if _is_open(9092):
        pytest.skip("something listens on port 9092, the address that the README's examples use")
    folder = tmp_path_factory.mktemp("readme")
    output = (folder / "output").open("w+b")
    process = subprocess.Popen(
        ["make", "serve"],
        cwd=ROOT,
        env=os.environ | {"PYBROKER_LOG_DIRS": str(folder / "data")},
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    deadline = time.monotonic() + 300  # a fresh machine installs first
    while not _is_open(9092):
        assert process.poll() is None, (folder / "output").read_text()
        assert time.monotonic() < deadline, (folder / "output").read_text()
        time.sleep(0.05)
    yield process
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(30)
    output.close()


def _run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.usefixtures("make_serve")
def test_the_sdk_example_prints_what_it_sent() -> None:
    assert _run_python(_blocks("python")[0]) == "b'first' b'hello, world'\n"


@pytest.mark.usefixtures("make_serve")
def test_the_command_line_example_prints_what_it_sent() -> None:
    commands = next(block for block in _blocks("sh") if "pybroker produce" in block)
    scripts = os.pathsep.join([str(ROOT / ".venv/bin"), os.environ["PATH"]])  # `make serve` installed it there
    done = subprocess.run(
        ["sh", "-ec", commands],
        env=os.environ | {"PATH": scripts},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "0 hello from the command line"


@pytest.mark.usefixtures("make_serve")
def test_the_kafka_client_examples_write_to_the_same_topic() -> None:
    _run_python(_blocks("python")[1])
    if shutil.which("kcat") is None:
        pytest.skip("kcat is not installed (Debian and Ubuntu: apt-get install kcat)")
    commands = next(block for block in _blocks("sh") if "kcat" in block)
    done = subprocess.run(["sh", "-ec", commands], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert {"hello from kcat", "hello from librdkafka"} <= set(done.stdout.splitlines())
