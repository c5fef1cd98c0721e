"""ListOffsets (key 2), versions 1 to 11: an offset by name (earliest, latest, ...) or by timestamp.

Consumers see up to the high watermark, or the last stable offset for read_committed; what only waits for a flush of
this broker is waited for. Just after an election "latest" is withheld until the high watermark has reached the new
epoch's start, so that it never goes backwards (KIP-207). Look-ups that read batches (by timestamp, largest timestamp:
KIP-734) run off the event loop, all of a request in one go.

Without tiered storage the earliest local offset (-4) is the earliest one, and the offsets of what lies or will lie
in remote storage (-5, -6) are -1.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.messages import ListOffsetsRequest, ListOffsetsResponse
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import Pending, Reply, RequestContext
from pybroker_server.handlers.services import Services
from pybroker_server.replica.partition import Partition

PartitionResult = ListOffsetsResponse.ListOffsetsPartitionResponse
TopicResult = ListOffsetsResponse.ListOffsetsTopicResponse
Asked = ListOffsetsRequest.ListOffsetsPartition
Lookup = tuple[PartitionResult, Partition, int, int]
"""(where the answer goes, partition, timestamp, first offset that must not be told)"""

_READ_COMMITTED = 1
_CONSUMER = -1
_FIRST_NOT_AVAILABLE_VERSION = 5
_UNKNOWN = -1


class Special(IntEnum):
    """Timestamps that name an offset."""

    LATEST = -1
    EARLIEST = -2
    MAX_TIMESTAMP = -3
    EARLIEST_LOCAL = -4
    LATEST_TIERED = -5
    EARLIEST_PENDING_UPLOAD = -6


_KNOWN_SINCE: Final = {
    Special.LATEST: 1,
    Special.EARLIEST: 1,
    Special.MAX_TIMESTAMP: 7,
    Special.EARLIEST_LOCAL: 8,
    Special.LATEST_TIERED: 9,
    Special.EARLIEST_PENDING_UPLOAD: 11,
}


def refuse_all(context: RequestContext, request: ListOffsetsRequest, code: ErrorCode) -> ListOffsetsResponse:
    """A response that says `code` of every partition in the request."""
    return ListOffsetsResponse(
        topics=[
            TopicResult(
                name=topic.name,
                partitions=[
                    PartitionResult(partition_index=a.partition_index, error_code=code) for a in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )


@handles(ApiKey.LIST_OFFSETS, 1, 11, error_response=refuse_all)
def handle_list_offsets(services: Services, context: RequestContext, request: ListOffsetsRequest) -> Reply:
    """See the head of this file."""
    if request.isolation_level not in (0, _READ_COMMITTED):
        return refuse_all(context, request, ErrorCode.INVALID_REQUEST)
    unsettled = _unsettled(services, request)
    return _after_flush(services, context, request, unsettled) if unsettled else _respond(services, context, request)


def _unsettled(services: Services, request: ListOffsetsRequest) -> list[Partition]:
    """Partitions whose high watermark only waits for a flush here."""
    if request.replica_id != _CONSUMER:
        return []
    topics = services.replicas.topics
    asked = [(topics.get(topic.name), entry.partition_index) for topic in request.topics for entry in topic.partitions]
    found = [hosted.partitions.get(index) for hosted, index in asked if hosted is not None]
    return [partition for partition in found if partition is not None and partition.waits_for_own_flush]


def _after_flush(
    services: Services, context: RequestContext, request: ListOffsetsRequest, unsettled: list[Partition]
) -> Pending[ListOffsetsResponse]:
    """Answers once what was acknowledged with acks=1 is on the device: a producer then finds its own records."""
    pending: Pending[ListOffsetsResponse] = Pending()
    left = len(unsettled)

    def flushed() -> None:
        nonlocal left
        left -= 1
        if left:
            return
        reply = _respond(services, context, request)
        if isinstance(reply, Pending):
            reply.attach(pending.complete)
        else:
            pending.complete(reply)

    for partition in unsettled:
        partition.when_flushed(flushed)
    return pending


def _respond(
    services: Services, context: RequestContext, request: ListOffsetsRequest
) -> ListOffsetsResponse | Pending[ListOffsetsResponse]:
    version = context.api_version
    lookups: list[Lookup] = []
    topics: list[TopicResult] = []
    for name, partitions in _by_topic(request).items():
        results: list[PartitionResult] = []
        for index, asked in partitions.items():
            result = PartitionResult(partition_index=index)
            results.append(result)
            try:
                if asked is None:
                    raise KafkaError(ErrorCode.INVALID_REQUEST, "named twice")
                partition = services.replicas.partition(name, index)
                partition.check_leader(asked.current_leader_epoch)
                _answer(request, version, result, partition, asked.timestamp, lookups)
            except KafkaError as error:
                result.error_code = error.code
        topics.append(TopicResult(name=name, partitions=results))
    response = ListOffsetsResponse(topics=topics)
    return _look_up(services, version, lookups, response) if lookups else response


def _by_topic(request: ListOffsetsRequest) -> dict[str, dict[int, Asked | None]]:
    """What is asked of each partition; None for one that is named more than once (gotcha 55)."""
    asked: dict[str, dict[int, Asked | None]] = {}
    for topic in request.topics:
        partitions = asked.setdefault(topic.name, {}) if topic.partitions else {}
        for partition in topic.partitions:
            index = partition.partition_index
            partitions[index] = None if index in partitions else partition
    return asked


def _answer(
    request: ListOffsetsRequest,
    version: int,
    result: PartitionResult,
    partition: Partition,
    timestamp: int,
    lookups: list[Lookup],
) -> None:
    """Fills in what is known without reading; the rest goes to `lookups`. Raises KafkaError."""
    log = partition.log
    if timestamp < 0 and version < _KNOWN_SINCE.get(timestamp, version + 1):  # type: ignore[call-overload]
        raise KafkaError(ErrorCode.UNSUPPORTED_VERSION)
    bound = _bound(request, partition)
    if timestamp == Special.LATEST:
        _check_caught_up(request, version, partition)
        result.offset = bound
        result.leader_epoch = partition.state.leader_epoch
    elif timestamp in (Special.EARLIEST, Special.EARLIEST_LOCAL):
        result.offset = log.log_start_offset
        result.leader_epoch = log.epoch_of_offset(log.log_start_offset)
    elif timestamp >= 0 or timestamp == Special.MAX_TIMESTAMP:
        lookups.append((result, partition, timestamp, bound))


def _bound(request: ListOffsetsRequest, partition: Partition) -> int:
    """What "latest" is for who asks: replicas and debugging tools see all of the log, as in Kafka."""
    if request.replica_id != _CONSUMER:
        return partition.log.log_end_offset
    return partition.last_stable_offset if request.isolation_level == _READ_COMMITTED else partition.high_watermark


def _check_caught_up(request: ListOffsetsRequest, version: int, partition: Partition) -> None:
    if request.replica_id == _CONSUMER and not partition.state.has_caught_up_with_epoch:
        is_known = version >= _FIRST_NOT_AVAILABLE_VERSION
        raise KafkaError(ErrorCode.OFFSET_NOT_AVAILABLE if is_known else ErrorCode.LEADER_NOT_AVAILABLE)


# Look-ups that read


def _look_up(
    services: Services, version: int, lookups: list[Lookup], response: ListOffsetsResponse
) -> Pending[ListOffsetsResponse]:
    pending: Pending[ListOffsetsResponse] = Pending()
    epochs = [partition.state.leader_epoch for _, partition, _, _ in lookups]

    def done(found: list[tuple[int, int] | KafkaError | None] | None, error: BaseException | None) -> None:
        for lookup, epoch, each in zip(lookups, epochs, found or [], strict=found is not None):
            _take(lookup, epoch, each, version)
        if error is not None:
            for result, _, _, _ in lookups:
                result.error_code = ErrorCode.UNKNOWN_SERVER_ERROR
        pending.complete(response)
        if error is not None:
            raise error

    services.runtime.blocking.submit(lambda: [_search(lookup) for lookup in lookups], done)
    return pending


def _search(lookup: Lookup) -> tuple[int, int] | KafkaError | None:
    """Runs in a thread: (timestamp, offset) of the record, None when there is none."""
    _, partition, timestamp, bound = lookup
    try:
        if timestamp == Special.MAX_TIMESTAMP:
            return partition.log.max_timestamp_record(bound)
        return partition.log.offset_for_timestamp(timestamp, bound)
    except KafkaError as error:
        return error
    except OSError:
        return KafkaError(ErrorCode.KAFKA_STORAGE_ERROR)


def _take(lookup: Lookup, epoch: int, found: tuple[int, int] | KafkaError | None, version: int) -> None:
    """The partition may have changed hands while the thread read."""
    result, partition, _, _ = lookup
    if isinstance(found, KafkaError):
        result.error_code = found.code
        return
    try:
        partition.check_leader()
    except KafkaError as error:
        result.error_code = error.code
        return
    if partition.state.leader_epoch != epoch:
        result.error_code = ErrorCode.NOT_LEADER_OR_FOLLOWER
    elif found is not None:
        result.timestamp, result.offset = found
        log = partition.log
        result.leader_epoch = log.epoch_of_offset(max(found[1], log.log_start_offset))
    elif not partition.state.has_caught_up_with_epoch:
        # It may lie beyond what is committed so far: "there is none" would be wrong in a moment.
        is_known = version >= _FIRST_NOT_AVAILABLE_VERSION
        result.error_code = ErrorCode.OFFSET_NOT_AVAILABLE if is_known else ErrorCode.LEADER_NOT_AVAILABLE
