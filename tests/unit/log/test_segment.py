"""One segment: its file, its indexes, and what is made of index files that are damaged."""

from pathlib import Path
from typing import Any

import pytest
from tests.support.compaction import batch
from tests.support.dying_disk import DyingDisk

from pybroker_protocol.records.batch import parse_batch_header, patch_offset_and_epoch
from pybroker_server.log.files import INDEX_SUFFIXES, LOG_SUFFIX, OFFSET_INDEX_SUFFIX, TIME_INDEX_SUFFIX
from pybroker_server.log.offset_index import RELATIVE_OFFSET_MAX, IndexCorrupt
from pybroker_server.log.segment import Segment
from pybroker_server.log.transaction_index import AbortedTransaction
from pybroker_server.runtime.disk_os import OsDisk

BASE = 100


def fill(segment: Segment, *timestamps: int, first: int = BASE) -> list[int]:
    """Appends a batch of two records for each timestamp; where they begin."""
    positions = []
    for number, timestamp in enumerate(timestamps):
        view = batch((b"k", b"v" * 30), (b"k", b"w"), timestamp=timestamp)
        patch_offset_and_epoch(view, 0, first + 2 * number, 0)
        header = parse_batch_header(view)
        positions.append(segment.append((view,), header.size_bytes, header.last_offset, header.max_timestamp))
    return positions


def new_segment(path: Path, *, disk: Any = None, interval: int = 0) -> Segment:
    segment = Segment.create(disk or OsDisk(), str(path), BASE)
    segment.index_interval_bytes = interval
    return segment


def opened(segment: Segment) -> Segment:
    """The same segment in another life."""
    file = Path(segment.path(LOG_SUFFIX))
    return Segment(OsDisk(), str(file.parent), BASE, file.stat().st_size)


def test_batches_follow_each_other_and_are_indexed_but_the_first(tmp_path: Path) -> None:
    segment = new_segment(tmp_path)
    positions = fill(segment, 10, 30, 20)
    assert positions[0] == 0
    assert segment.size == Path(segment.path(LOG_SUFFIX)).stat().st_size == positions[-1] + positions[1]
    offsets, times, _ = segment.indexes()
    assert offsets.entries() == [(103, positions[1]), (105, positions[2])]
    assert times.entries() == [(30, 103)]
    assert (segment.first_timestamp, segment.max_timestamp, segment.max_timestamp_offset) == (10, 30, 103)


def test_an_entry_is_made_only_after_so_many_bytes(tmp_path: Path) -> None:
    segment = new_segment(tmp_path, interval=250)
    positions = fill(segment, *range(1, 10))
    step = positions[1]
    apart = 250 // step + 1
    assert [position for _, position in segment.indexes()[0].entries()] == positions[apart::apart]


def test_a_sealed_segment_is_the_same_in_its_next_life(tmp_path: Path) -> None:
    segment = new_segment(tmp_path)
    fill(segment, 10, 20, 20)
    segment.note_aborted(AbortedTransaction(1, 100, 105, 106))
    segment.seal()
    assert not segment.has_unwritten_entries()
    again = opened(segment)
    again.read_last_timestamp(106)
    again.read_first_timestamp()
    assert (again.first_timestamp, again.max_timestamp, again.max_timestamp_offset) == (10, 20, 103)
    assert not again.is_loaded
    for old, new in zip(segment.indexes(), again.indexes(), strict=True):
        assert new.to_bytes() == old.to_bytes()


def test_index_entries_are_appended_to_what_the_files_have(tmp_path: Path) -> None:
    segment = new_segment(tmp_path)
    fill(segment, 1, 2, 3)
    segment.write_indexes()
    fill(segment, 4, 5, first=106)
    assert segment.has_unwritten_entries()
    segment.write_indexes()
    assert opened(segment).indexes()[0].entries() == segment.indexes()[0].entries()
    assert len(segment.indexes()[0]) == 4


def test_truncation_takes_the_batch_at_the_position_and_all_after_it(tmp_path: Path) -> None:
    segment = new_segment(tmp_path)
    positions = fill(segment, 10, 40, 30, 50)
    segment.note_aborted(AbortedTransaction(1, 100, 105, 106))
    segment.note_aborted(AbortedTransaction(2, 100, 107, 108))
    segment.seal()
    segment.truncate(positions[3], 106)
    assert segment.size == positions[3] == Path(segment.path(LOG_SUFFIX)).stat().st_size
    assert segment.indexes()[0].entries() == [(103, positions[1]), (105, positions[2])]
    assert (segment.max_timestamp, segment.max_timestamp_offset) == (40, 103)
    assert [entry.producer_id for entry in segment.indexes()[2].entries] == [1]
    fill(segment, 60, first=106)
    segment.write_indexes()
    again = opened(segment)
    assert again.indexes()[0].entries() == segment.indexes()[0].entries()
    assert again.indexes()[2].entries == segment.indexes()[2].entries


def test_truncation_to_nothing_leaves_a_segment_to_begin_anew(tmp_path: Path) -> None:
    segment = new_segment(tmp_path)
    fill(segment, 10, 20)
    segment.truncate(0, BASE)
    assert (segment.size, segment.first_timestamp, segment.max_timestamp) == (0, None, -1)
    assert fill(segment, 5) == [0]
    assert segment.first_timestamp == 5


@pytest.mark.parametrize("suffix", [OFFSET_INDEX_SUFFIX, TIME_INDEX_SUFFIX])
@pytest.mark.parametrize("damage", [None, b"\1", b"\xff" * 24], ids=["missing", "torn", "noise"])
def test_a_lost_index_of_a_sealed_segment_is_made_anew(tmp_path: Path, suffix: str, damage: bytes | None) -> None:
    segment = new_segment(tmp_path)
    fill(segment, 10, 30, 20, 40)
    segment.note_aborted(AbortedTransaction(1, 100, 105, 106))
    segment.seal()
    path = Path(segment.path(suffix))
    path.unlink() if damage is None else path.write_bytes(damage)
    again = opened(segment)
    again.index_interval_bytes = 0
    with pytest.raises(IndexCorrupt):
        again.load_indexes()
    for old, new in zip(segment.indexes(), again.indexes(), strict=True):
        assert new.to_bytes() == old.to_bytes()
    again.write_indexes()
    assert [opened(segment).indexes()[number].to_bytes() for number in range(3)] == [
        index.to_bytes() for index in segment.indexes()
    ]


def test_an_empty_segment_needs_no_index_files(tmp_path: Path) -> None:
    again = opened(new_segment(tmp_path))
    assert [len(index) for index in again.indexes()] == [0, 0, 0]


@pytest.mark.parametrize("content", [None, b"", b"\0" * 24, b"\1" * 5], ids=["missing", "empty", "zeros", "short"])
def test_a_time_index_that_says_nothing_leaves_the_largest_timestamp_unknown(
    tmp_path: Path, content: bytes | None
) -> None:
    segment = new_segment(tmp_path)
    if content is not None:
        Path(segment.path(TIME_INDEX_SUFFIX)).write_bytes(content)
    segment.read_last_timestamp(200)
    assert segment.max_timestamp == -1


def test_leftovers_of_an_earlier_segment_of_this_name_are_not_taken_over(tmp_path: Path) -> None:
    segment = new_segment(tmp_path)
    fill(segment, 1, 2)
    segment.note_aborted(AbortedTransaction(1, 100, 105, 106))
    segment.seal()
    Path(segment.path(LOG_SUFFIX)).unlink()
    assert [len(index) for index in new_segment(tmp_path).indexes()] == [0, 0, 0]
    assert not any(Path(segment.path(suffix)).exists() for suffix in INDEX_SUFFIXES)


def test_an_append_that_fails_leaves_the_segment_as_it_was(tmp_path: Path) -> None:
    disk = DyingDisk(OsDisk(), OSError(28, "No space left on device"))
    segment = new_segment(tmp_path, disk=disk)
    fill(segment, 10)
    before = (segment.size, segment.max_timestamp, segment.indexes()[0].entries())
    disk.fails_once = lambda name, _: name == "append"
    with pytest.raises(OSError, match="No space left"):
        fill(segment, 20, first=102)
    assert (segment.size, segment.max_timestamp, segment.indexes()[0].entries()) == before
    assert fill(segment, 20, first=102) == [before[0]]


def test_room_ends_with_the_index_and_with_the_offsets_that_it_can_name(tmp_path: Path) -> None:
    segment = new_segment(tmp_path)
    assert segment.has_room_for(BASE + RELATIVE_OFFSET_MAX, 1 << 20)
    assert not segment.has_room_for(BASE + RELATIVE_OFFSET_MAX + 1, 1 << 20)
    assert not segment.has_room_for(BASE, 7)
    fill(segment, 1, 2)
    assert segment.has_room_for(104, 36)
    assert not segment.has_room_for(104, 35), "one place is kept for the entry that closes the time index"


def test_a_segment_is_closed_when_it_was_idle_twice_and_opens_by_itself(tmp_path: Path) -> None:
    segment = new_segment(tmp_path)
    fill(segment, 1, 2)
    segment.seal()
    segment.file()
    assert not segment.close_if_idle()
    assert segment.close_if_idle()
    assert not segment.is_loaded
    assert not segment.close_if_idle(), "there is nothing left to close"
    assert len(segment.indexes()[0]) == 1
    segment.close_if_idle()
    segment.pin()
    assert not segment.close_if_idle()
    assert not segment.close_if_idle()


def test_removed_files_are_gone_and_removing_again_is_no_error(tmp_path: Path) -> None:
    segment = new_segment(tmp_path)
    fill(segment, 1, 2)
    segment.seal()
    segment.remove_files()
    segment.remove_files()
    assert segment.deleted
    assert list(tmp_path.iterdir()) == []


def test_renaming_keeps_what_is_open_and_fails_without_its_log(tmp_path: Path) -> None:
    segment = new_segment(tmp_path)
    fill(segment, 1, 2)
    segment.seal()
    renamed = segment.rename_files(".swap")
    segment.take_ending(".swap")
    assert sorted(map(str, tmp_path.iterdir())) == sorted(renamed)
    assert segment.file().size() == segment.size
    Path(segment.path(LOG_SUFFIX)).unlink()
    with pytest.raises(FileNotFoundError):
        segment.rename_files("")
