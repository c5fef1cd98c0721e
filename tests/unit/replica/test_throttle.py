"""Which replicas are throttled, and how long who had too much has to wait (KIP-73)."""

import pytest

from pybroker_server.replica.throttle import LEADERS_KEY, ReplicationQuota, throttled_partitions


@pytest.mark.parametrize(
    ("text", "partitions"),
    [("", frozenset()), ("*", None), ("0:1,2:1,3:2", frozenset({0, 2})), ("0:11", frozenset())],
)
def test_the_pairs_of_this_broker_count(text: str, partitions: frozenset[int] | None) -> None:
    assert throttled_partitions({LEADERS_KEY: text}, LEADERS_KEY, 1) == partitions
    assert throttled_partitions({}, LEADERS_KEY, 1) == frozenset()


def test_what_went_over_the_rate_is_waited_for_and_no_more() -> None:
    quota = ReplicationQuota(1_000)
    assert quota.wait_ms(5_000) == 0
    quota.note(500, 5_000)
    assert quota.wait_ms(5_000) == 500
    quota.note(500, 5_100)
    assert quota.wait_ms(5_100) == 900
    assert quota.wait_ms(6_000) == 0
    quota.bytes_per_second = 0
    quota.note(1, 7_000)
    assert quota.wait_ms(7_000) == 1_000
