"""Names of the files in a partition's directory, and of the partition's directory itself.

Rules of this file: names only, no file is touched. They are Kafka's, so that its tools read our directories and
we can adopt its (design D3).
"""

from __future__ import annotations

import re
from uuid import UUID

LOG_SUFFIX = ".log"
OFFSET_INDEX_SUFFIX = ".index"
TIME_INDEX_SUFFIX = ".timeindex"
TRANSACTION_INDEX_SUFFIX = ".txnindex"
SNAPSHOT_SUFFIX = ".snapshot"
INDEX_SUFFIXES = (OFFSET_INDEX_SUFFIX, TIME_INDEX_SUFFIX, TRANSACTION_INDEX_SUFFIX)
SEGMENT_SUFFIXES = (LOG_SUFFIX, *INDEX_SUFFIXES)

DELETED_SUFFIX = ".deleted"
CLEANED_SUFFIX = ".cleaned"
SWAP_SUFFIX = ".swap"
TEMPORARY_SUFFIX = ".tmp"
TRANSIENT_SUFFIXES = (DELETED_SUFFIX, CLEANED_SUFFIX, TEMPORARY_SUFFIX)
"""Files that may be removed whenever they are found at start. `.swap` is not among them: see `compaction_swap.py`."""

DELETE_DIRECTORY_SUFFIX = "-delete"
_SEGMENT_FILE = re.compile(r"(\d{20})\.(log|index|timeindex|txnindex|snapshot)\Z")
_DELETED_DIRECTORY = re.compile(r".+-\d+\.[0-9a-f]{32}-delete\Z")
_PARTITION_DIRECTORY = re.compile(r"(.+)-(\d+)\Z", re.DOTALL)
_NAME_LENGTH_MAX = 255


def segment_file(base_offset: int, suffix: str) -> str:
    """`00000000000000000042.log` for (42, ".log")."""
    assert base_offset >= 0
    return f"{base_offset:020d}{suffix}"


def parse_segment_file(name: str) -> tuple[int, str] | None:
    """(base offset, suffix) of a segment's file or a snapshot; None for any other name."""
    match = _SEGMENT_FILE.match(name)
    return (int(match[1]), f".{match[2]}") if match else None


def partition_directory(topic: str, partition: int) -> str:
    return f"{topic}-{partition}"


def parse_partition_directory(name: str) -> tuple[str, int] | None:
    """(topic, partition) of a directory's name; None when it is not a partition's."""
    if name.endswith(DELETE_DIRECTORY_SUFFIX):
        return None
    match = _PARTITION_DIRECTORY.match(name)
    return (match[1], int(match[2])) if match else None


def is_deleted_directory(name: str) -> bool:
    """Whether a directory waits for its removal. A topic's own name may end in `-delete` but not so."""
    return _DELETED_DIRECTORY.match(name) is not None


def deleted_directory(topic: str, partition: int, unique: UUID) -> str:
    """The name of a partition's directory once it is deleted: no other can have it, and none is too long."""
    tail = f"-{partition}.{unique.hex}{DELETE_DIRECTORY_SUFFIX}"
    return topic[: _NAME_LENGTH_MAX - len(tail)] + tail
