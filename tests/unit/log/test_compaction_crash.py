"""A compaction that ends at every possible moment, by kill -9 or loss of power, and the load that follows."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.compaction import (
    COMPACTED,
    CompactedLogs,
    batches_from,
    committed_rows,
    compacted_logs,
    last_values,
    rows_of,
)
from tests.support.dying_disk import Died, DyingDisk
from tests.support.power_cut import PowerCutDisk, cut_power

from pybroker_protocol.records.control import ControlType
from pybroker_server.log.compaction_swap import finish_swaps
from pybroker_server.runtime.disk_os import OsDisk

CONFIG = replace(COMPACTED, segment_bytes=600)
LEFT_OVER = (".cleaned", ".swap", ".deleted")


async def written(logs: CompactedLogs) -> dict[bytes | None, bytes | None]:
    """Five segments that become three, with an aborted transaction over two of them; what must be read from them."""
    log = logs.create(CONFIG)
    for number in range(9):
        logs.append((b"k%d" % (number % 4), b"v%d" % number), (b"gone", b"%d" % number))
    logs.append((b"k0", b"aborted"), (b"new", b"aborted"), producer=(9, 0, 0), transactional=True)
    logs.roll()
    logs.append((b"gone", None), (b"k1", b"last"))
    logs.append((b"k2", b"aborted"), producer=(9, 0, 2), transactional=True)
    logs.end_transaction(ControlType.ABORT, 9)
    logs.roll()
    logs.append((b"z", b"1"))
    logs.roll()
    assert len(log.segments) == 5
    await logs.flush()
    return last_values(committed_rows(log))


async def check(path: Path, expected: dict[bytes | None, bytes | None]) -> None:
    """Loads what was left behind: nothing is lost, nothing is doubled, and compaction goes on."""
    async with compacted_logs(path) as logs:
        log = await logs.load(CONFIG)
        assert last_values(committed_rows(log)) == expected
        offsets = [header.base_offset for header, _ in batches_from(log)]
        assert offsets == sorted(set(offsets))
        assert [p.name for p in Path(log.directory).iterdir() if p.name.endswith(LEFT_OVER)] == []
        ends = [*(segment.base_offset for segment in log.segments[1:]), log.log_end_offset]
        assert all(s.size == 0 or s.base_offset < end for s, end in zip(log.segments, ends, strict=True))
        assert log.log_end_offset == 25
        logs.append((b"after", b"1"))
        await logs.clean()
        assert last_values(committed_rows(log)) == {**expected, b"after": b"1"}
        log.close()


async def run_until(path: Path, journal: str, changes: int) -> tuple[bool, dict[bytes | None, bytes | None]]:
    """Compacts until so many changes were made; whether it came to its end before, and what must be found."""
    disks: list[DyingDisk] = []

    def wrap(disk: object) -> DyingDisk:
        disks.append(DyingDisk(PowerCutDisk(disk, journal)))  # type: ignore[arg-type]
        return disks[0]

    async with compacted_logs(path, wrap=wrap) as logs:
        expected = await written(logs)
        disks[0].left = changes
        try:
            assert await logs.cleaner.clean_dirtiest()
            assert last_values(committed_rows(logs.log)) == expected
        except Died:
            return False, expected
        finally:
            disks[0].left = None
            logs.log.close()
        return True, expected


@pytest.mark.parametrize("ending", ["kill", "power", "torn 1", "torn 2"])
async def test_nothing_is_lost_whenever_a_compaction_ends(tmp_path: Path, ending: str) -> None:
    changes = 0
    finished = False
    while not finished:
        path, journal = tmp_path / f"{changes}", str(tmp_path / f"{changes}.journal")
        finished, expected = await run_until(path, journal, changes)
        if ending != "kill":
            cut_power(journal, seed=changes * 10 + int(ending[-1]) if ending.startswith("torn") else None)
        await check(path, expected)
        shutil.rmtree(path)
        changes += 1
    assert changes > 40


@pytest.mark.parametrize("ending", ["power", "torn"])
async def test_nothing_is_lost_when_the_recovery_of_a_swap_ends_as_well(tmp_path: Path, ending: str) -> None:
    changes = tried = 0
    finished = False
    seen: set[frozenset[str]] = set()
    while not finished:
        left_behind = tmp_path / f"{changes}"
        finished, expected = await run_until(left_behind, str(tmp_path / "unused.journal"), changes)
        names = frozenset(p.name for p in left_behind.glob("t-0/*"))
        changes += 1
        if names in seen or not any(name.endswith(".swap") for name in names) or changes % 2:
            continue
        seen.add(names)
        recovered = False
        steps = 0
        while not recovered:
            path, journal = tmp_path / "again", str(tmp_path / "again.journal")
            shutil.copytree(left_behind, path)
            disk = DyingDisk(PowerCutDisk(OsDisk(), journal))
            disk.left = steps
            try:
                finish_swaps(disk, f"{path}/t-0")  # type: ignore[arg-type]
                recovered = True
            except Died:
                tried += 1
            cut_power(journal, seed=changes * 100 + steps if ending == "torn" else None)
            await check(path, expected)
            shutil.rmtree(path)
            steps += 1
    assert tried > 25


async def test_a_swap_that_kafka_left_behind_is_completed(tmp_path: Path) -> None:
    """Kafka renames the `.log` first: its indexes may still have the ending when the old segments are gone."""
    async with compacted_logs(tmp_path) as logs:
        expected = await written(logs)
        assert await logs.cleaner.clean_dirtiest()
        rows = rows_of(logs.log)
        await logs.flush()
        logs.log.close()
    directory = tmp_path / "t-0"
    for path in directory.glob("00000000000000000000.*index"):
        path.rename(f"{path}.swap")
    for path in directory.glob("*.deleted"):
        path.unlink()
    async with compacted_logs(tmp_path) as logs:
        assert rows_of(await logs.load(CONFIG)) == rows
        logs.log.close()
    await check(tmp_path, expected)


async def test_a_swap_whose_indexes_are_still_cleaned_is_undone(tmp_path: Path) -> None:
    async with compacted_logs(tmp_path) as logs:
        expected = await written(logs)
        logs.log.close()
    directory = tmp_path / "t-0"
    (directory / "00000000000000000000.log.swap").write_bytes(b"")
    (directory / "00000000000000000000.index.cleaned").write_bytes(b"")
    await check(tmp_path, expected)
