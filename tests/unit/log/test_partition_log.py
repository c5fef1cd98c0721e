"""A partition's log: what appending promises, what it refuses, when it rolls, and what is on the device when."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.compaction import batch, batches_from, rows_of
from tests.support.dying_disk import DyingDisk
from tests.support.partition_logs import NOW_MS, SMALL, checkpoint, end_transaction, file_of, new_log, put, reload

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.records.control import ControlType
from pybroker_server.log.files import SNAPSHOT_SUFFIX
from pybroker_server.log.log_config import LOG_APPEND_TIME, LONG_MAX, LogConfig
from pybroker_server.log.partition_log import PartitionLog
from pybroker_server.runtime.disk_os import OsDisk

ABORT, COMMIT = ControlType.ABORT, ControlType.COMMIT
WIDE = LogConfig()


class WatchedDisk(OsDisk):
    """Notes the path of every file that is synced."""

    def __init__(self, synced: list[str]) -> None:
        self._synced = synced

    def open(self, path: str, *, create: bool = False) -> Any:
        return WatchedFile(super().open(path, create=create), self._synced)


class WatchedFile:
    def __init__(self, inner: Any, synced: list[str]) -> None:
        self._inner = inner
        self._synced = synced

    def sync(self) -> None:
        self._synced.append(self._inner.path)
        self._inner.sync()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def refused(log: PartitionLog, code: ErrorCode, *values: bytes, **how: object) -> KafkaError:
    """The error for a batch of which nothing was appended."""
    before = (log.log_end_offset, log.size_bytes, [entry.identity for entry in log.producer_state])
    with pytest.raises(KafkaError) as caught:
        put(log, *values, **how)  # type: ignore[arg-type]
    assert caught.value.code is code
    assert (log.log_end_offset, log.size_bytes, [entry.identity for entry in log.producer_state]) == before
    return caught.value


# -- appending


def test_offsets_and_the_leader_epoch_are_the_brokers(tmp_path: Path) -> None:
    log = new_log(tmp_path, WIDE)
    first = put(log, b"a", b"b", epoch=3)
    second = put(log, b"c", epoch=5)
    assert (first.base_offset, first.last_offset, second.base_offset) == (0, 1, 2)
    assert second.end == log.end_position
    assert (log.log_end_offset, log.end_position.position) == (3, log.size_bytes)
    assert [(h.base_offset, h.partition_leader_epoch) for h, _ in batches_from(log)] == [(0, 3), (2, 5)]
    assert log.latest_epoch == 5
    assert log.end_offset_for_epoch(3) == (3, 2)
    assert log.epoch_of_offset(1) == 3


def test_the_time_of_the_append_is_the_brokers_with_log_append_time(tmp_path: Path) -> None:
    log = new_log(tmp_path, replace(WIDE, message_timestamp_type=LOG_APPEND_TIME))
    info = put(log, b"a", b"b", now_ms=NOW_MS + 77, timestamp=1)
    assert info.log_append_time_ms == NOW_MS + 77
    assert log.offset_for_timestamp(0, 2) == (NOW_MS + 77, 0)
    assert put(new_log(tmp_path / "other", WIDE)).log_append_time_ms == -1


def test_a_batch_above_max_message_bytes_is_refused_and_one_at_it_is_not(tmp_path: Path) -> None:
    size = len(batch((b"k", b"x" * 100)))
    log = new_log(tmp_path, replace(WIDE, max_message_bytes=size))
    put(log, b"x" * 100)
    refused(log, ErrorCode.MESSAGE_TOO_LARGE, b"x" * 101)
    log.update_config(replace(log.config, max_message_bytes=size + 1))
    put(log, b"x" * 101)


def test_a_batch_above_segment_bytes_is_refused(tmp_path: Path) -> None:
    refused(new_log(tmp_path), ErrorCode.RECORD_LIST_TOO_LARGE, b"x" * 400)


def test_an_append_that_the_disk_refuses_leaves_nothing(tmp_path: Path) -> None:
    disk = DyingDisk(OsDisk(), OSError(28, "No space left on device"))
    log = new_log(tmp_path, WIDE, disk=disk)
    put(log, b"a", producer=(1, 0, 0))
    disk.fails_once = lambda name, _: name == "append"
    with pytest.raises(OSError, match="No space left"):
        put(log, b"b", producer=(1, 0, 1))
    assert log.log_end_offset == 1
    assert log.producer_state.get(1).last_sequence == 0  # type: ignore[union-attr]
    assert put(log, b"b", producer=(1, 0, 1)).base_offset == 1


# -- producers


def test_each_of_the_last_five_batches_is_answered_as_the_first_time(tmp_path: Path) -> None:
    log = new_log(tmp_path, replace(WIDE, message_timestamp_type=LOG_APPEND_TIME))
    first = [put(log, b"a", b"b", producer=(9, 0, sequence), now_ms=NOW_MS + sequence) for sequence in range(0, 12, 2)]
    before = log.size_bytes
    for number in range(1, 6):
        again = put(log, b"a", b"b", producer=(9, 0, 2 * number), now_ms=NOW_MS + 99)
        assert again.duplicate
        assert again[:3] == first[number][:3]
    assert log.size_bytes == before
    refused(log, ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, b"a", b"b", producer=(9, 0, 0))


@pytest.mark.parametrize("sequence", [0, 2, 4, 9])
def test_a_sequence_that_does_not_follow_is_refused(tmp_path: Path, sequence: int) -> None:
    log = new_log(tmp_path, WIDE)
    put(log, b"a", b"b", b"c", producer=(9, 0, 0))
    refused(log, ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, b"x", producer=(9, 0, sequence))
    assert put(log, b"x", producer=(9, 0, 3)).base_offset == 3


def test_an_older_epoch_is_fenced_and_a_new_one_begins_at_nothing(tmp_path: Path) -> None:
    log = new_log(tmp_path, WIDE)
    put(log, b"a", producer=(9, 1, 0))
    refused(log, ErrorCode.INVALID_PRODUCER_EPOCH, b"b", producer=(9, 0, 1))
    refused(log, ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, b"b", producer=(9, 2, 1))
    put(log, b"b", producer=(9, 2, 0))
    refused(log, ErrorCode.INVALID_PRODUCER_EPOCH, b"a", producer=(9, 1, 0))


def test_producers_do_not_mix_and_one_that_is_unknown_may_begin_anywhere(tmp_path: Path) -> None:
    """KIP-360: its earlier batches may have been deleted."""
    log = new_log(tmp_path, WIDE)
    put(log, producer=(1, 0, 0))
    put(log, producer=(2, 5, 40))
    put(log, producer=(1, 0, 1))
    assert put(log, producer=(2, 5, 41)).base_offset == 3


def test_sequences_go_on_after_the_largest_with_0(tmp_path: Path) -> None:
    log = new_log(tmp_path, WIDE)
    put(log, producer=(1, 0, 2**31 - 1))
    refused(log, ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, producer=(1, 0, 1))
    assert not put(log, producer=(1, 0, 0)).duplicate


def test_a_transaction_is_open_until_its_marker(tmp_path: Path) -> None:
    log = new_log(tmp_path, WIDE)
    put(log)
    put(log, producer=(1, 0, 0), transactional=True)
    refused(log, ErrorCode.INVALID_TXN_STATE, producer=(1, 0, 1))
    assert log.producer_state.first_unstable_offset == 1
    end_transaction(log, ABORT, 1)
    assert log.producer_state.first_unstable_offset is None
    assert log.aborted_transactions(0, 3) == [(1, 1)]
    assert log.aborted_transactions(0, 1) == []
    put(log, producer=(1, 0, 1), transactional=True)
    end_transaction(log, COMMIT, 1)
    assert log.aborted_transactions(0, log.log_end_offset) == [(1, 1)]


def test_a_marker_of_an_old_coordinator_or_epoch_is_fenced(tmp_path: Path) -> None:
    log = new_log(tmp_path, WIDE)
    put(log, producer=(1, 3, 0), transactional=True)
    end_transaction(log, COMMIT, 1, epoch=3, term=7)
    for epoch, term, code in [
        (3, 6, ErrorCode.TRANSACTION_COORDINATOR_FENCED),
        (2, 7, ErrorCode.INVALID_PRODUCER_EPOCH),
    ]:
        with pytest.raises(KafkaError) as caught:
            end_transaction(log, COMMIT, 1, epoch=epoch, term=term)
        assert caught.value.code is code
    assert log.log_end_offset == 2


# -- replication


def test_a_follower_takes_the_leaders_bytes_offsets_epochs_and_producers(tmp_path: Path) -> None:
    leader, follower = new_log(tmp_path / "a"), new_log(tmp_path / "b")
    for sequence in range(8):
        put(leader, producer=(1, 0, sequence), epoch=sequence // 4, transactional=True)
    end_transaction(leader, ABORT, 1)
    data = memoryview(b"".join(view for _, view in batches_from(leader)))
    info = follower.append_as_follower(data, NOW_MS)
    assert (info.base_offset, info.last_offset) == (0, 8)
    assert rows_of(follower) == rows_of(leader)
    assert follower.latest_epoch == 1
    assert follower.end_offset_for_epoch(0) == leader.end_offset_for_epoch(0)
    assert [entry.identity for entry in follower.producer_state] == [entry.identity for entry in leader.producer_state]
    assert follower.aborted_entries(0, 9) == leader.aborted_entries(0, 9) != []


@pytest.mark.parametrize("damage", ["checksum", "repeated", "torn"])
def test_a_follower_takes_nothing_of_a_damaged_batch_nor_what_follows(tmp_path: Path, damage: str) -> None:
    leader, follower = new_log(tmp_path / "a", WIDE), new_log(tmp_path / "b", WIDE)
    for value in (b"1", b"2", b"3"):
        put(leader, value)
    views = [bytes(view) for _, view in batches_from(leader)]
    if damage == "checksum":
        views[1] = views[1][:-1] + b"\1"
    elif damage == "repeated":
        views[1] = views[0]
    else:
        views = [views[0], views[1][:30]]
    if damage == "torn":
        follower.append_as_follower(memoryview(b"".join(views)), NOW_MS)
    else:
        with pytest.raises(KafkaError) as caught:
            follower.append_as_follower(memoryview(b"".join(views)), NOW_MS)
        assert caught.value.code is ErrorCode.CORRUPT_MESSAGE
    assert follower.log_end_offset == 1
    assert [value for _, _, value in rows_of(follower)] == [b"1"]


# -- rolling


def test_a_segment_is_rolled_before_it_is_too_large(tmp_path: Path) -> None:
    log = new_log(tmp_path)
    for number in range(20):
        put(log, b"%d" % number)
    assert len(log.segments) > 3
    assert all(0 < segment.size <= SMALL.segment_bytes for segment in log.segments)
    assert [value for _, _, value in rows_of(log)] == [b"%d" % number for number in range(20)]


def test_a_segment_is_rolled_by_the_clock_of_its_records(tmp_path: Path) -> None:
    log = new_log(tmp_path, replace(WIDE, segment_ms=1000))
    put(log, timestamp=NOW_MS)
    put(log, timestamp=NOW_MS + 1000, now_ms=NOW_MS + 10**6)
    assert len(log.segments) == 1
    put(log, timestamp=NOW_MS + 1001)
    assert [segment.base_offset for segment in log.segments] == [0, 2]


def test_records_without_timestamps_are_rolled_by_the_brokers_clock(tmp_path: Path) -> None:
    log = new_log(tmp_path, replace(WIDE, segment_ms=1000))
    put(log, timestamp=-1)
    put(log, timestamp=-1, now_ms=NOW_MS + 1000)
    assert len(log.segments) == 1
    put(log, timestamp=-1, now_ms=NOW_MS + 1001)
    assert len(log.segments) == 2


def test_jitter_makes_a_roll_earlier_and_is_the_same_in_every_life(tmp_path: Path) -> None:
    config = replace(WIDE, segment_ms=1000, segment_jitter_ms=900)

    def rolled_after(log: PartitionLog) -> int:
        put(log, timestamp=NOW_MS)
        for later in range(1, 1002):
            put(log, timestamp=NOW_MS + later)
            if len(log.segments) == 2:
                return later
        raise AssertionError("never rolled")

    first = rolled_after(new_log(tmp_path / "a", config))
    assert 100 <= first < 1000
    assert rolled_after(new_log(tmp_path / "b", config)) == first


def test_a_full_index_rolls(tmp_path: Path) -> None:
    log = new_log(tmp_path, replace(WIDE, segment_index_bytes=48, index_interval_bytes=0))
    for number in range(9):
        put(log, timestamp=NOW_MS + number)
    assert [segment.base_offset for segment in log.segments] == [0, 4, 8]


def test_rolling_an_empty_segment_changes_nothing(tmp_path: Path) -> None:
    log = new_log(tmp_path)
    assert log.roll(NOW_MS) is log.segments[0]
    put(log)
    rolled = log.roll(NOW_MS)
    assert log.roll(NOW_MS) is rolled
    assert len(log.segments) == 2


# -- deletion


def test_records_are_deleted_up_to_the_end_and_not_past_it(tmp_path: Path) -> None:
    log = new_log(tmp_path)
    for epoch in range(6):
        put(log, epoch=epoch)
    log.delete_records_before(3)
    assert log.log_start_offset == 3
    assert log.end_offset_for_epoch(1) == (1, 3), "the epochs before are gone"
    log.delete_records_before(2)
    assert log.log_start_offset == 3, "it never falls"
    with pytest.raises(KafkaError) as caught:
        log.delete_records_before(7)
    assert caught.value.code is ErrorCode.OFFSET_OUT_OF_RANGE
    log.delete_records_before(6)
    assert log.log_start_offset == log.log_end_offset == 6
    with pytest.raises(KafkaError) as caught:
        log.read(5, 100, log.end_position, min_one=True, nowait=False)
    assert caught.value.code is ErrorCode.OFFSET_OUT_OF_RANGE
    assert put(log).log_start_offset == 6


def test_dropping_segments_moves_the_log_start_and_keeps_producers(tmp_path: Path) -> None:
    log = new_log(tmp_path)
    for sequence in range(12):
        put(log, producer=(1, 0, sequence))
    second = log.segments[1].base_offset
    dropped = log.drop_segments(1)
    assert [segment.base_offset for segment in dropped] == [0]
    assert log.log_start_offset == second
    assert put(log, producer=(1, 0, 11)).duplicate
    assert put(log, producer=(1, 0, 12)).base_offset == 12


# -- onto the device


def test_a_flush_covers_what_was_appended_when_it_began(tmp_path: Path) -> None:
    log = new_log(tmp_path)
    put(log)
    ticket = log.start_flush()
    assert ticket is not None
    put(log)
    ticket.sync()
    log.finish_flush(ticket)
    assert (log.flushed_offset, log.recovery_point) == (1, 0)
    assert log.flushed_position == log.position_of(1)
    second = log.start_flush()
    assert second is not None
    second.sync()
    log.finish_flush(second)
    assert log.flushed_offset == 2
    assert log.start_flush() is None
    log.finish_flush(ticket)
    assert log.flushed_offset == 2, "an older ticket takes nothing back"


def test_a_checkpoint_moves_the_recovery_point_and_a_clean_log_has_nothing_to_do(tmp_path: Path) -> None:
    log = new_log(tmp_path)
    for sequence in range(9):
        put(log, producer=(1, 0, sequence), epoch=sequence // 5)
    assert log.is_dirty
    checkpoint(log)
    assert (log.flushed_offset, log.recovery_point) == (9, 9)
    assert not log.is_dirty
    log.assign_epoch_start(7)
    assert log.is_dirty
    checkpoint(log)
    assert b"7 9" in (Path(log.directory) / "leader-epoch-checkpoint").read_bytes()


def test_snapshots_are_kept_for_every_segment_and_for_the_end(tmp_path: Path) -> None:
    log = new_log(tmp_path)
    for round_ in range(3):
        for sequence in range(4):
            put(log, producer=(1, 0, 4 * round_ + sequence))
        checkpoint(log)
    offsets = {int(path.stem) for path in Path(log.directory).glob(f"*{SNAPSHOT_SUFFIX}")}
    assert offsets == {*(segment.base_offset for segment in log.segments[1:]), log.log_end_offset}


def test_what_sealing_adds_to_a_segment_that_was_checkpointed_is_synced_by_the_next(tmp_path: Path) -> None:
    """Its closing entry in the time index: without it, look-ups by time would pass the segment over."""
    log = new_log(tmp_path, WIDE, disk=WatchedDisk(synced := []))
    put(log)
    checkpoint(log)
    log.roll(NOW_MS)
    put(log)
    synced.clear()
    checkpoint(log)
    assert str(file_of(log, 0, ".timeindex")) in synced


def test_idle_files_are_closed_and_opened_again_by_a_read(tmp_path: Path) -> None:
    log = new_log(tmp_path)
    for number in range(9):
        put(log, b"%d" % number)
    for _ in range(2):
        log.close_idle_files()
    assert [segment.is_loaded for segment in log.segments] == [False] * (len(log.segments) - 1) + [True]
    assert len(rows_of(log)) == 9


def test_a_closed_log_is_whole_in_the_next_life(tmp_path: Path) -> None:
    log = new_log(tmp_path, replace(SMALL, flush_messages=LONG_MAX))
    for number in range(9):
        put(log, b"%d" % number)
    before = rows_of(log)
    log.close()
    assert rows_of(reload(log)) == before
