"""What a principal may do to a topic, a group or the cluster, as the bit sets that clients ask for (KIP-430). No API
of its own.

Without an authorizer everything is allowed: every operation that makes sense for the resource.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Final

NOT_ASKED: Final = -(2**31)


class AclOperation(IntEnum):
    """Kafka's operations; the number is the position of the bit."""

    READ = 3
    WRITE = 4
    CREATE = 5
    DELETE = 6
    ALTER = 7
    DESCRIBE = 8
    CLUSTER_ACTION = 9
    DESCRIBE_CONFIGS = 10
    ALTER_CONFIGS = 11
    IDEMPOTENT_WRITE = 12


def _bits(operations: Iterable[AclOperation]) -> int:
    return sum(1 << operation for operation in operations)


ALL_ON_TOPIC: Final = _bits(set(AclOperation) - {AclOperation.CLUSTER_ACTION, AclOperation.IDEMPOTENT_WRITE})
ALL_ON_CLUSTER: Final = _bits(set(AclOperation) - {AclOperation.READ, AclOperation.WRITE, AclOperation.DELETE})
ALL_ON_GROUP: Final = _bits(
    (
        AclOperation.READ,
        AclOperation.DELETE,
        AclOperation.DESCRIBE,
        AclOperation.DESCRIBE_CONFIGS,
        AclOperation.ALTER_CONFIGS,
    )
)


def on_topic(asked: bool) -> int:
    return ALL_ON_TOPIC if asked else NOT_ASKED


def on_cluster(asked: bool) -> int:
    return ALL_ON_CLUSTER if asked else NOT_ASKED


def on_group(asked: bool) -> int:
    return ALL_ON_GROUP if asked else NOT_ASKED
