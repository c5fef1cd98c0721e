"""What a follower needs of the broker around it, in one value.

Rules of this file: one value, no behaviour.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pybroker_server.config.views import BrokerConfig
from pybroker_server.peers.peers import Peers
from pybroker_server.replica.throttle import ReplicationQuota
from pybroker_server.runtime.runtime import Runtime

if TYPE_CHECKING:
    from pybroker_server.replica.partition import Partition

Truncate = Callable[["Partition", int], Awaitable[bool]]
"""(partition, offset): whether its log is what it has to be now."""


@dataclass(slots=True)
class FollowerParts:
    node_id: int
    peers: Peers
    runtime: Runtime
    config: BrokerConfig
    broker_epoch: Callable[[], int]
    """That of this broker's registration, as the metadata shows it."""
    truncate: Truncate
    """Takes away what lies at the offset and after it."""
    start_anew: Truncate
    """Takes away everything; the log goes on at the offset."""
    quota: ReplicationQuota
