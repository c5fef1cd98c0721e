"""Micro-benchmarks of the wire's codecs: what a broker does with a frame of each hot API.

Rows are: read a request with its header, or build a response's objects and write its frame.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from uuid import UUID

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.codec import decoder
from pybroker_protocol.frame import encode_request, encode_response
from pybroker_protocol.header import decode_request_header, request_class
from pybroker_protocol.messages import (
    FetchRequest,
    FetchResponse,
    ListOffsetsRequest,
    MetadataRequest,
    MetadataResponse,
    ProduceRequest,
    ProduceResponse,
)
from pybroker_protocol.schema.classes import Message

TOPIC_ID = UUID("12345678-1234-5678-1234-567812345678")
RECORDS = memoryview(bytes(1024))


def produce_request(partitions: int) -> ProduceRequest:
    data = [ProduceRequest.PartitionProduceData(index=index, records=RECORDS) for index in range(partitions)]
    topic = ProduceRequest.TopicProduceData(name="orders", topic_id=TOPIC_ID, partition_data=data)
    return ProduceRequest(transactional_id=None, acks=-1, timeout_ms=30_000, topic_data=[topic])


def fetch_request(partitions: int) -> FetchRequest:
    wanted = [
        FetchRequest.FetchPartition(partition=index, fetch_offset=1000, partition_max_bytes=1 << 20)
        for index in range(partitions)
    ]
    topic = FetchRequest.FetchTopic(topic="orders", topic_id=TOPIC_ID, partitions=wanted)
    return FetchRequest(max_wait_ms=500, min_bytes=1, topics=[topic])


def list_offsets_request(partitions: int) -> ListOffsetsRequest:
    wanted = [
        ListOffsetsRequest.ListOffsetsPartition(partition_index=index, timestamp=-1) for index in range(partitions)
    ]
    return ListOffsetsRequest(topics=[ListOffsetsRequest.ListOffsetsTopic(name="orders", partitions=wanted)])


def produce_response(partitions: int) -> ProduceResponse:
    answers = [
        ProduceResponse.PartitionProduceResponse(index=index, base_offset=1000, log_start_offset=0)
        for index in range(partitions)
    ]
    topic = ProduceResponse.TopicProduceResponse(name="orders", topic_id=TOPIC_ID, partition_responses=answers)
    return ProduceResponse(responses=[topic])


def fetch_response(partitions: int) -> FetchResponse:
    answers = [
        FetchResponse.PartitionData(
            partition_index=index,
            high_watermark=1000,
            last_stable_offset=1000,
            log_start_offset=0,
            aborted_transactions=None,
            records=RECORDS,
        )
        for index in range(partitions)
    ]
    topic = FetchResponse.FetchableTopicResponse(topic="orders", topic_id=TOPIC_ID, partitions=answers)
    return FetchResponse(responses=[topic])


def metadata_response(brokers: int, topics: int, partitions: int) -> MetadataResponse:
    return MetadataResponse(
        brokers=[
            MetadataResponse.MetadataResponseBroker(node_id=node, host=f"broker-{node}", port=9092, rack=None)
            for node in range(brokers)
        ],
        cluster_id="cluster",
        controller_id=1,
        topics=[
            MetadataResponse.MetadataResponseTopic(
                name=f"topic-{number}",
                topic_id=TOPIC_ID,
                partitions=[
                    MetadataResponse.MetadataResponsePartition(
                        partition_index=index, leader_id=1, leader_epoch=0, replica_nodes=[1, 2, 3], isr_nodes=[1, 2, 3]
                    )
                    for index in range(partitions)
                ],
            )
            for number in range(topics)
        ],
    )


def parse(api_key: ApiKey, version: int, message: Message) -> Callable[[], object]:
    """Header and body of a request, as the broker's connection reads it."""
    frame = memoryview(b"".join(encode_request(api_key, version, 7, "a-client", message)))[4:]
    decode = decoder(request_class(api_key), version)

    def work() -> object:
        _, position = decode_request_header(frame)
        return decode(frame, position)

    return work


def write(api_key: ApiKey, version: int, build: Callable[[], Message]) -> Callable[[], object]:
    """The objects of a response and its frame."""
    return lambda: encode_response(api_key, version, 7, build())


def rows() -> dict[str, Callable[[], object]]:
    header = memoryview(b"".join(encode_request(ApiKey.METADATA, 12, 7, "a-client", MetadataRequest())))[4:]
    found: dict[str, Callable[[], object]] = {"parse request header v2": lambda: decode_request_header(header)}
    for version in (7, 9, 10, 13):
        for count in (1, 10):
            label = f"parse Produce v{version}, {count} x 1 KB"
            found[label] = parse(ApiKey.PRODUCE, version, produce_request(count))
    for version in (12, 16):
        for count in (1, 10):
            found[f"parse Fetch v{version}, {count} partitions"] = parse(ApiKey.FETCH, version, fetch_request(count))
    found["parse ListOffsets v7, 10 partitions"] = parse(ApiKey.LIST_OFFSETS, 7, list_offsets_request(10))
    for version in (7, 10):
        for count in (1, 10):
            label = f"build + write Produce v{version} response, {count} partitions"
            found[label] = write(ApiKey.PRODUCE, version, partial(produce_response, count))
    for version in (12, 16):
        for count in (1, 10):
            label = f"build + write Fetch v{version} response, {count} x 1 KB"
            found[label] = write(ApiKey.FETCH, version, partial(fetch_response, count))
    response = fetch_response(10)
    found["write Fetch v16 response, 10 x 1 KB, built before"] = write(ApiKey.FETCH, 16, lambda: response)
    label = "build + write Metadata v12 response, 3 brokers, 10 topics x 3"
    found[label] = write(ApiKey.METADATA, 12, partial(metadata_response, 3, 10, 3))
    return found
