"""One Fetch in progress: reads its partitions in order under the limits, waits for bytes, reads from cold disks.

Rules of this file: results are `FetchResponse.PartitionData`, one for each target and in its order. A first pass reads
what the page cache holds, on the event loop. What is not there is read in one piece of blocking work for the whole
request, which touches logs only; what the loop knew before is checked again after it. A fetch that waits keeps
positions and no records. `answer` is called at most once, on the event loop, and never before `start` has returned.

Limits (KIP-74): each partition its own maximum, all of them the request's; the first batch of the first partition that
has any is returned whatever its size, and whatever follows fits or is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.messages import FetchResponse
from pybroker_protocol.records.batch import iter_batches
from pybroker_server.log.position import LogPosition, ReadResult
from pybroker_server.replica.partition import Partition
from pybroker_server.replica.purgatory import DelayedFetch

if TYPE_CHECKING:
    from pybroker_server.log.partition_log import PartitionLog
    from pybroker_server.replica.manager import ReplicaManager

PartitionData = FetchResponse.PartitionData
ColdRead = tuple["FetchTarget", "PartitionLog", int, int, LogPosition]
"""(target, its log, fetch offset, partition maximum, upper bound)"""
ColdResult = ReadResult | OSError | KafkaError | None
"""None: nothing fits any more."""
EMPTY = memoryview(b"")
CONSUMER = -1
"""In place of a replica id."""


def error_data(index: int, error: int) -> PartitionData:
    """The answer for a partition that cannot be read: every offset is -1 (gotcha 47)."""
    return PartitionData(
        partition_index=index, error_code=error, high_watermark=-1, records=EMPTY, aborted_transactions=None
    )


class FetchTarget:
    """One partition of a fetch. `asked` has the fields of `FetchRequest.FetchPartition`.

    Either `partition` is set, or `data` already says why there is none.
    """

    __slots__ = ("asked", "data", "leader_epoch", "partition", "start")

    def __init__(self, asked: Any, partition: Partition | None, data: PartitionData | None = None) -> None:
        self.asked = asked
        self.partition = partition
        self.data = data
        self.start: LogPosition | None = None
        """Where the records begin, for counting bytes while it waits; None for an error."""
        self.leader_epoch = -1
        """That of the partition when a cold read began."""


class ReplicaFetch:
    """Made for one request; a handler derives from it and says in `answer` what becomes of the results.

    `start` returns True when every target has its `data` at once; else `answer` is called later, unless abandoned.
    """

    __slots__ = (
        "_is_over",
        "_waiting",
        "deadline_ms",
        "idle",
        "manager",
        "max_bytes",
        "may_ask_followers",
        "min_bytes",
        "read_committed",
        "replica_epoch",
        "replica_id",
        "targets",
    )

    def __init__(
        self,
        manager: ReplicaManager,
        *,
        max_bytes: int,
        min_bytes: int,
        read_committed: bool,
        deadline_ms: int,
        replica_id: int = CONSUMER,
        replica_epoch: int = -1,
        may_ask_followers: bool = False,
    ) -> None:
        """`replica_id`: the follower that asks, and `replica_epoch` its broker epoch. `may_ask_followers`: a consumer
        that need not read from the leader (KIP-392)."""
        self.manager = manager
        self.replica_id = replica_id
        self.replica_epoch = replica_epoch
        self.may_ask_followers = may_ask_followers
        self.targets: list[FetchTarget] = []
        self.idle: list[tuple[Any, Partition]] = []
        """Of a follower's session: partitions (and what it asks of them) of which there is nothing to read or to tell.
        They are not read, only waited for."""
        self.max_bytes = max_bytes
        self.min_bytes = min_bytes
        self.read_committed = read_committed
        self.deadline_ms = deadline_ms
        self._waiting: DelayedFetch | None = None
        self._is_over = False

    def answer(self) -> None:
        """The results are there, after a wait or a cold read."""
        raise NotImplementedError

    def preferred_replica(self, partition: Partition, offset: int) -> int | None:
        """Where a consumer had better read (KIP-392); None: here."""
        del partition, offset
        return None

    def start(self, now_ms: int) -> bool:
        """Reads `targets`, set by now."""
        if self.replica_id >= 0:
            self._note_progress(now_ms)
        cold_from = self._read_warm()
        if cold_from < 0:
            return self._is_satisfied(now_ms) or not self._wait()
        self._read_cold(cold_from)
        return False

    def is_idle(self, asked: Any, partition: Partition) -> bool:
        """Whether a follower that asks for this within its session knows all there is; `asked` is not news itself."""
        state, log = partition.state, partition.log
        return (
            log.log_end_offset == asked.fetch_offset
            and state.high_watermark == asked.told_high_watermark
            and log.log_start_offset == asked.told_log_start_offset
            and state.leader_epoch == asked.current_leader_epoch
            and state.leader == state.local_id
            and partition.error is ErrorCode.NONE
        )

    def no_longer_idle(self, asked: Any, partition: Partition) -> None:
        """It is to be read, after all: put it among `targets`."""
        raise NotImplementedError

    def hurry(self) -> None:
        """Answers with what there is, if it waits."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.is_complete:
            self.manager.purgatory.cancel(waiting)
            self._wake(waiting)

    def abandon(self) -> None:
        """Nobody wants the answer any more."""
        self._is_over = True
        if self._waiting is not None:
            self.manager.purgatory.cancel(self._waiting)
            self._waiting = None

    # Reading

    def _read_warm(self) -> int:
        """Reads from the page cache; the index of the first target that would block, or -1 when all are read."""
        remaining = self.max_bytes
        min_one = True
        for index, target in enumerate(self.targets):
            partition = target.partition
            if partition is None:
                continue
            upper = self._prepare(target, partition)
            if upper is None:
                continue
            asked = target.asked
            limit = asked.partition_max_bytes
            if limit > remaining:
                limit = remaining
            if limit <= 0 and not min_one:
                self._fill(target, partition, EMPTY, None)
                continue
            try:
                result = partition.log.read(asked.fetch_offset, limit, upper, min_one=min_one, nowait=True)
            except OSError as error:
                partition.go_offline(error)
                target.data = error_data(partition.index, ErrorCode.KAFKA_STORAGE_ERROR)
                continue
            except KafkaError as error:
                target.data = error_data(partition.index, error.code)
                continue
            if result is None:
                return index
            size = len(result.records)
            if size:
                remaining -= size
                min_one = False
            self._fill(target, partition, result.records, result.start)
        return -1

    def _check(self, partition: Partition, leader_epoch: int) -> None:
        """Raises KafkaError."""
        if self.replica_id >= 0:
            partition.check_follower(self.replica_id, self.replica_epoch, leader_epoch)
        elif self.may_ask_followers:
            partition.check_readable(leader_epoch)
        else:
            partition.check_leader(leader_epoch)

    def _upper(self, partition: Partition) -> LogPosition:
        """Up to where it may read."""
        if self.replica_id >= 0:
            return partition.log.end_position
        return partition.last_stable_position() if self.read_committed else partition.high_watermark_position

    def _note_progress(self, now_ms: int) -> None:
        """What a follower asks for is what it has: once per request, before anything is read, so that the answer
        tells the high watermark that follows from it."""
        for target in self.targets:
            partition, asked = target.partition, target.asked
            if partition is None:
                continue
            offset: int = asked.fetch_offset
            try:
                self._check(partition, asked.current_leader_epoch)
                if self._diverging(partition, asked) is None and (
                    partition.log.log_start_offset <= offset <= partition.log.log_end_offset
                ):
                    partition.on_follower_fetch(
                        self.replica_id, self.replica_epoch, offset, asked.log_start_offset, now_ms
                    )
            except KafkaError:
                continue  # reading it says so again

    def _diverging(self, partition: Partition, asked: Any) -> tuple[int, int] | None:
        if asked.last_fetched_epoch < 0:
            return None
        return partition.diverging_epoch(asked.last_fetched_epoch, asked.fetch_offset)

    def _prepare(self, target: FetchTarget, partition: Partition) -> LogPosition | None:
        """Checks one target; its upper bound when there is something to read, else None with `data` filled."""
        asked = target.asked
        target.start = None
        offset: int = asked.fetch_offset
        log = partition.log
        try:
            self._check(partition, asked.current_leader_epoch)
            if asked.last_fetched_epoch >= 0:
                diverging = partition.diverging_epoch(asked.last_fetched_epoch, offset)
                if diverging is not None:
                    self._fill_diverging(target, partition, diverging)
                    return None
            if offset < log.log_start_offset or offset > log.log_end_offset:
                raise KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE)
        except KafkaError as error:
            target.data = error_data(partition.index, error.code)
            return None
        if self._is_throttled(partition):
            self._fill(target, partition, EMPTY, None)
            return None
        if self.may_ask_followers:
            preferred = self.preferred_replica(partition, offset)
            if preferred is not None:
                self._fill(target, partition, EMPTY, None)
                assert target.data is not None
                target.data.preferred_read_replica = preferred
                return None
        upper = self._upper(partition)
        if offset < upper.offset:
            return upper
        self._fill(target, partition, EMPTY, upper if offset == upper.offset else log.position_of(offset))
        return None

    def _is_throttled(self, partition: Partition) -> bool:
        """Whether the quota has nothing left for this follower now (KIP-73)."""
        if not self._counts_for_quota(partition):
            return False
        manager = self.manager
        return manager.leader_quota.wait_ms(manager.clock.monotonic_ms()) > 0

    def _counts_for_quota(self, partition: Partition) -> bool:
        return self.replica_id >= 0 and partition.is_throttled_as_leader and self.replica_id not in partition.state.isr

    def _fill(self, target: FetchTarget, partition: Partition, records: memoryview, start: LogPosition | None) -> None:
        log = partition.log
        reached = partition.state.high_watermark
        target.start = start
        if records and self._counts_for_quota(partition):
            self.manager.leader_quota.note(len(records), self.manager.clock.monotonic_ms())
        target.data = PartitionData(
            partition_index=partition.index,
            high_watermark=reached,
            last_stable_offset=(
                reached if log.producer_state.first_unstable_offset is None else partition.last_stable_offset
            ),
            log_start_offset=log.log_start_offset,
            aborted_transactions=_aborted(log, target.asked.fetch_offset, records) if self.read_committed else None,
            records=records,
        )

    def _fill_diverging(self, target: FetchTarget, partition: Partition, diverging: tuple[int, int]) -> None:
        self._fill(target, partition, EMPTY, None)
        assert target.data is not None
        target.data.diverging_epoch = FetchResponse.EpochEndOffset(epoch=diverging[0], end_offset=diverging[1])

    # Cold disks

    def _read_cold(self, first: int) -> None:
        """Reads the targets from `first` on in a thread, all in one go and in order."""
        remaining = self.max_bytes
        for target in self.targets[:first]:
            if target.data is not None and target.data.records:
                remaining -= len(target.data.records)
        min_one = remaining == self.max_bytes
        work = self._plan_cold(self.targets[first:])

        def finished(results: list[ColdResult] | None, error: BaseException | None) -> None:
            if not self._is_over:
                self._take_cold_results(work, results)
                # Whatever came is answered at once: who reads from cold disks is behind, and has plenty to fetch.
                self._complete()
            if error is not None:
                raise error

        self.manager.blocking.submit(lambda: _read_blocking(work, remaining, min_one), finished)

    def _plan_cold(self, targets: list[FetchTarget]) -> list[ColdRead]:
        work: list[ColdRead] = []
        for target in targets:
            partition = target.partition
            if partition is None:
                continue
            upper = self._prepare(target, partition)
            if upper is not None:
                target.leader_epoch = partition.state.leader_epoch
                asked = target.asked
                work.append((target, partition.log, asked.fetch_offset, asked.partition_max_bytes, upper))
        return work

    def _take_cold_results(self, work: list[ColdRead], results: list[ColdResult] | None) -> None:
        if results is None:
            for entry in work:
                entry[0].data = error_data(entry[0].asked.partition, ErrorCode.UNKNOWN_SERVER_ERROR)
            return
        for entry, result in zip(work, results, strict=True):
            self._take_cold(entry[0], entry[1], result)

    def _take_cold(self, target: FetchTarget, log: PartitionLog, result: ColdResult) -> None:
        partition = target.partition
        assert partition is not None
        if log is not partition.log or partition.is_resting:
            # It was truncated meanwhile, and its files with it: that they cannot be read means nothing.
            target.data = error_data(partition.index, ErrorCode.NOT_LEADER_OR_FOLLOWER)
            return
        if isinstance(result, OSError):
            partition.go_offline(result)
        try:
            if isinstance(result, KafkaError):
                raise result
            self._check(partition, partition.state.leader_epoch)
            if partition.state.leader_epoch != target.leader_epoch:
                raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
            if target.asked.fetch_offset < partition.log.log_start_offset:
                raise KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE)
        except KafkaError as error:
            target.data = error_data(partition.index, error.code)
            return
        if isinstance(result, ReadResult):
            self._fill(target, partition, result.records, result.start)
        else:
            self._fill(target, partition, EMPTY, None)

    # Waiting

    def _is_satisfied(self, now_ms: int) -> bool:
        """Enough bytes, an error, divergence, or no time to wait: answer now (gotcha 45)."""
        if self.deadline_ms <= now_ms or not (self.targets or self.idle):
            return True
        gathered = 0
        for target in self.targets:
            data = target.data
            assert data is not None
            if data.error_code != 0 or data.diverging_epoch is not None or data.preferred_read_replica != -1:
                return True
            told = getattr(target.asked, "told_high_watermark", data.high_watermark)  # known within a session
            if self.replica_id >= 0 and data.high_watermark > told:
                return True  # consumers may read from the follower, so it should not be long behind
            gathered += len(data.records)  # type: ignore[arg-type]
        return gathered >= self.min_bytes

    def _wait(self) -> bool:
        """Parks the fetch; False when there is no need: more than enough lies ready, only the limits cut it short."""
        purgatory = self.manager.purgatory
        if purgatory.is_full:
            return False
        waiting = DelayedFetch(self.min_bytes, self._wake)
        for target in self.targets:
            partition, start = target.partition, target.start
            if partition is None or start is None:
                continue
            upper = self._upper(partition)
            wait = waiting.add(
                start,
                target.asked.partition_max_bytes,
                partition.waiting,
                committed_only=self.read_committed,
                is_followers=self.replica_id >= 0,
            )
            if not wait.count(upper):
                return False
        for asked, partition in self.idle:
            waiting.add(partition.log.end_position, asked.partition_max_bytes, partition.waiting, is_followers=True)
        if waiting.is_satisfied:
            return False
        for target in self.targets:
            if target.partition is not None:
                target.data = None  # records would keep their buffer from others for as long as this waits
        self._waiting = waiting
        self.manager.watch(waiting, self.deadline_ms)
        return True

    def _wake(self, _: DelayedFetch) -> None:
        """Enough has come, something changed, or time is up: read anew and answer with what there is."""
        self._waiting = None
        for asked, partition in self.idle:
            if not self.is_idle(asked, partition):
                self.no_longer_idle(asked, partition)
        cold_from = self._read_warm()
        if cold_from < 0:
            self._complete()
        else:
            self._read_cold(cold_from)

    def _complete(self) -> None:
        if not self._is_over:
            self._is_over = True
            self.answer()


def _read_blocking(work: list[ColdRead], remaining: int, min_one: bool) -> list[ColdResult]:
    """Runs in a thread: touches the logs and nothing else."""
    results: list[ColdResult] = []
    for _, log, offset, partition_max_bytes, upper in work:
        limit = min(partition_max_bytes, remaining)
        if limit <= 0 and not min_one:
            results.append(None)
            continue
        try:
            result = log.read(offset, limit, upper, min_one=min_one, nowait=False)
        except (OSError, KafkaError) as error:
            results.append(error)
            continue
        assert result is not None
        if result.records:
            remaining -= len(result.records)
            min_one = False
        results.append(result)
    return results


def _aborted(log: PartitionLog, fetch_offset: int, records: memoryview) -> list[FetchResponse.AbortedTransaction]:
    """Aborted transactions that overlap the records returned, by first offset (gotcha 48)."""
    if not records:
        return []
    found = log.aborted_transactions(fetch_offset, log.log_end_offset)
    if not found:
        return []
    last_offset = fetch_offset
    for _, header in iter_batches(records):
        last_offset = header.last_offset
    return [
        FetchResponse.AbortedTransaction(producer_id=producer_id, first_offset=first_offset)
        for producer_id, first_offset in sorted(found, key=lambda entry: entry[1])
        if first_offset <= last_offset
    ]
