"""DescribeProducers: who writes to a partition."""

from __future__ import annotations

from typing import Any

from tests.support.one_broker import OneBroker, batch, topic_image

from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import DescribeProducersRequest
from pybroker_server.handlers.describe_producers import handle_describe_producers


def ask(broker: OneBroker, topic: str, *indexes: int) -> list[Any]:
    asked = DescribeProducersRequest.TopicRequest(name=topic, partition_indexes=list(indexes))
    request = DescribeProducersRequest(topics=[asked])
    (answer,) = handle_describe_producers(broker.services, broker.context(61, 0), request).topics
    assert answer.name == topic
    return answer.partitions


def test_producers_of_each_partition() -> None:
    broker = OneBroker()
    broker.show_topics(topic_image("t", 2))
    records = batch(b"a", b"b", producer=(7, 3, 0), timestamps=[500, 900])
    broker.partition().append(records, 1, 0, 0)
    busy, quiet = ask(broker, "t", 0, 1)
    (producer,) = busy.active_producers
    assert (producer.producer_id, producer.producer_epoch, producer.last_sequence) == (7, 3, 1)
    assert (producer.last_timestamp, producer.coordinator_epoch, producer.current_txn_start_offset) == (900, -1, -1)
    assert (quiet.error_code, quiet.active_producers) == (0, [])


def test_partitions_that_are_not_here() -> None:
    broker = OneBroker()
    broker.show_topics(topic_image("t"), topic_image("far", replicas=(1, 2), leader=2))
    assert [p.error_code for p in ask(broker, "t", 9)] == [ErrorCode.UNKNOWN_TOPIC_OR_PARTITION]
    (far,) = ask(broker, "far", 0)
    assert far.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert far.error_message
    assert far.active_producers == []
