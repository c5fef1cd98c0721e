"""The admin server's paths: `/metrics`, `/livez`, `/readyz`, and `/v1/status/ready` as Redpanda spells it.

Rules of this file: reads only; no path changes anything. Imported with the first connection (`listener.py`), because
aiohttp takes its time. Answers are small; a scrape is formatted in a thread.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from functools import partial

from aiohttp import web

from pybroker_server.admin import broker_view, cluster_view
from pybroker_server.admin.exposition import expose
from pybroker_server.admin.rows import Rows
from pybroker_server.admin.sources import Sources
from pybroker_server.runtime.runtime import Runtime

_SHUTDOWN_S = 1.0
_STARTING = "the broker is starting"


class AdminServer:
    """`sources` says what to tell of; None while the broker starts."""

    def __init__(self, runtime: Runtime, sources: Callable[[], Sources | None]) -> None:
        self._runtime = runtime
        self._sources = sources
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/v1/status/ready", self._status_ready)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=_SHUTDOWN_S)

    async def start(self, listening: socket.socket) -> None:
        """Serves what comes to this socket."""
        await self._runner.setup()
        await web.SockSite(self._runner, listening).start()

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _metrics(self, request: web.Request) -> web.Response:
        sources = self._sources()
        rows: Rows | None = None
        directories: list[str] = []
        if sources is not None:
            rows = Rows()
            cluster_view.collect(sources, rows)
            broker_view.collect(sources, rows)
            directories = [each.path for each in sources.services.logs.directories if each.is_online]
        accept = request.headers.get("Accept", "")
        body, content_type = await self._runtime.blocking.run(
            partial(expose, rows, directories, self._runtime.disk, accept)
        )
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _livez(self, request: web.Request) -> web.Response:
        """That this is answered is all there is to say: the event loop goes round."""
        return web.Response(text="ok\n")

    async def _readyz(self, request: web.Request) -> web.Response:
        reason = self._why_not_ready()
        return web.Response(text="ok\n") if reason is None else web.Response(text=f"{reason}\n", status=503)

    async def _status_ready(self, request: web.Request) -> web.Response:
        is_ready = self._why_not_ready() is None
        body = json.dumps({"status": "ready" if is_ready else "booting"})
        return web.Response(text=body, content_type="application/json", status=200 if is_ready else 503)

    def _why_not_ready(self) -> str | None:
        sources = self._sources()
        return _STARTING if sources is None else sources.why_not_ready()
