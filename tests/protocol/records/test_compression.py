"""Codecs: the framings that others write and read, and limits that hold whatever the input says."""

from __future__ import annotations

import gzip
import random
import struct
import zlib

import cramjam
import kafka.codec
import lz4.frame
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybroker_protocol.errors import DecompressionTooLarge, ProtocolError
from pybroker_protocol.records.compression import Codec, compress, decompress

COMPRESSING = [Codec.GZIP, Codec.SNAPPY, Codec.LZ4, Codec.ZSTD]
LIMIT = 1 << 22
SAMPLES = [
    b"",
    b"x",
    b"hello world " * 20_000,
    random.Random(1).randbytes(200_000),
    random.Random(2).randbytes(64 * 1024),
    bytes(3_000_000),
]


@pytest.mark.parametrize("codec", Codec)
@pytest.mark.parametrize("data", SAMPLES, ids=range(len(SAMPLES)))
def test_what_goes_in_comes_out_of_any_buffer(codec, data):
    packed = compress(codec, memoryview(bytearray(data)))
    for view in (packed, bytearray(packed), memoryview(packed)):
        assert decompress(codec, view, max_bytes=LIMIT) == data


@given(st.sampled_from(list(Codec)), st.binary(max_size=3000))
def test_any_bytes_survive(codec, data):
    assert decompress(codec, compress(codec, data), max_bytes=len(data)) == data


OTHERS = {
    Codec.GZIP: (kafka.codec.gzip_encode, kafka.codec.gzip_decode),
    Codec.SNAPPY: (kafka.codec.snappy_encode, kafka.codec.snappy_decode),
    Codec.LZ4: (kafka.codec.lz4_encode, kafka.codec.lz4_decode),
    Codec.ZSTD: (kafka.codec.zstd_encode, kafka.codec.zstd_decode),
}


@pytest.mark.parametrize("codec", COMPRESSING)
@pytest.mark.parametrize("data", SAMPLES[1:], ids=range(1, len(SAMPLES)))
def test_kafka_python_and_we_read_each_other(codec, data):
    encode, decode = OTHERS[codec]
    assert decompress(codec, encode(data), max_bytes=LIMIT) == data
    assert bytes(decode(compress(codec, data))) == data


def test_snappy_is_written_in_xerial_framing_and_read_in_both():
    data = b"abc" * 30_000
    packed = compress(Codec.SNAPPY, data)
    assert packed[:16] == b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1)
    raw = bytes(cramjam.snappy.compress_raw(data))
    assert decompress(Codec.SNAPPY, raw, max_bytes=LIMIT) == data
    twice = packed + packed
    assert decompress(Codec.SNAPPY, twice, max_bytes=LIMIT) == data * 2


def test_lz4_is_written_in_independent_blocks_with_kafkas_header():
    data = random.Random(3).randbytes(100_000) + bytes(100_000)
    packed = compress(Codec.LZ4, data)
    assert packed[:7] == bytes.fromhex("04224d18604082")
    info = lz4.frame.get_frame_info(packed)
    assert not info["block_linked"]
    assert lz4.frame.decompress(packed) == data


@pytest.mark.parametrize("options", [{"block_linked": True}, {"content_checksum": True}, {"block_size": 7}])
def test_lz4_frames_of_others_are_read(options):
    data = b"some text " * 100_000
    assert decompress(Codec.LZ4, lz4.frame.compress(data, **options), max_bytes=LIMIT) == data


def test_gzip_members_may_follow_each_other():
    packed = gzip.compress(b"one ") + gzip.compress(b"") + gzip.compress(b"two")
    assert decompress(Codec.GZIP, packed, max_bytes=7) == b"one two"
    with pytest.raises(DecompressionTooLarge):
        decompress(Codec.GZIP, packed, max_bytes=6)


@pytest.mark.parametrize("codec", Codec)
def test_the_limit_is_exact(codec):
    data = b"0123456789" * 20_000
    packed = compress(codec, data)
    assert decompress(codec, packed, max_bytes=len(data)) == data
    for limit in (0, 1, len(data) // 2, len(data) - 1):
        with pytest.raises(DecompressionTooLarge):
            decompress(codec, packed, max_bytes=limit)


def bombs() -> dict[str, tuple[Codec, bytes]]:
    """A few KiB that would become a GiB."""
    block = compress(Codec.LZ4, bytes(64 * 1024))
    lz4_bomb = block[:7] + block[7:-4] * 16_384 + block[-4:]
    deflate = zlib.compressobj(9, zlib.DEFLATED, 31)
    gzip_bomb = b"".join(deflate.compress(bytes(1 << 20)) for _ in range(256)) + deflate.flush()
    snappy = bytes(cramjam.snappy.compress_raw(bytes(1 << 20)))
    xerial = compress(Codec.SNAPPY, b"")[:16] + (struct.pack(">i", len(snappy)) + snappy) * 64
    zstd_bomb = bytes(cramjam.zstd.compress(bytes(1 << 28)))
    return {
        "gzip": (Codec.GZIP, gzip_bomb),
        "gzip members": (Codec.GZIP, gzip.compress(bytes(1 << 20)) * 64),
        "snappy": (Codec.SNAPPY, bytes(cramjam.snappy.compress_raw(bytes(1 << 24)))),
        "xerial": (Codec.SNAPPY, xerial),
        "lz4": (Codec.LZ4, lz4_bomb),
        "zstd": (Codec.ZSTD, zstd_bomb),
        "zstd frames": (Codec.ZSTD, bytes(cramjam.zstd.compress(bytes(1 << 20))) * 64),
    }


BOMBS = bombs()


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_stops_at_the_limit(name):
    codec, packed = BOMBS[name]
    with pytest.raises(DecompressionTooLarge):
        decompress(codec, packed, max_bytes=1 << 20)


@pytest.mark.parametrize(
    "claim", [b"\xff\xff\xff\xff\x0f", b"\xff\xff\xff\xff\xff\x0f", b"\x80", b"", b"\x80\x80\x80\x04abc"]
)
def test_a_snappy_length_that_its_bytes_cannot_hold_costs_nothing(claim):
    with pytest.raises(ProtocolError):
        decompress(Codec.SNAPPY, claim, max_bytes=2**40)


@pytest.mark.parametrize("codec", COMPRESSING)
def test_a_cut_stream_is_a_protocol_error(codec):
    packed = compress(codec, random.Random(4).randbytes(300) + bytes(300))
    read_all_the_same = []
    for cut in range(len(packed)):
        try:
            decompress(codec, packed[:cut], max_bytes=LIMIT)
        except ProtocolError:
            continue
        read_all_the_same.append(cut)
    # Xerial framing has no end, so a cut between its blocks cannot be told from one.
    assert read_all_the_same == ([16] if codec is Codec.SNAPPY else [])


@pytest.mark.parametrize("codec", COMPRESSING)
def test_flipped_bits_bring_nothing_but_protocol_errors(codec):
    packed = bytearray(compress(codec, b"hello hello hello hello " * 20))
    for at in range(len(packed)):
        for bit in range(8):
            packed[at] ^= 1 << bit
            try:
                decompress(codec, packed, max_bytes=100_000)
            except ProtocolError:
                pass
            packed[at] ^= 1 << bit


@given(st.sampled_from(COMPRESSING), st.binary(max_size=200))
def test_garbage_brings_nothing_but_protocol_errors(codec, data):
    try:
        decompress(codec, data, max_bytes=1 << 16)
    except ProtocolError:
        pass


@pytest.mark.parametrize("codec", [5, 6, 7, -1, 99])
def test_an_unknown_codec_is_a_protocol_error(codec):
    with pytest.raises(ProtocolError):
        decompress(codec, b"data", max_bytes=100)
