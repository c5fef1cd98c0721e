"""One factory per kind of metadata store; the suite beside it runs over all of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest
from tests.support.etcd import Etcd, shared_etcd
from tests.support.lease_time import LeaseTime, ManualLeaseTime, RealLeaseTime
from tests.support.manual_time import ManualTime
from tests.support.runtimes import manual_runtime, real_runtime

from pybroker_server.metadata.store import MetadataStore
from pybroker_server.metadata.stores import open_store
from pybroker_server.runtime.runtime import Runtime

__all__ = ["shared_etcd"]
_numbers = count(1)


@pytest.fixture
def etcd_url(shared_etcd: Etcd) -> Iterator[str]:
    """A prefix of the test's own in the etcd of the session, empty at the start and at the end."""
    prefix = f"/conformance-{next(_numbers)}"
    yield f"etcd://{shared_etcd.address}{prefix}"
    # A key that is left would be deleted with its lease in the middle of another test, and raise the revision there.
    shared_etcd.delete_prefix(f"{prefix}/".encode())


@pytest.fixture(params=["memory", "sqlite", "sqlite-shared", "etcd"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "etcd":
        found: str = request.getfixturevalue("etcd_url")
        return found
    return {
        "memory": "memory://",
        "sqlite": f"sqlite://{tmp_path}/meta.db",
        "sqlite-shared": f"sqlite://{tmp_path}/meta.db?shared=true",
    }[request.param]


@pytest.fixture
def manual_time() -> ManualTime:
    return ManualTime()


@pytest.fixture
def time(url: str, manual_time: ManualTime) -> LeaseTime:
    return RealLeaseTime() if url.startswith("etcd:") else ManualLeaseTime(manual_time)


@pytest.fixture
async def runtime(url: str, manual_time: ManualTime) -> AsyncIterator[Runtime]:
    async with real_runtime() if url.startswith("etcd:") else manual_runtime(manual_time) as made:
        yield made


@pytest.fixture
async def store(url: str, runtime: Runtime) -> AsyncIterator[MetadataStore]:
    opened = await open_store(url, runtime)
    yield opened
    await opened.close()
