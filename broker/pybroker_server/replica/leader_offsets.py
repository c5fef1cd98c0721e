"""Asks a leader where its log begins and ends.

Rules of this file: one question, one answer. The leader epoch goes with it: an answer of another epoch is an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pybroker_protocol.errors import KafkaError, error_code
from pybroker_protocol.messages import ListOffsetsRequest, ListOffsetsResponse
from pybroker_server.peers.peers import Peers

if TYPE_CHECKING:
    from pybroker_server.replica.partition import Partition

LATEST: Final = -1
EARLIEST: Final = -2


async def ask_leader(
    peers: Peers, leader: int, partition: Partition, leader_epoch: int, node_id: int, timestamp: int
) -> int:
    """The end (`LATEST`) or the start of the leader's log. Raises KafkaError and PeerError."""
    asked = ListOffsetsRequest.ListOffsetsPartition(
        partition_index=partition.index, current_leader_epoch=leader_epoch, timestamp=timestamp
    )
    request = ListOffsetsRequest(
        replica_id=node_id,
        topics=[ListOffsetsRequest.ListOffsetsTopic(name=partition.topic, partitions=[asked])],
    )
    response: ListOffsetsResponse = await peers.request(leader, request)
    answer = response.topics[0].partitions[0]
    if answer.error_code:
        raise KafkaError(error_code(answer.error_code))
    offset: int = answer.offset
    return offset
