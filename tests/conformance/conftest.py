"""One factory per kind of metadata store; the suite beside it runs over all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.manual_time import ManualTime
from tests.support.runtimes import manual_runtime

from pybroker_server.metadata.store import MetadataStore
from pybroker_server.metadata.stores import open_store
from pybroker_server.runtime.runtime import Runtime


@pytest.fixture
def time() -> ManualTime:
    return ManualTime()


@pytest.fixture
async def runtime(time: ManualTime) -> AsyncIterator[Runtime]:
    async with manual_runtime(time) as made:
        yield made


@pytest.fixture(params=["memory", "sqlite", "sqlite-shared"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return {
        "memory": "memory://",
        "sqlite": f"sqlite://{tmp_path}/meta.db",
        "sqlite-shared": f"sqlite://{tmp_path}/meta.db?shared=true",
    }[request.param]


@pytest.fixture
async def store(url: str, runtime: Runtime) -> AsyncIterator[MetadataStore]:
    opened = await open_store(url, runtime)
    yield opened
    await opened.close()
