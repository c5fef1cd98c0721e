"""What the codec promises beside the bytes: what is copied, what defaults are, what other versions lack."""

from __future__ import annotations

import linecache
import traceback
from uuid import UUID

import pytest

from pybroker_protocol import messages
from pybroker_protocol.codec import Buffer, decode, encode, encoder, schema_of
from pybroker_protocol.errors import ProtocolError
from pybroker_protocol.messages import (
    ApiVersionsResponse,
    ConsumerGroupHeartbeatResponse,
    FetchRequest,
    FetchResponse,
    MetadataRequest,
    OffsetCommitRequest,
    ProduceRequest,
    ProduceResponse,
)
from pybroker_protocol.schema.compiler import decoder_source, encoder_source


def produce(records: Buffer | None) -> ProduceRequest:
    data = ProduceRequest.PartitionProduceData(index=0, records=records)
    return ProduceRequest(topic_data=[ProduceRequest.TopicProduceData(name="t", partition_data=[data])])


def test_decoded_records_are_a_slice_of_the_buffer() -> None:
    frame = bytearray(b"".join(encode(produce(b"abcdef"), 9)))
    request, _ = decode(ProduceRequest, 9, memoryview(frame))
    records = request.topic_data[0].partition_data[0].records
    assert records is not None
    frame[frame.index(b"abcdef")] = ord("X")
    assert bytes(records) == b"Xbcdef"
    records[1] = ord("Y")
    assert b"XYcdef" in frame


@pytest.mark.parametrize("version", [3, 9])
def test_large_records_go_out_by_reference_and_small_ones_do_not(version: int) -> None:
    small, large = memoryview(bytes(4095)), memoryview(bytes(4096))
    assert len(encode(produce(small), version)) == 1
    pieces = encode(produce(large), version)
    assert len(pieces) == 3
    assert pieces[1] is large


def test_pieces_keep_their_order_when_many_records_are_large() -> None:
    payloads = [bytes([number]) * 5000 for number in range(3)]
    partitions = [
        FetchResponse.PartitionData(partition_index=number, aborted_transactions=None, records=payload)
        for number, payload in enumerate(payloads)
    ]
    response = FetchResponse(responses=[FetchResponse.FetchableTopicResponse(topic="t", partitions=partitions)])
    pieces = encode(response, 12)
    assert len(pieces) == 7
    decoded, _ = decode(FetchResponse, 12, memoryview(b"".join(pieces)))
    assert [bytes(partition.records or b"") for partition in decoded.responses[0].partitions] == payloads


def test_records_of_any_buffer_become_a_memoryview() -> None:
    for records in (b"abc", bytearray(b"abc"), memoryview(b"abc")):
        made = ProduceRequest.PartitionProduceData(records=records).records
        assert isinstance(made, memoryview)
        assert made.tobytes() == b"abc"
    assert ProduceRequest.PartitionProduceData().records is None


def test_what_a_version_lacks_has_its_default() -> None:
    request, _ = decode(FetchRequest, 4, memoryview(b"".join(encode(FetchRequest(max_wait_ms=5), 4))))
    assert (request.max_wait_ms, request.session_epoch, request.rack_id) == (5, -1, "")
    assert request.forgotten_topics_data == []
    assert FetchRequest.FetchPartition().high_watermark == 2**63 - 1
    assert FetchRequest.FetchTopic().topic_id == UUID(int=0)


def test_defaults_that_can_change_are_not_shared() -> None:
    FetchRequest().topics.append(FetchRequest.FetchTopic())
    assert FetchRequest().topics == []


def test_a_value_that_a_version_lacks_is_dropped() -> None:
    with_rack = FetchRequest(rack_id="rack")
    assert encode(with_rack, 10) == encode(FetchRequest(), 10)
    assert encode(with_rack, 11) != encode(FetchRequest(), 11)


def test_a_tagged_structure_is_none_until_it_is_sent() -> None:
    partition = ProduceResponse.PartitionProduceResponse()
    assert partition.current_leader is None
    response = ProduceResponse(responses=[ProduceResponse.TopicProduceResponse(partition_responses=[partition])])
    without = b"".join(encode(response, 10))
    partition.current_leader = ProduceResponse.LeaderIdAndEpoch()
    assert b"".join(encode(response, 10)) == without, "a structure of defaults is what its absence means"
    partition.current_leader = ProduceResponse.LeaderIdAndEpoch(leader_id=3, leader_epoch=4)
    decoded, _ = decode(ProduceResponse, 10, memoryview(b"".join(encode(response, 10))))
    assert decoded == response


def test_a_structure_that_may_be_null_goes_both_ways() -> None:
    for assignment in (None, ConsumerGroupHeartbeatResponse.Assignment()):
        response = ConsumerGroupHeartbeatResponse(member_id="m", assignment=assignment)
        decoded, _ = decode(ConsumerGroupHeartbeatResponse, 0, memoryview(b"".join(encode(response, 0))))
        assert decoded.assignment == assignment


def test_null_and_empty_are_told_apart() -> None:
    choices: list[list[MetadataRequest.MetadataRequestTopic] | None] = [None, []]
    for topics in choices:
        for version in (1, 9):
            request = MetadataRequest(topics=topics)
            decoded, _ = decode(MetadataRequest, version, memoryview(b"".join(encode(request, version))))
            assert decoded.topics == topics


def test_messages_are_equal_by_their_fields_and_not_hashable() -> None:
    assert FetchRequest(max_bytes=1) == FetchRequest(max_bytes=1)
    assert FetchRequest(max_bytes=1) != FetchRequest(max_bytes=2)
    assert FetchRequest() != MetadataRequest()
    with pytest.raises(TypeError):
        hash(FetchRequest())


def test_a_message_shows_its_fields_but_not_its_records() -> None:
    shown = repr(produce(bytes(77)))
    assert "acks=0" in shown
    assert "records=<77 bytes>" in shown
    assert "ProduceRequest.PartitionProduceData(" in shown


def test_an_unknown_field_is_an_error() -> None:
    with pytest.raises(TypeError, match="no_such_field"):
        FetchRequest(no_such_field=1)  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        FetchRequest().no_such_field = 1  # type: ignore[attr-defined]


def test_a_version_that_is_not_declared_is_a_protocol_error() -> None:
    with pytest.raises(ProtocolError, match="no version 19"):
        decode(FetchRequest, 19, memoryview(b""))
    with pytest.raises(ProtocolError, match="no version 3"):
        encode(FetchRequest(), 3)


def test_a_name_that_is_no_message_is_an_attribute_error() -> None:
    for name in ("NoSuchRequest", "fetch", "NoSuchThing", "FetchKey"):
        with pytest.raises(AttributeError, match=name):
            getattr(messages, name)


def test_generated_code_can_be_read_and_is_shown_in_tracebacks() -> None:
    assert "def decode(" in decoder_source(FetchRequest, 12)
    assert "def encode(" in encoder_source(FetchRequest, 12)
    request = OffsetCommitRequest(group_id=None)  # type: ignore[arg-type]
    with pytest.raises(AttributeError) as caught:
        encode(request, 8)
    linecache.checkcache()
    shown = "".join(traceback.format_exception(caught.value))
    assert "<OffsetCommitRequest v8 encoder>" in shown
    assert "o.group_id.encode()" in shown


def test_functions_are_compiled_once() -> None:
    assert encoder(FetchRequest, 12) is encoder(FetchRequest, 12)


def test_the_schema_can_be_asked() -> None:
    schema = schema_of(ApiVersionsResponse)
    assert (schema.key, schema.versions, schema.is_flexible(2), schema.is_flexible(3)) == (18, (0, 4), False, True)
