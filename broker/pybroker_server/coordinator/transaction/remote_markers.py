"""Has transaction markers written by other brokers, to the partitions that they lead (WriteTxnMarkers).

Rules of this file: the event loop only. A broker is sent one request at a time: what comes while one is under way goes
out together. In a request a producer id has one marker, since the response tells markers apart by nothing else. What
gets no answer is REQUEST_TIMED_OUT: it may have been written, and a marker may be written twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from pybroker_protocol.errors import ErrorCode, error_code
from pybroker_protocol.messages import WriteTxnMarkersRequest, WriteTxnMarkersResponse
from pybroker_server.coordinator.end_marker import EndMarker
from pybroker_server.coordinator.transaction.markers import Marked
from pybroker_server.coordinator.transaction.records import by_topic
from pybroker_server.coordinator.transaction.transaction import TopicPartition
from pybroker_server.peers.peers import Lane, Peers
from pybroker_server.peers.problem import PeerError

MARKERS_MAX: Final = 1_000
"""In one request."""

Asked = WriteTxnMarkersRequest.WritableTxnMarker
Topic = WriteTxnMarkersRequest.WritableTxnMarkerTopic


class _Entry(NamedTuple):
    marker: EndMarker
    partitions: frozenset[TopicPartition]
    done: Marked


class RemoteMarkers:
    """A `MarkerSink`: one other broker."""

    def __init__(self, node_id: int, peers: Peers) -> None:
        self._node_id = node_id
        self._peers = peers
        self._waiting: list[_Entry] = []
        self._is_under_way = False

    def write(self, marker: EndMarker, partitions: Iterable[TopicPartition], done: Marked) -> None:
        """See `MarkerSink`."""
        self._waiting.append(_Entry(marker, frozenset(partitions), done))
        if not self._is_under_way:
            self._send()

    def _send(self) -> None:
        entries: dict[int, _Entry] = {}
        left: list[_Entry] = []
        for entry in self._waiting:
            if len(entries) >= MARKERS_MAX or entry.marker.producer_id in entries:
                left.append(entry)
            else:
                entries[entry.marker.producer_id] = entry
        self._waiting = left
        self._is_under_way = True
        request = WriteTxnMarkersRequest(markers=[_asked(entry) for entry in entries.values()])
        answered = partial(self._on_answer, list(entries.values()))
        self._peers.send(self._node_id, request, answered, lane=Lane.TRANSACTIONS)

    def _on_answer(
        self, entries: Sequence[_Entry], response: WriteTxnMarkersResponse | None, error: PeerError | None
    ) -> None:
        self._is_under_way = False
        del error  # the peers' part logs it; the markers are sent again
        codes = {} if response is None else _codes(response)
        for entry in entries:
            told = codes.get(entry.marker.producer_id, {})
            entry.done({where: told.get(where, ErrorCode.REQUEST_TIMED_OUT) for where in entry.partitions})
        if self._waiting and not self._is_under_way:
            self._send()


def _asked(entry: _Entry) -> Asked:
    marker = entry.marker
    return Asked(
        producer_id=marker.producer_id,
        producer_epoch=marker.producer_epoch,
        transaction_result=marker.is_commit,
        topics=[Topic(name=topic, partition_indexes=indexes) for topic, indexes in by_topic(entry.partitions).items()],
        coordinator_epoch=marker.coordinator_epoch,
        transaction_version=marker.transaction_version,
    )


def _codes(response: WriteTxnMarkersResponse) -> dict[int, Mapping[TopicPartition, ErrorCode]]:
    return {
        result.producer_id: {
            (topic.name, each.partition_index): error_code(each.error_code)
            for topic in result.topics
            for each in topic.partitions
        }
        for result in response.markers
    }
