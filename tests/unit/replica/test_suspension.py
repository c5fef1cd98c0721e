"""A broker whose lease ran out: it serves nothing that another could lead, and goes on as if nothing had been."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.one_broker import NODE, Answer, OneBroker, batch, topic_image

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.messages import ProduceRequest
from pybroker_server.handlers.produce import handle_produce


def a_broker() -> OneBroker:
    """Leads `t`, of which broker 2 has a replica out of sync, and `mine`, of which nobody else has one."""
    broker = OneBroker()
    shared = topic_image("t", replicas=(NODE, 2))
    alone_in_sync = replace(shared.partitions[0], isr=(NODE,))
    broker.show_topics(replace(shared, partitions=(alone_in_sync,)), topic_image("mine"))
    return broker


def refusal(broker: OneBroker, topic: str) -> ErrorCode:
    try:
        broker.partition(topic).check_leader()
    except KafkaError as error:
        return error.code
    return ErrorCode.NONE


def test_only_what_others_could_lead_is_refused() -> None:
    broker = a_broker()
    broker.manager.on_fenced()
    assert refusal(broker, "t") is ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert refusal(broker, "mine") is ErrorCode.NONE
    with pytest.raises(KafkaError):
        broker.append(b"v", topic="t")
    assert broker.append(b"v", topic="mine") == 0
    broker.manager.on_unfenced()
    assert refusal(broker, "t") is ErrorCode.NONE
    assert broker.append(b"v", topic="t") == 0


def test_a_flush_that_ended_meanwhile_counts() -> None:
    broker = a_broker()
    broker.append(b"v", topic="t", flush=False)
    broker.manager.on_fenced()
    broker.flush()
    assert broker.partition("t").high_watermark == 0
    broker.manager.on_unfenced()
    assert broker.partition("t").high_watermark == 1


def test_a_disk_that_failed_meanwhile_is_not_forgotten() -> None:
    broker = a_broker()
    broker.append(b"v", topic="t", flush=False)
    broker.manager.on_fenced()
    broker.flush(OSError("the disk"))
    broker.manager.on_unfenced()
    assert refusal(broker, "t") is ErrorCode.KAFKA_STORAGE_ERROR


def test_another_leader_meanwhile_is_followed() -> None:
    broker = a_broker()
    broker.manager.on_fenced()
    broker.show_topics(topic_image("t", replicas=(NODE, 2), leader=2, leader_epoch=1, partition_epoch=1))
    assert broker.partition("t").error is ErrorCode.NONE
    broker.manager.on_unfenced()
    assert refusal(broker, "t") is ErrorCode.NOT_LEADER_OR_FOLLOWER


def test_a_topic_that_appears_meanwhile_is_not_led_yet() -> None:
    broker = a_broker()
    broker.manager.on_fenced()
    broker.show_topics(topic_image("new", replicas=(NODE, 2)))
    assert refusal(broker, "new") is ErrorCode.NOT_LEADER_OR_FOLLOWER
    broker.manager.on_unfenced()
    assert refusal(broker, "new") is ErrorCode.NONE


def test_a_request_that_comes_before_the_timers_is_refused_all_the_same() -> None:
    """As after the process stood still: nothing has told the broker yet that its lease is over."""
    broker = a_broker()
    told: list[str] = []

    def over() -> None:
        told.append("over")
        broker.manager.on_fenced()

    broker.manager.on_lease_over = over
    broker.manager.lease_ends_ms = broker.time.monotonic_ms() + 10
    broker.manager.check_lease(broker.time.monotonic_ms())
    assert refusal(broker, "t") is ErrorCode.NONE
    broker.time.advance_ms(10)
    for topic in ("t", "mine", "t"):
        data = ProduceRequest.PartitionProduceData(index=0, records=batch(b"v"))
        request = ProduceRequest(
            acks=1,
            timeout_ms=1_000,
            topic_data=[ProduceRequest.TopicProduceData(name=topic, partition_data=[data])],
        )
        answer = Answer(handle_produce(broker.services, broker.context(ApiKey.PRODUCE, 12), request))
        code = answer.response.responses[0].partition_responses[0].error_code
        assert code == (ErrorCode.NONE if topic == "mine" else ErrorCode.NOT_LEADER_OR_FOLLOWER)
    assert told == ["over"]
