"""DeleteRecords (key 21), versions 0 to 2: raises the first offset that readers see of a partition.

Answered when the new log starts are on the device, so that nothing deleted shows again after a crash (Kafka writes
them once a minute), and when every follower that lives has let go of the records too, or at the request's time-out.
The batch that holds the new start stays whole on disk; readers skip its head.
"""

from __future__ import annotations

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.messages import DeleteRecordsRequest, DeleteRecordsResponse
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import Pending, Reply, RequestContext
from pybroker_server.handlers.services import Services
from pybroker_server.metadata.image import INTERNAL_TOPICS
from pybroker_server.replica.partition import Partition
from pybroker_server.replica.purgatory import DelayedProduce

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
    deletion = _Deletion(services, response, context.now_ms + request.timeout_ms)
    has_moved = False
    for topic in response.topics:
        for result in topic.partitions:
            try:
                if topic.name in INTERNAL_TOPICS:
                    raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION)
                partition = services.replicas.partition(topic.name, result.partition_index)
                before = partition.log.log_start_offset
                required = partition.delete_records(wanted[topic.name][result.partition_index])
            except KafkaError as error:
                result.error_code = error.code
                continue
            deletion.begun.append((result, partition, required))
            has_moved = has_moved or partition.log.log_start_offset != before
    if has_moved:
        services.replicas.persist_log_starts(deletion.on_written)
    else:
        deletion.wait_for_followers()
    return response if deletion.is_done else deletion.pending


def _last_of_each(request: DeleteRecordsRequest) -> dict[str, dict[int, int]]:
    """Offsets by topic and partition; of a partition named twice the last offset counts, as in Kafka."""
    wanted: dict[str, dict[int, int]] = {}
    for topic in request.topics:
        for asked in topic.partitions:
            wanted.setdefault(topic.name, {})[asked.partition_index] = asked.offset
    return wanted


class _Deletion(DelayedProduce):
    """Under way: its own log starts are being written, then it waits for the low watermarks."""

    def __init__(self, services: Services, response: DeleteRecordsResponse, deadline_ms: int) -> None:
        super().__init__()
        self.begun: list[tuple[PartitionResult, Partition, int]] = []
        """Each with the offset that its low watermark is to reach."""
        self.pending: Pending[DeleteRecordsResponse] = Pending()
        self.is_done = False
        self._replicas = services.replicas
        self._response = response
        self._ends_ms = deadline_ms

    def on_written(self, error: BaseException | None) -> None:
        if error is None:
            self.wait_for_followers()
            return
        for result, _, _ in self.begun:
            result.error_code = ErrorCode.KAFKA_STORAGE_ERROR
            result.low_watermark = _UNKNOWN
        self._answer()

    def wait_for_followers(self) -> None:
        for result, partition, required in self.begun:
            try:
                partition.check_leader()
            except KafkaError as error:
                result.error_code = error.code
                continue
            result.low_watermark = partition.low_watermark
            if result.low_watermark >= required:
                continue
            if self._replicas.purgatory.is_full:
                result.error_code = ErrorCode.REQUEST_TIMED_OUT
            else:
                self.add((result, partition), required, self._replicas.deletions_of(partition))
        if not self.waits or self.pending.abandoned:
            self._answer()
            return
        self.pending.on_abandon = lambda: self._replicas.purgatory.cancel(self)
        self._replicas.watch(self, self._ends_ms)

    def finish(self) -> None:
        """See `DelayedOperation.finish`."""
        for wait in self.waits:
            result, partition = wait.slot
            result.error_code = wait.error or ErrorCode.NONE
            if wait.error is ErrorCode.NONE:
                result.low_watermark = partition.low_watermark
            elif wait.error is not ErrorCode.REQUEST_TIMED_OUT:
                result.low_watermark = _UNKNOWN
        self._answer()
        self.release()

    def _answer(self) -> None:
        self.is_done = True
        self.pending.complete(self._response)
