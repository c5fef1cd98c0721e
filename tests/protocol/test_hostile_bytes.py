"""Only ProtocolError comes out of decoding, whatever the bytes are (reliability: framing and decoding)."""

from __future__ import annotations

import random
import struct
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.schema_values import SAMPLES, message_versions, sample

from pybroker_protocol import messages
from pybroker_protocol.codec import Budget, decode, decoder, encode
from pybroker_protocol.errors import ProtocolError
from pybroker_protocol.frame import decode_response, encode_request
from pybroker_protocol.header import decode_request_header
from pybroker_protocol.messages import (
    ApiVersionsRequest,
    DescribeGroupsRequest,
    FetchRequest,
    MetadataRequest,
    MetadataResponse,
    OffsetDeleteRequest,
    ProduceRequest,
)
from pybroker_protocol.primitives import uvarint

MUTATIONS_PER_MESSAGE = 40


def flexible_fetch() -> bytearray:
    partition = FetchRequest.FetchPartition(partition=1, fetch_offset=7)
    topic = FetchRequest.FetchTopic(topic="t", partitions=[partition])
    return bytearray(b"".join(encode(FetchRequest(topics=[topic]), 12)))


@pytest.mark.parametrize("kind", SAMPLES)
def test_every_cut_of_every_message_is_refused(kind: str) -> None:
    for name, version in message_versions():
        message_class = getattr(messages, name)
        view = memoryview(b"".join(encode(sample(message_class, version, kind), version)))
        decode_version = decoder(message_class, version)
        step = 1 if kind != "long" else max(1, len(view) // 97)  # every byte of long ones would take a minute
        for cut in range(0, len(view), step):
            try:
                decode_version(view[:cut])
            except ProtocolError:
                continue
            pytest.fail(f"{name} version {version} accepted {cut} of {len(view)} bytes")


def test_every_cut_of_a_request_header_is_refused() -> None:
    for version in (0, 9):
        frame = b"".join(encode_request(3, version, 1, "client", MetadataRequest()))[4:]
        _, body = decode_request_header(memoryview(frame))
        for cut in range(body):
            with pytest.raises(ProtocolError):
                decode_request_header(memoryview(frame)[:cut])


def test_every_cut_of_a_response_frame_is_refused() -> None:
    body = b"".join(encode(sample(MetadataResponse, 12, "filled"), 12))
    frame = memoryview(struct.pack(">ib", 5, 0) + body)
    assert decode_response(3, 12, frame)[0] == 5
    for cut in range(len(frame)):
        with pytest.raises(ProtocolError):
            decode_response(3, 12, frame[:cut])


@pytest.mark.parametrize("seed", range(3))
def test_changed_bytes_give_a_message_or_a_protocol_error(seed: int) -> None:
    chance = random.Random(seed)
    for name, version in message_versions():
        message_class = getattr(messages, name)
        kind = chance.choice(SAMPLES)
        wire = bytearray(b"".join(encode(sample(message_class, version, kind), version)))
        decode_version = decoder(message_class, version)
        for _ in range(MUTATIONS_PER_MESSAGE if wire else 0):
            changed = bytearray(wire)
            for _ in range(chance.randint(1, 3)):
                changed[chance.randrange(len(changed))] = chance.choice((0, 1, 127, 128, 255, chance.randrange(256)))
            try:
                _, position = decode_version(memoryview(changed))
            except ProtocolError:
                continue
            assert position <= len(changed), (name, version)


@settings(max_examples=300, deadline=None)
@given(noise=st.binary(max_size=64), pair=st.sampled_from(sorted(message_versions())))
def test_noise_gives_a_message_or_a_protocol_error(noise: bytes, pair: tuple[str, int]) -> None:
    name, version = pair
    try:
        _, position = decode(getattr(messages, name), version, memoryview(noise))
    except ProtocolError:
        return
    assert position <= len(noise)


# Counts and budgets.


def test_a_count_that_the_bytes_cannot_hold_is_refused_before_anything_is_made() -> None:
    wire = struct.pack(">i", 2**31 - 1) + bytes(1000)
    with pytest.raises(ProtocolError, match="2147483647 elements in 1000 bytes"):
        decode(MetadataRequest, 1, memoryview(wire))


def test_a_count_is_checked_against_the_least_size_of_its_elements() -> None:
    """A fetch partition takes at least 33 bytes in version 12: 1,000 bytes hold 30 of them, not 31."""
    head = b"".join(encode(FetchRequest(topics=[]), 12))[:25]
    for count, message in ((31, "31 elements in 1000 bytes"), (30, "forgotten_topics_data may not be null")):
        wire = head + uvarint(2) + b"\x02t" + uvarint(count + 1) + bytes(1000)
        with pytest.raises(ProtocolError, match=message):
            decode(FetchRequest, 12, memoryview(wire))


def test_elements_past_the_budget_are_refused() -> None:
    names = 100_001
    wire = uvarint(names + 1) + b"\x01" * names + b"\x00\x00"
    with pytest.raises(ProtocolError, match="more than it may have in all"):
        decode(DescribeGroupsRequest, 5, memoryview(wire))
    message, _ = decode(DescribeGroupsRequest, 5, memoryview(wire), budget=Budget(names))
    assert len(message.groups) == names


def test_the_budget_is_one_for_all_arrays_of_a_request() -> None:
    topics = [OffsetDeleteRequest.OffsetDeleteRequestTopic(name="t", partitions=[]) for _ in range(10)]
    for topic in topics:
        partition = OffsetDeleteRequest.OffsetDeleteRequestPartition
        topic.partitions = [partition(partition_index=index) for index in range(10)]
    wire = memoryview(b"".join(encode(OffsetDeleteRequest(group_id="g", topics=topics), 0)))
    assert decode(OffsetDeleteRequest, 0, wire, budget=Budget(110))[1] == len(wire)
    with pytest.raises(ProtocolError, match="more than it may have in all"):
        decode(OffsetDeleteRequest, 0, wire, budget=Budget(109))


def test_large_responses_pay_for_elements_with_sixteen_bytes_each() -> None:
    topics = [MetadataResponse.MetadataResponseTopic(name=f"topic-{number:06}") for number in range(150_000)]
    wire = memoryview(b"".join(encode(MetadataResponse(topics=topics), 1)))
    assert len(wire) > 150_000 * 16
    message, _ = decode(MetadataResponse, 1, wire)
    assert len(message.topics) == 150_000


def test_large_requests_get_no_more_elements_than_small_ones() -> None:
    names = ["x" * 30] * 100_001
    wire = memoryview(b"".join(encode(DescribeGroupsRequest(groups=names), 5)))
    assert len(wire) > 100_001 * 16
    with pytest.raises(ProtocolError, match="more than it may have in all"):
        decode(DescribeGroupsRequest, 5, wire)


def test_a_small_frame_cannot_become_a_large_heap() -> None:
    """The worst case: the most elements that the default budget allows, each a structure of two bytes."""
    count = 100_000
    wire = memoryview(uvarint(count + 1) + b"\x01\x00" * count + bytes(4))
    tracemalloc.start()
    try:
        message, _ = decode(MetadataRequest, 9, wire)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert message.topics is not None
    assert len(message.topics) == count
    assert peak < 20_000_000
    refused = memoryview(uvarint(count + 2) + b"\x01\x00" * (count + 1) + bytes(4))
    with pytest.raises(ProtocolError):
        decode(MetadataRequest, 9, refused)


# Strings, lengths, nulls.


def test_a_name_that_is_not_utf8_is_refused() -> None:
    wire = bytearray(b"".join(encode(DescribeGroupsRequest(groups=["aaa"]), 0)))
    wire[-3:] = b"a\xffa"
    with pytest.raises(ProtocolError, match="utf-8"):
        decode(DescribeGroupsRequest, 0, memoryview(wire))


def test_a_client_id_that_is_not_utf8_is_replaced() -> None:
    wire = struct.pack(">hhih", 3, 1, 7, 3) + b"a\xffb"
    header, position = decode_request_header(memoryview(wire))
    assert header.client_id == "a�b"
    assert position == len(wire)


def test_a_negative_client_id_length_is_refused() -> None:
    with pytest.raises(ProtocolError, match="length -2"):
        decode_request_header(memoryview(struct.pack(">hhih", 3, 1, 7, -2)))


@pytest.mark.parametrize(
    ("version", "wire"),
    [(0, b"\xff\xff\xff\xff"), (5, b"\x00")],
    ids=["legacy", "compact"],
)
def test_null_where_it_may_not_be_is_refused(version: int, wire: bytes) -> None:
    with pytest.raises(ProtocolError, match="groups may not be null"):
        decode(DescribeGroupsRequest, version, memoryview(wire))


def test_a_negative_length_that_is_not_null_is_refused() -> None:
    with pytest.raises(ProtocolError, match="transactional_id has length -2"):
        decode(ProduceRequest, 3, memoryview(struct.pack(">h", -2) + bytes(20)))


def test_a_compact_string_past_32767_bytes_is_refused() -> None:
    for size, is_allowed in ((32_767, True), (32_768, False)):
        wire = memoryview(uvarint(2) + uvarint(size + 1) + b"x" * size + b"\x00\x00")
        if is_allowed:
            assert decode(DescribeGroupsRequest, 5, wire)[0].groups == ["x" * size]
        else:
            with pytest.raises(ProtocolError, match="32768 bytes"):
                decode(DescribeGroupsRequest, 5, wire)


@pytest.mark.parametrize("varint", [b"\xff" * 5 + b"\x01", b"\xff" * 10, b"\xff\xff\xff\xff\x7f"])
def test_a_varint_past_32_bits_is_refused(varint: bytes) -> None:
    with pytest.raises(ProtocolError, match="varint"):
        decode(DescribeGroupsRequest, 5, memoryview(varint + bytes(10)))


# Tagged fields.


def with_tags(*fields: tuple[int, bytes]) -> bytes:
    tags = b"".join(uvarint(tag) + uvarint(len(value)) + value for tag, value in fields)
    return uvarint(len(fields)) + tags


@pytest.mark.parametrize("kind", ["defaults", "filled"])
def test_unknown_tagged_fields_are_skipped_in_every_message(kind: str) -> None:
    for name, version in message_versions():
        message_class = getattr(messages, name)
        if not message_class.schema.is_flexible(version) or message_class.struct.tagged_fields(version):
            continue
        message = sample(message_class, version, kind)
        wire = b"".join(encode(message, version))
        tagged = memoryview(wire[:-1] + with_tags((5, b"five"), (90, b""), (70_000, b"x" * 300)))
        decoded, position = decode(message_class, version, tagged)
        assert decoded == message, (name, version)
        assert position == len(tagged), (name, version)


def test_unknown_tags_beside_known_ones_are_skipped() -> None:
    wire = flexible_fetch()
    assert wire[-1] == 0
    view = memoryview(bytes(wire[:-1]) + with_tags((0, b"\x08cluster"), (3, b"new")))
    request, position = decode(FetchRequest, 12, view)
    assert request.cluster_id == "cluster"
    assert position == len(view)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        (with_tags((3, b""), (2, b"")), "tags ascend"),
        (with_tags((3, b""), (3, b"")), "tags ascend"),
        (with_tags((0, b"\x08cluster!")), "does not have the size"),
        (with_tags((0, b"\x08clu")), "does not have the size|after the message|cut short"),
        (with_tags(*((tag, b"") for tag in range(1, 66))), "more than 64"),
        (b"\x01\x05\x7fxx", "after the message"),
        (b"\xff\xff\xff\xff\x0f", "more than 64"),
    ],
)
def test_broken_tagged_fields_are_refused(tags: bytes, message: str) -> None:
    view = memoryview(bytes(flexible_fetch()[:-1]) + tags)
    with pytest.raises(ProtocolError, match=message):
        decode(FetchRequest, 12, view)


def test_skipped_tags_are_not_kept() -> None:
    big = b"x" * 1_000_000
    view = memoryview(b"\x01\x01" + with_tags((9, big)))
    tracemalloc.start()
    try:
        decode(ApiVersionsRequest, 3, view)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000
