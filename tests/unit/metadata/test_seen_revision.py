"""The newest revision that a broker saw: written once for many changes, and read whatever is left of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from tests.support.dying_disk import DyingDisk
from tests.support.manual_time import ManualTime
from tests.support.memory_log import ManualBlocking
from tests.support.runtimes import manual_runtime

from pybroker_server.metadata.image import MetadataImage
from pybroker_server.metadata.seen_revision import FILE_NAME, SeenRevision, read_seen_revision
from pybroker_server.runtime.disk_os import OsDisk
from pybroker_server.runtime.runtime import Runtime


class Hands:
    """Time and threads in the test's hand."""

    def __init__(self, runtime: Runtime, path: Path, disk: Any) -> None:
        self.path = path
        self.blocking = ManualBlocking()
        used = replace(runtime, blocking=cast(Any, self.blocking), disk=disk or runtime.disk)
        self.seen = SeenRevision(used, str(path))

    def show(self, revision: int) -> None:
        self.seen.on_image(MetadataImage(), replace(MetadataImage(), revision=revision))

    @property
    def written(self) -> int:
        return read_seen_revision(OsDisk(), str(self.path))


@asynccontextmanager
async def hands(path: Path, time: ManualTime, disk: Any = None) -> AsyncIterator[Hands]:
    async with manual_runtime(time) as runtime:
        yield Hands(runtime, path, disk)
        await asyncio.sleep(0)


async def test_a_change_during_a_write_is_written_after_it(tmp_path: Path) -> None:
    time = ManualTime()
    async with hands(tmp_path, time) as h:
        h.show(1)
        time.advance_ms(5_000)
        h.show(2)
        time.advance_ms(60_000)
        assert len(h.blocking.submitted) == 1
        h.blocking.run_all()
        time.advance_ms(5_000)
        h.blocking.run_all()
        assert h.written == 2


async def test_many_changes_are_written_once_some_seconds_later(tmp_path: Path) -> None:
    time = ManualTime()
    async with hands(tmp_path, time) as h:
        for revision in (1, 2, 3):
            h.show(revision)
        time.advance_ms(4_999)
        assert not h.blocking.submitted
        time.advance_ms(1)
        assert len(h.blocking.submitted) == 1
        h.blocking.run_all()
        assert h.written == 3
        time.advance_ms(60_000)
        assert not h.blocking.submitted
        h.show(4)
        time.advance_ms(5_000)
        h.blocking.run_all()
        assert h.written == 4


async def test_after_the_end_only_the_last_write_is_made_by_hand(tmp_path: Path) -> None:
    time = ManualTime()
    async with hands(tmp_path, time) as h:
        h.show(7)
        h.seen.close()
        h.show(8)
        time.advance_ms(60_000)
        assert not h.blocking.submitted
        h.seen.write()
        assert h.written == 8


async def test_a_disk_that_refuses_costs_nothing_but_the_net(tmp_path: Path) -> None:
    time = ManualTime()
    disk = DyingDisk(OsDisk(), OSError(28, "No space left on device"))
    async with hands(tmp_path, time, disk) as h:
        disk.fails_once = lambda name, _: name == "write_atomic"
        h.show(1)
        time.advance_ms(5_000)
        h.blocking.run_all()
        assert h.written == 0
        h.show(2)
        time.advance_ms(5_000)
        h.blocking.run_all()
        assert h.written == 2


@pytest.mark.parametrize(
    ("content", "revision"),
    [
        (None, 0),
        (b"", 0),
        (b"12\n", 12),
        (b"12", 12),
        (b"-1\n", 0),
        (b"x\n", 0),
        (b"\xff\xfe", 0),
        (b"\0" * 8, 0),
        (b"9" * 5000, 0),
    ],
)
def test_what_cannot_be_read_is_as_good_as_nothing(tmp_path: Path, content: bytes | None, revision: int) -> None:
    if content is not None:
        (tmp_path / FILE_NAME).write_bytes(content)
    assert read_seen_revision(OsDisk(), str(tmp_path)) == revision
