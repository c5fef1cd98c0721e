"""One factory per kind of metadata store; the suite beside it runs over all of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.manual_time import ManualTime

from pybroker_server.metadata.store import MetadataStore
from pybroker_server.metadata.stores import StorePorts, open_store
from pybroker_server.runtime.blocking_threads import BlockingThreads
from pybroker_server.runtime.disk_os import OsDisk


@pytest.fixture
def time() -> ManualTime:
    return ManualTime()


@pytest.fixture
async def ports(time: ManualTime) -> AsyncIterator[StorePorts]:
    blocking = BlockingThreads(asyncio.get_running_loop(), 2)
    yield StorePorts(OsDisk(), time, time, blocking)
    blocking.close()


@pytest.fixture(params=["memory", "sqlite", "sqlite-shared"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return {
        "memory": "memory://",
        "sqlite": f"sqlite://{tmp_path}/meta.db",
        "sqlite-shared": f"sqlite://{tmp_path}/meta.db?shared=true",
    }[request.param]


@pytest.fixture
async def store(url: str, ports: StorePorts) -> AsyncIterator[MetadataStore]:
    opened = await open_store(url, ports)
    yield opened
    await opened.close()
