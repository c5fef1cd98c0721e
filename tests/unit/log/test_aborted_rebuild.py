"""Aborted transactions are found again when a `.txnindex` is lost: nobody is shown what was taken back."""

from pathlib import Path

import pytest
from tests.support.partition_logs import SMALL, checkpoint, end_transaction, file_of, new_log, put, reload

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.records.control import ControlType
from pybroker_server.log.aborted_rebuild import find_aborted
from pybroker_server.log.files import SNAPSHOT_SUFFIX, TRANSACTION_INDEX_SUFFIX
from pybroker_server.log.log_config import LONG_MAX
from pybroker_server.log.partition_log import PartitionLog
from pybroker_server.log.transaction_index import AbortedTransaction
from pybroker_server.runtime.disk_os import OsDisk

ABORT, COMMIT = ControlType.ABORT, ControlType.COMMIT


def three_segments(path: Path) -> PartitionLog:
    """Transactions that begin in one segment and end in the next; all on the device."""
    log = new_log(path)
    put(log, producer=(1, 0, 0), transactional=True)  # 0
    put(log, producer=(2, 0, 0), transactional=True)  # 1
    put(log, producer=(3, 0, 0), transactional=True)  # 2
    log.roll(0)
    checkpoint(log)
    end_transaction(log, ABORT, 1)  # 3
    end_transaction(log, COMMIT, 2)  # 4
    put(log, producer=(1, 0, 1), transactional=True)  # 5
    log.roll(0)
    checkpoint(log)
    end_transaction(log, ABORT, 3)  # 6
    end_transaction(log, ABORT, 1)  # 7
    checkpoint(log)
    assert [segment.base_offset for segment in log.segments] == [0, 3, 6]
    return log


FIRST = AbortedTransaction(1, 0, 3, 1)
LATER = [AbortedTransaction(3, 2, 6, 5), AbortedTransaction(1, 5, 7, 8)]


def test_each_segment_is_given_the_transactions_whose_marker_it_holds(tmp_path: Path) -> None:
    log = three_segments(tmp_path)
    assert log.aborted_entries(0, 8) == [FIRST, *LATER]
    found = [find_aborted(OsDisk(), log.directory, base, LONG_MAX) for base in (0, 3, 6)]
    assert found == [[], [FIRST], LATER]
    assert find_aborted(OsDisk(), log.directory, 6, 7) == LATER[:1]


@pytest.mark.parametrize("damage", ["removed", "torn"])
def test_without_snapshots_the_log_is_read_from_its_start(tmp_path: Path, damage: str) -> None:
    log = three_segments(tmp_path)
    snapshots = list(Path(log.directory).glob(f"*{SNAPSHOT_SUFFIX}"))
    assert snapshots
    for snapshot in snapshots:
        snapshot.unlink() if damage == "removed" else snapshot.write_bytes(snapshot.read_bytes()[:-1])
    assert find_aborted(OsDisk(), log.directory, 6, LONG_MAX) == LATER


def test_a_batch_that_compaction_left_in_two_files_counts_once(tmp_path: Path) -> None:
    """Between two renames of a pass the merged segment lies beside one that it replaces."""
    log = three_segments(tmp_path)
    for snapshot in Path(log.directory).glob(f"*{SNAPSHOT_SUFFIX}"):
        snapshot.unlink()
    merged = b"".join(file_of(log, base, ".log").read_bytes() for base in (0, 3))
    file_of(log, 0, ".log").write_bytes(merged)
    assert find_aborted(OsDisk(), log.directory, 6, LONG_MAX) == LATER


DAMAGES = {
    "half an entry": lambda data: data[:-1],
    "another version": lambda data: b"\0\1" + data[2:],
    "no such producer": lambda data: data[:2] + b"\xff" * 8 + data[10:],
    "noise": lambda data: b"\xa5" * len(data),
}


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("base", [3, 6], ids=["sealed", "active"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_costs_no_reader_anything(tmp_path: Path, damage: str, base: int, clean: bool) -> None:
    log = three_segments(tmp_path)
    log.close()
    path = file_of(log, base, TRANSACTION_INDEX_SUFFIX)
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    again = reload(log, clean=clean)
    assert again.aborted_entries(0, 8) == [FIRST, *LATER]
    assert again.aborted_entries(0, 8) == [FIRST, *LATER], "and it does so the second time"


def test_a_file_that_is_damaged_while_the_broker_runs_is_made_anew(tmp_path: Path) -> None:
    log = three_segments(tmp_path)
    for _ in range(2):
        log.close_idle_files()
    file_of(log, 3, TRANSACTION_INDEX_SUFFIX).write_bytes(b"torn")
    assert log.aborted_entries(0, 8) == [FIRST, *LATER]


@pytest.mark.parametrize("suffix", [".index", ".timeindex"])
@pytest.mark.parametrize("base", [3, 6], ids=["sealed", "active"])
@pytest.mark.parametrize("damage", [None, b"torn"], ids=["missing", "damaged"])
def test_another_index_that_is_lost_does_not_take_them_along(
    tmp_path: Path, damage: bytes | None, base: int, suffix: str
) -> None:
    log = three_segments(tmp_path)
    log.close()
    path = file_of(log, base, suffix)
    path.unlink() if damage is None else path.write_bytes(damage)
    again = reload(log, clean=True)
    assert again.aborted_entries(0, 8) == [FIRST, *LATER]
    third = again.producer_state.get(3)
    assert third is not None
    assert third.transaction_first_offset == -1


def test_segments_that_go_away_meanwhile_are_no_reason_to_leave_something_out(tmp_path: Path) -> None:
    log = three_segments(tmp_path)
    for _ in range(2):
        log.close_idle_files()
    file_of(log, 3, TRANSACTION_INDEX_SUFFIX).write_bytes(b"torn")
    log.segments[1].file()

    class Disk(OsDisk):
        def open(self, path: str, *, create: bool = False) -> object:  # type: ignore[override]
            raise FileNotFoundError(path)

    log.segments[1]._disk = Disk()
    with pytest.raises(KafkaError) as caught:
        log.aborted_entries(0, 8)
    assert caught.value.code is ErrorCode.KAFKA_STORAGE_ERROR
    log.segments[1]._disk = OsDisk()
    assert log.aborted_entries(0, 8) == [FIRST, *LATER]


def test_a_log_without_transactions_has_no_file_and_needs_none(tmp_path: Path) -> None:
    log = new_log(tmp_path, SMALL)
    put(log, producer=(1, 0, 0))
    checkpoint(log)
    assert not file_of(log, 0, TRANSACTION_INDEX_SUFFIX).exists()
    assert find_aborted(OsDisk(), log.directory, 0, LONG_MAX) == []
