"""All logs of this broker, in all their directories.

Rules of this file: the event loop owns the table of logs; what blocks is run in `Blocking` by this file, or says so.
A log directory that fails takes its logs with it and nothing else; when the last one fails the broker has nothing left
to serve and ends. What is done to logs now and then is `housekeeper.py`'s.

Start: `claim` (whose data is this?), `load` once topics and their configurations are known. End: `close`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

from pybroker_server.log.checkpoints import TopicPartition
from pybroker_server.log.files import deleted_directory, partition_directory
from pybroker_server.log.flush_tickets import CheckpointTicket
from pybroker_server.log.loader import create_log, load_log
from pybroker_server.log.log_config import LogConfig
from pybroker_server.log.log_directory import DirectoryError, LogDirectory
from pybroker_server.log.partition_log import PartitionLog
from pybroker_server.log.removal import Removal
from pybroker_server.log.truncation import emptied, truncated
from pybroker_server.runtime.runtime import Runtime
from pybroker_server.runtime.shared_buffers import SharedBufferPool
from pybroker_server.telemetry.events import get_logger

ConfigOf = Callable[[str], LogConfig]
"""The log configuration of a topic by its name; of a topic that is not known, the broker's defaults."""
DirectoryFailed = Callable[[list[TopicPartition]], None]
"""Told which partitions went with a directory."""

_Loaded = list[tuple[PartitionLog, LogDirectory]]

_LOGS_PER_JOB = 32


@dataclass(slots=True)
class _Replacement:
    """A log that is out of the table while its files are cut in a thread."""

    topic_id: UUID
    is_deleted: bool = False
    """The topic was deleted meanwhile: the log goes when its files are free."""
    waiting: list[Callable[[], None]] = field(default_factory=list)


_logger = get_logger("pybroker.log")


class AllDirectoriesFailed(Exception):
    """No log directory is left: the broker cannot go on."""


class LogManager:
    def __init__(self, paths: Iterable[str], runtime: Runtime, *, threads_per_directory: int = 2) -> None:
        """`threads_per_directory`: num.recovery.threads.per.data.dir, at least."""
        self._runtime = runtime
        self._threads_per_directory = threads_per_directory
        self._disk = runtime.disk
        self._pool = SharedBufferPool()
        self._logs: dict[TopicPartition, PartitionLog] = {}
        self._directory_of: dict[TopicPartition, LogDirectory] = {}
        self._replacements: dict[TopicPartition, _Replacement] = {}
        self._high_watermarks: dict[TopicPartition, int] = {}
        """As checkpointed by the last life, for partitions that are opened."""
        self._cleaned: dict[TopicPartition, int] = {}
        """Up to where logs were compacted."""
        self._on_failure: DirectoryFailed = lambda partitions: None
        self._checkpointing = asyncio.Lock()
        """One checkpoint of a log at a time: two would write the same files."""
        self._writing = asyncio.Lock()
        """Of checkpoint files: no older state may follow a newer one (which says that a log was truncated), and no two
        writers may share the temporary file. Log starts have one writer, see `replica/log_starts.py`."""
        self.removal = Removal(runtime.disk, runtime.blocking, runtime.timers)
        self.directories = [LogDirectory(runtime.disk, path) for path in paths]

    # -- start

    def claim(self) -> tuple[str, int] | None:
        """Locks the directories; (cluster id, node id) that their data belongs to, None when all are new. Blocks.

        Raises DirectoryError and OSError.
        """
        found: set[tuple[str, int]] = set()
        for directory in self.directories:
            directory.claim()
            if directory.identity is not None:
                found.add((directory.identity.cluster_id, directory.identity.node_id))
        if len(found) > 1:
            raise DirectoryError(
                "the log directories belong to different clusters or nodes: "
                + ", ".join(f"cluster {cluster_id} node {node_id}" for cluster_id, node_id in sorted(found)),
                hint="give each broker only its own directories in log.dirs",
            )
        return found.pop() if found else None

    def write_identity(self, cluster_id: str, node_id: int) -> None:
        """Blocks."""
        for directory in self.directories:
            directory.write_identity(cluster_id, node_id, self._runtime.entropy.uuid())

    @property
    def directory_ids(self) -> list[UUID]:
        """Of the directories that have an identity, in the order of `log.dirs`."""
        return [d.identity.directory_id for d in self.directories if d.identity is not None]

    def take_clean_marks(self) -> bool:
        """Whether every directory's last life ended cleanly; the marks are gone then. Blocks."""
        for directory in self.directories:
            directory.take_clean_mark()
        return all(directory.was_clean for directory in self.directories)

    async def load(self, config_of: ConfigOf) -> None:
        """Opens every log that lies in the directories, recovering what must be. Raises DirectoryError and OSError."""
        lanes = [lane for directory in self.directories for lane in self._load_lanes(directory, config_of)]
        for loaded in await asyncio.gather(*map(self._load_lane, lanes)):
            for log, directory in loaded:
                key = (log.topic, log.partition)
                if key in self._logs:
                    raise DirectoryError(
                        f"{key[0]}-{key[1]} lies in {self._logs[key].directory} and in {log.directory}",
                        hint="move away the one that is out of date",
                    )
                self._logs[key] = log
                self._directory_of[key] = directory
                directory.log_count += 1
        for directory in self.directories:
            for path in directory.deleted_partitions():
                self.removal.remove_directory(path, 0)

    async def _load_lane(self, lane: list[Callable[[], _Loaded]]) -> _Loaded:
        """One after the other; as many lanes run beside each other as a directory has threads."""
        loaded: _Loaded = []
        for job in lane:
            loaded += await self._runtime.blocking.run(job)
        return loaded

    def _load_lanes(self, directory: LogDirectory, config_of: ConfigOf) -> list[list[Callable[[], _Loaded]]]:
        jobs = [
            partial(self._load_some, directory, chunk, config_of, checkpoints)
            for chunk, checkpoints in self._load_jobs(directory)
        ]
        count = self._threads_per_directory
        return [list(jobs[first::count]) for first in range(min(count, len(jobs)))]

    def _load_jobs(
        self, directory: LogDirectory
    ) -> list[tuple[list[tuple[TopicPartition, str]], tuple[dict[TopicPartition, int], dict[TopicPartition, int]]]]:
        checkpoints = (directory.read_recovery_points(), directory.read_log_starts())
        self._high_watermarks |= directory.read_high_watermarks()
        self._cleaned |= directory.read_cleaned_offsets()
        found = list(directory.partitions().items())
        return [(found[first : first + _LOGS_PER_JOB], checkpoints) for first in range(0, len(found), _LOGS_PER_JOB)]

    def _load_some(
        self,
        directory: LogDirectory,
        found: list[tuple[TopicPartition, str]],
        config_of: ConfigOf,
        checkpoints: tuple[dict[TopicPartition, int], dict[TopicPartition, int]],
    ) -> _Loaded:
        """Runs in a thread."""
        recovery_points, log_starts = checkpoints
        loaded = []
        for (topic, partition), path in found:
            log = load_log(
                self._disk,
                self._pool,
                path,
                topic,
                partition,
                config_of(topic),
                was_clean=directory.was_clean,
                recovery_point=recovery_points.get((topic, partition), 0),
                log_start_offset=log_starts.get((topic, partition), 0),
                now_wall_ms=self._runtime.clock.wall_ms(),
            )
            loaded.append((log, directory))
        return loaded

    def on_directory_failure(self, callback: DirectoryFailed) -> None:
        """Who is told when a directory fails, once."""
        self._on_failure = callback

    # -- the table

    def get(self, topic: str, partition: int) -> PartitionLog | None:
        return self._logs.get((topic, partition))

    def all_logs(self) -> list[PartitionLog]:
        return list(self._logs.values())

    def wait_until_free(self, topic: str, partition: int, callback: Callable[[], None]) -> bool:
        """Whether files of that name are being cut, so that no log can be made there; calls back when they are not."""
        replacement = self._replacements.get((topic, partition))
        if replacement is None:
            return False
        replacement.waiting.append(callback)
        return True

    def create(self, topic: str, partition: int, topic_id: UUID, config: LogConfig) -> PartitionLog:
        """A new log, in the online directory that has the fewest; not while `wait_until_free`. Raises OSError."""
        online = [directory for directory in self.directories if directory.is_online]
        if not online:
            raise OSError("no log directory is online")
        directory = min(online, key=lambda candidate: candidate.log_count)
        key = (topic, partition)
        log = create_log(
            self._disk,
            self._pool,
            f"{directory.path}/{partition_directory(topic, partition)}",
            topic,
            partition,
            topic_id,
            config,
            now_wall_ms=self._runtime.clock.wall_ms(),
        )
        self._logs[key] = log
        self._directory_of[key] = directory
        directory.log_count += 1
        self._high_watermarks.pop(key, None)
        self._cleaned.pop(key, None)
        return log

    def delete(self, topic: str, partition: int, topic_id: UUID) -> None:
        """Takes a log out of the table; its files go later. Another topic's log of that name stays."""
        key = (topic, partition)
        log = self._logs.get(key)
        if log is None:
            replacement = self._replacements.get(key)
            if replacement is not None and replacement.topic_id == topic_id:
                replacement.is_deleted = True
            return
        if log.topic_id != topic_id:
            return
        del self._logs[key]
        directory = self._directory_of.pop(key)
        directory.log_count -= 1
        self._high_watermarks.pop(key, None)
        self._cleaned.pop(key, None)
        log.close()
        if not directory.is_online:
            return
        target = f"{directory.path}/{deleted_directory(topic, partition, self._runtime.entropy.uuid())}"
        try:
            self._disk.rename(log.directory, target)
        except OSError as error:
            self._fail(directory, error)
            return
        self.removal.remove_directory(target, log.config.file_delete_delay_ms)

    # -- truncation

    async def truncate(self, log: PartitionLog, offset: int) -> PartitionLog | None:
        """Takes away all batches with records from `offset` on; the log that is in the table in `log`'s place then.

        None when that could not be done: the log is not in the table, has segments replaced just now, or its directory
        failed. Nobody may append meanwhile.
        """
        if offset < log.segments[0].base_offset:
            return await self.start_anew(log, offset)
        return await self._replace(
            log,
            offset,
            partial(truncated, log, offset, self._disk, self._pool, log_start_offset=log.log_start_offset),
        )

    async def start_anew(self, log: PartitionLog, offset: int) -> PartitionLog | None:
        """Takes away everything; the log goes on at `offset`. The same as `truncate` otherwise."""
        return await self._replace(log, offset, partial(emptied, log, offset, self._disk, self._pool))

    async def _replace(self, log: PartitionLog, offset: int, make: Callable[..., PartitionLog]) -> PartitionLog | None:
        key = (log.topic, log.partition)
        async with self._checkpointing:
            if self._logs.get(key) is not log or log.is_swapping:
                return None
            directory = self._directory_of[key]
            try:
                if log.recovery_point > offset:
                    log.recovery_point = offset
                    await self.write_recovery_points()
                if self._logs.get(key) is not log or log.is_swapping:
                    return None
                return await self._cut(log, offset, make)
            except OSError as error:
                self._fail(directory, error)
                return None

    async def _cut(self, log: PartitionLog, offset: int, make: Callable[..., PartitionLog]) -> PartitionLog | None:
        """None when the topic was deleted meanwhile. Raises OSError."""
        key = (log.topic, log.partition)
        replacement = self._replacements[key] = _Replacement(log.topic_id)
        del self._logs[key]
        try:
            fresh = await self._runtime.blocking.run(partial(make, now_wall_ms=self._runtime.clock.wall_ms()))
            self._logs[key] = fresh
        finally:
            del self._replacements[key]
            if replacement.is_deleted:
                self.delete(*key, log.topic_id)
            for callback in replacement.waiting:
                callback()
        if replacement.is_deleted:
            return None
        if self._cleaned.get(key, 0) > offset:
            self._cleaned[key] = offset
        return fresh

    def delete_strays(self, is_wanted: Callable[[PartitionLog], bool]) -> None:
        """Deletes logs of topics that were deleted while this broker was away."""
        for log in [log for log in self._logs.values() if not is_wanted(log)]:
            _logger.warning("stray_log_deleted", directory=log.directory, topic_id=str(log.topic_id))
            self.delete(log.topic, log.partition, log.topic_id)

    def high_watermark(self, topic: str, partition: int) -> int:
        """As checkpointed by the last life; 0 when it is not known."""
        return self._high_watermarks.get((topic, partition), 0)

    def cleaned_offset(self, log: PartitionLog) -> int | None:
        """Up to where a log was compacted; None when it never was."""
        return self._cleaned.get((log.topic, log.partition))

    def note_cleaned(self, log: PartitionLog, offset: int) -> None:
        """`write_cleaned_offsets` puts it onto the device."""
        self._cleaned[log.topic, log.partition] = offset

    # -- failures

    def on_flush_failure(self, log: PartitionLog, error: BaseException) -> None:
        """A sync failed: nothing on that directory can be promised any more."""
        key = (log.topic, log.partition)
        if self._logs.get(key) is log:  # else it was deleted meanwhile, and its files with it
            self._fail(self._directory_of[key], error)

    def _fail(self, directory: LogDirectory, error: BaseException) -> None:
        if not directory.is_online:
            return
        directory.is_online = False
        _logger.error("log_directory_failed", directory=directory.path, error=str(error))
        lost = [key for key, used in self._directory_of.items() if used is directory]
        self._on_failure(lost)
        if not any(other.is_online for other in self.directories):
            # As a task: whoever met the failure may be a callback of the event loop, which ends nothing.
            failure = AllDirectoriesFailed(f"the last log directory, {directory.path}, failed: {error}")
            self._runtime.tasks.spawn("log-directories", _raise(failure))

    # -- checkpoints

    def _offsets_by_directory(
        self, offset_of: Callable[[PartitionLog], int | None]
    ) -> list[tuple[LogDirectory, dict[TopicPartition, int]]]:
        by_directory: dict[int, dict[TopicPartition, int]] = {id(directory): {} for directory in self.directories}
        for key, log in list(self._logs.items()):
            offset = offset_of(log)
            directory = self._directory_of.get(key)
            if offset is not None and directory is not None:
                by_directory[id(directory)][key] = offset
        return [(directory, by_directory[id(directory)]) for directory in self.directories if directory.is_online]

    def write_log_start_offsets(self) -> None:
        """Writes down log starts above their first segment's. Blocks. Raises OSError."""
        for directory, offsets in self._offsets_by_directory(_raised_log_start):
            directory.write_log_starts(offsets)

    async def write_recovery_points(self) -> None:
        """Raises OSError."""
        async with self._writing:
            await self._runtime.blocking.run(self._write_recovery_points)

    def _write_recovery_points(self) -> None:
        for directory, offsets in self._offsets_by_directory(lambda log: log.recovery_point):
            directory.write_recovery_points(offsets)

    async def write_high_watermarks(self, high_watermarks: Mapping[TopicPartition, int]) -> None:
        """Raises OSError."""
        async with self._writing:
            await self._runtime.blocking.run(partial(self._write_high_watermarks, high_watermarks))

    def _write_high_watermarks(self, high_watermarks: Mapping[TopicPartition, int]) -> None:
        for directory, offsets in self._offsets_by_directory(
            lambda log: high_watermarks.get((log.topic, log.partition))
        ):
            directory.write_high_watermarks(offsets)

    async def write_cleaned_offsets(self) -> None:
        """Raises OSError."""
        async with self._writing:
            await self._runtime.blocking.run(self._write_cleaned_offsets)

    def _write_cleaned_offsets(self) -> None:
        for directory, offsets in self._offsets_by_directory(self.cleaned_offset):
            directory.write_cleaned_offsets(offsets)

    async def checkpoint(self, logs: Iterable[PartitionLog]) -> None:
        """Gets these logs onto the device with all that recovery needs, and moves their recovery points."""
        async with self._checkpointing:
            await self._checkpoint(logs)

    async def _checkpoint(self, logs: Iterable[PartitionLog]) -> None:
        for log in logs:
            directory = self._directory_of.get((log.topic, log.partition))
            if self._logs.get((log.topic, log.partition)) is not log:
                continue  # deleted or truncated since: what it knows is no more
            if directory is None or not directory.is_online or not log.is_dirty:
                continue
            try:
                ticket: CheckpointTicket = log.checkpoint_ticket()
                await self._runtime.blocking.run(ticket.sync)
            except OSError as error:
                if self._logs.get((log.topic, log.partition)) is log:
                    self._fail(directory, error)
                continue
            log.finish_checkpoint(ticket)

    # -- the end

    async def close(self, high_watermarks: Mapping[TopicPartition, int], broker_epoch: int, *, is_clean: bool) -> None:
        """Closes all logs; with `is_clean` everything is on the device before, and the mark says so at last."""
        self.removal.close()
        if is_clean:
            await self.checkpoint(self.all_logs())
            async with self._writing:
                await self._runtime.blocking.run(partial(self._write_last, high_watermarks, broker_epoch))
        for log in self._logs.values():
            log.close()

    def _write_last(self, high_watermarks: Mapping[TopicPartition, int], broker_epoch: int) -> None:
        self._write_recovery_points()
        self.write_log_start_offsets()
        self._write_high_watermarks(high_watermarks)
        for directory in self.directories:
            if directory.is_online:
                directory.write_clean_mark(broker_epoch)


async def _raise(failure: Exception) -> None:
    raise failure


def _raised_log_start(log: PartitionLog) -> int | None:
    """None when the first segment says it already."""
    start = log.log_start_offset
    return start if start > log.segments[0].base_offset else None
