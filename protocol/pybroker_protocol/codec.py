"""Messages to bytes and back, at one version.

`decode` and `encode` are for general use; hot paths keep what `decoder` and `encoder` return. Functions are
compiled when first asked for (about a millisecond each) and kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from pybroker_protocol.errors import ProtocolError
from pybroker_protocol.schema.classes import Message
from pybroker_protocol.schema.compiler import Buffer, Decoder, Encoder, compile_decoder, compile_encoder
from pybroker_protocol.schema.nodes import Schema

__all__ = ["Budget", "Buffer", "Decoder", "Encoder", "decode", "decoder", "encode", "encoder", "schema_of"]

M = TypeVar("M", bound=Message)

_decoders: dict[tuple[type[Message], int], Decoder] = {}
_encoders: dict[tuple[type[Message], int], Encoder] = {}


@dataclass(frozen=True, slots=True)
class Budget:
    """How many array elements one message may have in all. A number in an array counts for an eighth."""

    elements: int


def decode(
    message_class: type[M], version: int, view: memoryview, position: int = 0, *, budget: Budget | None = None
) -> tuple[M, int]:
    """Decodes one message; returns it and the position after it (what follows is the caller's to judge).

    `records` fields are slices of `view` and keep it alive. Without a budget the default for the view's size
    applies (`primitives.elements_allowed`). Raises ProtocolError and nothing else, whatever the bytes are.
    """
    decode_version = decoder(message_class, version)
    return decode_version(view, position, 0 if budget is None else max(budget.elements, 1))


def encode(message: Message, version: int) -> list[Buffer]:
    """The bytes of a message in pieces: records of 4 KiB and more are pieces of their own, uncopied."""
    parts: list[Buffer] = []
    parts.append(encoder(message.__class__, version)(message, bytearray(), parts))
    return parts


def decoder(message_class: type[Message], version: int) -> Decoder:
    """The compiled function `(view, position=0, elements=0) -> (message, position)`. Raises ProtocolError."""
    function = _decoders.get((message_class, version))
    if function is None:
        _check_version(message_class, version)
        function = _decoders[message_class, version] = compile_decoder(message_class, version)
    return function


def encoder(message_class: type[Message], version: int) -> Encoder:
    """The compiled function `(message, out, parts) -> out`. Raises ProtocolError."""
    function = _encoders.get((message_class, version))
    if function is None:
        _check_version(message_class, version)
        function = _encoders[message_class, version] = compile_encoder(message_class, version)
    return function


def schema_of(message_class: type[Message]) -> Schema:
    """What was declared for this message: versions, fields, structures."""
    return message_class.schema


def _check_version(message_class: type[Message], version: int) -> None:
    assert message_class.struct is message_class.schema.root, f"{message_class.__qualname__} is part of a message"
    if not message_class.schema.versions.holds(version):
        raise ProtocolError(f"{message_class.__name__} has no version {version}")
