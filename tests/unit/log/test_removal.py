"""Files that are no longer part of a log: marked at once, gone after the delay, and never in a reader's way."""

from pathlib import Path
from typing import Any, cast

from tests.support.compaction import rows_of
from tests.support.dying_disk import DyingDisk
from tests.support.manual_time import ManualTime
from tests.support.memory_log import ManualBlocking
from tests.support.partition_logs import NOW_MS, checkpoint, new_log, put, reload

from pybroker_server.log.partition_log import PartitionLog
from pybroker_server.log.removal import Removal
from pybroker_server.runtime.disk_os import OsDisk

DELAY_MS = 60_000


class Bench:
    def __init__(self, disk: Any = None) -> None:
        self.time = ManualTime()
        self.blocking = ManualBlocking()
        self.removal = Removal(disk or OsDisk(), cast(Any, self.blocking), self.time)

    def after(self, delay_ms: int) -> None:
        self.time.advance_ms(delay_ms)
        self.blocking.run_all()


def two_segments(path: Path) -> PartitionLog:
    log = new_log(path)
    put(log, b"old")
    log.roll(NOW_MS)
    put(log, b"new")
    checkpoint(log)
    return log


def names(log: PartitionLog) -> set[str]:
    return {path.name for path in Path(log.directory).iterdir()}


def test_segments_are_marked_at_once_and_removed_after_the_delay(tmp_path: Path) -> None:
    bench, log = Bench(), two_segments(tmp_path)
    bench.removal.remove_segments(log.drop_segments(1), DELAY_MS)
    bench.blocking.run_all()
    marked = {f"{0:020d}.{end}.deleted" for end in ("log", "index", "timeindex")}
    assert marked <= names(log)
    assert f"{0:020d}.log" not in names(log)
    bench.after(DELAY_MS - 1)
    assert marked <= names(log)
    bench.after(1)
    assert not any(name.endswith(".deleted") for name in names(log))
    assert [value for _, _, value in rows_of(log)] == [b"new"]


def test_what_is_marked_is_not_part_of_the_log_after_a_crash(tmp_path: Path) -> None:
    bench, log = Bench(), two_segments(tmp_path)
    bench.removal.remove_segments(log.drop_segments(1), DELAY_MS)
    bench.blocking.run_all()
    log.close()
    again = reload(log)
    assert again.log_start_offset == 1
    assert not any(name.endswith(".deleted") for name in names(log))
    bench.after(DELAY_MS)


def test_a_reader_that_is_in_a_segment_reads_on(tmp_path: Path) -> None:
    bench, log = Bench(), two_segments(tmp_path)
    file = log.segments[0].file()
    view = memoryview(bytearray(log.segments[0].size))
    bench.removal.remove_marked([], DELAY_MS)
    Path(file.path).rename(f"{file.path}.deleted")
    assert file.read_into(0, view) == len(view)


def test_a_partitions_directory_goes_as_a_whole(tmp_path: Path) -> None:
    bench, log = Bench(), two_segments(tmp_path)
    log.close()
    bench.removal.remove_directory(log.directory, DELAY_MS)
    bench.after(DELAY_MS - 1)
    assert Path(log.directory).exists()
    bench.after(1)
    assert not Path(log.directory).exists()


def test_after_the_end_nothing_is_removed_any_more(tmp_path: Path) -> None:
    bench, log = Bench(), two_segments(tmp_path)
    bench.removal.remove_directory(log.directory, DELAY_MS)
    bench.removal.close()
    bench.after(DELAY_MS)
    assert Path(log.directory).exists()


def test_what_the_disk_refuses_is_left_for_the_next_start(tmp_path: Path) -> None:
    disk = DyingDisk(OsDisk(), OSError(13, "Permission denied"))
    bench, log = Bench(disk), two_segments(tmp_path)
    disk.fails_once = lambda name, _: name == "rename"
    bench.removal.remove_segments(log.drop_segments(1), DELAY_MS)
    bench.blocking.run_all()
    bench.after(DELAY_MS)
    assert f"{0:020d}.log" in names(log)
    disk.fails_once = lambda name, _: name == "remove_tree"
    bench.removal.remove_directory(log.directory, DELAY_MS)
    bench.after(DELAY_MS)
    assert Path(log.directory).exists()


def test_files_that_are_gone_already_are_no_failure(tmp_path: Path) -> None:
    bench = Bench()
    left = tmp_path / "left.deleted"
    left.touch()
    bench.removal.remove_marked([str(tmp_path / "gone.deleted"), str(left)], DELAY_MS)
    bench.after(DELAY_MS)
    assert not left.exists()
