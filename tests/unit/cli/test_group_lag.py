"""What `lag --watch` says of rates and of the time that is left."""

from __future__ import annotations

import pytest

from pybroker import TopicPartition
from pybroker.group_info import CommittedOffset, PartitionLag
from pybroker_server.cli.group_lag import rates_between, time_left

TP = TopicPartition("t", 0)


def lags(offset: int | None) -> dict[str, dict[TopicPartition, PartitionLag]]:
    committed = None if offset is None else CommittedOffset(offset)
    return {"g": {TP: PartitionLag(committed, 100, None)}}


def test_rates_are_of_what_was_committed_between_two_looks() -> None:
    assert rates_between(lags(10), lags(30), 2.0) == {("g", "t", 0): 10.0}
    assert rates_between(lags(30), lags(10), 2.0) == {("g", "t", 0): -10.0}, "a group that was moved back"
    assert rates_between(lags(None), lags(10), 2.0) == {}
    assert rates_between({}, lags(10), 2.0) == {}


@pytest.mark.parametrize(
    ("lag", "rate", "expected"),
    [
        (0, 0.0, "0s"),
        (30, 10.0, "3s"),
        (900, 10.0, "1m30s"),
        (73_000, 10.0, "2h01m"),
        (10, 0.0, None),
        (10, -1.0, None),
        (None, 1.0, None),
        (10, None, None),
    ],
)
def test_the_time_left_is_told_only_when_the_group_comes_nearer(
    lag: int | None, rate: float | None, expected: str | None
) -> None:
    assert time_left(lag, rate) == expected
