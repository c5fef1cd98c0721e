"""DescribeLogDirs: which topics lie where, and how large they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tests.oracle.exchange import Call, Exchange, exchange
from tests.oracle.vocabulary import create, filled


def _dirs(version: int, *topics: tuple[str, Sequence[int]]) -> Call:
    asked = [{"topic": topic, "partitions": partitions} for topic, partitions in topics]
    return Call("DescribeLogDirs", version, {"topics": asked}, own=True)


EXCHANGES: Final[tuple[Exchange, ...]] = (
    *(
        exchange(
            f"describe-log-dirs-v{version}", create("@t", 2), filled("@t", "a", "b"), _dirs(version, ("@t", [0, 1]))
        )
        for version in range(1, 6)
    ),
    *(
        exchange(
            f"describe-log-dirs-all-v{version}",
            create("@t"),
            filled("@t", "a"),
            Call("DescribeLogDirs", version, {"topics": None}, own=True),
        )
        for version in (1, 4)
    ),
    exchange("describe-log-dirs-one-of-two-partitions", create("@t", 2), _dirs(4, ("@t", [1]))),
    exchange("describe-log-dirs-unknown-topic", _dirs(4, ("@no", [0]))),
    exchange("describe-log-dirs-unknown-partition", create("@t"), _dirs(4, ("@t", [7]))),
    exchange("describe-log-dirs-no-partitions", create("@t"), _dirs(4, ("@t", []))),
    exchange("describe-log-dirs-no-topics", create("@t"), _dirs(4)),
    exchange("describe-log-dirs-same-partition-twice", create("@t"), _dirs(4, ("@t", [0, 0]))),
)
