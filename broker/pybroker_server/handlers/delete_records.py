"""DeleteRecords (key 21), versions 0 to 2: raises the first offset that readers see of a partition.

Answered when the new log starts are on the device, so that nothing deleted shows again after a crash. Kafka writes
them once a minute. The batch that holds the new start stays whole on disk; readers skip its head.
"""

from __future__ import annotations

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.messages import DeleteRecordsRequest, DeleteRecordsResponse
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import Pending, Reply, RequestContext
from pybroker_server.handlers.services import Services
from pybroker_server.metadata.image import INTERNAL_TOPICS

PartitionResult = DeleteRecordsResponse.DeleteRecordsPartitionResult
TopicResult = DeleteRecordsResponse.DeleteRecordsTopicResult

_UNKNOWN = -1


def refuse_all(context: RequestContext, request: DeleteRecordsRequest, code: ErrorCode) -> DeleteRecordsResponse:
    """A response that says `code` of every partition in the request, each named once."""
    wanted = _last_of_each(request)
    return DeleteRecordsResponse(
        topics=[
            TopicResult(
                name=name,
                partitions=[
                    PartitionResult(partition_index=i, low_watermark=_UNKNOWN, error_code=code) for i in offsets
                ],
            )
            for name, offsets in wanted.items()
        ]
    )


@handles(ApiKey.DELETE_RECORDS, 0, 2, error_response=refuse_all)
def handle_delete_records(services: Services, context: RequestContext, request: DeleteRecordsRequest) -> Reply:
    """See the head of this file."""
    wanted = _last_of_each(request)
    response = refuse_all(context, request, ErrorCode.NONE)
    moved: list[PartitionResult] = []
    for topic in response.topics:
        for result in topic.partitions:
            try:
                if topic.name in INTERNAL_TOPICS:
                    raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION)
                partition = services.replicas.partition(topic.name, result.partition_index)
                before = partition.log.log_start_offset
                result.low_watermark = partition.delete_records(wanted[topic.name][result.partition_index])
            except KafkaError as error:
                result.error_code = error.code
                continue
            if result.low_watermark != before:
                moved.append(result)
    return _answer_when_written(services, response, moved) if moved else response


def _last_of_each(request: DeleteRecordsRequest) -> dict[str, dict[int, int]]:
    """Offsets by topic and partition; of a partition named twice the last offset counts, as in Kafka."""
    wanted: dict[str, dict[int, int]] = {}
    for topic in request.topics:
        for asked in topic.partitions:
            wanted.setdefault(topic.name, {})[asked.partition_index] = asked.offset
    return wanted


def _answer_when_written(
    services: Services, response: DeleteRecordsResponse, moved: list[PartitionResult]
) -> Pending[DeleteRecordsResponse]:
    pending: Pending[DeleteRecordsResponse] = Pending()

    def done(error: BaseException | None) -> None:
        if error is not None:
            for result in moved:
                result.error_code = ErrorCode.KAFKA_STORAGE_ERROR
                result.low_watermark = _UNKNOWN
        pending.complete(response)

    services.replicas.persist_log_starts(done)
    return pending
