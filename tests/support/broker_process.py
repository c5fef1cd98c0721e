"""A broker as users run it: `pybroker serve` in a process of its own, with its own port and data
directory."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 30
READY_SENTENCE = "Kafka Server started"
_SERVE = (sys.executable, "-m", "pybroker_server", "serve")


class BrokerProcess:
    """Starts, stops, kills and starts again; the port and the data stay the same over its lives."""

    def __init__(
        self,
        data_dir: Path,
        *,
        settings: Mapping[str, str | None] | None = None,
        command: Sequence[str] = _SERVE,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`settings`: configuration keys with values, None for the broker's default; there is no admin server unless
        they say so. `command`: what to run, to which the flags are added."""
        self.data_dir = data_dir
        self.port = free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"
        self.log_path = data_dir.with_name(f"{data_dir.name}.log")
        given: dict[str, str | None] = {
            "log.dirs": str(data_dir),
            "listeners": f"PLAINTEXT://{self.bootstrap}",
            "admin.listener": "",
            **(settings or {}),
        }
        flags = [
            part for key, value in given.items() if value is not None for part in (f"--{key.replace('.', '-')}", value)
        ]
        self.command = command
        self._flags = flags
        self._environment = environment or {}
        self._process: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    def start(self) -> None:
        """Returns when the broker says that it is ready; raises AssertionError with its log if it ends
        first."""
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        """Starts the process and returns at once."""
        assert self._process is None, "started twice"
        packages = os.pathsep.join(str(ROOT / name) for name in ("protocol", "client", "broker", "bench"))
        path = os.pathsep.join(filter(None, (str(ROOT), packages, os.environ.get("PYTHONPATH"))))
        self._log_start = self.log_path.stat().st_size if self.log_path.exists() else 0
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [*self.command, *self._flags],
                cwd=ROOT,
                env={**without_settings(os.environ), "PYTHONPATH": path, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while READY_SENTENCE not in self.log():
            assert self.running.poll() is None, f"the broker ended with {self.running.returncode}:\n{self.log()}"
            assert time.monotonic() < deadline, f"the broker is not ready:\n{self.log()}"
            time.sleep(0.005)

    @property
    def running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "not started"
        return self._process

    @property
    def pid(self) -> int:
        return self.running.pid

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """SIGTERM; the broker must flush, say nothing bad, and exit with 0."""
        process = self.running
        process.send_signal(signal.SIGTERM)
        code = self.wait()
        assert code == 0, f"the broker ended with {code}:\n{self.log()}"

    def kill(self) -> None:
        """kill -9: nothing is flushed, nothing is said."""
        self.running.kill()
        self.wait()

    def suspend(self) -> None:
        """It keeps its connections and does nothing (SIGSTOP), until `resume`."""
        self.running.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.running.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        self.stop()
        self.start()

    def wait(self) -> int:
        """Waits for the end and returns the exit code."""
        process, self._process = self.running, None
        try:
            return process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)  # its faulthandler, if any, says where it stands
            process.kill()
            process.wait()
            raise AssertionError(f"the broker did not end in {STOP_TIMEOUT_S} s:\n{self.log()}") from None

    def log(self) -> str:
        """What the present or last life has printed."""
        with self.log_path.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode("utf-8", "replace")

    def resident_bytes(self) -> int:
        """Resident memory now (Linux)."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def close(self) -> None:
        """Ends whatever still runs, however it ends."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@contextlib.contextmanager
def running_broker(
    data_dir: Path, settings: Mapping[str, str] | None = None, *, stops_cleanly: bool = True
) -> Iterator[BrokerProcess]:
    """A broker for the length of a block. It must still be alive at the end, and then stop as it should."""
    broker = BrokerProcess(data_dir, settings=settings)
    broker.start()
    try:
        yield broker
        assert broker.is_alive, f"the broker died:\n{broker.log()}"
        if stops_cleanly:
            broker.stop()
    finally:
        broker.close()


@contextlib.contextmanager
def broker_process(data_dir: Path, settings: Mapping[str, str] | None = None) -> Iterator[str]:
    """The same for those who only need its address."""
    with running_broker(data_dir / "data", settings) as broker:
        yield broker.bootstrap


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without the settings of somebody's own broker."""
    return {
        key: value
        for key, value in environment.items()
        if not key.startswith(("KAFKA_", "PYBROKER_")) or key.startswith("PYBROKER_TEST_")
    }
