"""A log directory: one broker at a time, one cluster and node, and checkpoints that a crash cannot spoil."""

from pathlib import Path
from uuid import UUID

import pytest
from tests.support.dying_disk import DyingDisk

from pybroker_server.log.checkpoints import MetaProperties
from pybroker_server.log.log_directory import DirectoryError, LogDirectory
from pybroker_server.runtime.disk_os import OsDisk


def claimed(path: Path) -> LogDirectory:
    directory = LogDirectory(OsDisk(), str(path))
    directory.claim()
    return directory


def test_a_new_directory_is_made_and_belongs_to_nobody_until_it_is_said(tmp_path: Path) -> None:
    directory = claimed(tmp_path / "a" / "b")
    assert directory.identity is None
    directory.write_identity("cluster", 3, UUID(int=5))
    written = MetaProperties("cluster", 3, UUID(int=5))
    assert MetaProperties.from_bytes((tmp_path / "a" / "b" / "meta.properties").read_bytes()) == written
    directory.write_identity("other", 4, UUID(int=6))
    assert directory.identity == written, "it is said once"


def test_every_directory_that_was_made_on_the_way_is_synced(tmp_path: Path) -> None:
    disk = DyingDisk(OsDisk(), OSError("never"))
    synced: list[str] = []

    def note(name: str, arguments: tuple[str, ...]) -> bool:
        if name == "sync_dir":
            synced.append(arguments[0])
        return False

    disk.fails_once = note
    LogDirectory(disk, str(tmp_path / "a" / "b")).claim()  # type: ignore[arg-type]
    assert synced == [str(tmp_path), str(tmp_path / "a")]


def test_a_directory_that_is_in_use_is_refused_with_a_way_out(tmp_path: Path) -> None:
    held = claimed(tmp_path)
    with pytest.raises(DirectoryError, match="in use by another broker") as caught:
        LogDirectory(OsDisk(), str(tmp_path)).claim()
    assert caught.value.hint is not None
    assert held.is_online


@pytest.mark.parametrize("content", [b"", b"version=1\n", b"\xff\xfe", b"version=7\n"])
def test_an_identity_that_cannot_be_read_is_refused_and_not_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "meta.properties").write_bytes(content)
    with pytest.raises(DirectoryError, match="cannot be read"):
        claimed(tmp_path)
    assert (tmp_path / "meta.properties").read_bytes() == content


def test_the_clean_mark_counts_once(tmp_path: Path) -> None:
    directory = claimed(tmp_path)
    directory.take_clean_mark()
    assert not directory.was_clean
    directory.write_clean_mark(7)
    for expected in (True, False):
        directory.take_clean_mark()
        assert directory.was_clean is expected


def test_checkpoints_are_read_back_and_an_unchanged_one_is_not_written_again(tmp_path: Path) -> None:
    directory = claimed(tmp_path)
    for number, (write, read, name) in enumerate(
        [
            (directory.write_recovery_points, directory.read_recovery_points, "recovery-point-offset-checkpoint"),
            (directory.write_high_watermarks, directory.read_high_watermarks, "replication-offset-checkpoint"),
            (directory.write_log_starts, directory.read_log_starts, "log-start-offset-checkpoint"),
            (directory.write_cleaned_offsets, directory.read_cleaned_offsets, "cleaner-offset-checkpoint"),
        ]
    ):
        assert read() == {}
        write({("t", 0): number})
        assert read() == {("t", 0): number}
        (tmp_path / name).unlink()
        write({("t", 0): number})
        assert not (tmp_path / name).exists()
        write({("t", 0): number + 1})
        assert read() == {("t", 0): number + 1}


@pytest.mark.parametrize("content", [b"", b"0\n1\n", b"\0" * 40, b"7\n0\n"])
def test_a_damaged_checkpoint_is_as_good_as_none(tmp_path: Path, content: bytes) -> None:
    directory = claimed(tmp_path)
    (tmp_path / "recovery-point-offset-checkpoint").write_bytes(content)
    assert directory.read_recovery_points() == {}


def test_partitions_deleted_ones_and_everything_else_are_told_apart(tmp_path: Path) -> None:
    deleted = f"t-1.{'0' * 32}-delete"
    for name in ("t-0", "a-b-12", deleted, "lost+found"):
        (tmp_path / name).mkdir()
    (tmp_path / "file-0").touch()
    directory = claimed(tmp_path)
    assert directory.partitions() == {("t", 0): str(tmp_path / "t-0"), ("a-b", 12): str(tmp_path / "a-b-12")}
    assert directory.deleted_partitions() == [str(tmp_path / deleted)]
