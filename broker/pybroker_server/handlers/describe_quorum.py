"""DescribeQuorum: who leads the cluster's metadata, and who votes on it (KIP-595).

Versions 0-2. Here the metadata's consensus is the store's own. What clients and tools want to know is answered in
Kafka's terms: the leader is the broker that is the controller, the voters are the brokers that are registered, and
offsets are the metadata's revision, up to which this broker has followed.
"""

from __future__ import annotations

from typing import Final

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import DescribeQuorumRequest, DescribeQuorumResponse
from pybroker_server.controller.topics import CLUSTER_METADATA_TOPIC
from pybroker_server.handlers.partition_views import reachable_brokers
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import RequestContext
from pybroker_server.handlers.services import Services
from pybroker_server.metadata.image import MetadataImage

Topic = DescribeQuorumResponse.TopicData
Partition = DescribeQuorumResponse.PartitionData
Voter = DescribeQuorumResponse.ReplicaState
Node = DescribeQuorumResponse.Node
_NOBODY: Final = -1
_EPOCH_MAX: Final = (1 << 31) - 1
_TEXT: Final = "This server does not host this topic-partition."


@handles(ApiKey.DESCRIBE_QUORUM, 0, 2)
def handle_describe_quorum(
    services: Services, context: RequestContext, request: DescribeQuorumRequest
) -> DescribeQuorumResponse:
    asked = [(topic.topic_name, [p.partition_index for p in topic.partitions]) for topic in request.topics]
    if asked != [(CLUSTER_METADATA_TOPIC, [0])]:
        return DescribeQuorumResponse(error_message="", topics=[_unknown(name, indexes) for name, indexes in asked])
    image = services.metadata.image
    nodes = []
    for node_id, found in reachable_brokers(services, context.connection).items():
        end = found.endpoint
        listener = DescribeQuorumResponse.Listener(name=end.listener, host=end.host, port=end.port)
        nodes.append(Node(node_id=node_id, listeners=[listener]))
    quorum = _quorum(image, context.wall_ms)
    return DescribeQuorumResponse(
        error_message="", topics=[Topic(topic_name=CLUSTER_METADATA_TOPIC, partitions=[quorum])], nodes=nodes
    )


def _quorum(image: MetadataImage, wall_ms: int) -> Partition:
    seat = image.controller_in_office()
    return Partition(
        partition_index=0,
        error_message="",
        leader_id=seat.node_id if seat is not None else _NOBODY,
        leader_epoch=min(seat.mod_revision, _EPOCH_MAX) if seat is not None else 0,
        high_watermark=image.revision,
        current_voters=[
            Voter(
                replica_id=broker.node_id,
                log_end_offset=image.revision,
                last_fetch_timestamp=wall_ms,
                last_caught_up_timestamp=wall_ms,
            )
            for broker in image.live_brokers()
        ],
        observers=[],
    )


def _unknown(name: str, indexes: list[int]) -> Topic:
    code = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    return Topic(
        topic_name=name,
        partitions=[Partition(partition_index=index, error_code=code, error_message=_TEXT) for index in indexes],
    )
