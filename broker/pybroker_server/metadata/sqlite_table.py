"""The SQL of the SQLite metadata store: one append-only table whose revision column is the store's revision.

Rules of this file: synchronous, one connection, used by one thread at a time (`sqlite.py` sees to that); SQL
lives nowhere else. A commit adds its rows under one new revision; a deletion is a row without a value. Rows
are never updated; compaction removes superseded ones but always keeps those of the newest revision, so
`max(revision)` never goes back. Every row carries a CRC-32 that is verified when the file is opened and
whenever the row is read, because SQLite itself does not notice a flipped bit inside a value.

Lease deadlines are monotonic milliseconds of the host, which all processes of a host share. After a reboot
that clock starts anew: a deadline further away than its time to live cannot be right and is set to one whole
time to live.
"""

from __future__ import annotations

import sqlite3
import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

from pybroker_server.metadata.feed import EVENTS_PER_BATCH
from pybroker_server.metadata.store import (
    CommitResult,
    CompactedError,
    Compare,
    KeyValue,
    LeaseNotFoundError,
    Put,
    RangeResult,
    StoreDamagedError,
    StoreError,
    WatchEvent,
)

APPLICATION_ID = 0x70794B6D
FORMAT_VERSION = 1
_SCHEMA = (
    "CREATE TABLE changes (revision INTEGER NOT NULL, position INTEGER NOT NULL, key BLOB NOT NULL,"
    " value BLOB, create_revision INTEGER NOT NULL, lease_id INTEGER NOT NULL, checksum INTEGER NOT NULL,"
    " PRIMARY KEY (revision, position)) WITHOUT ROWID",
    "CREATE UNIQUE INDEX changes_by_key ON changes (key, revision)",
    "CREATE INDEX changes_by_lease ON changes (lease_id) WHERE lease_id <> 0",
    "CREATE TABLE leases (id INTEGER PRIMARY KEY AUTOINCREMENT, ttl_ms INTEGER NOT NULL, deadline_ms INTEGER NOT NULL)",
    "CREATE TABLE compaction (revision INTEGER NOT NULL)",
    "INSERT INTO compaction VALUES (0)",
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {FORMAT_VERSION}",
)
_COLUMNS = "revision, position, key, value, create_revision, lease_id, checksum"
_ROW_HEAD = struct.Struct(">qqqq?")
_FIRST_REVISION = 1
"""The revision of a store without any change."""

DAMAGE = (sqlite3.DatabaseError, UnicodeDecodeError)
"""What the sqlite3 module raises over a damaged file: its messages quote the damage as text."""

Row = tuple[int, int, bytes, bytes | None, int, int, int]


def create_database(path: str) -> None:
    """Writes a complete, empty store at `path`, which must not exist; the caller moves it into place."""
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN")
        for statement in _SCHEMA:
            connection.execute(statement)
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()


class SqliteTable:
    """All methods but `open` belong between `begin` and `end`, unless they say otherwise."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._data_version = -1

    @classmethod
    def open(cls, path: str, now_ms: int) -> SqliteTable:
        """Opens an existing store and verifies it; StoreDamagedError says what is wrong with it."""
        try:
            connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
        except sqlite3.Error as error:
            raise StoreError(f"the file cannot be opened: {error}") from error
        try:
            _check_database(connection)
            table = cls(connection)
            table._verify_rows()
            table._mend_deadlines(now_ms)
        except BaseException as error:
            connection.close()
            if isinstance(error, DAMAGE):
                raise StoreDamagedError(f"it cannot be read as a database: {error}") from error
            raise
        return table

    def close(self) -> None:
        """Copies the write-ahead log into the file, which makes it whole by itself."""
        self._connection.close()

    def begin(self, *, write: bool) -> None:
        self._connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")

    def end(self) -> None:
        """Durable when it returns."""
        self._connection.execute("COMMIT")

    def roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def changed_elsewhere(self) -> bool:
        """Whether another process committed since the last call; costs a look at shared memory."""
        seen = self._scalar("PRAGMA data_version")
        changed = seen != self._data_version
        self._data_version = seen
        return changed

    def revision(self) -> int:
        """May be asked at any time."""
        return max(self._scalar("SELECT coalesce(max(revision), 0) FROM changes"), _FIRST_REVISION)

    def get(self, key: bytes) -> KeyValue | None:
        row = self._connection.execute(
            f"SELECT {_COLUMNS} FROM changes WHERE key = ? ORDER BY revision DESC LIMIT 1", (key,)
        ).fetchone()
        return _item(row) if row else None

    def range(self, prefix: bytes, limit: int, after: bytes, revision: int) -> RangeResult:
        newest = self.revision()
        at = revision or newest
        if at > newest:
            raise StoreError(f"revision {at} is in the future: the store is at {newest}")
        self._check_kept(at)
        bounds, values = _bounds(prefix, after)
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} FROM changes AS c WHERE {bounds} c.revision <= ? AND c.value IS NOT NULL"
            " AND NOT EXISTS (SELECT 1 FROM changes AS n"
            " WHERE n.key = c.key AND n.revision > c.revision AND n.revision <= ?) ORDER BY c.key LIMIT ?",
            (*values, at, at, limit or -1),
        )
        return RangeResult(tuple(item for row in rows if (item := _item(row)) is not None), at)

    def commit(self, compares: Sequence[Compare], puts: Sequence[Put], deletes: Sequence[bytes]) -> CommitResult:
        for compare in compares:
            found = self.get(compare.key)
            if (found.mod_revision if found else 0) != compare.mod_revision:
                return CommitResult(False, self.revision())
        for lease_id in {put.lease_id for put in puts if put.lease_id}:
            self._lease_ttl_ms(lease_id)
        return CommitResult(True, self._append(puts, deletes))

    def changes_since(self, from_revision: int) -> list[WatchEvent]:
        """Changes of the next revisions, whole ones, from `from_revision` on; about EVENTS_PER_BATCH at
        most."""
        self._check_kept(from_revision)
        rows: list[Row] = self._connection.execute(
            f"SELECT {_COLUMNS} FROM changes WHERE revision >= ? ORDER BY revision, position LIMIT ?",
            (from_revision, EVENTS_PER_BATCH),
        ).fetchall()
        if len(rows) == EVENTS_PER_BATCH:
            last: Row = rows[-1]
            rows += self._connection.execute(
                f"SELECT {_COLUMNS} FROM changes WHERE revision = ? AND position > ? ORDER BY position",
                last[:2],
            ).fetchall()
        return [_event(row) for row in rows]

    def grant_lease(self, ttl_ms: int, now_ms: int) -> int:
        cursor = self._connection.execute(
            "INSERT INTO leases (ttl_ms, deadline_ms) VALUES (?, ?)", (ttl_ms, now_ms + ttl_ms)
        )
        assert cursor.lastrowid is not None
        return cursor.lastrowid

    def keep_alive(self, lease_id: int, now_ms: int) -> int:
        ttl_ms = self._lease_ttl_ms(lease_id)
        self._connection.execute("UPDATE leases SET deadline_ms = ? WHERE id = ?", (now_ms + ttl_ms, lease_id))
        return ttl_ms

    def revoke_lease(self, lease_id: int) -> None:
        self._lease_ttl_ms(lease_id)
        self._end_lease(lease_id)

    def next_deadline_ms(self) -> int | None:
        """When the next lease ends; may be asked at any time."""
        deadline: int | None = self._connection.execute("SELECT min(deadline_ms) FROM leases").fetchone()[0]
        return deadline

    def expire_leases(self, now_ms: int) -> None:
        due = self._connection.execute("SELECT id FROM leases WHERE deadline_ms <= ? ORDER BY id", (now_ms,)).fetchall()
        for (lease_id,) in due:
            self._end_lease(lease_id)

    def compact(self, revision: int) -> None:
        newest = self.revision()
        if revision > newest:
            raise StoreError(f"revision {revision} is in the future: the store is at {newest}")
        if revision <= self._compacted():
            return
        self._connection.execute("UPDATE compaction SET revision = ?", (revision,))
        self._connection.execute(
            "DELETE FROM changes WHERE revision < ?1 AND EXISTS (SELECT 1 FROM changes AS n"
            " WHERE n.key = changes.key AND n.revision > changes.revision AND n.revision <= ?1)",
            (revision,),
        )
        self._connection.execute("DELETE FROM changes WHERE revision < ? AND value IS NULL", (revision,))

    def _append(self, puts: Sequence[Put], deletes: Sequence[bytes]) -> int:
        revision = self.revision() + 1
        rows: list[Row] = []
        for put in puts:
            before = self.get(put.key)
            created = before.create_revision if before else revision
            rows.append(_row(revision, len(rows), put.key, put.value, created, put.lease_id))
        for key in deletes:
            if self.get(key) is not None:
                rows.append(_row(revision, len(rows), key, None, 0, 0))
        if not rows:
            return revision - 1
        self._connection.executemany(f"INSERT INTO changes ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        return revision

    def _end_lease(self, lease_id: int) -> None:
        carried = self._connection.execute(
            "SELECT key FROM changes AS c WHERE lease_id = ? AND lease_id <> 0 AND NOT EXISTS"
            " (SELECT 1 FROM changes AS n WHERE n.key = c.key AND n.revision > c.revision) ORDER BY key",
            (lease_id,),
        ).fetchall()
        self._connection.execute("DELETE FROM leases WHERE id = ?", (lease_id,))
        self._append((), [key for (key,) in carried])

    def _lease_ttl_ms(self, lease_id: int) -> int:
        row = self._connection.execute("SELECT ttl_ms FROM leases WHERE id = ?", (lease_id,)).fetchone()
        if row is None:
            raise LeaseNotFoundError(f"lease {lease_id} expired or never was")
        ttl_ms: int = row[0]
        return ttl_ms

    def _compacted(self) -> int:
        return self._scalar("SELECT revision FROM compaction")

    def _check_kept(self, revision: int) -> None:
        compacted = self._compacted()
        if revision < compacted:
            raise CompactedError(f"revision {revision} is gone: history begins at {compacted}")

    def _scalar(self, statement: str) -> int:
        value: int = self._connection.execute(statement).fetchone()[0]
        return value

    def _verify_rows(self) -> None:
        rows: Iterable[Row] = self._connection.execute(f"SELECT {_COLUMNS} FROM changes")
        for row in rows:
            _verify(row)

    def _mend_deadlines(self, now_ms: int) -> None:
        self._connection.execute(
            "UPDATE leases SET deadline_ms = ?1 + ttl_ms WHERE deadline_ms > ?1 + ttl_ms", (now_ms,)
        )


def _check_database(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA cell_size_check = ON")
    connection.execute("PRAGMA synchronous = FULL")
    application: int = connection.execute("PRAGMA application_id").fetchone()[0]
    if application != APPLICATION_ID:
        raise StoreDamagedError("it is a database, but not one of pybroker's metadata stores")
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version != FORMAT_VERSION:
        raise StoreDamagedError(f"its format is version {version}; this release reads version {FORMAT_VERSION}")
    found: str = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise StoreDamagedError(found)


def _bounds(prefix: bytes, after: bytes) -> tuple[str, list[Any]]:
    """SQL conditions (each ending in AND) for keys under a prefix and after a key."""
    clauses, values = "", []
    if prefix:
        clauses += "c.key >= ? AND "
        values.append(prefix)
        stem = prefix.rstrip(b"\xff")
        if stem:
            clauses += "c.key < ? AND "
            values.append(stem[:-1] + bytes([stem[-1] + 1]))
    if after:
        clauses += "c.key > ? AND "
        values.append(after)
    return clauses, values


def _checksum(revision: int, position: int, key: bytes, value: bytes | None, created: int, lease_id: int) -> int:
    head = _ROW_HEAD.pack(revision, position, created, lease_id, value is None)
    return zlib.crc32(value or b"", zlib.crc32(key, zlib.crc32(head)))


def _row(revision: int, position: int, key: bytes, value: bytes | None, created: int, lease_id: int) -> Row:
    checksum = _checksum(revision, position, key, value, created, lease_id)
    return (revision, position, key, value, created, lease_id, checksum)


def _verify(row: Row) -> None:
    try:
        intact = _checksum(*row[:6]) == row[6]
    except (struct.error, TypeError):
        intact = False
    if not intact:
        raise StoreDamagedError(f"the change {row[1]!r} of revision {row[0]!r} does not match its checksum")


def _item(row: Row) -> KeyValue | None:
    _verify(row)
    revision, _, key, value, created, lease_id, _ = row
    return None if value is None else KeyValue(key, value, created, revision, lease_id)


def _event(row: Row) -> WatchEvent:
    _verify(row)
    revision, _, key, value, _, _, _ = row
    return WatchEvent(key, value or b"", revision, deleted=value is None)
