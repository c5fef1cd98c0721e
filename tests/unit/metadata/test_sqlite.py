"""What only a store in a file can do: be damaged, be in use, be shared by processes, survive a power cut or a
reboot.

What every store does is in tests/conformance.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.support.manual_time import ManualTime
from tests.support.runtimes import manual_runtime

from pybroker_server.metadata.sqlite import POLL_MS, SqliteStore
from pybroker_server.metadata.store import Compare, Put, StoreDamagedError, StoreError
from pybroker_server.metadata.stores import StoreUrlError, open_store
from pybroker_server.runtime.runtime import Runtime


@pytest.fixture
def time() -> ManualTime:
    return ManualTime()


@pytest.fixture
async def runtime(time: ManualTime) -> AsyncIterator[Runtime]:
    async with manual_runtime(time) as made:
        yield made


async def open_at(path: Path, runtime: Runtime, *, shared: bool = False) -> SqliteStore:
    return await SqliteStore.open(
        str(path),
        disk=runtime.disk,
        clock=runtime.clock,
        timers=runtime.timers,
        blocking=runtime.blocking,
        shared=shared,
    )


async def filled(path: Path, runtime: Runtime, keys: int = 50) -> None:
    """A store with history, written and closed."""
    store = await open_at(path, runtime)
    for number in range(keys):
        await store.commit(puts=[Put(b"k%d" % (number % 20), os.urandom(200))])
    await store.close()


async def contents(store: SqliteStore) -> list[tuple[bytes, bytes]]:
    return [(item.key, item.value) for item in (await store.range(b"")).items]


async def test_what_was_committed_is_there_after_reopening(tmp_path: Path, runtime: Runtime) -> None:
    store = await open_at(tmp_path / "deep" / "er" / "m.db", runtime)
    result = await store.commit(puts=[Put(b"k", b"v")])
    await store.close()
    again = await open_at(tmp_path / "deep" / "er" / "m.db", runtime)
    found, revision = await again.get(b"k")
    assert (found.value if found else None, revision) == (b"v", result.revision)
    await again.close()


async def test_a_copy_of_the_files_at_any_time_is_a_whole_store(tmp_path: Path, runtime: Runtime) -> None:
    """As after kill -9: the write-ahead log is not copied into the file yet."""
    store = await open_at(tmp_path / "m.db", runtime)
    for number in range(10):
        await store.commit(puts=[Put(b"k", b"%d" % number)])
    (tmp_path / "copy").mkdir()
    for name in ("m.db", "m.db-wal"):
        shutil.copy(tmp_path / name, tmp_path / "copy" / name)
    copy = await open_at(tmp_path / "copy" / "m.db", runtime)
    assert await contents(copy) == [(b"k", b"9")]
    await copy.close()
    await store.close()


async def test_a_second_broker_on_the_same_file_is_refused(tmp_path: Path, runtime: Runtime) -> None:
    store = await open_at(tmp_path / "m.db", runtime)
    for shared in (False, True):
        with pytest.raises(StoreError, match="in use by another process"):
            await open_at(tmp_path / "m.db", runtime, shared=shared)
    await store.close()
    sharer = await open_at(tmp_path / "m.db", runtime, shared=True)
    with pytest.raises(StoreError, match="in use by another process"):
        await open_at(tmp_path / "m.db", runtime)
    await sharer.close()


async def test_a_file_that_existed_is_never_begun_anew(tmp_path: Path, runtime: Runtime) -> None:
    (tmp_path / "empty.db").touch()
    (tmp_path / "text.db").write_text("not a database, but long enough to look like something" * 100)
    (tmp_path / "gone.db-wal").write_bytes(b"left over")
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE t (x)").connection.close()
    for name in ("empty", "text", "gone", "other"):
        with pytest.raises(StoreDamagedError):
            await open_at(tmp_path / f"{name}.db", runtime)
    assert (tmp_path / "empty.db").stat().st_size == 0


async def test_a_newer_format_is_refused(tmp_path: Path, runtime: Runtime) -> None:
    await filled(tmp_path / "m.db", runtime)
    connection = sqlite3.connect(tmp_path / "m.db")
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(StoreDamagedError, match="version 2"):
        await open_at(tmp_path / "m.db", runtime)


async def test_a_creation_cut_short_leaves_nothing_in_the_way(tmp_path: Path, runtime: Runtime) -> None:
    (tmp_path / "m.db.new").write_bytes(b"half a database")
    store = await open_at(tmp_path / "m.db", runtime)
    assert await contents(store) == []
    await store.close()


async def test_a_file_that_cannot_be_made_is_a_clear_error(tmp_path: Path, runtime: Runtime) -> None:
    (tmp_path / "file").touch()
    with pytest.raises((StoreError, OSError)):
        await open_at(tmp_path / "file" / "m.db", runtime)


async def test_no_flipped_byte_goes_unnoticed(tmp_path: Path, runtime: Runtime) -> None:
    """Either the store is refused, or everything in it is as it was written."""
    await filled(tmp_path / "m.db", runtime)
    pristine = (tmp_path / "m.db").read_bytes()
    original = await open_at(tmp_path / "m.db", runtime)
    expected, (_, revision) = await contents(original), await original.get(b"k0")
    await original.close()
    rng = random.Random(4)
    refused = 0
    for _ in range(150):
        damaged = bytearray(pristine)
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        (tmp_path / "m.db").write_bytes(damaged)
        try:
            store = await open_at(tmp_path / "m.db", runtime)
        except StoreError:
            refused += 1
            continue
        try:
            assert await contents(store) == expected
            assert (await store.get(b"k0"))[1] == revision
        except StoreDamagedError:
            refused += 1
        await store.close()
        for name in ("m.db-wal", "m.db-shm"):
            (tmp_path / name).unlink(missing_ok=True)
    assert refused > 20


async def test_damage_found_while_running_ends_the_store(tmp_path: Path, runtime: Runtime) -> None:
    await filled(tmp_path / "m.db", runtime)
    store = await open_at(tmp_path / "m.db", runtime)
    other = sqlite3.connect(tmp_path / "m.db")
    other.execute("UPDATE changes SET value = x'00' WHERE key = CAST('k3' AS BLOB)")
    other.commit()
    other.close()
    with pytest.raises(StoreDamagedError, match="checksum"):
        await store.get(b"k3")
    with pytest.raises(StoreDamagedError):
        await store.commit(puts=[Put(b"k4", b"v")])
    await store.close()


async def test_a_full_disk_fails_the_commit_and_nothing_else(tmp_path: Path, runtime: Runtime) -> None:
    store = await open_at(tmp_path / "m.db", runtime)
    await store.commit(puts=[Put(b"k", b"v")])
    pages = store._table._scalar("PRAGMA page_count")
    store._table._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="full"):
        await store.commit(puts=[Put(b"big", bytes(1_000_000))])
    store._table._connection.execute("PRAGMA max_page_count = 1000000")
    assert await contents(store) == [(b"k", b"v")]
    assert (await store.commit(puts=[Put(b"big", bytes(1_000_000))])).succeeded
    await store.close()


async def test_a_broken_device_fails_the_store_for_good(
    tmp_path: Path, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed flush is never tried again: the kernel may have dropped what it could not write."""
    store = await open_at(tmp_path / "m.db", runtime)
    watch = store.watch(b"", (await store.get(b"k"))[1] + 1)

    def broken() -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
        raise error

    monkeypatch.setattr(store._table, "end", broken)
    with pytest.raises(StoreError, match="I/O"):
        await store.commit(puts=[Put(b"k", b"v")])
    monkeypatch.undo()
    with pytest.raises(StoreError, match="I/O"):
        await store.get(b"k")
    with pytest.raises(StoreError):
        await anext(watch)
    await store.close()


async def test_commits_that_gather_share_a_flush_and_are_judged_one_by_one(
    tmp_path: Path, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = await open_at(tmp_path / "m.db", runtime)
    flushes = 0
    end = store._table.end

    def counted() -> None:
        nonlocal flushes
        flushes += 1
        end()

    monkeypatch.setattr(store._table, "end", counted)
    commits = [store.commit([Compare(b"k%d" % (i % 10), 0)], [Put(b"k%d" % (i % 10), b"%d" % i)]) for i in range(50)]
    results = await asyncio.gather(*commits)
    assert sum(result.succeeded for result in results) == 10
    assert flushes <= 3
    assert [value for _, value in await contents(store)] == [b"%d" % i for i in range(10)]
    await store.close()


async def test_a_cancelled_caller_disturbs_nobody(tmp_path: Path, runtime: Runtime) -> None:
    store = await open_at(tmp_path / "m.db", runtime)
    first = asyncio.ensure_future(store.commit(puts=[Put(b"a", b"1")]))
    second = asyncio.ensure_future(store.commit(puts=[Put(b"b", b"1")]))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).succeeded
    await store.close()


async def test_sharers_see_each_others_commits(tmp_path: Path, runtime: Runtime, time: ManualTime) -> None:
    one = await open_at(tmp_path / "m.db", runtime, shared=True)
    two = await open_at(tmp_path / "m.db", runtime, shared=True)
    watch = two.watch(b"", (await two.get(b"k"))[1] + 1)
    for number in range(3):
        result = await one.commit(puts=[Put(b"k", b"%d" % number)])
        waiting = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0)
        time.advance_ms(POLL_MS)
        async with asyncio.timeout(5):
            batch = await waiting
        assert (batch.revision, [event.value for event in batch.events]) == (result.revision, [b"%d" % number])
        assert not (await two.commit([Compare(b"k", 0)], [Put(b"k", b"x")])).succeeded
    await one.close()
    await two.close()


async def test_a_sharers_lease_expires_for_the_others_when_it_died(
    tmp_path: Path, runtime: Runtime, time: ManualTime
) -> None:
    one = await open_at(tmp_path / "m.db", runtime, shared=True)
    two = await open_at(tmp_path / "m.db", runtime, shared=True)
    lease = await one.grant_lease(9_000)
    await one.commit(puts=[Put(b"broker/1", b"v", lease)])
    await one.close()
    assert (await two.get(b"broker/1"))[0] is not None
    time.advance_ms(9_001)
    assert (await two.get(b"broker/1"))[0] is None
    await two.close()


async def test_after_a_reboot_a_lease_lives_for_one_more_term(tmp_path: Path, runtime: Runtime) -> None:
    """The monotonic clock begins anew, so the stored deadline lies far ahead."""
    store = await open_at(tmp_path / "m.db", runtime)
    lease = await store.grant_lease(9_000)
    await store.commit(puts=[Put(b"k", b"v", lease)])
    await store.close()
    rebooted = ManualTime(now_ms=500)
    async with manual_runtime(rebooted) as after:
        store = await open_at(tmp_path / "m.db", after)
        assert (await store.get(b"k"))[0] is not None
        rebooted.advance_ms(9_001)
        assert (await store.get(b"k"))[0] is None
        await store.close()


_COUNTER = """
import asyncio, sys
from pybroker_server.metadata.sqlite import SqliteStore
from pybroker_server.metadata.store import Compare, Put
from pybroker_server.runtime.blocking_threads import BlockingThreads
from pybroker_server.runtime.clock import SystemClock
from pybroker_server.runtime.disk_os import OsDisk
from pybroker_server.runtime.timers import LoopTimers

async def main(path, steps):
    loop = asyncio.get_running_loop()
    blocking = BlockingThreads(loop, 2)
    store = await SqliteStore.open(
        path, disk=OsDisk(), clock=SystemClock(), timers=LoopTimers(loop), blocking=blocking, shared=True
    )
    seen = 0
    async def follow():
        nonlocal seen
        async for batch in store.watch(b"n", 0):
            for event in batch.events:
                assert int(event.value) == seen + 1, (event, seen)
                seen += 1
    follower = asyncio.ensure_future(follow())
    for _ in range(steps):
        while True:
            found, _ = await store.get(b"n")
            value = Put(b"n", b"%d" % (int(found.value) + 1 if found else 1))
            if (await store.commit([Compare(b"n", found.mod_revision if found else 0)], [value])).succeeded:
                break
    final = int((await store.get(b"n"))[0].value)
    print("done", final, flush=True)
    sys.stdin.readline()
    async with asyncio.timeout(5):
        while seen < int((await store.get(b"n"))[0].value):
            await asyncio.sleep(0.01)
    follower.cancel()
    await store.close()
    blocking.close()
    print("saw", seen, flush=True)

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
"""


def test_processes_that_share_a_store_lose_no_step_and_miss_none(tmp_path: Path) -> None:
    """Three processes open it at once (one of them makes it), count together, and each watches all steps."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _COUNTER, str(tmp_path / "m.db"), "40"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for _ in range(3)
    ]
    finals = []
    for process in processes:
        assert process.stdout is not None
        word, final = process.stdout.readline().split()
        assert word == "done"
        finals.append(int(final))
    assert max(finals) == 120
    for process in processes:
        output, _ = process.communicate("go\n", timeout=30)
        assert output.split() == ["saw", "120"]
        assert process.returncode == 0


@pytest.mark.parametrize(
    "url",
    [
        "",
        "meta.db",
        "/var/lib/meta.db",
        "postgres://h/db",
        "sqlite://",
        "sqlite:///",
        "sqlite:///dir/",
        "sqlite://relative/meta.db",
        "sqlite:///m.db?shard=true",
        "sqlite:///m.db?shared=maybe",
        "memory:///x",
        "memory://x",
    ],
)
async def test_urls_that_name_no_store(url: str, runtime: Runtime) -> None:
    with pytest.raises(StoreUrlError, match=r"metadata\.store\.url"):
        await open_store(url, runtime)


async def test_a_path_with_blanks_is_written_with_escapes(tmp_path: Path, runtime: Runtime) -> None:
    store = await open_store(f"sqlite://{tmp_path}/a%20b.db", runtime)
    assert (tmp_path / "a b.db").exists()
    await store.close()
