"""Records have the sizes they should have, and their stamps can be read back."""

from __future__ import annotations

import pytest

from pybroker_bench.payload import STAMP, Fillings, Stamper, due_of
from pybroker_bench.verify import Checker

PRODUCER = 5 << 16


@pytest.mark.parametrize("size", [28, 29, 100, 5000])
def test_a_record_is_as_large_as_was_asked_for(size: int) -> None:
    stamper = Stamper(PRODUCER, Fillings([(size, 1.0)], 0.5, seed=3))
    assert {len(record) for record in stamper.records(0, 0, 0, range(100))} == {size}
    assert {len(record) for record in stamper.repeated(0, 0, 0, 9, 100)} == {size}


def test_records_smaller_than_a_stamp_are_filling_only() -> None:
    stamper = Stamper(PRODUCER, Fillings([(10, 1.0)], 0.5, seed=3))
    assert stamper.repeated(0, 0, 0, 9, 3) == [b"x" * 10] * 3


def test_mixed_sizes_come_about_as_often_as_their_weights() -> None:
    fillings = Fillings([(100, 9.0), (1000, 1.0)], 0.0, seed=3)
    assert 130 < fillings.mean_record_bytes < 250
    records = Stamper(PRODUCER, fillings).records(0, 0, 0, range(512))
    assert sum(map(len, records)) == pytest.approx(512 * fillings.mean_record_bytes)


def test_the_same_seed_makes_the_same_bytes_and_another_makes_others() -> None:
    def made(seed: int) -> list[bytes]:
        return Stamper(PRODUCER, Fillings([(100, 1.0)], 1.0, seed)).records(0, 0, 0, range(20))

    assert made(1) == made(1)
    assert made(1) != made(2)


def test_a_stamp_says_where_it_belongs_and_when_it_was_due() -> None:
    [record] = Stamper(PRODUCER, Fillings([(50, 1.0)], 0.5, seed=3)).records(2, 9, 1234, [777])
    assert STAMP.unpack_from(record)[1:] == (2, 9, PRODUCER, 1234, 777)
    assert due_of(record) == 777
    assert Checker(5).check(2, 9, [0], [record]) == [777]
