"""What follows from a topic's configuration."""

import pytest

from pybroker_server.log.log_config import COMPACT, DELETE, LogConfig


@pytest.mark.parametrize(
    ("policy", "compacted", "deleted"),
    [
        (frozenset[str](), False, False),
        (frozenset({DELETE}), False, True),
        (frozenset({COMPACT}), True, False),
        (frozenset({COMPACT, DELETE}), True, True),
    ],
)
def test_policies_may_be_combined(policy: frozenset[str], compacted: bool, deleted: bool) -> None:
    config = LogConfig(cleanup_policy=policy)
    assert (config.is_compacted, config.is_deleted_by_retention) == (compacted, deleted)


@pytest.mark.parametrize(("policy", "lag_ms", "roll_ms"), [(DELETE, 10, 100), (COMPACT, 10, 10), (COMPACT, 1000, 100)])
def test_only_a_compacted_topic_rolls_in_time_for_compaction(policy: str, lag_ms: int, roll_ms: int) -> None:
    config = LogConfig(cleanup_policy=frozenset({policy}), segment_ms=100, max_compaction_lag_ms=lag_ms)
    assert config.roll_ms == roll_ms


def test_acknowledged_means_flushed_unless_the_topic_says_otherwise() -> None:
    assert LogConfig().is_durable
    assert not LogConfig(durability="page-cache").is_durable
