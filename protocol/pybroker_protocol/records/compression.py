"""The four codecs of record batches, in the framings that Kafka clients read and write.

Rules: what is written is what Java reads (snappy in xerial framing, LZ4 frames of independent blocks);
what is read is whatever any client writes (raw snappy, linked LZ4 blocks, concatenated gzip members and
zstd frames). No output ever grows past the caller's `max_bytes`, whatever the input promises: the limit is
checked before memory is taken. Only `ProtocolError` comes out of hostile bytes.
"""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Callable
from enum import IntEnum

import cramjam

from pybroker_protocol.errors import DecompressionTooLarge, ProtocolError
from pybroker_protocol.records import Buffer

__all__ = ["Codec", "DecompressionTooLarge", "compress", "decompress"]


class Codec(IntEnum):
    """The codec bits (0 to 2) of a batch's attributes. 5 to 7 mean nothing."""

    NONE = 0
    GZIP = 1
    SNAPPY = 2
    LZ4 = 3
    ZSTD = 4


# Xerial framing of snappy: magic, version 1, oldest compatible version 1, then blocks of (int32 length,
# raw snappy).
_XERIAL_MAGIC = b"\x82SNAPPY\x00"
_XERIAL_HEADER = _XERIAL_MAGIC + struct.pack(">ii", 1, 1)
_XERIAL_BLOCK_BYTES = 32 * 1024
# A raw snappy element turns at best 3 bytes into 64; a length that claims more is a lie told to make us
# allocate.
_SNAPPY_EXPANSION_MAX = 22

# LZ4 frame header: magic, flags (version 1, independent blocks, no checksums), 64 KiB blocks, and the second
# byte of xxh32 over the two descriptor bytes. The descriptor never changes, so neither does its checksum.
_LZ4_HEADER = b"\x04\x22\x4d\x18\x60\x40\x82"
_LZ4_BLOCK_BYTES = 64 * 1024
_LZ4_STORED = 0x80000000
_LZ4_END = b"\x00\x00\x00\x00"

_GZIP_WINDOW_BITS = 16 + zlib.MAX_WBITS
_ZSTD_LEVEL = 3
_FIRST_GUESS_BYTES = 64 * 1024


def compress(codec: Codec, data: Buffer, level: int | None = None) -> bytes:
    """`data` in the framing of `codec`; `level`: gzip 0 to 9, zstd 1 to 22, None for the codec's default."""
    return _COMPRESSORS[codec](data, level)


def decompress(codec: int, view: Buffer, *, max_bytes: int) -> bytes:
    """The data in `view`.

    Raises `DecompressionTooLarge` when it is more than `max_bytes`, `ProtocolError` when it is damaged or the
    codec unknown.
    """
    decompressor = _DECOMPRESSORS.get(codec)
    if decompressor is None:
        raise ProtocolError(f"unknown compression codec {codec}")
    if not len(view) and codec:
        raise ProtocolError("compressed data of no bytes")
    return decompressor(view, max_bytes)


def _too_large(max_bytes: int) -> DecompressionTooLarge:
    return DecompressionTooLarge(f"compressed data expands past the limit of {max_bytes} bytes")


def _compress_none(data: Buffer, level: int | None) -> bytes:
    return bytes(data)


def _decompress_none(view: Buffer, max_bytes: int) -> bytes:
    if len(view) > max_bytes:
        raise _too_large(max_bytes)
    return bytes(view)


def _compress_gzip(data: Buffer, level: int | None) -> bytes:
    member = zlib.compressobj(-1 if level is None else level, zlib.DEFLATED, _GZIP_WINDOW_BITS)
    return member.compress(data) + member.flush()


def _decompress_gzip(view: Buffer, max_bytes: int) -> bytes:
    """All members, one after the other (RFC 1952, 2.2)."""
    parts: list[bytes] = []
    room = max_bytes
    rest: Buffer = view
    while True:
        member = zlib.decompressobj(_GZIP_WINDOW_BITS)
        try:
            part = member.decompress(rest, room + 1)  # one more than fits: an overrun shows as a full answer
        except zlib.error as error:
            raise ProtocolError(f"gzip data is damaged: {error}") from None
        if len(part) > room:
            raise _too_large(max_bytes)
        if not member.eof:
            raise ProtocolError("gzip data ends in the middle of a member")
        room -= len(part)
        parts.append(part)
        rest = member.unused_data
        if not rest:
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _compress_snappy(data: Buffer, level: int | None) -> bytes:
    view = memoryview(data)
    parts = [_XERIAL_HEADER]
    for start in range(0, len(view), _XERIAL_BLOCK_BYTES):
        block = bytes(cramjam.snappy.compress_raw(view[start : start + _XERIAL_BLOCK_BYTES]))
        parts.append(struct.pack(">i", len(block)))
        parts.append(block)
    return b"".join(parts)


def _decompress_snappy(view: Buffer, max_bytes: int) -> bytes:
    """Xerial framing when its magic is there (Java, kafka-python), else one raw block (librdkafka)."""
    view = memoryview(view)
    if bytes(view[:8]) != _XERIAL_MAGIC:
        return _decompress_snappy_block(view, max_bytes)
    parts: list[bytes] = []
    room = max_bytes
    position = len(_XERIAL_HEADER)
    if position > len(view):
        raise ProtocolError("snappy data ends in the middle of its header")
    while position < len(view):
        if bytes(view[position : position + 8]) == _XERIAL_MAGIC:  # streams may be concatenated
            position += len(_XERIAL_HEADER)
            continue
        if position + 4 > len(view):
            raise ProtocolError("snappy data ends in the middle of a block length")
        length = int.from_bytes(view[position : position + 4], "big", signed=True)
        position += 4
        if length < 0 or length > len(view) - position:
            raise ProtocolError(f"snappy block of {length} bytes, but {len(view) - position} are left")
        part = _decompress_snappy_block(view[position : position + length], room)
        room -= len(part)
        parts.append(part)
        position += length
    return b"".join(parts)


def _decompress_snappy_block(view: memoryview, max_bytes: int) -> bytes:
    try:
        length = cramjam.snappy.decompress_raw_len(view)
        if length > _SNAPPY_EXPANSION_MAX * len(view):
            raise ProtocolError(f"snappy block of {len(view)} bytes claims to hold {length}")
        if length > max_bytes:
            raise _too_large(max_bytes)
        return bytes(cramjam.snappy.decompress_raw(view))
    except cramjam.DecompressionError as error:
        raise ProtocolError(f"snappy data is damaged: {error}") from None


def _compress_lz4(data: Buffer, level: int | None) -> bytes:
    """Independent blocks without checksums: Kafka's own reader refuses blocks that lean on earlier ones."""
    view = memoryview(data)
    parts = [_LZ4_HEADER]
    for start in range(0, len(view), _LZ4_BLOCK_BYTES):
        block: Buffer = view[start : start + _LZ4_BLOCK_BYTES]
        packed = bytes(cramjam.lz4.compress_block(block, store_size=False))
        if len(packed) < len(block):
            parts.append(len(packed).to_bytes(4, "little"))
            parts.append(packed)
        else:
            parts.append((len(block) | _LZ4_STORED).to_bytes(4, "little"))
            parts.append(bytes(block))
    parts.append(_LZ4_END)
    return b"".join(parts)


def _decompress_lz4(view: Buffer, max_bytes: int) -> bytes:
    return _decompress_growing("lz4", cramjam.lz4.decompress_into, view, max_bytes)


def _compress_zstd_bundled(data: Buffer, level: int | None) -> bytes:
    return bytes(cramjam.zstd.compress(data, level=_ZSTD_LEVEL if level is None else level))


def _decompress_zstd_bundled(view: Buffer, max_bytes: int) -> bytes:
    return _decompress_growing("zstd", cramjam.zstd.decompress_into, view, max_bytes)


def _decompress_growing(
    name: str, decompress_into: Callable[[Buffer, bytearray], int], view: Buffer, max_bytes: int
) -> bytes:
    """Into a buffer that is four times larger at each attempt, up to the limit.

    The libraries say only that a buffer was too small or the data damaged, not which. So damaged data
    costs the attempts up to the limit, or up to what its own length can account for.
    """
    size = min(max(_FIRST_GUESS_BYTES, 4 * len(view)), max_bytes)
    while True:
        output = bytearray(size)
        try:
            length = decompress_into(view, output)
        except cramjam.DecompressionError as error:
            if "whole buffer" not in str(error):
                raise ProtocolError(f"{name} data is damaged: {error}") from None
            if size >= max_bytes:
                raise _too_large(max_bytes) from None
            size = min(4 * size, max_bytes)
            continue
        return bytes(memoryview(output)[:length])


if sys.version_info >= (3, 14):
    from compression import zstd

    def _compress_zstd(data: Buffer, level: int | None) -> bytes:
        return zstd.compress(data, _ZSTD_LEVEL if level is None else level)

    def _decompress_zstd(view: Buffer, max_bytes: int) -> bytes:
        """All frames, one after the other."""
        parts: list[bytes] = []
        room = max_bytes
        rest: Buffer = view
        while True:
            frame = zstd.ZstdDecompressor()
            try:
                part = frame.decompress(rest, room + 1)
            except zstd.ZstdError as error:
                raise ProtocolError(f"zstd data is damaged: {error}") from None
            if len(part) > room:
                raise _too_large(max_bytes)
            if not frame.eof:
                raise ProtocolError("zstd data ends in the middle of a frame")
            room -= len(part)
            parts.append(part)
            rest = frame.unused_data
            if not rest:
                return parts[0] if len(parts) == 1 else b"".join(parts)

else:
    _compress_zstd = _compress_zstd_bundled
    _decompress_zstd = _decompress_zstd_bundled


_COMPRESSORS: dict[int, Callable[[Buffer, int | None], bytes]] = {
    Codec.NONE: _compress_none,
    Codec.GZIP: _compress_gzip,
    Codec.SNAPPY: _compress_snappy,
    Codec.LZ4: _compress_lz4,
    Codec.ZSTD: _compress_zstd,
}
_DECOMPRESSORS: dict[int, Callable[[Buffer, int], bytes]] = {
    Codec.NONE: _decompress_none,
    Codec.GZIP: _decompress_gzip,
    Codec.SNAPPY: _decompress_snappy,
    Codec.LZ4: _decompress_lz4,
    Codec.ZSTD: _decompress_zstd,
}
