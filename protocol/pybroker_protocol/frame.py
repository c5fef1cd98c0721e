"""Whole frames: four bytes of size, header, body.

Rules: a response header is version 1 (correlation id and tagged fields) where the response is flexible and
version 0 elsewhere, except that ApiVersions responses always have version 0, so that a client can read them
before it knows what the broker speaks (KIP-511). For the same reason a refusal of ApiVersions has a version 0
body.
"""

from __future__ import annotations

import struct
from functools import cache
from typing import Any, Final

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.codec import Buffer, Decoder, Encoder, decoder, encoder
from pybroker_protocol.errors import ErrorCode, ProtocolError
from pybroker_protocol.header import (
    RequestHeader,
    encode_request_header,
    first_flexible_version,
    request_class,
    response_class,
    version_range,
)
from pybroker_protocol.primitives import skip_tags
from pybroker_protocol.schema.classes import Message

__all__ = [
    "SIZE_BYTES",
    "RequestHeader",
    "decode_response",
    "encode_request",
    "encode_response",
    "first_flexible_version",
    "request_class",
    "response_class",
    "version_range",
]

SIZE_BYTES: Final = 4
_SIZE: Final = struct.Struct(">i")
_SIZE_AND_CORRELATION: Final = struct.Struct(">ii")


def encode_request(
    api_key: int, version: int, correlation_id: int, client_id: str | None, message: Message
) -> list[Buffer]:
    """A request's frame in pieces, its size in front."""
    out = bytearray(SIZE_BYTES)
    out += encode_request_header(RequestHeader(api_key, version, correlation_id, client_id))
    parts: list[Buffer] = []
    parts.append(encoder(message.__class__, version)(message, out, parts))
    _SIZE.pack_into(out, 0, sum(map(len, parts)) - SIZE_BYTES)
    return parts


def encode_response(api_key: int, version: int, correlation_id: int, message: Message) -> list[Buffer]:
    """A response's frame in pieces, its size in front. Small responses are one piece."""
    encode_version, header_bytes = _response_encoder(api_key, version)
    out = bytearray(header_bytes)
    parts: list[Buffer] = []
    tail = encode_version(message, out, parts)
    parts.append(tail)
    size = len(out) if tail is out else sum(map(len, parts))
    _SIZE_AND_CORRELATION.pack_into(out, 0, size - SIZE_BYTES, correlation_id)
    return parts


def decode_response(api_key: int, version: int, view: memoryview) -> tuple[int, Any]:
    """Reads a response frame without its size; returns (correlation id, message). Raises ProtocolError.

    A refused ApiVersions request (UNSUPPORTED_VERSION) is answered in version 0 and read as such.
    """
    decode_version, is_flexible = _response_decoder(api_key, version)
    if len(view) < SIZE_BYTES:
        raise ProtocolError(f"a response of {len(view)} bytes")
    correlation_id: int = _SIZE.unpack_from(view)[0]
    position = SIZE_BYTES
    if is_flexible:
        try:
            count = view[position]
            position = skip_tags(view, position + 1, count)
        except IndexError:
            raise ProtocolError("a response header is cut short") from None
    if api_key == ApiKey.API_VERSIONS and bytes(view[4:6]) == _UNSUPPORTED_VERSION:
        decode_version, _ = _response_decoder(api_key, 0)
    message, _ = decode_version(view, position)
    return correlation_id, message


_UNSUPPORTED_VERSION: Final = int(ErrorCode.UNSUPPORTED_VERSION).to_bytes(2, "big")


@cache
def _response_encoder(api_key: int, version: int) -> tuple[Encoder, int]:
    """The encoder and the bytes that size and header take before the body."""
    is_flexible = _has_flexible_header(api_key, version)
    return encoder(response_class(api_key), version), SIZE_BYTES + (5 if is_flexible else 4)


@cache
def _response_decoder(api_key: int, version: int) -> tuple[Decoder, bool]:
    return decoder(response_class(api_key), version), _has_flexible_header(api_key, version)


def _has_flexible_header(api_key: int, version: int) -> bool:
    return api_key != ApiKey.API_VERSIONS and version >= first_flexible_version(api_key)
