"""Frames and headers by their bytes, which are written out here by hand."""

from __future__ import annotations

import struct

import pytest

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode, ProtocolError
from pybroker_protocol.frame import decode_response, encode_request, encode_response
from pybroker_protocol.header import (
    RequestHeader,
    decode_request_header,
    first_flexible_version,
    request_class,
    response_class,
    version_range,
)
from pybroker_protocol.messages import (
    ApiVersionsRequest,
    ApiVersionsResponse,
    FetchRequest,
    FetchResponse,
    HeartbeatRequest,
    HeartbeatResponse,
    SaslHandshakeResponse,
)


def test_a_request_before_flexible_versions() -> None:
    frame = b"".join(encode_request(ApiKey.API_VERSIONS, 0, 258, "ab", ApiVersionsRequest()))
    assert frame == bytes.fromhex("0000000c 0012 0000 00000102 0002 6162")


def test_a_flexible_request_keeps_the_client_id_a_legacy_string() -> None:
    request = ApiVersionsRequest(client_software_name="x", client_software_version="1")
    frame = b"".join(encode_request(ApiKey.API_VERSIONS, 3, 1, "ab", request))
    assert frame == bytes.fromhex("00000012 0012 0003 00000001 0002 6162 00 0278 0231 00")


@pytest.mark.parametrize("client_id", ["client", "", "ü", None])
@pytest.mark.parametrize("version", [3, 4])
def test_request_headers_come_back(client_id: str | None, version: int) -> None:
    request = HeartbeatRequest(group_id="g", member_id="m")
    frame = b"".join(encode_request(ApiKey.HEARTBEAT, version, -5, client_id, request))
    assert struct.unpack_from(">i", frame)[0] == len(frame) - 4
    header, position = decode_request_header(memoryview(frame)[4:])
    assert header == RequestHeader(ApiKey.HEARTBEAT, version, -5, client_id)
    assert frame[4 + position :].startswith(b"\x02g" if version == 4 else b"\x00\x01g")


def test_unknown_tags_in_a_request_header_are_skipped() -> None:
    head = struct.pack(">hhih", ApiKey.HEARTBEAT, 4, 1, 1) + b"c"
    header, position = decode_request_header(memoryview(head + b"\x01\x07\x02xxbody"))
    assert header.client_id == "c"
    assert position == len(head) + 5


def test_the_header_of_an_api_that_nobody_knows_can_be_read() -> None:
    for key in (-1, 4, 999):
        header, position = decode_request_header(memoryview(struct.pack(">hhih", key, 77, 3, -1)))
        assert header == RequestHeader(key, 77, 3, None)
        assert position == 10


def test_the_header_of_a_version_from_the_future_can_be_read() -> None:
    """KIP-511: ApiVersions of an unknown version must be answered, so its header (version 2) must be understood."""
    wire = struct.pack(">hhih", ApiKey.API_VERSIONS, 99, 3, 1) + b"c\x00" + b"whatever"
    header, position = decode_request_header(memoryview(wire))
    assert header.api_version == 99
    assert wire[position:] == b"whatever"


def test_response_headers_are_flexible_with_the_response() -> None:
    for version, header in ((3, "00000009"), (4, "00000009 00")):
        frame = b"".join(encode_response(ApiKey.HEARTBEAT, version, 9, HeartbeatResponse(error_code=27)))
        body = "00000000 001b" + (" 00" if version == 4 else "")
        payload = bytes.fromhex(header + body)
        assert frame == struct.pack(">i", len(payload)) + payload


def test_api_versions_responses_never_have_a_flexible_header() -> None:
    response = ApiVersionsResponse(throttle_time_ms=1)
    for version in range(5):
        frame = b"".join(encode_response(ApiKey.API_VERSIONS, version, 9, response))
        assert frame[4:10] == bytes.fromhex("00000009 0000")
        assert decode_response(ApiKey.API_VERSIONS, version, memoryview(frame)[4:])[0] == 9


def test_a_refused_api_versions_is_read_in_version_0() -> None:
    key = ApiVersionsResponse.ApiVersion(api_key=18, min_version=0, max_version=4)
    refusal = ApiVersionsResponse(error_code=ErrorCode.UNSUPPORTED_VERSION, api_keys=[key])
    frame = b"".join(encode_response(ApiKey.API_VERSIONS, 0, 9, refusal))
    assert decode_response(ApiKey.API_VERSIONS, 4, memoryview(frame)[4:]) == (9, refusal)


def test_sasl_handshake_never_became_flexible() -> None:
    frame = b"".join(encode_response(ApiKey.SASL_HANDSHAKE, 1, 9, SaslHandshakeResponse(mechanisms=["PLAIN"])))
    assert frame[4:] == bytes.fromhex("00000009 0000 00000001 0005") + b"PLAIN"
    assert first_flexible_version(ApiKey.SASL_HANDSHAKE) > 32767


def test_the_size_counts_records_that_go_by_reference() -> None:
    partition = FetchResponse.PartitionData(records=bytes(10_000))
    topic = FetchResponse.FetchableTopicResponse(topic="t", partitions=[partition])
    pieces = encode_response(ApiKey.FETCH, 12, 3, FetchResponse(responses=[topic]))
    assert len(pieces) == 3
    frame = b"".join(pieces)
    assert struct.unpack_from(">ib", frame, 0)[0] == len(frame) - 4
    correlation_id, response = decode_response(ApiKey.FETCH, 12, memoryview(frame)[4:])
    assert correlation_id == 3
    assert response.responses[0].partitions[0].records == bytes(10_000)


def test_what_is_known_of_an_api_by_its_key() -> None:
    assert request_class(ApiKey.FETCH) is FetchRequest
    assert response_class(ApiKey.FETCH) is FetchResponse
    assert version_range(ApiKey.FETCH) == (4, 18)
    assert first_flexible_version(ApiKey.FETCH) == 12
    for ask in (request_class, response_class, version_range):
        with pytest.raises(ProtocolError, match="unknown API key 4"):
            ask(4)


@pytest.mark.parametrize("key", list(ApiKey))
def test_every_api_key_has_its_two_messages(key: ApiKey) -> None:
    request, response = request_class(key), response_class(key)
    assert request.schema.key == response.schema.key == key
    assert request.schema.versions == response.schema.versions
    assert request.schema.flexible.low == response.schema.flexible.low


def test_a_response_too_short_for_its_header_is_refused() -> None:
    for frame in (b"", b"\0\0\0"):
        with pytest.raises(ProtocolError, match="a response of"):
            decode_response(ApiKey.HEARTBEAT, 0, memoryview(frame))
