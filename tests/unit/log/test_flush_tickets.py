"""What a flush and a checkpoint put onto the device, and in which order."""

from pathlib import Path
from typing import Any

import pytest
from tests.support.dying_disk import Died, DyingDisk
from tests.support.partition_logs import NOW_MS, checkpoint, file_of, new_log, put, reload
from tests.support.power_cut import PowerCutDisk, cut_power

from pybroker_server.log.files import SNAPSHOT_SUFFIX
from pybroker_server.runtime.disk_os import OsDisk


class Steps:
    """Names of the changes that a disk was asked for."""

    def __init__(self) -> None:
        self.disk = DyingDisk(OsDisk(), OSError("never"))
        self.names: list[str] = []
        self.disk.fails_once = self._note

    def _note(self, name: str, arguments: tuple[Any, ...]) -> bool:
        self.names.append(f"{name} {Path(arguments[0]).name}" if name == "write_atomic" else name)
        return False


def test_a_new_log_is_flushed_with_the_directory_entries_that_lead_to_it(tmp_path: Path) -> None:
    steps = Steps()
    log = new_log(tmp_path, disk=steps.disk)
    put(log)
    steps.names.clear()
    ticket = log.start_flush()
    assert ticket is not None
    ticket.sync()
    assert steps.names == ["sync", "sync_dir", "sync", "sync_dir"]
    log.finish_flush(ticket)
    put(log)
    steps.names.clear()
    again = log.start_flush()
    assert again is not None
    again.sync()
    assert steps.names == ["sync"], "afterwards the data alone"


def test_a_checkpoint_writes_snapshot_and_epochs_after_data_and_indexes(tmp_path: Path) -> None:
    steps = Steps()
    log = new_log(tmp_path, disk=steps.disk)
    put(log, epoch=3)
    put(log, epoch=3)
    steps.names.clear()
    checkpoint(log)
    first = steps.names.index(f"write_atomic {2:020d}{SNAPSHOT_SUFFIX}")
    assert steps.names[first + 1] == "write_atomic leader-epoch-checkpoint"
    assert "sync" not in steps.names[first:]
    assert steps.names[first - 1] == "sync_dir"


def test_a_checkpoint_that_dies_anywhere_leaves_a_log_that_recovers(tmp_path: Path) -> None:
    for left in range(60):
        disk = DyingDisk(OsDisk())
        log = new_log(tmp_path / str(left), disk=disk)
        for sequence in range(4):
            put(log, b"%d" % sequence, producer=(1, 0, sequence))
        log.roll(NOW_MS)
        ticket = log.checkpoint_ticket()
        disk.left = left
        try:
            ticket.sync()
        except Died:
            again = reload(log)
            assert again.log_end_offset == 4
            assert put(again, producer=(1, 0, 3)).duplicate
            continue
        assert left > 8
        return
    raise AssertionError("the checkpoint never came to its end")


def test_a_segment_that_retention_took_meanwhile_is_no_failure(tmp_path: Path) -> None:
    log = new_log(tmp_path)
    put(log)
    log.roll(NOW_MS)
    put(log)
    ticket = log.start_flush()
    assert ticket is not None
    for segment in log.drop_segments(1):
        segment.remove_files()
    ticket.sync()
    log.finish_flush(ticket)
    assert log.flushed_offset == 2


def test_a_segment_that_is_gone_without_having_been_deleted_is_one(tmp_path: Path) -> None:
    log = new_log(tmp_path)
    put(log)
    ticket = log.start_flush()
    assert ticket is not None
    log.close()
    file_of(log, 0, ".log").unlink()
    with pytest.raises(FileNotFoundError):
        ticket.sync()
    assert log.flushed_offset == 0


def test_snapshots_of_segments_that_are_gone_are_removed(tmp_path: Path) -> None:
    log = new_log(tmp_path)
    for sequence in range(3):
        put(log, producer=(1, 0, sequence))
        log.roll(NOW_MS)
        checkpoint(log)
    assert file_of(log, 1, SNAPSHOT_SUFFIX).exists()
    log.drop_segments(2)
    put(log)
    checkpoint(log)
    left = {int(path.stem) for path in Path(log.directory).glob(f"*{SNAPSHOT_SUFFIX}")}
    assert left == {2, 3, 4}


def test_the_snapshots_of_a_checkpoint_that_failed_are_not_lost_with_it(tmp_path: Path) -> None:
    """The log goes offline then; the next life reads the batches."""
    disk = DyingDisk(OsDisk(), OSError(5, "Input/output error"))
    log = new_log(tmp_path, disk=disk)
    put(log, producer=(1, 0, 0))
    disk.fails_once = lambda name, _: name == "sync"
    with pytest.raises(OSError, match="Input/output"):
        checkpoint(log)
    assert (log.flushed_offset, log.recovery_point) == (0, 0)
    assert put(reload(log), producer=(1, 0, 0)).duplicate


def test_a_flushed_log_survives_the_loss_of_everything_unsynced(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    disk = PowerCutDisk(OsDisk(), str(journal))
    root = tmp_path / "data"
    root.mkdir()
    log = new_log(root, disk=disk)
    put(log, b"kept")
    ticket = log.start_flush()
    assert ticket is not None
    ticket.sync()
    put(log, b"lost")
    cut_power(str(journal))
    assert reload(log).log_end_offset == 1
