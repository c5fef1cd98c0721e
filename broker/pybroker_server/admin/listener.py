"""The admin server's port: open from the start, the server behind it loaded when somebody first comes.

Rules of this file: cheap, and never a reason for the broker not to serve. HTTP and metrics cost a third of a second and
20 MB to import, which a broker that nobody scrapes need not pay, and one that somebody does not before it is ready: the
first connection waits in the system's queue while a thread imports.
"""

from __future__ import annotations

import asyncio
import errno
import importlib
import socket
from typing import TYPE_CHECKING, Final

from pybroker_server.admin.sources import Sources
from pybroker_server.runtime.runtime import Runtime
from pybroker_server.telemetry.events import get_logger

if TYPE_CHECKING:
    from pybroker_server.admin.http import AdminServer

_BACKLOG: Final = 16
_logger = get_logger("pybroker.admin")


class AdminListener:
    """`open`, `serve` once there is a broker to tell of, `stop`. `port` is 0 while closed."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        self._sources: Sources | None = None
        self._server: AdminServer | None = None
        self._opening: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        return 0 if self._socket is None else int(self._socket.getsockname()[1])

    def open(self, host: str, port: int, *, is_wanted: bool) -> None:
        """Listens on `host:port`. A port that is taken is told in a line; when `is_wanted` (a user named it) it is an
        OSError."""
        try:
            self._socket = _listening(host, port)
        except OSError as error:
            if is_wanted:
                raise
            hint = "another broker has it; choose another with --admin-listener HOST:PORT, or '' for none"
            reason = hint if error.errno == errno.EADDRINUSE else str(error)
            _logger.warning("admin_not_listening", address=f"{host}:{port}", reason=reason)
            return
        self._loop.add_reader(self._socket.fileno(), self._on_first_connection)
        _logger.info("admin_listening", url=f"http://{_shown(host)}:{self.port}/metrics")

    def serve(self, sources: Sources) -> None:
        """From here on it tells of this broker."""
        self._sources = sources

    async def stop(self) -> None:
        """Closes the port and what is open on it."""
        self._sources = None
        if self._socket is None:
            return
        self._loop.remove_reader(self._socket.fileno())
        if self._opening is not None:
            await asyncio.gather(self._opening, return_exceptions=True)
        if self._server is not None:
            await self._server.stop()
        self._socket.close()
        self._socket = None

    def _on_first_connection(self) -> None:
        assert self._socket is not None
        self._loop.remove_reader(self._socket.fileno())
        self._opening = self._runtime.tasks.spawn("admin-server", self._load(self._socket))

    async def _load(self, listening: socket.socket) -> None:
        try:
            module = await self._runtime.blocking.run(lambda: importlib.import_module("pybroker_server.admin.http"))
        except ImportError as error:
            # A damaged installation; what serves, serves on.
            _logger.error("admin_not_loaded", error=str(error))
            return
        server: AdminServer = module.AdminServer(self._runtime, lambda: self._sources)
        self._server = server
        await server.start(listening)


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.getaddrinfo(host or None, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    made = socket.socket(found[0][0], socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(found[0][4])
        made.listen(_BACKLOG)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host or "0.0.0.0"
