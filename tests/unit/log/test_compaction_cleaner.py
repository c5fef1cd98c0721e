"""Compaction of whole logs over real files: what is left, what readers and producers see, and what interrupts it."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.compaction import (
    COMPACTED,
    TOPIC,
    TOPIC_ID,
    CompactedLogs,
    batch,
    batches_from,
    compacted_logs,
    last_values,
    records_from,
    rows_of,
)
from tests.support.dying_disk import DyingDisk

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.records.compression import Codec
from pybroker_protocol.records.control import ControlType
from pybroker_server.log import cleaner as cleaner_module
from pybroker_server.log.checkpoints import CLEANED_OFFSETS
from pybroker_server.log.files import LOG_SUFFIX
from pybroker_server.log.log_config import COMPACT, DELETE
from pybroker_server.log.manager import AllDirectoriesFailed
from pybroker_server.runtime.ports import Disk

ABORT, COMMIT = ControlType.ABORT, ControlType.COMMIT
DAY_MS = 24 * 3600 * 1000


def fill(logs: CompactedLogs, count: int, keys: int = 7) -> None:
    for number in range(count):
        logs.append((b"k%d" % (number % keys), b"v%d" % number))


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the lines that the cleaner logs."""
    lines: list[str] = []

    class Lines:
        def info(self, event: str, **_: object) -> None:
            lines.append(event)

        error = warning = info

    monkeypatch.setattr(cleaner_module, "_logger", Lines())
    return lines


# -- what is left


async def test_the_last_value_of_each_key_stays_and_keeps_its_offset(tmp_path: Path) -> None:
    async with compacted_logs(tmp_path) as logs:
        log = logs.create()
        fill(logs, 100)
        before = rows_of(log)
        assert await logs.clean()
        assert rows_of(log) == before[93:]
        assert not await logs.cleaner.clean_dirtiest(), "there was nothing more to do"


async def test_the_next_pass_merges_what_the_first_left_small(tmp_path: Path) -> None:
    async with compacted_logs(tmp_path) as logs:
        log = logs.create()
        fill(logs, 100)
        await logs.clean()
        many = len(log.segments)
        fill(logs, 5)
        before = last_values(rows_of(log))
        await logs.clean()
        assert len(log.segments) < many / 2
        assert last_values(rows_of(log)) == before


async def test_a_fetch_of_any_offset_gives_the_next_record_that_is_left(tmp_path: Path) -> None:
    async with compacted_logs(tmp_path) as logs:
        log = logs.create()
        for number in range(60):
            logs.append((b"k%d" % (number % 5), b"a"), (b"k%d" % (number % 11), b"b"))
        await logs.clean()
        left = rows_of(log)
        for offset in range(log.log_end_offset):
            expected = [row for row in left if row[0] >= offset]
            assert [(r.offset, r.key, r.value) for r in records_from(log, offset)] == expected
        offsets = [offset for offset, _, _ in left]
        assert offsets == sorted(set(offsets))
        log.close()
        await logs.flush()


@pytest.mark.parametrize("codec", list(Codec))
async def test_batches_keep_their_codec_and_the_rest_keeps_every_byte(tmp_path: Path, codec: Codec) -> None:
    async with compacted_logs(tmp_path) as logs:
        log = logs.create()
        logs.append((b"a", b"1"), (b"b", b"2" * 50), (b"a", b"3"), codec=codec)
        logs.append((b"c", b"4"), codec=codec)
        untouched = [bytes(view) for _, view in batches_from(log)][1]
        await logs.clean()
        (first, _), (_, second) = batches_from(log)
        assert (first.codec, first.base_offset, first.last_offset, first.record_count) == (codec, 0, 2, 2)
        assert bytes(second) == untouched
        assert rows_of(log) == [(1, b"b", b"2" * 50), (2, b"a", b"3"), (3, b"c", b"4")]


async def test_what_the_active_segment_holds_is_left_alone(tmp_path: Path) -> None:
    async with compacted_logs(tmp_path) as logs:
        log = logs.create()
        fill(logs, 4, keys=1)
        logs.roll()
        fill(logs, 4, keys=1)
        assert await logs.cleaner.clean_dirtiest()
        assert [offset for offset, _, _ in rows_of(log)] == [3, 4, 5, 6, 7]


async def test_records_without_a_key_go_from_a_topic_that_became_compacted(tmp_path: Path) -> None:
    async with compacted_logs(tmp_path) as logs:
        log = logs.create(replace(COMPACTED, cleanup_policy=frozenset({DELETE})))
        logs.append((None, b"nobody's"), (b"k", b"v"))
        logs.configure(cleanup_policy=frozenset({COMPACT}))
        await logs.clean()
        assert rows_of(log) == [(1, b"k", b"v")]


async def test_a_small_map_takes_several_passes_and_comes_to_the_same(tmp_path: Path) -> None:
    settings = {"log.cleaner.dedupe.buffer.size": "3000", "log.cleaner.io.buffer.load.factor": "0.5"}
    async with compacted_logs(tmp_path, settings=settings) as logs:
        log = logs.create()
        fill(logs, 120, keys=40)
        before = last_values(rows_of(log))
        assert await logs.clean()
        assert len(rows_of(log)) > 40, "one pass cannot have known all keys"
        passes = 1
        while await logs.cleaner.clean_dirtiest():
            assert last_values(rows_of(log)) == before
            passes += 1
        assert passes > 2
        assert last_values(rows_of(log)) == before
        assert logs.manager.cleaned_offset(log) == 120


# -- tombstones


async def test_a_tombstone_stays_for_its_time_from_the_pass_that_found_it(tmp_path: Path) -> None:
    async with compacted_logs(tmp_path) as logs:
        log = logs.create(replace(COMPACTED, delete_retention_ms=DAY_MS))
        logs.append((b"gone", b"1"), timestamp=5)
        logs.append((b"gone", None), (b"here", b"2"), timestamp=6)
        logs.time.advance_ms(10 * DAY_MS)
        await logs.clean()
        assert rows_of(log) == [(1, b"gone", None), (2, b"here", b"2")]
        assert [record.timestamp for record in records_from(log)] == [6, 6], "the horizon must not move them"
        assert [header.has_delete_horizon for header, _ in batches_from(log)] == [True]
        logs.time.advance_ms(DAY_MS - 1)
        logs.append((b"x", b""))
        await logs.clean()
        assert (1, b"gone", None) in rows_of(log)
        logs.time.advance_ms(1)
        logs.append((b"x", b""))
        await logs.clean()
        assert [key for _, key, _ in rows_of(log)] == [b"here", b"x"]


# -- transactions


async def test_aborted_data_goes_at_once_and_its_marker_when_its_time_is_over(tmp_path: Path) -> None:
    async with compacted_logs(tmp_path) as logs:
        log = logs.create()
        logs.append((b"k", b"kept"))
        logs.append((b"k", b"aborted"), producer=(9, 0, 0), transactional=True)
        logs.append((b"k", b"aborted too"), producer=(9, 0, 1), transactional=True)
        marker = logs.end_transaction(ABORT, 9)
        logs.append((b"other", b"1"), producer=(9, 0, 2))
        await logs.clean()
        assert rows_of(log) == [(0, b"k", b"kept"), (4, b"other", b"1")]
        # A reader may still hold the aborted records, and asks the new index about them.
        assert log.aborted_transactions(0, 5) == [(9, 1)]
        assert marker in [header.base_offset for header, _ in batches_from(log)]
        logs.append((b"x", b""))
        await logs.clean()
        assert log.aborted_transactions(0, 5) == []
        assert marker in [header.base_offset for header, _ in batches_from(log)], "its horizon has only been set"
        logs.time.advance_ms(DAY_MS)
        logs.append((b"x", b""))
        await logs.clean()
        assert marker not in [header.base_offset for header, _ in batches_from(log)]
        assert last_values(rows_of(log)) == {b"k": b"kept", b"other": b"1", b"x": b""}


async def test_a_commit_marker_stays_as_long_as_its_data(tmp_path: Path) -> None:
    async with compacted_logs(tmp_path) as logs:
        log = logs.create()
        logs.append((b"k", b"1"), producer=(9, 0, 0), transactional=True)
        marker = logs.end_transaction(COMMIT, 9)
        logs.append((b"z", b"1"), producer=(9, 0, 1))
        for round_number in range(3):
            logs.append((b"x", b"%d" % round_number))
            await logs.clean()
            logs.time.advance_ms(2 * DAY_MS)
            assert marker in [header.base_offset for header, _ in batches_from(log)]
        logs.append((b"k", b"2"))
        for _ in range(4):
            logs.append((b"x", b""))
            await logs.clean()
            logs.time.advance_ms(2 * DAY_MS)
        assert marker not in [header.base_offset for header, _ in batches_from(log)]
        assert last_values(rows_of(log)) == {b"z": b"1", b"k": b"2", b"x": b""}


async def test_an_open_transaction_is_the_end_of_what_can_be_compacted(tmp_path: Path) -> None:
    async with compacted_logs(tmp_path) as logs:
        log = logs.create()
        fill(logs, 3, keys=1)
        logs.roll()
        logs.append((b"k0", b"open"), producer=(9, 0, 0), transactional=True)
        fill(logs, 3, keys=1)
        await logs.clean()
        assert [offset for offset, _, _ in rows_of(log)] == [2, 3, 4, 5, 6]
        logs.end_transaction(ABORT, 9)
        await logs.clean()
        assert [(offset, key) for offset, key, _ in rows_of(log)] == [(6, b"k0")]


# -- producers


async def test_a_producers_last_batch_answers_its_retry_after_compaction_and_restart(tmp_path: Path) -> None:
    async with compacted_logs(tmp_path) as logs:
        log = logs.create()
        logs.append((b"k", b"1"), producer=(5, 0, 0))
        logs.append((b"k", b"2"), (b"k", b"3"), producer=(5, 0, 1))
        fill(logs, 3, keys=1)
        logs.append((b"k", b"4"))
        await logs.clean()
        kept = {header.base_offset: header for header, _ in batches_from(log)}
        assert kept[1].record_count == 0
        assert (kept[1].last_offset, kept[1].last_sequence) == (2, 2)
        assert 0 not in kept
        await logs.flush()
        log.close()
    for snapshot in tmp_path.glob("*/*.snapshot"):
        snapshot.unlink()  # what is known must come from the log itself
    async with compacted_logs(tmp_path) as logs:
        log = await logs.load()
        again = log.append_as_leader(batch((b"k", b"2"), (b"k", b"3"), producer=(5, 0, 1)), 0, logs.time.wall_ms())
        assert again.duplicate
        assert (again.base_offset, again.last_offset) == (1, 2)
        assert log.append_as_leader(batch((b"k", b"5"), producer=(5, 0, 3)), 0, logs.time.wall_ms()).base_offset == 7


async def test_a_forgotten_producers_empty_batch_goes(tmp_path: Path) -> None:
    async with compacted_logs(tmp_path) as logs:
        log = logs.create()
        logs.append((b"k", b"1"), producer=(5, 0, 0))
        logs.append((b"k", b"2"))
        await logs.clean()
        assert [header.base_offset for header, _ in batches_from(log)] == [0, 1]
        log.producer_state.remove_expired(logs.time.wall_ms() + 2 * DAY_MS, DAY_MS)
        logs.append((b"x", b""))
        await logs.clean()
        assert [header.base_offset for header, _ in batches_from(log)] == [1, 2]


# -- restarts


async def test_the_checkpoint_is_kafkas_and_what_is_clean_is_not_compacted_again(tmp_path: Path) -> None:
    async with compacted_logs(tmp_path) as logs:
        logs.create()
        fill(logs, 30)
        await logs.clean()
        before = rows_of(logs.log)
        await logs.flush()
        logs.log.close()
    assert (tmp_path / CLEANED_OFFSETS).read_text() == "0\n1\nt 0 30\n"
    async with compacted_logs(tmp_path) as logs:
        log = await logs.load()
        assert rows_of(log) == before
        assert logs.manager.cleaned_offset(log) == 30
        assert not await logs.cleaner.clean_dirtiest()
        assert sorted(p.name for p in tmp_path.glob("t-0/*.deleted")) == []


async def test_a_topic_made_anew_has_none_of_its_names_checkpoint(tmp_path: Path) -> None:
    async with compacted_logs(tmp_path) as logs:
        logs.create()
        fill(logs, 30)
        await logs.clean()
        logs.manager.delete(TOPIC, 0, TOPIC_ID)
        fill_anew = logs.create()
        fill(logs, 60)
        assert logs.manager.cleaned_offset(fill_anew) is None
        await logs.clean()
        assert len(rows_of(fill_anew)) == 7


# -- readers


async def test_readers_in_a_segment_go_on_while_it_is_replaced(tmp_path: Path) -> None:
    async with compacted_logs(tmp_path) as logs:
        log = logs.create()
        fill(logs, 50)
        upper = log.end_position
        old = log.segments[0]
        wanted = bytearray(old.size)
        old.file().read_into(0, memoryview(wanted))
        await logs.clean()
        found = bytearray(len(wanted))
        assert old.file().read_into(0, memoryview(found)) == len(wanted)
        assert found == wanted
        # One that took its bound before the swap, from a segment that is another one now.
        left = rows_of(log)
        assert upper.segment_base_offset in [segment.base_offset for segment in log.segments[:-1]]
        for offset in range(50):
            result = log.read(offset, 1 << 20, upper, min_one=True, nowait=False)
            assert result is not None
            expected = next(o for o, _, _ in left if o >= offset)
            assert result.start.offset <= expected
            assert len(result.records) > 0


async def test_a_bound_in_a_segment_that_was_merged_away_lets_nothing_newer_through(tmp_path: Path) -> None:
    async with compacted_logs(tmp_path) as logs:
        log = logs.create(replace(COMPACTED, segment_bytes=10_000))
        logs.append((b"k", b"1"), (b"l", b"1"))
        logs.roll()
        logs.append((b"k", b"2"), (b"k", b"3"))
        upper = log.end_position
        assert upper.segment_base_offset == 2
        logs.append((b"k", b"4"))
        logs.stable[TOPIC, 0] = 4
        log.roll(logs.time.wall_ms())
        logs.append((b"k", b"not yet"))
        logs.stable[TOPIC, 0] = 5
        await logs.cleaner.clean_dirtiest()
        assert [segment.base_offset for segment in log.segments] == [0, 5]
        for offset in range(2, 5):
            result = log.read(offset, 1 << 20, upper, min_one=True, nowait=False)
            assert result is not None
            assert b"not yet" not in bytes(result.records)


# -- which log, and what goes wrong


async def test_the_dirtiest_log_comes_first(tmp_path: Path, said: list[str]) -> None:
    async with compacted_logs(tmp_path) as logs:
        half, whole = logs.create(topic="half"), logs.create(topic="whole")
        for log in (half, whole):
            for number in range(20):
                logs.append((b"k", b"%d" % number), log=log)
            log.roll(logs.time.wall_ms())
        logs.manager.note_cleaned(half, 10)
        assert await logs.cleaner.clean_dirtiest()
        assert logs.manager.cleaned_offset(half) == 10
        assert logs.manager.cleaned_offset(whole) == 20
        assert said == ["log_compacted"]


async def test_a_damaged_log_is_left_alone_with_one_line_and_the_others_go_on(tmp_path: Path, said: list[str]) -> None:
    async with compacted_logs(tmp_path) as logs:
        bad, good = logs.create(topic="bad"), logs.create(topic="good")
        for log in (bad, good):
            for number in range(20):
                logs.append((b"k", b"%d" % number), log=log)
            log.roll(logs.time.wall_ms())
        path = Path(bad.segments[0].path(LOG_SUFFIX))
        data = bytearray(path.read_bytes())
        data[100] ^= 1
        path.write_bytes(data)
        while await logs.cleaner.clean_dirtiest():
            pass
        assert sorted(said) == ["log_compacted", "log_not_compacted"]
        assert len(records_from(good)) == 1
        assert path.read_bytes() == data
        assert list(path.parent.glob("*.cleaned")) == []


async def test_batches_cut_short_inside_a_segment_stop_compaction(tmp_path: Path, said: list[str]) -> None:
    async with compacted_logs(tmp_path) as logs:
        log = logs.create()
        fill(logs, 20)
        logs.roll()
        path = Path(log.segments[0].path(LOG_SUFFIX))
        data = bytearray(path.read_bytes())
        data[16] = 9  # the format of the first batch: the scan ends before it
        path.write_bytes(data)
        await logs.cleaner.clean_dirtiest()
        assert said == ["log_not_compacted"]
        assert path.read_bytes() == data


@pytest.mark.parametrize("what", ["delete", "reconfigure", "stop", "retain"])
async def test_a_pass_is_given_up_when_its_log_changes_under_it(tmp_path: Path, said: list[str], what: str) -> None:
    """After each number of steps that a pass waits for: none may be a bad moment."""
    finished = False
    steps = 0
    while not finished:
        steps += 1
        async with compacted_logs(tmp_path / f"{what}-{steps}") as logs:
            log = logs.create(replace(COMPACTED, cleanup_policy=frozenset({COMPACT, DELETE})))
            fill(logs, 30)
            logs.roll()
            before = last_values(rows_of(log))
            work = logs.runtime.tasks.spawn("pass", logs.cleaner.clean_dirtiest())
            finished = await _let_run(logs, work, steps)
            first = log.segments[0].base_offset
            if what == "delete":
                logs.manager.delete(TOPIC, 0, TOPIC_ID)
                anew = logs.create()
                logs.append((b"k0", b"of the new topic"))
            elif what == "reconfigure":
                logs.configure(cleanup_policy=frozenset({DELETE}))
            elif what == "stop":
                await logs.cleaner.stop()
            elif not log.is_swapping:
                logs.manager.removal.remove_segments(log.drop_segments(1), 0)
                first = log.segments[0].base_offset
            await work
            directory = Path(logs.log.directory)
            if what == "delete":
                assert rows_of(anew) == [(0, b"k0", b"of the new topic")]
            else:
                assert last_values(rows_of(log)) == before
                assert log.segments[0].base_offset == first
            await _settle(logs)
            assert [p.name for p in directory.iterdir() if p.name.endswith((".cleaned", ".swap"))] == []
    assert steps > 10
    assert "log_not_compacted" not in said


async def _let_run(logs: CompactedLogs, work: "asyncio.Task[bool]", steps: int) -> bool:
    """Lets so many results of threads arrive; whether the pass had ended by then."""
    blocking = logs.runtime.blocking
    for _ in range(steps):
        if work.done():
            return True
        await blocking.run(lambda: None)
    return work.done()


async def _settle(logs: CompactedLogs) -> None:
    for _ in range(5):
        await logs.runtime.blocking.run(lambda: None)


async def test_retention_and_compaction_apply_both(tmp_path: Path) -> None:
    async with compacted_logs(tmp_path) as logs:
        log = logs.create(replace(COMPACTED, cleanup_policy=frozenset({COMPACT, DELETE})))
        fill(logs, 40)
        log.delete_records_before(20)
        await logs.clean()
        assert [o for o, _, _ in rows_of(log) if o >= 20] == list(range(33, 40))
        with pytest.raises(KafkaError) as failure:
            log.read(19, 100, log.end_position, min_one=True, nowait=False)
        assert failure.value.code is ErrorCode.OFFSET_OUT_OF_RANGE


async def test_it_goes_no_faster_than_it_may(tmp_path: Path) -> None:
    async with compacted_logs(tmp_path, settings={"log.cleaner.io.max.bytes.per.second": "1000"}) as logs:
        log = logs.create()
        fill(logs, 40)
        logs.roll()
        size = log.size_bytes
        started_ms = logs.time.monotonic_ms()
        work = logs.runtime.tasks.spawn("pass", logs.cleaner.clean_dirtiest())
        while not work.done():
            logs.time.advance_ms(10)
            await logs.runtime.blocking.run(lambda: None)
        assert logs.time.monotonic_ms() - started_ms >= 2 * size, "read twice, at a byte per millisecond"


async def test_it_runs_by_itself_and_looks_again_after_a_pause(tmp_path: Path) -> None:
    async with compacted_logs(tmp_path, settings={"log.cleaner.backoff.ms": "500"}) as logs:
        log = logs.create()
        fill(logs, 30)
        logs.roll()
        logs.cleaner.start()
        while logs.manager.cleaned_offset(log) != 30:
            await logs.runtime.blocking.run(lambda: None)
        fill(logs, 30)
        logs.roll()
        while logs.manager.cleaned_offset(log) != 60:
            logs.time.advance_ms(100)
            await logs.runtime.blocking.run(lambda: None)
        await logs.cleaner.stop()
        assert len(rows_of(log)) == 7


async def test_an_old_segment_is_compacted_however_little_of_the_log_it_is(tmp_path: Path) -> None:
    """Also after a start, when nobody knows how old the segments are (KIP-354)."""
    config = replace(COMPACTED, min_cleanable_dirty_ratio=1.0, max_compaction_lag_ms=DAY_MS, segment_ms=9 * DAY_MS)
    async with compacted_logs(tmp_path) as logs:
        logs.create(config)
        logs.append((b"k", b"1"), timestamp=logs.time.wall_ms())
        logs.append((b"k", b"2"), timestamp=logs.time.wall_ms())
        logs.time.advance_ms(DAY_MS + 1)
        logs.append((b"k", b"3"), timestamp=logs.time.wall_ms())
        assert len(logs.log.segments) == 2, "the first was rolled so that it can be compacted in time"
        await logs.flush()
        logs.log.close()
        time = logs.time
    async with compacted_logs(tmp_path, time=time) as logs:
        log = await logs.load(config)
        time.advance_ms(-1)
        assert not await logs.cleaner.clean_dirtiest()
        time.advance_ms(1)
        assert await logs.cleaner.clean_dirtiest()
        assert [offset for offset, _, _ in rows_of(log)] == [1, 2]


async def test_a_device_that_fails_in_the_middle_of_a_swap_takes_its_directory_with_it(tmp_path: Path) -> None:
    disks: list[DyingDisk] = []

    def wrap(disk: Disk) -> DyingDisk:
        disks.append(DyingDisk(disk, OSError("no more")))
        return disks[0]

    lost: list[object] = []
    with pytest.raises(ExceptionGroup) as failure:
        async with compacted_logs(tmp_path, wrap=wrap) as logs:
            log = logs.create()
            logs.manager.on_directory_failure(lost.extend)
            fill(logs, 10)
            logs.roll()
            disks[0].fails_once = lambda name, path: name == "sync_dir" and any(Path(log.directory).glob("*.swap"))
            assert not await logs.cleaner.clean_dirtiest()
            await asyncio.Event().wait()
    assert failure.group_contains(AllDirectoriesFailed)
    assert lost == [(TOPIC, 0)]


async def test_it_can_be_switched_off(tmp_path: Path) -> None:
    async with compacted_logs(tmp_path, settings={"log.cleaner.enable": "false"}) as logs:
        logs.cleaner.start()
        assert logs.runtime.tasks.task_names == []
        await logs.cleaner.stop()
