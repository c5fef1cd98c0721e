"""Puts a compacted segment's files in the place of those it was made from, so that a crash finds the old or the new.

Rules of this file: names and nothing else. What makes it safe is the order, and that each step is on the device
before the next begins:

1. all files of the new segment exist, synced, as `.cleaned`: a crash removes them
2. all become `.swap`; while one is still `.cleaned` a crash removes both kinds
3. the old files become `.deleted`; a crash deletes what the `.swap` covers instead
4. the `.log` loses its `.swap`
5. the indexes lose theirs; a crash takes it from them

These are Kafka's names and its rules of recovery, so that either broker finishes what the other began. The steps of a
running broker are `cleaner.py`'s; `finish_swaps` is for the one that starts.
"""

from __future__ import annotations

from collections.abc import Iterable

from pybroker_server.log.batch_scan import scan_batches
from pybroker_server.log.files import CLEANED_SUFFIX, INDEX_SUFFIXES, LOG_SUFFIX, SWAP_SUFFIX, parse_segment_file
from pybroker_server.runtime.ports import Disk


def finish_swaps(disk: Disk, directory: str) -> None:
    """Undoes or completes replacements of segments that a crash interrupted. Blocks. Raises OSError."""
    names = disk.list(directory)
    cleaned = _by_base(names, CLEANED_SUFFIX)
    swaps = _by_base(names, SWAP_SUFFIX)
    if not cleaned and not swaps:
        return
    first_undone = min(cleaned, default=None)
    for base in [base for base in swaps if first_undone is not None and base >= first_undone]:
        # Before what is `.cleaned` goes: without it these would look complete.
        _remove(disk, directory, [f"{name}{SWAP_SUFFIX}" for name in swaps.pop(base).values()])
    for files in cleaned.values():
        _remove(disk, directory, [f"{name}{CLEANED_SUFFIX}" for name in files.values()])
    for base, files in swaps.items():
        if LOG_SUFFIX in files:
            _complete(disk, directory, base, files[LOG_SUFFIX], names)
        for suffix in INDEX_SUFFIXES:
            if suffix in files:
                disk.rename(f"{directory}/{files[suffix]}{SWAP_SUFFIX}", f"{directory}/{files[suffix]}")
    disk.sync_dir(directory)


def _complete(disk: Disk, directory: str, base: int, log_name: str, names: Iterable[str]) -> None:
    """Takes away the segments that the new one holds the rest of, and gives its log its name."""
    end = base + 1  # one that holds nothing replaces its namesake
    file = disk.open(f"{directory}/{log_name}{SWAP_SUFFIX}")
    try:
        for _, header, _ in scan_batches(file, 0, file.size(), whole=False):
            end = header.next_offset
    finally:
        file.close()
    covered = [
        name
        for name in names
        if (found := parse_segment_file(name)) and found[1] in (LOG_SUFFIX, *INDEX_SUFFIXES) and base <= found[0] < end
    ]
    _remove(disk, directory, covered)
    disk.rename(f"{directory}/{log_name}{SWAP_SUFFIX}", f"{directory}/{log_name}")
    disk.sync_dir(directory)


def _by_base(names: Iterable[str], ending: str) -> dict[int, dict[str, str]]:
    """The names of segment files with this ending, without it, by base offset and suffix."""
    found: dict[int, dict[str, str]] = {}
    for name in names:
        parsed = parse_segment_file(name.removesuffix(ending)) if name.endswith(ending) else None
        if parsed is not None:
            found.setdefault(parsed[0], {})[parsed[1]] = name.removesuffix(ending)
    return found


def _remove(disk: Disk, directory: str, names: Iterable[str]) -> None:
    for name in names:
        disk.remove(f"{directory}/{name}")
    disk.sync_dir(directory)
