"""DescribeProducers (key 61), version 0: who writes to a partition, as its leader remembers (KIP-664).

For tools that look for transactions left open. A producer shows up here until it has been idle for
`producer.id.expiration.ms`.
"""

from __future__ import annotations

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.messages import DescribeProducersRequest, DescribeProducersResponse
from pybroker_server.controller.topics import check_name
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import RequestContext
from pybroker_server.handlers.services import Services
from pybroker_server.replica.partition import Partition

PartitionResult = DescribeProducersResponse.PartitionResponse
TopicResult = DescribeProducersResponse.TopicResponse
Producer = DescribeProducersResponse.ProducerState

_EXPLAINED = (ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.KAFKA_STORAGE_ERROR)
"""Of a partition that its topic does not have, Kafka says no more than the code."""


def refuse_all(
    context: RequestContext, request: DescribeProducersRequest, code: ErrorCode
) -> DescribeProducersResponse:
    """A response that says `code` of every partition in the request."""
    return DescribeProducersResponse(
        topics=[
            TopicResult(
                name=topic.name,
                partitions=[PartitionResult(partition_index=i, error_code=code) for i in topic.partition_indexes],
            )
            for topic in request.topics
        ]
    )


@handles(ApiKey.DESCRIBE_PRODUCERS, 0, 0, error_response=refuse_all)
def handle_describe_producers(
    services: Services, context: RequestContext, request: DescribeProducersRequest
) -> DescribeProducersResponse:
    """See the head of this file."""
    response = refuse_all(context, request, ErrorCode.NONE)
    for answer in response.topics:
        for result in answer.partitions:
            try:
                check_name(answer.name)
                partition = services.replicas.partition(answer.name, result.partition_index)
                partition.check_leader()
            except KafkaError as error:
                result.error_code = error.code
                result.error_message = error.message
                continue
            result.active_producers = _active_producers(partition)
    return response


def _active_producers(partition: Partition) -> list[Producer]:
    return [
        Producer(
            producer_id=entry.producer_id,
            producer_epoch=entry.epoch,
            last_sequence=entry.last_sequence,
            last_timestamp=entry.last_timestamp,
            coordinator_epoch=entry.coordinator_epoch,
            current_txn_start_offset=entry.transaction_first_offset,
        )
        for entry in partition.log.producer_state
    ]
