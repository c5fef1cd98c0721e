"""Each fault that can be planted in what is read is found, counted, and nothing else is."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pybroker_bench.payload import STAMP_BYTES, Fillings, Stamper
from pybroker_bench.verify import Account, Checker, Verdict, judge

TAG = 7
PRODUCER = (TAG << 16) | 3
COUNT = 50


def _records(count: int = COUNT, producer: int = PRODUCER, partition: int = 0, first: int = 0) -> list[bytes]:
    stamper = Stamper(producer, Fillings([(64, 1.0)], 0.5, seed=1))
    return stamper.records(0, partition, first, range(count))


def _account(count: int = COUNT, kind: str = "acked") -> dict[str, Any]:
    account = Account()
    account.note(kind, (0, 0, PRODUCER), 0, count)
    return account.to_json()


def _verdict(records: list[bytes | None], sent: list[dict[str, Any]] | None = None, chunk: int = 7) -> Verdict:
    checker = Checker(TAG)
    for at in range(0, len(records), chunk):
        part = records[at : at + chunk]
        checker.check(0, 0, range(at, at + len(part)), part)
    return judge([_account()] if sent is None else sent, [checker.to_json()])


def _faults(verdict: Verdict) -> dict[str, int]:
    return {name: getattr(verdict, name) for name in Verdict.FAULTS if getattr(verdict, name)}


def test_what_came_as_it_was_sent_is_clean() -> None:
    verdict = _verdict(_records())
    assert verdict.is_clean
    assert verdict.checked == COUNT


def test_a_record_that_is_missing_is_lost() -> None:
    records = _records()
    del records[20]
    assert _faults(_verdict(records)) == {"lost": 1}


def test_missing_at_the_end_is_lost_too() -> None:
    assert _faults(_verdict(_records()[:-3])) == {"lost": 3}


def test_nothing_read_at_all_is_everything_lost() -> None:
    assert _faults(judge([_account()], [])) == {"lost": COUNT}


def test_a_record_that_comes_twice_is_a_duplicate() -> None:
    records = _records()
    records.insert(30, records[10])
    assert _faults(_verdict(records)) == {"duplicated": 1}


def test_a_batch_that_comes_twice_is_as_many_duplicates_as_it_has_records() -> None:
    records = _records()
    assert _faults(_verdict(records[:20] + records[10:20] + records[20:])) == {"duplicated": 10}


def test_two_records_that_are_swapped_are_one_reordering() -> None:
    records = _records()
    records[10], records[11] = records[11], records[10]
    assert _faults(_verdict(records)) == {"reordered": 1}


def test_two_batches_that_are_swapped_are_a_reordering_of_the_whole_late_one() -> None:
    records = _records()
    assert _faults(_verdict(records[:10] + records[20:30] + records[10:20] + records[30:])) == {"reordered": 10}


@settings(deadline=None)
@given(st.integers(0, COUNT - 1), st.integers(0, 63), st.integers(0, 7))
def test_any_bit_that_is_flipped_is_found(index: int, byte: int, bit: int) -> None:
    records = _records()
    flipped = bytearray(records[index])
    flipped[byte] ^= 1 << bit
    records[index] = bytes(flipped)
    faults = _faults(_verdict(records))
    assert faults.pop("lost") == 1
    assert faults == {"corrupted": 1}


def test_a_record_cut_short_or_null_is_corrupted() -> None:
    records: list[bytes | None] = [*_records()]
    records[3], records[4] = None, b"x" * (STAMP_BYTES - 1)
    assert _faults(_verdict(records)) == {"lost": 2, "corrupted": 2}


def test_a_record_of_another_partition_or_run_is_misplaced() -> None:
    strangers = _records(1, partition=1) + _records(1, producer=(9 << 16) | 3)
    assert _faults(_verdict(_records() + strangers)) == {"misplaced": 2}


def test_a_record_that_nobody_sent_is_unsent() -> None:
    assert _faults(_verdict(_records(COUNT + 4))) == {"unsent": 4}


def test_what_was_never_acknowledged_may_be_there_or_not() -> None:
    sent = [_account(kind="unknown")]
    assert _verdict(_records(), sent).is_clean
    verdict = _verdict(_records()[:10], sent)
    assert verdict.is_clean
    assert verdict.unknown == COUNT


def test_a_record_of_an_aborted_transaction_must_not_be_read() -> None:
    assert _faults(_verdict(_records(), [_account(kind="aborted")])) == {"aborted_seen": COUNT}
    assert _verdict([], [_account(kind="aborted")]).is_clean


def test_reading_the_same_offsets_again_is_a_redelivery_and_no_duplicate() -> None:
    checker, records = Checker(TAG), _records()
    checker.check(0, 0, range(20), records[:20])
    checker.check(0, 0, range(10, COUNT), records[10:])
    verdict = judge([_account()], [checker.to_json()])
    assert verdict.is_clean
    assert verdict.redelivered == 10


def test_members_of_a_group_that_read_a_part_each_have_read_all() -> None:
    first, second, records = Checker(TAG), Checker(TAG), _records()
    first.check(0, 0, range(30), records[:30])
    second.check(0, 0, range(25, COUNT), records[25:])
    verdict = judge([_account()], [first.to_json(), second.to_json()])
    assert verdict.is_clean
    assert verdict.redelivered == 5


def test_producers_that_share_a_partition_are_told_apart() -> None:
    other = (TAG << 16) | 4
    mixed = [record for pair in zip(_records(), _records(producer=other), strict=True) for record in pair]
    account = Account()
    for producer in (PRODUCER, other):
        account.note("acked", (0, 0, producer), 0, COUNT)
    assert _verdict(mixed, [account.to_json()]).is_clean


@settings(deadline=None)
@given(st.randoms(use_true_random=False))
def test_any_mixture_of_losses_and_duplicates_is_counted_exactly(choose: random.Random) -> None:
    records, read, lost, twice = _records(), [], 0, 0
    for record in records:
        fate = choose.random()
        copies = 0 if fate < 0.1 else 2 if fate < 0.2 else 1
        lost += copies == 0
        twice += copies == 2
        read += [record] * copies
    faults = _faults(_verdict(read, chunk=choose.randint(1, 20)))
    assert faults == {name: count for name, count in (("lost", lost), ("duplicated", twice)) if count}
