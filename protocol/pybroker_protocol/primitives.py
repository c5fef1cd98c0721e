"""What generated decoders and encoders call where the fast path ends: long varints, tagged fields, refusals.

Rules: every length that the peer names is checked against what is left before anything is made of it; every
refusal is a ProtocolError. Kafka's unsigned varint has at most five bytes and 32 bits (KIP-482).
"""

from __future__ import annotations

from typing import Final

from pybroker_protocol.errors import ProtocolError

STRING_BYTES_MAX: Final = 32767
"""Kafka refuses longer strings, also where a compact length could say more."""

TAGS_MAX: Final = 64
"""Tagged fields of one structure. Kafka has no limit; a structure of its protocol has at most four."""

REQUEST_ELEMENTS_MAX: Final = 100_000
"""Array elements that one request may have in all, however large its frame is.

An element of two bytes on the wire becomes an object of some 200 bytes and half a microsecond of work: this bounds
what one request can cost to 20 MB and 50 ms. A number in an array counts for an eighth.
"""

_BYTES_PER_ELEMENT: Final = 16


def elements_allowed(frame_bytes: int) -> int:
    """The element budget of anything but requests: large frames pay for more elements with 16 bytes each.

    A client trusts its broker further than the broker trusts a client: Metadata of a large cluster is one response.
    """
    return max(REQUEST_ELEMENTS_MAX, frame_bytes // _BYTES_PER_ELEMENT)


def read_uvarint(view: memoryview, position: int) -> tuple[int, int]:
    """An unsigned varint at `position`: (value, position after). Raises ProtocolError or IndexError."""
    byte = view[position]
    if byte < 128:
        return byte, position + 1
    return continue_uvarint(view, position + 1, byte)


def continue_uvarint(view: memoryview, position: int, first: int) -> tuple[int, int]:
    """The rest of a varint whose first byte, with its high bit set, was read already."""
    byte = view[position]
    if byte < 128:  # two bytes: most lengths past the fast path
        return first & 0x7F | byte << 7, position + 1
    value = first & 0x7F
    for shift in (7, 14, 21, 28):
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 128:
            if value > 0xFFFFFFFF:
                break
            return value, position
    raise ProtocolError("a varint of more than 32 bits")


def long_string(view: memoryview, position: int, first: int) -> tuple[int, int]:
    """`continue_uvarint` for the compact length of a string: one more than its bytes."""
    length, position = continue_uvarint(view, position, first)
    if length > STRING_BYTES_MAX + 1:
        raise ProtocolError(f"a string of {length - 1} bytes; {STRING_BYTES_MAX} are allowed")
    return length, position


def uvarint(value: int) -> bytes:
    """The bytes of an unsigned varint."""
    if value < 1 << 14:
        return bytes((value,)) if value < 128 else bytes((value & 0x7F | 0x80, value >> 7))
    out = bytearray()
    while value > 127:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def next_tag(view: memoryview, position: int, last: int) -> tuple[int, int, int]:
    """The head of a tagged field: (tag, position of its value, position after its value)."""
    tag, position = read_uvarint(view, position)
    if tag <= last:
        raise ProtocolError(f"tagged field {tag} after {last}: tags ascend")
    size, position = read_uvarint(view, position)
    stop = position + size
    if stop > len(view):
        raise ProtocolError(f"tagged field {tag} ends {stop - len(view)} bytes after the message")
    return tag, position, stop


def skip_tags(view: memoryview, position: int, count: int) -> int:
    """Passes tagged fields that nobody knows, keeping nothing. `count` is the first byte of their number."""
    check_tag_count(count)
    last = -1
    for _ in range(count):
        last, _, position = next_tag(view, position, last)
    return position


def check_tag_count(count: int) -> None:
    """`count` may be the first byte of a longer varint: that is over the limit in any case."""
    if count > TAGS_MAX:
        raise ProtocolError(f"more than {TAGS_MAX} tagged fields in one structure")


def null_refused(field: str) -> ProtocolError:
    return ProtocolError(f"{field} may not be null here")


def length_refused(field: str, length: int) -> ProtocolError:
    return ProtocolError(f"{field} has length {length}")


def count_refused(field: str, count: int, least_size: int, remaining: int) -> ProtocolError:
    """A count that its bytes cannot hold, or else one that is past the element budget."""
    if count * least_size > remaining:
        return ProtocolError(f"{field} has {count} elements in {max(remaining, 0)} bytes")
    return ProtocolError(f"{field} has {count} elements; the request has more than it may have in all")


def tag_size_refused(field: str) -> ProtocolError:
    return ProtocolError(f"the tagged field {field} does not have the size it names")
