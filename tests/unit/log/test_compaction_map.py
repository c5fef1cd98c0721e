"""The map of last offsets: what it knows, where it ends when it is full, and that its bytes are this process's."""

import tracemalloc
from hashlib import blake2b

import pytest

from pybroker_protocol.records.record import Record
from pybroker_server.log.compaction_map import OffsetMap


def record(offset: int, key: bytes | None) -> Record:
    return Record(None, offset, 0, key, b"v", b"")


def test_the_last_offset_of_a_key_counts() -> None:
    offsets = OffsetMap(1000)
    assert offsets.add([record(1, b"a"), record(2, b"b"), record(3, b"a"), record(4, None)], 0)
    assert (offsets.get(b"a"), offsets.get(b"b"), offsets.get(b"c")) == (3, 2, -1)
    assert offsets.latest_offset == 3
    offsets.reach(9)
    offsets.reach(5)
    assert offsets.latest_offset == 9


def test_what_was_compacted_before_is_left_out() -> None:
    offsets = OffsetMap(1000)
    assert offsets.add([record(1, b"a"), record(2, b"b")], 2)
    assert (offsets.get(b"a"), offsets.get(b"b")) == (-1, 2)


def test_when_it_is_full_it_ends_before_the_first_new_key() -> None:
    offsets = OffsetMap(400)
    assert not offsets.add([record(n, b"%d" % (n // 2)) for n in range(100)], 0)
    assert len(offsets) == 2
    assert offsets.latest_offset == 3, "both records of the second key, none of the third"


def test_one_key_fits_however_little_room_there_is() -> None:
    offsets = OffsetMap(0)
    assert not offsets.add([record(1, b"x" * 5000), record(2, b"y")], 0)
    assert offsets.get(b"x" * 5000) == 1


def test_long_keys_are_told_apart_from_each_other_and_from_their_digests() -> None:
    offsets = OffsetMap(10_000)
    long = [b"x" * 40 + b"%d" % n for n in range(3)]
    digest = blake2b(long[0], digest_size=16).digest()
    offsets.add([record(n, key) for n, key in enumerate([*long, digest])], 0)
    assert [offsets.get(key) for key in [*long, digest]] == [0, 1, 2, 3]


@pytest.mark.parametrize("key_bytes", [8, 16, 32, 100])
def test_it_takes_no_more_memory_than_it_was_given(key_bytes: int) -> None:
    budget = 8_000_000
    tracemalloc.start()
    try:
        offsets = OffsetMap(budget)
        number = 0
        # Offsets above 2**30 take the most.
        while offsets.add([record(2**40 + number, b"%d" % number + b"." * (key_bytes - len(b"%d" % number)))], 0):
            number += 1
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < budget * 1.1
    assert peak > budget * 0.4, "it is far too careful"
