"""One pass over one log: the map of keys, the new segments, and their place in the log.

Rules of this file: the event loop decides and renames, threads read, write and sync, a slice at a time. Between two
steps the log may be deleted, reconfigured or lose segments to retention, and the broker may stop: then the pass is
given up and what it made is removed. Renames are made on the event loop because deleting a topic is too: no file of a
topic made anew under the same name can be taken for one of this log's. See `compaction_swap.py` for their order.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Sequence
from functools import partial
from typing import NamedTuple, TypeVar

from pybroker_server.log.compaction_filter import ActiveProducer, BatchFilter
from pybroker_server.log.compaction_map import OffsetMap
from pybroker_server.log.compaction_pick import Dirt, group_segments
from pybroker_server.log.compaction_rewrite import Sliced, fill_map, rewrite
from pybroker_server.log.compaction_transactions import TransactionTracker
from pybroker_server.log.files import (
    DELETED_SUFFIX,
    INDEX_SUFFIXES,
    LOG_SUFFIX,
    OFFSET_INDEX_SUFFIX,
    SWAP_SUFFIX,
    TIME_INDEX_SUFFIX,
)
from pybroker_server.log.partition_log import PartitionLog
from pybroker_server.log.removal import Removal
from pybroker_server.log.segment import Segment
from pybroker_server.log.transaction_index import AbortedTransaction
from pybroker_server.runtime.runtime import Runtime

T = TypeVar("T")


class PassGivenUp(Exception):
    """The log is not what it was when the pass began, or the broker stops: nothing is wrong with it."""


class SwapFailed(Exception):
    """The device refused a step after which the log's files are neither the old ones nor the new: its cause says."""


class PassResult(NamedTuple):
    end_offset: int
    """Up to which the log is compacted now."""
    bytes_before: int
    bytes_after: int
    """Of the segments of the section."""


class CompactionPass:
    """`run` once. Raises PassGivenUp, SwapFailed, and whatever a log that cannot be compacted is to blame for."""

    def __init__(
        self,
        log: PartitionLog,
        dirt: Dirt,
        runtime: Runtime,
        removal: Removal,
        *,
        map_bytes: int,
        is_served: Callable[[], bool],
        may_go_on: Callable[[], bool],
        pay: Callable[[int], Awaitable[None]],
    ) -> None:
        """`is_served`: whether the log is still one of the broker's. `may_go_on`: whether it is, and is compacted, and
        the broker runs. `pay` waits as long as the bytes that went through cost."""
        self._log = log
        self._dirt = dirt
        self._disk = runtime.disk
        self._blocking = runtime.blocking
        self._removal = removal
        self._is_served = is_served
        self._may_go_on = may_go_on
        self._pay = pay
        self._now_wall_ms = runtime.clock.wall_ms()
        self._offsets = OffsetMap(map_bytes)
        self._needed: frozenset[Segment] = frozenset()
        """Segments that this pass has not replaced yet: without one of them it comes to nothing."""

    async def run(self) -> PassResult:
        log, dirt = self._log, self._dirt
        sealed = [segment for segment in log.segments[:-1] if segment.base_offset < dirt.end_offset]
        if not sealed:
            raise PassGivenUp  # retention was here since the dirt was measured
        self._needed = frozenset(sealed)
        # As they are remembered now: what they write later lies beyond the section.
        producers = {
            entry.producer_id: ActiveProducer(entry.batches[-1].last_offset if entry.batches else None, entry.epoch)
            for entry in log.producer_state
        }
        aborted = await self._run(partial(log.aborted_entries, sealed[0].base_offset, dirt.end_offset))
        await self._fill_map(sealed, aborted)
        end_offset = self._offsets.latest_offset + 1
        transactions = TransactionTracker(aborted)
        batch_filter = BatchFilter(
            self._offsets,
            transactions,
            producers,
            end_offset=dirt.end_offset,
            delete_retention_ms=log.config.delete_retention_ms,
            now_ms=self._now_wall_ms,
        )
        reached = [segment for segment in sealed if segment.base_offset < end_offset]
        size = before = sum(segment.size for segment in reached)
        for group in await self._groups(reached, sealed):
            size += await self._clean_group(group, batch_filter, transactions)
            self._needed -= frozenset(group)
        return PassResult(end_offset, before, size)

    async def _fill_map(self, sealed: Sequence[Segment], aborted: Sequence[AbortedTransaction]) -> None:
        first_dirty, end_offset = self._dirt.first_dirty_offset, self._dirt.end_offset
        ends = [*(segment.base_offset for segment in sealed[1:]), end_offset]
        dirty = [segment for segment, end in zip(sealed, ends, strict=True) if end > first_dirty]
        overlapping = [entry for entry in aborted if entry.last_offset >= dirty[0].base_offset]
        await self._in_slices(
            fill_map(self._disk, self._offsets, dirty, overlapping, first_dirty=first_dirty, end_offset=end_offset)
        )

    async def _groups(self, reached: Sequence[Segment], sealed: Sequence[Segment]) -> list[tuple[Segment, ...]]:
        sizes = await self._run(lambda: {s.base_offset: self._index_bytes(s) for s in reached})
        following = sealed[len(reached)].base_offset if len(reached) < len(sealed) else self._dirt.end_offset
        config = self._log.config
        return group_segments(
            reached,
            sizes,
            following,
            segment_bytes_max=config.segment_bytes,
            index_bytes_max=config.segment_index_bytes,
        )

    def _index_bytes(self, segment: Segment) -> tuple[int, int]:
        return self._file_size(segment.path(OFFSET_INDEX_SUFFIX)), self._file_size(segment.path(TIME_INDEX_SUFFIX))

    def _file_size(self, path: str) -> int:
        try:
            return self._disk.file_size(path)
        except FileNotFoundError:
            return 0  # lost, and made anew by its first reader

    # -- one group

    async def _clean_group(
        self, group: tuple[Segment, ...], batch_filter: BatchFilter, transactions: TransactionTracker
    ) -> int:
        """By how many bytes the log grew (a negative number, as a rule)."""
        log = self._log
        new = await self._in_slices(
            rewrite(
                self._disk,
                log.directory,
                group,
                batch_filter,
                transactions,
                index_interval_bytes=log.config.index_interval_bytes,
            )
        )
        if new is None:
            return 0
        for segment in group:
            segment.is_pinned = True
        log.is_swapping = True
        try:
            await self._prepare_swap(group, new)
            await self._swap(group, new)
        finally:
            log.is_swapping = False
            for segment in (*group, new):
                segment.is_pinned = False
        return new.size - sum(segment.size for segment in group)

    async def _prepare_swap(self, group: tuple[Segment, ...], new: Segment) -> None:
        """Whoever reads in the old segments now goes on in the files that they hold open."""
        is_ready = False
        try:
            await self._run(partial(_pin, group))
            is_ready = True
        finally:
            if not is_ready:
                await self._blocking.run(new.remove_files)

    async def _swap(self, group: tuple[Segment, ...], new: Segment) -> None:
        log = self._log
        retired: list[str] = []
        try:
            new.rename_files(SWAP_SUFFIX)
            new.take_ending(SWAP_SUFFIX)
            await self._sync_directory()
            for segment in group:
                segment.deleted = True
                retired += segment.rename_files(DELETED_SUFFIX)
                segment.take_ending(DELETED_SUFFIX)
            log.replace_segments(group, new)
            await self._sync_directory()
            new.rename_files("", (LOG_SUFFIX,))
            await self._sync_directory()
            new.rename_files("", INDEX_SUFFIXES)
            new.take_ending("")
            await self._sync_directory()
        except OSError as error:
            raise SwapFailed from error
        self._removal.remove_marked(retired, log.config.file_delete_delay_ms)

    async def _sync_directory(self) -> None:
        """A swap that has begun is brought to its end, unless the log is gone."""
        await self._blocking.run(partial(self._disk.sync_dir, self._log.directory))
        if not self._is_served():
            raise PassGivenUp

    # -- work in threads

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            result = await self._blocking.run(work)
        except (OSError, ValueError):
            self._check()  # what was taken away cannot be read
            raise
        self._check()
        return result

    async def _in_slices(self, work: Generator[int, None, T]) -> T:
        sliced = Sliced(work)
        while not sliced.is_done:
            try:
                moved_bytes = await self._blocking.run(sliced.advance)
            except (OSError, ValueError):
                self._check()
                raise
            try:
                await self._pay(moved_bytes)
                if not sliced.is_done:  # what is done is the caller's to use or to remove
                    self._check()
            except PassGivenUp:
                await self._blocking.run(sliced.close)
                raise
        return sliced.result

    def _check(self) -> None:
        if not self._may_go_on() or not self._needed <= frozenset(self._log.segments):
            raise PassGivenUp


def _pin(group: Sequence[Segment]) -> None:
    for segment in group:
        segment.pin()
