"""Produce (key 0), versions 3 to 13: appends record batches to partitions and answers as `acks` says.

acks=0 is never answered, and an error closes the connection so that the client looks for metadata anew. acks=1 is
answered after the append; acks=-1 when the high watermark has passed the batch: with durability=fsync when it is on the
device of every replica in sync (design D7). Order per partition is that of arrival: an append is done when the handler
returns, only its answer waits, so requests may follow each other without waiting (`pipelined`).

The batches are looked at as far as the 61-byte header and only the log judges them (`log/validator.py`); what depends
on the request's version is decided here, before anything is appended. What is written in a transaction goes through
`produce_admission.py` first.
"""

from __future__ import annotations

from dataclasses import replace
from struct import Struct

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.messages import ProduceRequest, ProduceResponse
from pybroker_protocol.records.batch import BATCH_OVERHEAD, CODEC_MASK, LOG_OVERHEAD, MAGIC, TRANSACTIONAL
from pybroker_protocol.records.compression import Codec
from pybroker_server.coordinator.transaction.gate import Admission
from pybroker_server.handlers.leader_hints import leader_addresses
from pybroker_server.handlers.produce_admission import fill_refusal, when_admitted, writer_of, written_in_transaction
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import NO_RESPONSE, CloseConnection, Pending, Reply, RequestContext
from pybroker_server.handlers.services import Services
from pybroker_server.metadata.image import INTERNAL_TOPICS
from pybroker_server.replica.manager import HostedTopic, ReplicaManager
from pybroker_server.replica.partition import Partition
from pybroker_server.replica.purgatory import DelayedProduce

PartitionResult = ProduceResponse.PartitionProduceResponse
TopicResult = ProduceResponse.TopicProduceResponse

_ACKS_ALL = -1
_VALID_ACKS = frozenset((_ACKS_ALL, 0, 1))
_FIRST_ID_VERSION = 13
_FIRST_HINT_VERSION = 10
_FIRST_ZSTD_VERSION = 7

_ATTRIBUTES_LOW_AT = 22
"""The byte of a batch header with the attribute bits that matter here."""
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
        ErrorCode.INVALID_REQUIRED_ACKS,
        ErrorCode.INVALID_TOPIC_EXCEPTION,
        ErrorCode.UNSUPPORTED_COMPRESSION_TYPE,
    }
)
"""Errors with which Kafka leaves the log start offset at -1: it did not come to ask the log."""


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
    refusal = _refusal(services, request)
    if refusal is not None:
        return _refused(context, request, refusal)
    if request.transactional_id is None:
        return _produce(services, context, request, None)
    sequences, producers = written_in_transaction(services.replicas, context.api_version, request)
    if len(producers) > 1:
        refused = _refused(context, request, ErrorCode.INVALID_PRODUCER_ID_MAPPING)
        for result in (each for topic in refused.responses for each in topic.partition_responses):
            result.error_message = "one request holds transactional batches of several producers"
        return refused
    if not producers:
        return _produce(services, context, request, None)

    def produce(admission: Admission) -> Reply:
        clock = services.replicas.clock
        now = replace(context, now_ms=clock.monotonic_ms(), wall_ms=clock.wall_ms())
        return _produce(services, now, request, admission)

    writer = writer_of(request.transactional_id, *producers.pop(), context.api_version)
    return when_admitted(services.transaction_gate, writer, sequences, produce)


def _produce(
    services: Services, context: RequestContext, request: ProduceRequest, admission: Admission | None
) -> Reply:
    """Appends, and answers now or later. `admission` is None outside of transactions."""
    services.replicas.check_lease(context.now_ms)
    acks = request.acks
    version = context.api_version
    replicas = services.replicas
    waiting: _WaitingProduce | None = None
    has_failed = False
    responses: list[TopicResult] = []
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
            if hosted is None or partition is None:
                result.error_code = _missing(replicas, version, topic, data.index)
                has_failed = True
                continue
            required = _append(context, request, hosted, partition, data.records, result, admission)
            if required > partition.state.high_watermark:
                waiting = waiting or _WaitingProduce(services, context)
                waiting.add(result, required, partition.waiting)
            elif result.error_code:
                has_failed = True
        if results:
            responses.append(TopicResult(name=topic.name, topic_id=topic.topic_id, partition_responses=results))
    if acks == 0:
        if has_failed:
            raise CloseConnection("produce without acknowledgement failed")
        return NO_RESPONSE
    response = ProduceResponse(responses=responses)
    if has_failed:
        _count_errors(services, response)
        _add_hints(services, context, response)
    return response if waiting is None else waiting.start(response, request.timeout_ms)


def _refusal(services: Services, request: ProduceRequest) -> ErrorCode | None:
    """Why nothing of the request may be appended, if so: decided before the first append."""
    if request.acks == _ACKS_ALL and services.replicas.purgatory.is_full:
        return ErrorCode.REQUEST_TIMED_OUT
    if request.transactional_id is None:
        for topic in request.topic_data:
            for data in topic.partition_data:
                records = data.records
                if (
                    records is not None
                    and len(records) >= BATCH_OVERHEAD
                    and records[_ATTRIBUTES_LOW_AT] & TRANSACTIONAL
                ):
                    return ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED
    return None


def _refused(context: RequestContext, request: ProduceRequest, code: ErrorCode) -> ProduceResponse:
    if request.acks == 0:
        raise CloseConnection(code.name)
    return refuse_all(context, request, code)


def _missing(replicas: ReplicaManager, version: int, topic: ProduceRequest.TopicProduceData, index: int) -> ErrorCode:
    if version >= _FIRST_ID_VERSION:
        return replicas.missing_by_id(topic.topic_id, index)
    if topic.name in INTERNAL_TOPICS:
        return ErrorCode.INVALID_TOPIC_EXCEPTION
    return replicas.missing(topic.name, index)


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


# One partition


def _append(
    context: RequestContext,
    request: ProduceRequest,
    hosted: HostedTopic,
    partition: Partition,
    records: memoryview | None,
    result: PartitionResult,
    admission: Admission | None,
) -> int:
    """Appends and fills in `result`; which offset the high watermark must reach before it may be told, or -1."""
    acks = request.acks
    verification = None
    if admission is not None:
        where = (hosted.name, partition.index)
        if where in admission.errors:
            fill_refusal(result, admission.errors[where])
            return -1
        verification = admission.held.get(where)
    try:
        if records is None or hosted.is_internal or acks not in _VALID_ACKS:
            raise KafkaError(_code_of_refusal(hosted, records))
        if (
            context.api_version < _FIRST_ZSTD_VERSION
            and len(records) >= BATCH_OVERHEAD
            and records[_ATTRIBUTES_LOW_AT] & CODEC_MASK == Codec.ZSTD
        ):
            raise KafkaError(ErrorCode.UNSUPPORTED_COMPRESSION_TYPE)
        info = partition.append(records, acks, context.now_ms, context.wall_ms, verification=verification)
    except KafkaError as error:
        _fill_error(result, partition, records, error)
        return -1
    result.base_offset = info.base_offset
    result.log_append_time_ms = info.log_append_time_ms
    result.log_start_offset = info.log_start_offset
    if acks != _ACKS_ALL:
        return -1
    if partition.state.high_watermark > info.last_offset:
        result.error_code = partition.state.produce_outcome()
        return -1
    return info.last_offset + 1


def _code_of_refusal(hosted: HostedTopic, records: memoryview | None) -> ErrorCode:
    if records is None:
        return ErrorCode.INVALID_RECORD
    return ErrorCode.INVALID_TOPIC_EXCEPTION if hosted.is_internal else ErrorCode.INVALID_REQUIRED_ACKS


def _fill_error(result: PartitionResult, partition: Partition, records: memoryview | None, error: KafkaError) -> None:
    code = error.code
    result.error_code = code
    if error.record_errors:
        result.error_message = error.message
        result.record_errors = [
            ProduceResponse.BatchIndexAndErrorMessage(batch_index=index, batch_index_error_message=reason)
            for index, reason in error.record_errors
        ]
    has_shape = _is_one_batch(records)
    if code is ErrorCode.CORRUPT_MESSAGE and not has_shape:
        result.error_message = error.message
    if code not in _SAYS_NOTHING_OF_THE_LOG and (code is not ErrorCode.INVALID_RECORD or has_shape):
        result.log_start_offset = partition.log.log_start_offset


def _is_one_batch(records: memoryview | None) -> bool:
    """Whether a refused record set at least had the shape of one: only then does Kafka ask the log about it."""
    if records is None or len(records) < BATCH_OVERHEAD:
        return False
    length, _, magic = _LENGTH_TO_MAGIC(records, _LENGTH_AT)
    end = length + LOG_OVERHEAD
    return bool(magic == MAGIC and BATCH_OVERHEAD <= end <= len(records) < end + BATCH_OVERHEAD)


# Answering


class _WaitingProduce(DelayedProduce):
    """acks=all on its way: holds the response, in which only the errors are still open. A slot is a result in it."""

    __slots__ = ("_context", "_pending", "_response", "_services")

    def __init__(self, services: Services, context: RequestContext) -> None:
        super().__init__()
        self._services = services
        self._context = context

    def start(self, response: ProduceResponse, timeout_ms: int) -> Pending[ProduceResponse]:
        self._response = response
        self._pending: Pending[ProduceResponse] = Pending()
        self._pending.on_abandon = self._abandon
        self._services.replicas.watch(self, self._context.now_ms + timeout_ms)
        return self._pending

    def finish(self) -> None:
        """See `DelayedOperation.finish`."""
        failures = self.failures
        for result, code in failures:
            result.error_code = code
        if failures:
            for _, code in failures:
                self._services.errors.add(ApiKey.PRODUCE, code)
            _add_hints(self._services, self._context, self._response)
        self._pending.complete(self._response)
        self.release()

    def _abandon(self) -> None:
        self._services.replicas.purgatory.cancel(self)


def _count_errors(services: Services, response: ProduceResponse) -> None:
    for topic in response.responses:
        for result in topic.partition_responses:
            if result.error_code:
                services.errors.add(ApiKey.PRODUCE, result.error_code)


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
