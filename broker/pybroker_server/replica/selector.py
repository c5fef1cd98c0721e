"""Which replica a consumer should read from: one on its own rack, if there is one that has what it asks for (KIP-392).

Rules of this file: pure. The leader alone decides, from what followers told it with their fetches. Only replicas in
sync count: a consumer that is sent to one that lags would fall behind with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pybroker_server.replica.partition_state import PartitionState

LEADER_SELECTOR: Final = "org.apache.kafka.common.replica.LeaderSelector"
RACK_AWARE_SELECTOR: Final = "org.apache.kafka.common.replica.RackAwareReplicaSelector"


def nearest_replica(
    state: PartitionState, client_rack: str, racks: Mapping[int, str | None], fetch_offset: int
) -> int | None:
    """The broker to read from instead of this one, the leader; None to stay.

    `racks`: of the brokers that the consumer can reach. Of several the one that has most, then the one that was level
    with the leader last, then the one with the highest id, as Kafka's `RackAwareReplicaSelector` has it.
    """
    if not client_rack or racks.get(state.local_id) == client_rack:
        return None
    candidates = [
        (progress.log_end_offset, progress.last_caught_up_ms, node_id)
        for node_id, progress in state.followers.items()
        if node_id in state.isr
        and racks.get(node_id) == client_rack
        and progress.log_start_offset <= fetch_offset <= progress.log_end_offset
    ]
    return max(candidates)[2] if candidates else None
