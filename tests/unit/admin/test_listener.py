"""The admin server's port, and what is behind it while a broker starts, serves, is fenced and stops."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.support.admin_server import Answer, Scrape, get
from tests.support.embedded_broker import broker_in

from pybroker_server.broker import Broker, StartError


async def fetch(broker: Broker, path: str) -> Answer:
    return await asyncio.to_thread(get, f"http://127.0.0.1:{broker.admin.port}{path}")


@asynccontextmanager
async def serving(path: Path, **settings: str) -> AsyncIterator[Broker]:
    async with broker_in(path, **settings) as broker:
        await broker.start()
        yield broker


async def test_port_0_is_any_port_and_empty_is_none(tmp_path: Path) -> None:
    async with serving(tmp_path / "a", admin_listener="127.0.0.1:0") as broker:
        assert broker.admin.port > 0
    assert broker.admin.port == 0, "closed with the broker"
    async with serving(tmp_path / "b", admin_listener="") as broker:
        assert broker.admin.port == 0


async def test_a_starting_broker_lives_and_is_not_ready(tmp_path: Path) -> None:
    async with broker_in(tmp_path, admin_listener="127.0.0.1:0") as broker:
        broker.admin.open("127.0.0.1", 0, is_wanted=True)
        assert await fetch(broker, "/livez") == (200, "ok\n")
        assert await fetch(broker, "/readyz") == (503, "the broker is starting\n")
        assert await fetch(broker, "/v1/status/ready") == (503, '{"status": "booting"}')
        names = Scrape((await fetch(broker, "/metrics")).text).names
        assert "process_resident_memory_bytes" in names, "the process can be watched while it recovers"
        assert not any(name.startswith("kafka_") for name in names)


async def test_a_broker_whose_disks_failed_is_not_ready(tmp_path: Path) -> None:
    async with serving(tmp_path, admin_listener="127.0.0.1:0") as broker:
        assert (await fetch(broker, "/readyz")).status == 200
        for directory in broker._logs.directories:
            directory.is_online = False
        assert await fetch(broker, "/readyz") == (503, "no log directory is online\n")
        assert (await fetch(broker, "/livez")).status == 200, "a restart would not mend a disk"
        for directory in broker._logs.directories:
            directory.is_online = True


async def test_an_address_that_is_none_is_refused_with_what_is_allowed(tmp_path: Path) -> None:
    async with broker_in(tmp_path, admin_listener="203.0.113.1:9644") as broker:
        with pytest.raises(StartError, match="admin server") as caught:
            await broker.start()
    assert "--admin-listener" in str(caught.value.hint)


async def test_http_and_metrics_are_not_loaded_before_somebody_asks(tmp_path: Path) -> None:
    """In a process of its own: other tests have loaded everything."""
    code = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from tests.support.embedded_broker import broker_in\n"
        "async def main():\n"
        f"    async with broker_in(Path({str(tmp_path)!r}), admin_listener='127.0.0.1:0') as broker:\n"
        "        await broker.start()\n"
        "        print([name for name in ('aiohttp', 'prometheus_client') if name in sys.modules])\n"
        "asyncio.run(main())\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, env=environment
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    assert "[]" in out.decode().splitlines()
