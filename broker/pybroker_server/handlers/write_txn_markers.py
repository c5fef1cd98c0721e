"""WriteTxnMarkers (key 27), versions 1 and 2: a transaction ended, in these partitions.

Sent by transaction coordinators, and by tools that end a transaction which its coordinator no longer knows (KIP-664).
Answered when every marker is safe. Version 2 says the transaction's version (KIP-1228). Markers of one producer are
answered together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import WriteTxnMarkersRequest, WriteTxnMarkersResponse
from pybroker_server.coordinator.end_marker import EndMarker
from pybroker_server.coordinator.marking import MarkerWriter, TopicPartition
from pybroker_server.handlers.coordination import Gather
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import Pending, RequestContext
from pybroker_server.handlers.services import Services

Asked = WriteTxnMarkersRequest.WritableTxnMarker
Marker = WriteTxnMarkersResponse.WritableTxnMarkerResult
Topic = WriteTxnMarkersResponse.WritableTxnMarkerTopicResult
Partition = WriteTxnMarkersResponse.WritableTxnMarkerPartitionResult

_Marked = tuple[int, Mapping[TopicPartition, ErrorCode]]
"""What became of one marker: (producer id, its partitions' codes)."""


def refuse_all(context: RequestContext, request: WriteTxnMarkersRequest, code: ErrorCode) -> WriteTxnMarkersResponse:
    """A response that says `code` of every partition in the request."""
    return _response([(marker.producer_id, dict.fromkeys(_partitions(marker), code)) for marker in request.markers])


@handles(ApiKey.WRITE_TXN_MARKERS, 1, 2, error_response=refuse_all)
def handle_write_txn_markers(
    services: Services, context: RequestContext, request: WriteTxnMarkersRequest
) -> Pending[WriteTxnMarkersResponse]:
    """See the head of this file."""
    gather: Gather[_Marked, WriteTxnMarkersResponse] = Gather(_response)
    for marker in request.markers:
        _write(services.markers, marker, gather)
    return gather.seal()


def _write(markers: MarkerWriter, asked: Asked, gather: Gather[_Marked, WriteTxnMarkersResponse]) -> None:
    producer_id, partitions = asked.producer_id, _partitions(asked)
    reply = gather.reply(lambda code: (producer_id, dict.fromkeys(partitions, code)))
    if producer_id < 0 or asked.producer_epoch < 0:
        reply.fail(ErrorCode.INVALID_REQUEST)
        return
    marker = EndMarker(
        producer_id,
        asked.producer_epoch,
        asked.coordinator_epoch,
        asked.transaction_result,
        asked.transaction_version,
    )
    markers.write(marker, partitions, lambda codes: reply.complete((producer_id, codes)))


def _partitions(marker: Asked) -> list[TopicPartition]:
    return [(topic.name, index) for topic in marker.topics for index in topic.partition_indexes]


def _response(marked: Sequence[_Marked]) -> WriteTxnMarkersResponse:
    by_producer: dict[int, dict[TopicPartition, ErrorCode]] = {}
    for producer_id, codes in marked:
        if codes:
            by_producer.setdefault(producer_id, {}).update(codes)
    return WriteTxnMarkersResponse(
        markers=[Marker(producer_id=producer_id, topics=_topics(codes)) for producer_id, codes in by_producer.items()]
    )


def _topics(codes: Mapping[TopicPartition, ErrorCode]) -> list[Topic]:
    topics: dict[str, Topic] = {}
    for (name, index), code in codes.items():
        topic = topics.setdefault(name, Topic(name=name))
        topic.partitions.append(Partition(partition_index=index, error_code=code))
    return list(topics.values())
