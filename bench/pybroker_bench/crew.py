"""The worker processes of a measurement: started, told what to do together, listened to, and ended.

Rules: one socket per worker, a line of JSON per message. A worker that fails or dies ends the measurement, with its
last words. No worker outlives the block it was started in.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pybroker_bench.errors import BenchError
from pybroker_bench.worker import LINE_BYTES_MAX

_END_S: Final = 10.0


class Member:
    """One worker process."""

    def __init__(self, spec: Mapping[str, Any], on_progress: Callable[[Mapping[str, Any]], None]) -> None:
        self._spec = spec
        self._on_progress = on_progress
        self._answers: asyncio.Queue[Mapping[str, Any]] = asyncio.Queue()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `end`
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def has_producers(self) -> bool:
        return bool(self._spec["producers"])

    async def start(self, tasks: asyncio.TaskGroup) -> None:
        reader, self._writer = await asyncio.open_connection(sock=self._spawn(), limit=LINE_BYTES_MAX)
        self.tell(self._spec)
        self._listening = tasks.create_task(self._listen(reader))

    def _spawn(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-X", "faulthandler", "-m", "pybroker_bench.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stderr=self._stderr,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        return ours

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        # A process that dies with something unread resets the connection.
        with contextlib.suppress(ConnectionResetError):
            while line := await reader.readline():
                message = json.loads(line)
                if message["is"] == "progress":
                    self._on_progress(message)
                elif message["is"] == "failed":
                    raise BenchError("the load could not be driven", cause=message["why"])
                else:
                    self._answers.put_nowait(message)
        assert self._process is not None
        status = await asyncio.to_thread(self._process.wait)
        self._stderr.seek(0)
        words = self._stderr.read().decode(errors="replace").strip()[-1500:] or "it said nothing"
        raise BenchError("a process of the load ended early", cause=f"exit status {status}: {words}")

    def tell(self, order: Mapping[str, Any]) -> None:
        self._writer.write(json.dumps(order).encode() + b"\n")

    async def answer(self, kind: str) -> Mapping[str, Any]:
        message = await self._answers.get()
        assert message["is"] == kind, f"{message['is']} was answered where {kind} was due"
        return message

    async def end(self) -> None:
        """Closes the socket, which ends the process."""
        if self._process is not None:
            self._listening.cancel()
            self._writer.close()
            try:
                # Not on the event loop: it has yet to close the socket.
                await asyncio.to_thread(self._process.wait, _END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._stderr.close()


async def ask_all(members: Sequence[Member], order: Mapping[str, Any], answer: str) -> list[Mapping[str, Any]]:
    """Tells all of them, then waits for all their answers."""
    for member in members:
        member.tell(order)
    return [await member.answer(answer) for member in members]
