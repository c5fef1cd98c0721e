"""OffsetForLeaderEpoch (key 23), versions 2 to 4: where a leader epoch ended in this leader's log (KIP-101, KIP-320).

Consumers ask after a leader change whether what they have read is still there: they compare the end of the epoch of
their last record with their position.
"""

from __future__ import annotations

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.messages import OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import RequestContext
from pybroker_server.handlers.services import Services

EpochEnd = OffsetForLeaderEpochResponse.EpochEndOffset
TopicResult = OffsetForLeaderEpochResponse.OffsetForLeaderTopicResult


def refuse_all(
    context: RequestContext, request: OffsetForLeaderEpochRequest, code: ErrorCode
) -> OffsetForLeaderEpochResponse:
    """A response that says `code` of every partition in the request."""
    return OffsetForLeaderEpochResponse(
        topics=[
            TopicResult(
                topic=topic.topic,
                partitions=[EpochEnd(partition=asked.partition, error_code=code) for asked in topic.partitions],
            )
            for topic in request.topics
        ]
    )


@handles(ApiKey.OFFSET_FOR_LEADER_EPOCH, 2, 4, error_response=refuse_all)
def handle_offset_for_leader_epoch(
    services: Services, context: RequestContext, request: OffsetForLeaderEpochRequest
) -> OffsetForLeaderEpochResponse:
    """The largest epoch not above the asked one, and its end; (-1, -1) when this log cannot tell."""
    response = refuse_all(context, request, ErrorCode.NONE)
    for topic, answer in zip(request.topics, response.topics, strict=True):
        for asked, result in zip(topic.partitions, answer.partitions, strict=True):
            try:
                partition = services.replicas.partition(topic.topic, asked.partition)
                epoch, end_offset = partition.end_offset_for_epoch(asked.current_leader_epoch, asked.leader_epoch)
            except KafkaError as error:
                result.error_code = error.code
                continue
            result.leader_epoch = epoch
            result.end_offset = end_offset
    return response
