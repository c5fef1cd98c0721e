"""Compiles a message at one version into a decoder and an encoder.

The text of what was compiled is in `linecache` under the name that tracebacks show, and `decoder_source` and
`encoder_source` give it for reading. Compiling takes about a millisecond; `codec.py` does it at first use.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pybroker_protocol.schema.classes import Message, compile_source
from pybroker_protocol.schema.decoding import DecoderSource
from pybroker_protocol.schema.encoding import EncoderSource

Buffer = bytes | bytearray | memoryview

Decoder = Callable[..., tuple[Any, int]]
"""(view, position=0, elements=0) -> (message, position after it); elements: the budget, 0 for the default."""

Encoder = Callable[[Any, bytearray, list[Buffer]], bytearray]
"""(message, out, parts) -> the bytearray now in use; closed ones and large records are in `parts`."""


def compile_decoder(message_class: type[Message], version: int) -> Decoder:
    source = DecoderSource(message_class, version)
    name = f"<{message_class.schema.name} v{version} decoder>"
    decode: Decoder = compile_source(source.text(), name, source.names)["decode"]
    return decode


def compile_encoder(message_class: type[Message], version: int) -> Encoder:
    source = EncoderSource(message_class, version)
    name = f"<{message_class.schema.name} v{version} encoder>"
    encode: Encoder = compile_source(source.text(), name, source.names)["encode"]
    return encode


def decoder_source(message_class: type[Message], version: int) -> str:
    return DecoderSource(message_class, version).text()


def encoder_source(message_class: type[Message], version: int) -> str:
    return EncoderSource(message_class, version).text()
