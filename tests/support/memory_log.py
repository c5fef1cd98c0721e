"""A partition's log in memory, with its disk in the test's hand: what is cold, what is flushed, what fails.

Behind the interface of `log.PartitionLog`, as far as replication and the handlers of produce and fetch use it; judging
batches, remembering producers and epochs is done by the product's own parts.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from uuid import UUID

from pybroker_protocol.records.batch import iter_batches, patch_offset_and_epoch
from pybroker_protocol.records.record import iter_records
from pybroker_server.log.leader_epochs import LeaderEpochs
from pybroker_server.log.log_config import LogConfig
from pybroker_server.log.position import AppendInfo, LogPosition, ReadResult
from pybroker_server.log.producer_check import check_producer
from pybroker_server.log.producer_replay import apply_batch
from pybroker_server.log.producer_state import ProducerState
from pybroker_server.log.validator import AppendOrigin, check_batch, prepare_records
from pybroker_server.log.verification import Verification

EMPTY = memoryview(b"")


class MemoryLog:
    """`is_cold`: reads without waiting find nothing; `failure`: raised by the next append or read."""

    def __init__(self, topic: str, partition: int, topic_id: UUID, config: LogConfig) -> None:
        self.topic = topic
        self.partition = partition
        self.topic_id = topic_id
        self.directory = f"/data/{topic}-{partition}"
        self.config = config
        self.log_start_offset = 0
        self.log_end_offset = 0
        self.flushed_offset = 0
        self.is_cold = False
        self.failure: OSError | None = None
        self.reads = 0
        self.aborted: list[tuple[int, int]] = []
        self.producer_state = ProducerState()
        self._epochs = LeaderEpochs()
        self._segments: dict[int, bytearray] = {0: bytearray()}

    # -- what it knows

    @property
    def end_position(self) -> LogPosition:
        base, data = next(reversed(self._segments.items()))
        return LogPosition(self.log_end_offset, base, len(data))

    @property
    def flushed_position(self) -> LogPosition:
        return self.position_of(self.flushed_offset)

    @property
    def latest_epoch(self) -> int:
        return self._epochs.latest

    @property
    def size_bytes(self) -> int:
        return sum(len(data) for data in self._segments.values())

    def update_config(self, config: LogConfig) -> None:
        self.config = config

    def assign_epoch_start(self, epoch: int) -> None:
        self._epochs.assign(epoch, self.log_end_offset)

    def end_offset_for_epoch(self, epoch: int) -> tuple[int, int]:
        return self._epochs.end_offset_for(epoch, self.log_end_offset)

    def epoch_of_offset(self, offset: int) -> int:
        return self._epochs.epoch_of_offset(offset)

    def position_of(self, offset: int) -> LogPosition:
        if offset == self.log_end_offset:
            return self.end_position
        base = max(b for b in self._segments if b <= offset)
        for position, header in iter_batches(memoryview(bytes(self._segments[base]))):
            if header.base_offset <= offset <= header.last_offset:
                return LogPosition(offset, base, position)
        later = min(b for b in self._segments if b > base)
        return LogPosition(offset, later, 0)

    # -- writing

    def append_as_leader(
        self,
        records: memoryview,
        leader_epoch: int,
        now_wall_ms: int,
        *,
        origin: AppendOrigin = AppendOrigin.CLIENT,
        transaction_version: int = 0,
        verification: Verification | None = None,
    ) -> AppendInfo:
        self._maybe_fail()
        header = check_batch(records, self.config, origin)
        if header.has_producer_id:
            known = check_producer(
                self.producer_state,
                records,
                header,
                origin,
                transaction_version=transaction_version,
                verification=verification,
                must_be_verified=self.config.transaction_partition_verification_enable,
            )
            if known is not None:
                start, end = self.log_start_offset, self.end_position
                return AppendInfo(known.first_offset, known.last_offset, known.timestamp, start, end, True)
        stored, header, append_time = prepare_records(records, header, self.config, now_wall_ms)
        base, last = self.log_end_offset, self.log_end_offset + header.last_offset_delta
        copy = bytearray(stored[: header.size_bytes])
        patch_offset_and_epoch(copy, 0, base, leader_epoch)
        next(reversed(self._segments.values())).extend(copy)
        self.log_end_offset = last + 1
        if header.has_producer_id:
            completed = apply_batch(self.producer_state, memoryview(copy), header, base)
            if completed is not None and completed.aborted:
                self.aborted.append((completed.producer_id, completed.first_offset))
        return AppendInfo(base, last, append_time, self.log_start_offset, self.end_position, False)

    def append_as_follower(self, records: memoryview, now_wall_ms: int, leader_epoch: int = 1 << 30) -> AppendInfo:
        first = self.log_end_offset
        for position, header in iter_batches(records):
            if header.partition_leader_epoch > leader_epoch:
                break
            assert header.base_offset >= self.log_end_offset
            next(reversed(self._segments.values())).extend(records[position : position + header.size_bytes])
            self.log_end_offset = header.next_offset
            self._epochs.assign(max(header.partition_leader_epoch, 0), header.base_offset)
        return AppendInfo(first, self.log_end_offset - 1, -1, self.log_start_offset, self.end_position, False)

    def roll(self) -> None:
        self._segments[self.log_end_offset] = bytearray()

    def cut_back_to(self, offset: int) -> None:
        """As a loss of power does: what is behind is gone."""
        where = self.position_of(offset)
        for base in [base for base in self._segments if base > where.segment_base_offset]:
            del self._segments[base]
        del self._segments[where.segment_base_offset][where.position :]
        self.log_end_offset = self.flushed_offset = offset

    def delete_records_before(self, offset: int) -> None:
        self.log_start_offset = offset

    # -- reading

    def read(
        self, offset: int, max_bytes: int, upper: LogPosition, *, min_one: bool, nowait: bool
    ) -> ReadResult | None:
        self._maybe_fail()
        if nowait and self.is_cold:
            return None
        self.reads += 1
        if offset >= upper.offset:
            return ReadResult(EMPTY, upper)
        start = self.position_of(offset)
        data = memoryview(bytes(self._segments[start.segment_base_offset]))
        is_last = start.segment_base_offset == upper.segment_base_offset
        limit = upper.position if is_last else len(data)
        end = first = start.position
        first_offset = offset
        for position, header in iter_batches(data[:limit], start.position):
            size = header.size_bytes
            if position == first:
                first_offset = header.base_offset
            if end + size - first > max_bytes and not (min_one and position == first):
                break
            end = position + size
        return ReadResult(data[first:end], LogPosition(first_offset, start.segment_base_offset, first))

    def aborted_transactions(self, from_offset: int, upper_offset: int) -> list[tuple[int, int]]:
        return [entry for entry in self.aborted if entry[1] < upper_offset]

    def offset_for_timestamp(self, timestamp: int, upper_offset: int) -> tuple[int, int] | None:
        self._maybe_fail()
        found = (x for x in self._times() if x[0] >= timestamp and self.log_start_offset <= x[1] < upper_offset)
        return next(found, None)

    def max_timestamp_record(self, upper_offset: int) -> tuple[int, int] | None:
        times = [x for x in self._times() if self.log_start_offset <= x[1] < upper_offset]
        return max(times, key=lambda x: (x[0], -x[1]), default=None)

    def _times(self) -> list[tuple[int, int]]:
        return [
            (record.timestamp, record.offset)
            for data in self._segments.values()
            for position, header in iter_batches(memoryview(bytes(data)))
            for record in iter_records(
                memoryview(bytes(data))[position : position + header.size_bytes], max_bytes=1 << 20
            )
        ]

    def _maybe_fail(self) -> None:
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure


class ManualFlusher:
    """`log.Flusher`: flushes when the test says so."""

    def __init__(self) -> None:
        self.requested: dict[MemoryLog, list[Callable[[BaseException | None], None]]] = {}

    def request(self, log: MemoryLog, callback: Callable[[BaseException | None], None]) -> None:
        self.requested.setdefault(log, []).append(callback)

    def flush(self, error: OSError | None = None) -> None:
        requested, self.requested = self.requested, {}
        for log, callbacks in requested.items():
            if error is None:
                log.flushed_offset = log.log_end_offset
            for callback in callbacks:
                callback(error)


class ManualBlocking:
    """`ports.Blocking`: work runs when the test says so."""

    def __init__(self) -> None:
        self.submitted: list[tuple[Callable[[], object], Callable[[object, BaseException | None], None]]] = []

    def submit(self, work: Callable[[], object], done: Callable[[object, BaseException | None], None]) -> None:
        self.submitted.append((work, done))

    def run_all(self) -> None:
        submitted, self.submitted = self.submitted, []
        for work, done in submitted:
            try:
                result = work()
            except OSError as error:
                done(None, error)
            else:
                done(result, None)


class MemoryLogs:
    """`log.LogManager`: keeps what it is given, also over the life of a `ReplicaManager`."""

    def __init__(self) -> None:
        self.logs: dict[tuple[str, int], MemoryLog] = {}
        self.deleted: list[tuple[str, int, UUID]] = []
        self.high_watermarks: dict[tuple[str, int], int] = {}
        self.directories = [SimpleNamespace(path=path, is_online=True) for path in ("/data", "/other")]
        self.written_log_starts: dict[tuple[str, int], int] = {}
        self.failure: OSError | None = None
        self.being_cut: dict[tuple[str, int], list[Callable[[], None]]] = {}
        """Logs whose files are in the hands of a thread, and who waits for them."""

    def wait_until_free(self, topic: str, partition: int, callback: Callable[[], None]) -> bool:
        waiting = self.being_cut.get((topic, partition))
        if waiting is not None:
            waiting.append(callback)
        return waiting is not None

    def get(self, topic: str, partition: int) -> MemoryLog | None:
        return self.logs.get((topic, partition))

    def create(self, topic: str, partition: int, topic_id: UUID, config: LogConfig) -> MemoryLog:
        if self.failure is not None:
            raise self.failure
        log = MemoryLog(topic, partition, topic_id, config)
        self.logs[topic, partition] = log
        return log

    def delete(self, topic: str, partition: int, topic_id: UUID) -> None:
        self.deleted.append((topic, partition, topic_id))
        del self.logs[topic, partition]

    def write_log_start_offsets(self) -> None:
        """What is written survives a power cut: `written_log_starts` is what a restarted broker would see."""
        if self.failure is not None:
            raise self.failure
        self.written_log_starts = {key: log.log_start_offset for key, log in self.logs.items()}

    def high_watermark(self, topic: str, partition: int) -> int:
        return self.high_watermarks.get((topic, partition), 0)
