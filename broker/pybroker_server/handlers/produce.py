"""Produce (key 0), versions 3 to 13: appends record batches to partitions and answers as `acks` says.

acks=0 is never answered, and an error closes the connection so that the client looks for metadata anew. acks=1 is
answered after the append; acks=-1 when the high watermark has passed the batch: with durability=fsync when it is on the
device of every replica in sync (design D7). Order per partition is that of arrival: an append is done when the handler
returns, only its answer waits, so requests may follow each other without waiting (`pipelined`).

The batches are looked at as far as the 61-byte header and only the log judges them (`log/validator.py`); what depends
on the request's version or its transactional id is decided here, before anything is appended.
"""

from __future__ import annotations

from struct import Struct

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode, KafkaError, error_message
from pybroker_protocol.messages import ProduceRequest, ProduceResponse
from pybroker_protocol.records.batch import BATCH_OVERHEAD, CODEC_MASK, LOG_OVERHEAD, MAGIC, TRANSACTIONAL
from pybroker_protocol.records.compression import Codec
from pybroker_server.handlers.leader_hints import leader_addresses
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import NO_RESPONSE, CloseConnection, Pending, Reply, RequestContext
from pybroker_server.handlers.services import Services
from pybroker_server.replica.manager import HostedTopic
from pybroker_server.replica.partition import Partition
from pybroker_server.replica.purgatory import DelayedProduce

PartitionResult = ProduceResponse.PartitionProduceResponse
TopicResult = ProduceResponse.TopicProduceResponse
Entry = tuple[PartitionResult, Partition, memoryview]

_ACKS_ALL = -1
_FIRST_ID_VERSION = 13
_FIRST_HINT_VERSION = 10
_FIRST_ZSTD_VERSION = 7
_FIRST_ABORTABLE_VERSION = 11

_ATTRIBUTES = Struct(">h").unpack_from
_ATTRIBUTES_AT = 21
_LENGTH_TO_MAGIC = Struct(">iib").unpack_from
_LENGTH_AT = 8

_SAYS_NOTHING_OF_THE_LOG = frozenset(
    {
        ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ErrorCode.NOT_LEADER_OR_FOLLOWER,
        ErrorCode.MESSAGE_TOO_LARGE,
        ErrorCode.RECORD_LIST_TOO_LARGE,
        ErrorCode.CORRUPT_MESSAGE,
        ErrorCode.KAFKA_STORAGE_ERROR,
        ErrorCode.UNKNOWN_TOPIC_ID,
    }
)
"""Errors with which Kafka leaves the log start offset at -1."""


class _RefusedRequest(Exception):
    """Everything in the request gets this code, and nothing is appended."""

    def __init__(self, code: ErrorCode) -> None:
        self.code = code


def refuse_all(context: RequestContext, request: ProduceRequest, code: ErrorCode) -> ProduceResponse:
    """A response that says `code` of every partition in the request."""
    return ProduceResponse(
        responses=[
            TopicResult(
                name=topic.name,
                topic_id=topic.topic_id,
                partition_responses=[
                    PartitionResult(index=data.index, error_code=code, base_offset=-1) for data in topic.partition_data
                ],
            )
            for topic in request.topic_data
        ]
    )


@handles(ApiKey.PRODUCE, 3, 13, advertised_min_version=0, pipelined=True, error_response=refuse_all)
def handle_produce(services: Services, context: RequestContext, request: ProduceRequest) -> Reply:
    """See the head of this file."""
    acks = request.acks
    responses: list[TopicResult] = []
    try:
        entries = _prepare(services, context, request, responses)
    except _RefusedRequest as refused:
        if acks == 0:
            raise CloseConnection(refused.code.name) from None
        return refuse_all(context, request, refused.code)
    delayed = _append(services, context, acks, entries)
    response = ProduceResponse(responses=responses)
    if acks == 0:
        _close_on_error(responses)
        return NO_RESPONSE
    if delayed is None:
        _add_hints(services, context, response)
        return response
    return _wait(services, context, request, response, entries, delayed)


# Before anything is appended


def _prepare(
    services: Services, context: RequestContext, request: ProduceRequest, responses: list[TopicResult]
) -> list[Entry]:
    """Fills `responses` with a result for each partition; the entries returned are those that may be appended."""
    version = context.api_version
    replicas = services.replicas
    if request.acks == _ACKS_ALL and replicas.purgatory.is_full:
        raise _RefusedRequest(ErrorCode.REQUEST_TIMED_OUT)
    entries: list[Entry] = []
    topics = request.topic_data
    for topic in topics if len(topics) == 1 else _merged(topics, version):
        if version >= _FIRST_ID_VERSION:
            hosted = replicas.topics_by_id.get(topic.topic_id.int)
        else:
            hosted = replicas.topics.get(topic.name)
        results: list[PartitionResult] = []
        partitions = topic.partition_data
        for data in partitions if len(partitions) == 1 else _last_of_each(partitions):
            result = PartitionResult(index=data.index, base_offset=-1)
            results.append(result)
            partition = hosted.partitions.get(data.index) if hosted is not None else None
            records = data.records
            error = _judge(request.transactional_id, version, records, hosted)
            if partition is None:
                error = _missing(services, version, topic, data.index)
            if error is not None:
                result.error_code = error
                continue
            entries.append((result, partition, records))  # type: ignore[arg-type]
        responses.append(TopicResult(name=topic.name, topic_id=topic.topic_id, partition_responses=results))
    return entries


def _judge(
    transactional_id: str | None, version: int, records: memoryview | None, hosted: HostedTopic | None
) -> ErrorCode | None:
    """What the request's version and transactional id say against a record set; None: the log may judge it."""
    if records is None:
        return ErrorCode.INVALID_RECORD
    if hosted is not None and hosted.is_internal:
        return ErrorCode.INVALID_TOPIC_EXCEPTION
    if len(records) < BATCH_OVERHEAD:
        return None
    attributes = _ATTRIBUTES(records, _ATTRIBUTES_AT)[0]
    if attributes & CODEC_MASK == Codec.ZSTD and version < _FIRST_ZSTD_VERSION:
        return ErrorCode.UNSUPPORTED_COMPRESSION_TYPE
    if not attributes & TRANSACTIONAL:
        return None
    if transactional_id is None:
        raise _RefusedRequest(ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
    # No transaction of this broker holds any partition: the code that Kafka gives when verification finds none
    # (KIP-890), with which clients abort, or before version 11 give up.
    return ErrorCode.TRANSACTION_ABORTABLE if version >= _FIRST_ABORTABLE_VERSION else ErrorCode.INVALID_TXN_STATE


def _missing(services: Services, version: int, topic: ProduceRequest.TopicProduceData, index: int) -> ErrorCode:
    if version >= _FIRST_ID_VERSION:
        return services.replicas.missing_by_id(topic.topic_id, index)
    return services.replicas.missing(topic.name, index)


def _last_of_each(partitions: list[ProduceRequest.PartitionProduceData]) -> list[ProduceRequest.PartitionProduceData]:
    """A partition named twice is written once, with the records named last, as Kafka does."""
    last = {data.index: data for data in partitions}
    return partitions if len(last) == len(partitions) else list(last.values())


def _merged(topics: list[ProduceRequest.TopicProduceData], version: int) -> list[ProduceRequest.TopicProduceData]:
    """The same over topics: one named twice is one topic with the partitions of both."""
    by_key: dict[str | int, ProduceRequest.TopicProduceData] = {}
    for topic in topics:
        key = topic.topic_id.int if version >= _FIRST_ID_VERSION else topic.name
        known = by_key.get(key)
        if known is None:
            by_key[key] = topic
        else:
            known.partition_data = [*known.partition_data, *topic.partition_data]
    return list(by_key.values())


# Appending


def _append(services: Services, context: RequestContext, acks: int, entries: list[Entry]) -> DelayedProduce | None:
    """Appends what may be; the operation returned has a wait for each entry that the high watermark must pass."""
    delayed: DelayedProduce | None = None
    is_valid = acks in (_ACKS_ALL, 0, 1)
    for slot, (result, partition, records) in enumerate(entries):
        try:
            if not is_valid:
                raise KafkaError(ErrorCode.INVALID_REQUIRED_ACKS)
            info = partition.append(records, acks, context.now_ms, context.wall_ms)
        except KafkaError as error:
            _fill_error(result, partition, records, error)
            continue
        result.base_offset = info.base_offset
        result.log_append_time_ms = info.log_append_time_ms
        result.log_start_offset = info.log_start_offset
        if acks == _ACKS_ALL:
            required = info.last_offset + 1
            state = partition.state
            if state.high_watermark >= required:
                result.error_code = state.produce_outcome()
                continue
            if delayed is None:
                delayed = DelayedProduce()
            delayed.add(slot, required, partition.waiting)
    return delayed


def _fill_error(result: PartitionResult, partition: Partition, records: memoryview, error: KafkaError) -> None:
    code = error.code
    result.error_code = code
    if error.record_errors:
        result.error_message = error.message
        result.record_errors = [
            ProduceResponse.BatchIndexAndErrorMessage(batch_index=index, batch_index_error_message=reason)
            for index, reason in error.record_errors
        ]
    if code is ErrorCode.INVALID_REQUIRED_ACKS or code in _SAYS_NOTHING_OF_THE_LOG:
        return
    if code is not ErrorCode.INVALID_RECORD or _is_one_batch(records):
        result.log_start_offset = partition.log.log_start_offset


def _is_one_batch(records: memoryview) -> bool:
    """Whether a refused record set at least had the shape of one: only then does Kafka ask the log about it."""
    if len(records) < BATCH_OVERHEAD:
        return False
    length, _, magic = _LENGTH_TO_MAGIC(records, _LENGTH_AT)
    end = length + LOG_OVERHEAD
    return magic == MAGIC and BATCH_OVERHEAD <= end <= len(records) < end + BATCH_OVERHEAD


# Answering


def _close_on_error(responses: list[TopicResult]) -> None:
    """acks=0: the only way to tell the client is to hang up."""
    for topic in responses:
        for result in topic.partition_responses:
            if result.error_code:
                raise CloseConnection(error_message(result.error_code))


def _wait(
    services: Services,
    context: RequestContext,
    request: ProduceRequest,
    response: ProduceResponse,
    entries: list[Entry],
    delayed: DelayedProduce,
) -> Pending[ProduceResponse]:
    pending: Pending[ProduceResponse] = Pending()
    replicas = services.replicas

    def answer(operation: DelayedProduce) -> None:
        for slot, code in operation.errors.items():
            entries[slot][0].error_code = code
        _add_hints(services, context, response)
        pending.complete(response)

    delayed.on_complete = answer
    pending.on_abandon = lambda: replicas.purgatory.cancel(delayed)
    replicas.watch(delayed, context.now_ms + request.timeout_ms)
    return pending


def _add_hints(services: Services, context: RequestContext, response: ProduceResponse) -> None:
    """Version 10+: with NOT_LEADER_OR_FOLLOWER comes who leads, and where to reach it (KIP-951)."""
    if context.api_version < _FIRST_HINT_VERSION:
        return
    leaders: set[int] = set()
    for topic in response.responses:
        for result in topic.partition_responses:
            if result.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER:
                name = topic.name or services.replicas.topic_name(topic.topic_id)
                leader_id, leader_epoch = services.replicas.leader_of(name, result.index)
                result.current_leader = ProduceResponse.LeaderIdAndEpoch(leader_id=leader_id, leader_epoch=leader_epoch)
                leaders.add(leader_id)
    if leaders:
        response.node_endpoints = [
            ProduceResponse.NodeEndpoint(node_id=node_id, host=endpoint.host, port=endpoint.port, rack=rack)
            for node_id, endpoint, rack in leader_addresses(services, context.connection, leaders)
        ]
