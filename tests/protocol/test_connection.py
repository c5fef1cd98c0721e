"""The client's side of a connection against a broker that is played by hand."""

from __future__ import annotations

from typing import Any

import pytest

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.connection import ClientConnection
from pybroker_protocol.errors import ErrorCode, ProtocolError
from pybroker_protocol.frame import encode_response
from pybroker_protocol.header import decode_request_header
from pybroker_protocol.messages import (
    ApiVersionsRequest,
    ApiVersionsResponse,
    FetchRequest,
    FetchResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    ProduceRequest,
)
from pybroker_protocol.schema.classes import Message


def answer(key: ApiKey, version: int, correlation_id: int, message: Message) -> bytes:
    return b"".join(encode_response(key, version, correlation_id, message))


def two_in_flight() -> tuple[ClientConnection, bytes]:
    """A connection that waits for a Heartbeat and a Fetch response, and the bytes of both."""
    connection = ClientConnection()
    first, _ = connection.send(HeartbeatRequest(), 4, "c")
    second, _ = connection.send(FetchRequest(), 12, "c")
    partition = FetchResponse.PartitionData(records=b"some records")
    topic = FetchResponse.FetchableTopicResponse(topic="t", partitions=[partition])
    stream = answer(ApiKey.HEARTBEAT, 4, first, HeartbeatResponse(error_code=27))
    return connection, stream + answer(ApiKey.FETCH, 12, second, FetchResponse(responses=[topic]))


def test_requests_are_numbered_and_framed() -> None:
    connection = ClientConnection()
    for expected in (1, 2, 3):
        correlation_id, pieces = connection.send(HeartbeatRequest(), 4, "me")
        header, _ = decode_request_header(memoryview(b"".join(pieces))[4:])
        assert (correlation_id, header.correlation_id, header.client_id) == (expected, expected, "me")
    assert connection.in_flight == 3


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_responses_come_out_however_the_stream_is_cut(step: int) -> None:
    connection, stream = two_in_flight()
    received: list[tuple[int, Any]] = []
    for start in range(0, len(stream), step):
        received += connection.receive_data(stream[start : start + step])
    (first, heartbeat), (second, fetch) = received
    assert (first, heartbeat.error_code) == (1, 27)
    assert (second, fetch.responses[0].partitions[0].records) == (2, b"some records")
    assert connection.in_flight == 0


def test_records_outlive_what_is_received_next() -> None:
    connection, stream = two_in_flight()
    buffer = bytearray(stream)
    _, (_, fetch) = connection.receive_data(buffer)
    buffer[:] = bytes(len(buffer))
    assert fetch.responses[0].partitions[0].records == b"some records"


def test_whole_frames_can_be_given_without_a_copy() -> None:
    connection = ClientConnection()
    connection.send(HeartbeatRequest(), 4)
    frame = memoryview(answer(ApiKey.HEARTBEAT, 4, 1, HeartbeatResponse()))[4:]
    assert connection.receive_frame(frame) == (1, HeartbeatResponse())


def test_a_produce_that_is_not_answered_waits_for_nothing() -> None:
    connection = ClientConnection()
    connection.send(ProduceRequest(acks=0), 9, expects_response=False)
    second, _ = connection.send(HeartbeatRequest(), 4)
    assert connection.in_flight == 1
    response = answer(ApiKey.HEARTBEAT, 4, second, HeartbeatResponse())
    assert connection.receive_data(response) == [(second, HeartbeatResponse())]


def test_a_refused_api_versions_is_understood() -> None:
    connection = ClientConnection()
    connection.send(ApiVersionsRequest(), 4)
    refusal = ApiVersionsResponse(error_code=ErrorCode.UNSUPPORTED_VERSION)
    assert connection.receive_data(answer(ApiKey.API_VERSIONS, 0, 1, refusal)) == [(1, refusal)]


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (answer(ApiKey.HEARTBEAT, 4, 2, HeartbeatResponse()), "response 2 where 1 was due"),
        (b"\x00\x00\x00\x05\x00\x00\x00\x01\x00", "HeartbeatResponse"),
        (b"\xff\xff\xff\xff", "a frame of -1 bytes"),
        (b"\x00\x01\x00\x00", "a frame of 65536 bytes; 0 to 1000 are allowed"),
    ],
)
def test_a_broker_that_breaks_the_protocol_ends_the_connection(stream: bytes, message: str) -> None:
    connection = ClientConnection(frame_bytes_max=1000)
    connection.send(HeartbeatRequest(), 4)
    with pytest.raises(ProtocolError, match=message):
        connection.receive_data(stream)
    with pytest.raises(ProtocolError, match="broke the protocol before"):
        connection.receive_data(b"")
    with pytest.raises(ProtocolError, match="broke the protocol before"):
        connection.send(HeartbeatRequest(), 4)


def test_an_answer_to_nothing_is_refused() -> None:
    connection = ClientConnection()
    with pytest.raises(ProtocolError, match="no request asked for"):
        connection.receive_data(answer(ApiKey.HEARTBEAT, 4, 1, HeartbeatResponse()))


def test_a_request_that_cannot_be_written_leaves_the_connection_as_it_was() -> None:
    connection = ClientConnection()
    with pytest.raises(ProtocolError, match="no version 99"):
        connection.send(HeartbeatRequest(), 99)
    assert connection.in_flight == 0
    assert connection.send(HeartbeatRequest(), 4)[0] == 1
