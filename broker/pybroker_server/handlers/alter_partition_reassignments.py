"""AlterPartitionReassignments: moves partitions to other brokers, or stops moving them (KIP-455).

Versions 0-1. v1 may forbid that the number of replicas changes (KIP-860). The answer says that a move has begun; it is
over when ListPartitionReassignments does not tell of it any more. Each partition is answered for itself.
"""

from __future__ import annotations

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.messages import AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse
from pybroker_server.controller.partition_requests import MoveWish, Outcomes
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import RequestContext
from pybroker_server.handlers.services import Services
from pybroker_server.handlers.time_limit import TimeLimit

TopicResult = AlterPartitionReassignmentsResponse.ReassignableTopicResponse
Result = AlterPartitionReassignmentsResponse.ReassignablePartitionResponse


@handles(ApiKey.ALTER_PARTITION_REASSIGNMENTS, 0, 1)
async def handle_alter_partition_reassignments(
    services: Services, context: RequestContext, request: AlterPartitionReassignmentsRequest
) -> AlterPartitionReassignmentsResponse:
    wishes = [
        MoveWish(
            topic.name, partition.partition_index, None if partition.replicas is None else tuple(partition.replicas)
        )
        for topic in request.topics
        for partition in topic.partitions
    ]
    allows = request.allow_replication_factor_change
    work = services.controller.reassign(wishes, services.config, allows_other_factor=allows)
    try:
        outcomes = await TimeLimit(request.timeout_ms).run(work)
    except KafkaError as error:
        return AlterPartitionReassignmentsResponse(
            allow_replication_factor_change=allows, error_code=error.code, error_message=error.message
        )
    # Kafka has a text, an empty one, only when it is asked nothing.
    text = None if request.topics else ""
    return AlterPartitionReassignmentsResponse(
        allow_replication_factor_change=allows, error_message=text, responses=_results(request, outcomes)
    )


def _results(request: AlterPartitionReassignmentsRequest, outcomes: Outcomes) -> list[TopicResult]:
    following = iter(outcomes)
    return [
        TopicResult(
            name=topic.name,
            partitions=[_result(partition.partition_index, next(following)) for partition in topic.partitions],
        )
        for topic in request.topics
    ]


def _result(index: int, error: KafkaError | None) -> Result:
    if error is None:
        return Result(partition_index=index, error_message=None)
    # Kafka gives this one code no text.
    text = None if error.code is ErrorCode.NO_REASSIGNMENT_IN_PROGRESS else error.message
    return Result(partition_index=index, error_code=error.code, error_message=text)
