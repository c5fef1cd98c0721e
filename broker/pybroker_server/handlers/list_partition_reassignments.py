"""ListPartitionReassignments: the moves that are under way (KIP-455).

Version 0. Without topics all are told; of topics that are named only those that move, and nothing of unknown ones.
"""

from __future__ import annotations

from collections.abc import Iterable

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.messages import ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse
from pybroker_server.controller.reassignments import is_reassigned
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import RequestContext
from pybroker_server.handlers.services import Services
from pybroker_server.metadata.image import TopicImage

Topic = ListPartitionReassignmentsResponse.OngoingTopicReassignment
Partition = ListPartitionReassignmentsResponse.OngoingPartitionReassignment


@handles(ApiKey.LIST_PARTITION_REASSIGNMENTS, 0, 0)
def handle_list_partition_reassignments(
    services: Services, context: RequestContext, request: ListPartitionReassignmentsRequest
) -> ListPartitionReassignmentsResponse:
    known = services.metadata.image.topics_by_name
    told = []
    if request.topics is None:
        for topic in known.values():
            told += _moving(topic, range(len(topic.partitions)))
    else:
        for asked in request.topics:
            found = known.get(asked.name)
            if found is not None:
                told += _moving(found, asked.partition_indexes)
    return ListPartitionReassignmentsResponse(error_message=None, topics=told)


def _moving(topic: TopicImage, indexes: Iterable[int]) -> list[Topic]:
    """The topic with those of its partitions that move; empty when none does."""
    moving = [topic.partitions[i] for i in indexes if 0 <= i < len(topic.partitions)]
    partitions = [
        Partition(
            partition_index=partition.index,
            replicas=list(partition.replicas),
            adding_replicas=list(partition.adding_replicas),
            removing_replicas=list(partition.removing_replicas),
        )
        for partition in moving
        if is_reassigned(partition)
    ]
    return [Topic(name=topic.name, partitions=partitions)] if partitions else []
