"""Frames come out whole and in order, however the bytes arrive."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybroker_protocol.errors import ProtocolError
from pybroker_server.peers.frames import FrameReceiver
from pybroker_server.runtime.buffers import BufferPool


def feed(receiver: FrameReceiver, data: bytes, step: int) -> None:
    position = 0
    while position < len(data):
        buffer = receiver.get_buffer()
        assert len(buffer) > 0
        count = min(step, len(buffer), len(data) - position)
        buffer[:count] = data[position : position + count]
        receiver.buffer_updated(count)
        position += count


@given(sizes=st.lists(st.integers(0, 80_000), max_size=6), step=st.integers(1, 70_000).map(lambda n: max(n, 61)))
def test_every_frame_comes_out_whole_whatever_the_pieces(sizes: list[int], step: int) -> None:
    frames = [bytes([number + 1]) * size for number, size in enumerate(sizes)]
    seen: list[bytes] = []
    receiver = FrameReceiver(BufferPool(), 1 << 20, lambda frame: seen.append(bytes(frame)))
    feed(receiver, b"".join(struct.pack(">i", len(frame)) + frame for frame in frames), step)
    assert seen == frames


def test_a_frame_that_somebody_keeps_is_not_overwritten() -> None:
    kept: list[memoryview] = []
    receiver = FrameReceiver(BufferPool(), 1 << 20, kept.append)
    for letter in b"abc":
        feed(receiver, struct.pack(">i", 100_000) + bytes([letter]) * 100_000, 65_536)
    assert [bytes(frame[:1]) for frame in kept] == [b"a", b"b", b"c"]


@pytest.mark.parametrize("size", [-1, 1 << 21])
def test_an_impossible_size_ends_the_stream(size: int) -> None:
    receiver = FrameReceiver(BufferPool(), 1 << 20, lambda frame: None)
    with pytest.raises(ProtocolError):
        feed(receiver, struct.pack(">i", size), 4)
