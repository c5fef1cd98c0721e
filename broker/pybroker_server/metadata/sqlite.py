"""The embedded metadata store: a SQLite file for the brokers of one host (design D4).

Rules of this file: the asynchronous shell around `sqlite_table.py`. At most one piece of work is in the pool
at any time, so the connection has one user; a piece takes every request that has gathered and gives all their
commits one transaction, hence one flush. Results are handed out only after that transaction is durable.

By default the file belongs to one process, which an advisory lock on `<path>.lock` enforces. With
`?shared=true` in the URL several processes of this host may open it; each then looks every POLL_MS for
commits of the others. A file that existed is never begun anew: if it is damaged, empty or gone while its
write-ahead log is left, opening fails.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pybroker_server.metadata.feed import ChangeFeed, batches_of
from pybroker_server.metadata.sqlite_table import SqliteTable, create_database
from pybroker_server.metadata.store import (
    CommitResult,
    Compare,
    KeyValue,
    Put,
    RangeResult,
    StoreDamagedError,
    StoreError,
    WatchBatch,
    WatchEvent,
    check_commit,
)
from pybroker_server.runtime.host_claim import HostClaim
from pybroker_server.runtime.ports import Blocking, Clock, Disk, TimerHandle, Timers

POLL_MS = 25
T = TypeVar("T")


@dataclass(slots=True)
class _Job:
    work: Callable[[], Any]
    writes: bool
    future: asyncio.Future[Any]


@dataclass(slots=True)
class _Drained:
    """What one piece of work in the pool brought: per job a value or an error, and what watchers must
    hear."""

    results: list[tuple[_Job, Any, StoreError | None]]
    events: list[WatchEvent]
    next_deadline_ms: int | None


class SqliteStore:
    """See `store.MetadataStore`; made by `open`."""

    max_operations_per_commit = 1_000_000

    def __init__(
        self,
        table: SqliteTable,
        claim: HostClaim,
        *,
        shared: bool,
        clock: Clock,
        timers: Timers,
        blocking: Blocking,
    ) -> None:
        self._table = table
        self._claim = claim
        self._shared = shared
        self._clock = clock
        self._timers = timers
        self._blocking = blocking
        self._published = table.revision()
        """Newest revision read for the feed; touched in the pool only."""
        self._feed = ChangeFeed(self._published)
        self._jobs: list[_Job] = []
        self._busy = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._timer: TimerHandle | None = None
        self._failure: StoreError | None = None
        self._closed = False
        self._arm(table.next_deadline_ms())

    @classmethod
    async def open(
        cls, path: str, *, disk: Disk, clock: Clock, timers: Timers, blocking: Blocking, shared: bool = False
    ) -> SqliteStore:
        """Raises StoreError when another process has the file, StoreDamagedError when it is not as it was
        left.
        """
        claim, table = await blocking.run(lambda: _open_files(path, disk, shared, clock.monotonic_ms()))
        return cls(table, claim, shared=shared, clock=clock, timers=timers, blocking=blocking)

    async def get(self, key: bytes) -> tuple[KeyValue | None, int]:
        return await self._ask(lambda: (self._table.get(key), self._table.revision()))

    async def range(self, prefix: bytes, *, limit: int = 0, after: bytes = b"", revision: int = 0) -> RangeResult:
        return await self._ask(lambda: self._table.range(prefix, limit, after, revision))

    async def commit(
        self, compares: Sequence[Compare] = (), puts: Sequence[Put] = (), deletes: Sequence[bytes] = ()
    ) -> CommitResult:
        check_commit(puts, deletes)
        return await self._ask(lambda: self._table.commit(compares, puts, deletes), writes=True)

    def watch(self, prefix: bytes, from_revision: int) -> AsyncIterator[WatchBatch]:
        return self._feed.watch(prefix, from_revision, self._read_history)

    async def grant_lease(self, ttl_ms: int) -> int:
        return await self._ask(lambda: self._table.grant_lease(ttl_ms, self._clock.monotonic_ms()), writes=True)

    async def keep_alive(self, lease_id: int) -> int:
        return await self._ask(lambda: self._table.keep_alive(lease_id, self._clock.monotonic_ms()), writes=True)

    async def revoke_lease(self, lease_id: int) -> None:
        await self._ask(lambda: self._table.revoke_lease(lease_id), writes=True)

    async def compact(self, revision: int) -> None:
        await self._ask(lambda: self._table.compact(revision), writes=True)
        self._feed.forget_below(revision)

    async def close(self) -> None:
        """Waits for what was asked before; what is asked afterwards is refused. Closing twice is no error."""
        if self._closed:
            return
        self._closed = True
        if self._failure is None:
            self._failure = StoreError("the metadata store is closed")
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await self._idle.wait()
        self._feed.close()
        await self._blocking.run(self._table.close)
        self._claim.release()

    async def _read_history(self, from_revision: int) -> WatchBatch | None:
        events = await self._ask(lambda: self._table.changes_since(from_revision))
        return WatchBatch(events[-1].mod_revision, tuple(events)) if events else None

    async def _ask(self, work: Callable[[], T], *, writes: bool = False) -> T:
        if self._failure is not None:
            raise self._failure
        job = _Job(work, writes, asyncio.get_running_loop().create_future())
        self._jobs.append(job)
        self._drain()
        answer: T = await job.future
        return answer

    def _drain(self) -> None:
        if self._busy:
            return
        self._busy = True
        self._idle.clear()
        jobs, self._jobs = self._jobs, []
        self._blocking.submit(lambda: self._work(jobs), lambda drained, error: self._on_drained(jobs, drained, error))

    def _work(self, jobs: list[_Job]) -> _Drained:
        """In the pool: all jobs in one transaction, then what changed since the last time."""
        table, now_ms = self._table, self._clock.monotonic_ms()
        deadline_ms = table.next_deadline_ms()
        lease_due = deadline_ms is not None and deadline_ms <= now_ms
        changed_elsewhere = self._shared and table.changed_elsewhere()
        if not jobs and not lease_due and not changed_elsewhere:
            return _Drained([], [], deadline_ms)
        writes = lease_due or any(job.writes for job in jobs)
        try:
            table.begin(write=writes)
            if lease_due:
                table.expire_leases(now_ms)
            results = [_run(job) for job in jobs]
            events = self._unpublished()
            deadline_ms = table.next_deadline_ms()
            table.end()
        except BaseException:
            table.roll_back()
            raise
        if events:
            self._published = events[-1].mod_revision
        return _Drained(results, events, deadline_ms)

    def _unpublished(self) -> list[WatchEvent]:
        found: list[WatchEvent] = []
        following = self._published + 1
        while events := self._table.changes_since(following):
            found += events
            following = events[-1].mod_revision + 1
        return found

    def _on_drained(self, jobs: list[_Job], drained: _Drained | None, error: BaseException | None) -> None:
        self._busy = False
        if drained is None:
            self._on_failure(jobs, error)
        else:
            self._feed.publish(batches_of(drained.events))
            for job, value, refused in drained.results:
                _resolve(job, value, refused)
        if self._jobs:
            self._drain()
            return
        self._idle.set()
        self._arm(drained.next_deadline_ms if drained is not None else None)

    def _on_failure(self, jobs: list[_Job], error: BaseException | None) -> None:
        """A full disk or a busy file fails what was asked; a broken device or file fails the store for
        good."""
        failure = error
        if isinstance(error, sqlite3.Error):
            failure = StoreError(f"the metadata store failed: {error}")
            if _is_fatal(error):
                self._failure = failure
        elif isinstance(error, UnicodeDecodeError):
            failure = self._failure = StoreDamagedError(f"the metadata store is damaged: {error}")
        elif isinstance(error, StoreDamagedError):
            self._failure = error
        if self._failure is not None:
            self._feed.close()
        for job in jobs:
            _resolve(job, None, failure)

    def _arm(self, deadline_ms: int | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._failure is not None:
            return
        delays = [POLL_MS] if self._shared else []
        if deadline_ms is not None:
            delays.append(max(deadline_ms - self._clock.monotonic_ms(), 0))
        if delays:
            self._timer = self._timers.call_after_ms(min(delays), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._drain()


def _run(job: _Job) -> tuple[_Job, Any, StoreError | None]:
    """A refusal (StoreError) is this job's answer and wrote nothing; any other exception fails the
    transaction.
    """
    try:
        return job, job.work(), None
    except StoreDamagedError:
        raise
    except StoreError as refused:
        return job, None, refused


def _resolve(job: _Job, value: Any, error: BaseException | None) -> None:
    if job.future.done():
        return
    if error is None:
        job.future.set_result(value)
    else:
        job.future.set_exception(error)


def _is_fatal(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_IOERR) & 0xFF
    return code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _open_files(path: str, disk: Disk, shared: bool, now_ms: int) -> tuple[HostClaim, SqliteTable]:
    directory = path.rpartition("/")[0] or "."
    disk.make_dirs(directory)
    try:
        claim = HostClaim.take(f"{path}.lock", shared=shared, initialise=lambda: _create_if_new(path, directory, disk))
    except BlockingIOError as error:
        raise StoreError(f"the metadata store {path} is in use by another process") from error
    except OSError as error:
        raise StoreError(f"the metadata store {path} cannot be opened: {error.strerror}") from error
    try:
        return claim, SqliteTable.open(path, now_ms)
    except StoreDamagedError as error:
        claim.release()
        raise StoreDamagedError(
            f"the metadata store {path} is damaged: {error}; restore the file from a copy, it is not replaced"
        ) from error


def _create_if_new(path: str, directory: str, disk: Disk) -> None:
    """Makes the file whole under another name first: a crash in between leaves nothing at `path`."""
    if disk.exists(path):
        if disk.file_size(path) == 0:
            raise StoreDamagedError(f"the metadata store {path} exists but is empty; restore the file from a copy")
        return
    if disk.exists(f"{path}-wal"):
        raise StoreDamagedError(f"the metadata store {path} is gone, but its log {path}-wal is left; restore the file")
    new = f"{path}.new"
    if disk.exists(new):
        disk.remove(new)
    create_database(new)
    disk.rename(new, path)
    disk.sync_dir(directory)
