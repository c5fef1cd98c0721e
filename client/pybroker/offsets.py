"""Questions for offsets: where a partition begins and ends, and which record was the first at or after a time.

Rules: asked of the leader; an answer for each partition, an offset or the error that it got.
"""

from __future__ import annotations

from collections.abc import Mapping

from pybroker.client import Client
from pybroker.errors import KafkaError, error_for
from pybroker.metadata import TopicPartition
from pybroker.partition_reader import EARLIEST, LATEST, Start, timestamp_of
from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.messages import ListOffsetsRequest, ListOffsetsResponse

__all__ = ["ask_offsets"]

Outcome = int | KafkaError


async def ask_offsets(
    client: Client, node: int, starts: Mapping[TopicPartition, Start], *, read_committed: bool = False
) -> dict[TopicPartition, Outcome]:
    """The offsets that these starts mean, of partitions that `node` leads.

    A time after the last record means the end; a negative number that many records before the end, but not before the
    beginning; any other number itself. Raises `KafkaError` when the broker does not answer.
    """
    found = await _ask(client, node, {tp: timestamp_of(start) for tp, start in starts.items()}, read_committed)
    late = [tp for tp, offset in found.items() if offset == -1]
    if late:
        found |= await _ask(client, node, dict.fromkeys(late, LATEST), read_committed)
    from_end = {tp: start for tp, start in starts.items() if isinstance(start, int) and start < 0}
    if from_end:
        first = await _ask(client, node, dict.fromkeys(from_end, EARLIEST), read_committed)
        for tp, back in from_end.items():
            end, begin = found.get(tp), first.get(tp)
            if isinstance(end, int) and isinstance(begin, int):
                found[tp] = max(end + back, begin)
            elif isinstance(begin, KafkaError):
                found[tp] = begin
    for tp, start in starts.items():
        if isinstance(start, int) and start >= 0 and isinstance(found.get(tp), int):
            found[tp] = start
    return found


async def _ask(
    client: Client, node: int, timestamps: Mapping[TopicPartition, int], read_committed: bool
) -> dict[TopicPartition, Outcome]:
    topics: dict[str, ListOffsetsRequest.ListOffsetsTopic] = {}
    for tp, timestamp in timestamps.items():
        topic = topics.setdefault(tp.topic, ListOffsetsRequest.ListOffsetsTopic(name=tp.topic, partitions=[]))
        view = client.cluster.partition(tp)
        topic.partitions.append(
            ListOffsetsRequest.ListOffsetsPartition(
                partition_index=tp.partition,
                current_leader_epoch=view.leader_epoch if view is not None else -1,
                timestamp=timestamp,
            )
        )
    request = ListOffsetsRequest(
        replica_id=-1,
        isolation_level=int(read_committed),
        topics=list(topics.values()),
        timeout_ms=int(client.request_timeout * 1000),
    )
    response: ListOffsetsResponse = await client.ask_node(node, ApiKey.LIST_OFFSETS, request)
    found: dict[TopicPartition, Outcome] = {}
    for answer in response.topics:
        for partition in answer.partitions:
            tp = TopicPartition(answer.name, partition.partition_index)
            if partition.error_code:
                found[tp] = error_for(partition.error_code, f"offsets of {tp}")
            else:
                found[tp] = partition.offset
    return found
