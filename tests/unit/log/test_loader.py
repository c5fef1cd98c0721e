"""What a start makes of a partition's directory: after a clean end, after a crash, and when files are damaged."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from tests.support.compaction import batch, rows_of
from tests.support.dying_disk import Died, DyingDisk
from tests.support.partition_logs import (
    NOW_MS,
    SMALL,
    TOPIC_ID,
    checkpoint,
    end_transaction,
    file_of,
    new_log,
    put,
    reload,
)

from pybroker_protocol.records.batch import patch_offset_and_epoch
from pybroker_protocol.records.control import ControlType
from pybroker_server.log.files import (
    INDEX_SUFFIXES,
    LOG_SUFFIX,
    OFFSET_INDEX_SUFFIX,
    SNAPSHOT_SUFFIX,
    TIME_INDEX_SUFFIX,
)
from pybroker_server.log.log_config import LogConfig
from pybroker_server.log.partition_log import PartitionLog
from pybroker_server.runtime.disk_os import OsDisk

BATCHES = 18


def filled(path: Path, *, checkpoint_after: int = 0) -> PartitionLog:
    """Segments of a few batches by one producer in two leader epochs."""
    log = new_log(path)
    for sequence in range(BATCHES):
        put(log, b"%d" % sequence, producer=(1, 0, sequence), epoch=1 + sequence // 7)
        if sequence + 1 == checkpoint_after:
            checkpoint(log)
    assert len(log.segments) > 3
    return log


def facts(log: PartitionLog) -> tuple[object, ...]:
    """All that clients and other replicas can tell of a log."""
    return (
        log.log_start_offset,
        log.log_end_offset,
        rows_of(log),
        [log.end_offset_for_epoch(epoch) for epoch in range(4)],
        [entry.identity for entry in log.producer_state],
        log.producer_state.first_unstable_offset,
        log.aborted_entries(0, log.log_end_offset),
        [log.offset_for_timestamp(NOW_MS, upper) for upper in range(log.log_end_offset)],
        log.max_timestamp_record(log.log_end_offset),
    )


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("checkpointed", [0, 5, BATCHES])
def test_a_log_is_the_same_in_its_next_life(tmp_path: Path, checkpointed: int, clean: bool) -> None:
    log = filled(tmp_path, checkpoint_after=checkpointed)
    if clean:
        checkpoint(log)
    before = facts(log)
    log.close()
    again = reload(log, clean=clean)
    assert facts(again) == before
    assert again.topic_id == TOPIC_ID
    assert again.recovery_point == again.flushed_offset == (BATCHES if clean else checkpointed)
    assert put(again, b"17", producer=(1, 0, 17)).duplicate
    assert put(again, b"more", producer=(1, 0, 18)).base_offset == BATCHES


def test_a_new_log_is_empty_and_knows_its_topic(tmp_path: Path) -> None:
    log = new_log(tmp_path)
    assert (log.log_start_offset, log.log_end_offset, log.latest_epoch) == (0, 0, -1)
    log.close()
    again = reload(log)
    assert (again.log_end_offset, again.topic_id) == (0, TOPIC_ID)


@pytest.mark.parametrize("content", [None, b"", b"version: 9\n"])
def test_a_directory_that_does_not_say_whose_it_is_has_no_topic_id(tmp_path: Path, content: bytes | None) -> None:
    log = new_log(tmp_path)
    path = Path(log.directory) / "partition.metadata"
    path.unlink() if content is None else path.write_bytes(content)
    assert reload(log).topic_id == UUID(int=0)


# -- a torn tail


def test_a_tail_torn_at_any_byte_is_cut_behind_the_last_whole_batch(tmp_path: Path) -> None:
    log = new_log(tmp_path, LogConfig())
    ends = [0]
    for sequence in range(3):
        put(log, b"%d" % sequence, producer=(1, 0, sequence))
        ends.append(log.size_bytes)
    log.close()
    path = file_of(log, 0, LOG_SUFFIX)
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        again = reload(log)
        left = max(number for number, end in enumerate(ends) if end <= size)
        assert again.log_end_offset == left, f"cut at {size}"
        assert path.stat().st_size == ends[left]
        assert len(rows_of(again)) == left
        assert len(again.producer_state) == bool(left)


@pytest.mark.parametrize("at", [0, 4, 9, 16, 19, 25, 60, 65])
def test_a_batch_with_a_wrong_byte_and_all_after_it_are_cut(tmp_path: Path, at: int) -> None:
    """In its offset, its length, its magic, its checksum, its fields or its records."""
    log = filled(tmp_path)
    log.close()
    second = log.segments[1]
    path = file_of(log, second.base_offset, LOG_SUFFIX)
    data = bytearray(path.read_bytes())
    length = int.from_bytes(data[8:12], "big") + 12
    data[length + at] ^= 0x40
    path.write_bytes(data)
    again = reload(log)
    assert again.log_end_offset == second.base_offset + 1
    assert [segment.base_offset for segment in again.segments] == [0, second.base_offset]
    assert {int(file.stem) for file in Path(log.directory).glob("*.log")} == {0, second.base_offset}
    assert put(again, producer=(1, 0, again.log_end_offset)).base_offset == second.base_offset + 1
    assert reload(again).log_end_offset == second.base_offset + 2


@pytest.mark.parametrize(
    "tail",
    [b"\0" * 500, b"\xff" * 500, random.Random(1).randbytes(500)],
    ids=["zeros", "ones", "noise"],
)
def test_what_a_file_system_may_leave_behind_the_end_is_cut(tmp_path: Path, tail: bytes) -> None:
    log = filled(tmp_path, checkpoint_after=BATCHES)
    before = facts(log)
    log.close()
    path = file_of(log, log.segments[-1].base_offset, LOG_SUFFIX)
    whole = path.read_bytes()
    for clean in (False, True):
        path.write_bytes(whole + tail)
        assert facts(reload(log, clean=clean)) == before
        assert path.read_bytes() == whole


def test_a_batch_whose_offset_goes_back_ends_the_log(tmp_path: Path) -> None:
    log = new_log(tmp_path, LogConfig())
    put(log, b"0")
    put(log, b"1")
    log.close()
    old = batch((b"k", b"old"))
    patch_offset_and_epoch(old, 0, 1, 0)
    with file_of(log, 0, LOG_SUFFIX).open("ab") as file:
        file.write(old)
    assert [value for _, _, value in rows_of(reload(log))] == [b"0", b"1"]


def test_below_the_recovery_point_nothing_is_read_again(tmp_path: Path) -> None:
    """Checksums cost a read of everything: what was known to be on the device is believed."""
    log = filled(tmp_path, checkpoint_after=BATCHES)
    log.close()
    path = file_of(log, 0, LOG_SUFFIX)
    data = bytearray(path.read_bytes())
    data[65] ^= 1
    path.write_bytes(data)
    assert reload(log).log_end_offset == BATCHES
    assert reload(log, recovery_point=0).log_end_offset == 0


# -- damaged small files


DAMAGES: dict[str, Callable[[Path], object]] = {
    "missing": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "torn": lambda path: path.write_bytes(path.read_bytes()[:-3]),
    "noise": lambda path: path.write_bytes(random.Random(2).randbytes(60)),
}


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("suffix", [OFFSET_INDEX_SUFFIX, TIME_INDEX_SUFFIX])
def test_a_damaged_index_of_any_segment_costs_nothing_but_time(
    tmp_path: Path, suffix: str, damage: str, clean: bool
) -> None:
    log = filled(tmp_path, checkpoint_after=BATCHES)
    before = facts(log)
    log.close()
    for segment in log.segments:
        DAMAGES[damage](file_of(log, segment.base_offset, suffix))
        again = reload(log, clean=clean)
        assert facts(again) == before
        checkpoint(again)
        again.close()


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_leader_epochs_are_found_again_in_the_batches(tmp_path: Path, damage: str, clean: bool) -> None:
    log = filled(tmp_path, checkpoint_after=BATCHES)
    before = facts(log)
    log.close()
    DAMAGES[damage](Path(log.directory) / "leader-epoch-checkpoint")
    assert facts(reload(log, clean=clean)) == before


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("which", ["newest", "all"])
def test_producers_are_found_again_without_their_snapshots(
    tmp_path: Path, which: str, damage: str, clean: bool
) -> None:
    log = filled(tmp_path, checkpoint_after=BATCHES)
    before = facts(log)
    log.close()
    snapshots = sorted(Path(log.directory).glob(f"*{SNAPSHOT_SUFFIX}"))
    for snapshot in snapshots if which == "all" else snapshots[-1:]:
        DAMAGES[damage](snapshot)
    assert facts(reload(log, clean=clean)) == before


def test_a_snapshot_of_what_is_gone_is_not_believed_and_is_removed(tmp_path: Path) -> None:
    log = filled(tmp_path, checkpoint_after=BATCHES)
    log.close()
    last = log.segments[-1]
    file_of(log, last.base_offset, LOG_SUFFIX).write_bytes(b"")
    again = reload(log, recovery_point=0)
    assert again.log_end_offset == last.base_offset
    entry = again.producer_state.get(1)
    assert entry is not None
    assert entry.last_sequence == last.base_offset - 1
    assert not file_of(log, BATCHES, SNAPSHOT_SUFFIX).exists()


def test_an_open_transaction_is_open_in_the_next_life(tmp_path: Path) -> None:
    log = new_log(tmp_path)
    put(log)
    put(log, producer=(1, 0, 0), transactional=True)
    checkpoint(log)
    put(log, producer=(2, 0, 0), transactional=True)
    end_transaction(log, ControlType.ABORT, 2)
    log.close()
    again = reload(log)
    assert again.producer_state.first_unstable_offset == 1
    assert again.aborted_transactions(0, 4) == [(2, 2)]
    end_transaction(again, ControlType.ABORT, 1)
    assert sorted(again.aborted_transactions(0, 5)) == [(1, 1), (2, 2)]


@pytest.mark.parametrize("clean", [False, True])
def test_an_open_transaction_whose_records_were_deleted_is_open_until_its_marker(tmp_path: Path, clean: bool) -> None:
    log = new_log(tmp_path)
    put(log, producer=(1, 0, 0), transactional=True)
    put(log)
    log.delete_records_before(2)
    checkpoint(log)
    log.close()
    again = reload(log, clean=clean, log_start=2)
    assert again.producer_state.ongoing_transactions == {0: 1}
    end_transaction(again, ControlType.ABORT, 1)
    assert again.producer_state.ongoing_transactions == {}
    assert again.producer_state.first_unstable_offset is None


# -- what is left over, what is missing


def test_what_an_interrupted_change_left_over_is_removed(tmp_path: Path) -> None:
    log = filled(tmp_path)
    before = facts(log)
    log.close()
    directory = Path(log.directory)
    strange = ["00000000000000000099.log.deleted", "00000000000000000000.log.cleaned", "leader-epoch-checkpoint.tmp"]
    for name in (*strange, "00000000000000000099.index"):
        (directory / name).write_bytes(b"rest")
    (directory / "somebody's").write_bytes(b"not ours")
    assert facts(reload(log)) == before
    assert not any((directory / name).exists() for name in (*strange, "00000000000000000099.index"))
    assert (directory / "somebody's").exists(), "what we do not know is not ours to remove"


@pytest.mark.parametrize("log_start", [1, 5, BATCHES])
def test_the_log_start_is_what_was_written_down(tmp_path: Path, log_start: int) -> None:
    log = filled(tmp_path, checkpoint_after=BATCHES)
    log.close()
    again = reload(log, log_start=log_start)
    assert (again.log_start_offset, again.log_end_offset) == (log_start, BATCHES)
    assert [row[0] for row in rows_of(again)] == list(range(log_start, BATCHES))


def test_a_log_start_past_the_end_begins_an_empty_log_there(tmp_path: Path) -> None:
    """The records up to it were deleted, and those that told so were lost: offsets are not given twice."""
    log = filled(tmp_path)
    log.close()
    again = reload(log, log_start=20)
    assert (again.log_start_offset, again.log_end_offset) == (20, 20)
    assert put(again).base_offset == 20
    assert [path.name for path in Path(log.directory).glob("*.log")] == [f"{20:020d}.log"]


def test_a_directory_without_segments_begins_at_the_log_start(tmp_path: Path) -> None:
    log = filled(tmp_path)
    log.close()
    for suffix in (LOG_SUFFIX, *INDEX_SUFFIXES):
        for path in Path(log.directory).glob(f"*{suffix}"):
            path.unlink()
    again = reload(log, log_start=4)
    assert (again.log_start_offset, again.log_end_offset, len(again.producer_state)) == (4, 4, 0)


def test_a_log_whose_first_segments_are_gone_begins_with_what_is_left(tmp_path: Path) -> None:
    log = filled(tmp_path, checkpoint_after=BATCHES)
    log.close()
    second = log.segments[1].base_offset
    file_of(log, 0, LOG_SUFFIX).unlink()
    again = reload(log)
    assert again.log_start_offset == second
    assert put(again, producer=(1, 0, 17)).duplicate
    assert not any(file_of(log, 0, suffix).exists() for suffix in INDEX_SUFFIXES)


def test_an_epoch_that_began_at_the_end_is_kept_only_by_a_clean_end(tmp_path: Path) -> None:
    log = filled(tmp_path)
    log.assign_epoch_start(9)
    checkpoint(log)
    log.close()
    assert reload(log, clean=True).latest_epoch == 9
    assert reload(log).latest_epoch == 3


def test_a_start_that_dies_between_any_two_changes_is_followed_by_one_that_works(tmp_path: Path) -> None:
    log = filled(tmp_path, checkpoint_after=5)
    log.close()
    third = log.segments[2]
    path = file_of(log, third.base_offset, LOG_SUFFIX)
    path.write_bytes(path.read_bytes()[:-5])
    file_of(log, 0, TIME_INDEX_SUFFIX).unlink()
    expected = None
    for left in range(100):
        disk = DyingDisk(OsDisk())
        disk.left = left
        try:
            again = reload(log, disk=disk)
        except Died:
            continue
        expected = again.log_end_offset
        break
    assert left > 5
    assert expected == log.segments[3].base_offset - 1
    assert [row[0] for row in rows_of(reload(log))] == list(range(expected))


def test_indexes_that_were_made_anew_are_on_the_device_before_anybody_believes_them(tmp_path: Path) -> None:
    log = filled(tmp_path, checkpoint_after=BATCHES)
    log.close()
    file_of(log, 0, TIME_INDEX_SUFFIX).unlink()
    seen: list[str] = []
    disk = DyingDisk(OsDisk(), OSError("never"))
    disk.fails_once = lambda name, _: seen.append(name) or False  # type: ignore[func-returns-value]
    reload(log, disk=disk)
    assert seen.index("sync_dir") > seen.index("sync") > seen.index("append")


def test_the_interval_of_the_index_is_the_topics_after_a_start(tmp_path: Path) -> None:
    log = new_log(tmp_path, replace(SMALL, segment_bytes=10_000, index_interval_bytes=10_000))
    for number in range(20):
        put(log, b"%d" % number)
    log.close()
    log.update_config(replace(log.config, index_interval_bytes=0))
    assert len(reload(log).segments[0].indexes()[0]) == 19
