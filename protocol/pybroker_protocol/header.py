"""Request headers, and what is known of an API by its key: its classes, versions, header versions.

Rules: a request header is version 2 (with tagged fields) where the request is flexible and version 1
elsewhere; the client id is a string with a two-byte length in both. Response headers are in `frame.py`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from pybroker_protocol import messages
from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ProtocolError
from pybroker_protocol.primitives import skip_tags
from pybroker_protocol.schema.classes import Message
from pybroker_protocol.schema.nodes import HIGHEST_VERSION, Versions

_HEADER: Final = struct.Struct(">hhih")
_read_header: Final = _HEADER.unpack_from
_new: Final = object.__new__
_NEVER_FLEXIBLE: Final = HIGHEST_VERSION + 1


@dataclass(slots=True)
class RequestHeader:
    """Key and version are the peer's: whether they are known and served is not decided here."""

    api_key: int
    api_version: int
    correlation_id: int
    client_id: str | None


class _FirstFlexible(dict[int, int]):
    """API key to first flexible version; never, for keys that are not known (65,536 at most)."""

    def __missing__(self, api_key: int) -> int:
        try:
            flexible = request_class(api_key).schema.flexible
        except ProtocolError:
            flexible = Versions(1, 0)
        first = _NEVER_FLEXIBLE if flexible.is_empty else flexible.low
        self[api_key] = first
        return first


_first_flexible: Final = _FirstFlexible()
_request_classes: Final[dict[int, type[Message]]] = {}
_response_classes: Final[dict[int, type[Message]]] = {}


def decode_request_header(view: memoryview) -> tuple[RequestHeader, int]:
    """Reads the header at the start of a frame without its size; returns it and where the body begins.

    Works for any key and version (an ApiVersions request of a version from the future must be answered,
    KIP-511). A client id that is not UTF-8 has its bad bytes replaced. Raises ProtocolError.
    """
    header = _new(RequestHeader)  # without the constructor: this runs for every request
    try:
        api_key, version, header.correlation_id, length = _read_header(view)
        header.api_key = api_key
        header.api_version = version
        if length >= 0:
            position = 10 + length
            wire = view[10:position].tobytes()
            try:
                header.client_id = wire.decode()
            except UnicodeDecodeError:
                header.client_id = wire.decode("utf-8", "replace")
        elif length == -1:
            position = 10
            header.client_id = None
        else:
            raise ProtocolError(f"client id has length {length}")
        if version >= _first_flexible[api_key]:
            count = view[position]
            position += 1
            if count:
                position = skip_tags(view, position, count)
    except (struct.error, IndexError):
        raise ProtocolError(f"a request header cut short at {len(view)} bytes") from None
    if position > len(view):
        raise ProtocolError(f"a request header cut short at {len(view)} bytes")
    return header, position


def encode_request_header(header: RequestHeader) -> bytearray:
    """The header's bytes, without the frame size."""
    key, version = header.api_key, header.api_version
    if header.client_id is None:
        out = bytearray(_HEADER.pack(key, version, header.correlation_id, -1))
    else:
        wire = header.client_id.encode()
        out = bytearray(_HEADER.pack(key, version, header.correlation_id, len(wire)))
        out += wire
    if version >= _first_flexible[key]:
        out.append(0)
    return out


def request_class(api_key: int) -> type[Message]:
    """The class of an API's requests. Raises ProtocolError for a key that is not known."""
    found = _request_classes.get(api_key)
    if found is None:
        found = _request_classes[api_key] = getattr(messages, f"{_known(api_key).stem}Request")
    return found


def response_class(api_key: int) -> type[Message]:
    """The class of an API's responses. Raises ProtocolError for a key that is not known."""
    found = _response_classes.get(api_key)
    if found is None:
        found = _response_classes[api_key] = getattr(messages, f"{_known(api_key).stem}Response")
    return found


def version_range(api_key: int) -> tuple[int, int]:
    """The stable versions of Kafka 4.3, lowest and highest. Raises ProtocolError for an unknown key."""
    versions = request_class(api_key).schema.versions
    return versions.low, versions.high


def first_flexible_version(api_key: int) -> int:
    """The first version with compact lengths and tagged fields; past any version for an API that has none."""
    return _first_flexible[api_key]


def _known(api_key: int) -> ApiKey:
    try:
        return ApiKey(api_key)
    except ValueError:
        raise ProtocolError(f"unknown API key {api_key}") from None
