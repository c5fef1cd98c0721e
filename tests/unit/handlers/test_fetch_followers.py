"""Fetches of followers, and of consumers that may read from them: what counts, what waits, who is sent where."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from tests.support.one_broker import Answer, OneBroker, batch, topic_id_of, topic_image

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import FetchRequest, ProduceRequest
from pybroker_protocol.records.batch import iter_batches
from pybroker_server.handlers.fetch import handle_fetch
from pybroker_server.handlers.produce import handle_produce
from pybroker_server.metadata.image import BrokerImage, Endpoint
from pybroker_server.replica.partition_state import IsrChange
from pybroker_server.replica.selector import RACK_AWARE_SELECTOR

Part = FetchRequest.FetchPartition
FOLLOWER, EPOCH = 2, 20
LEADER_EPOCH = 7


@pytest.fixture
def broker() -> OneBroker:
    """Leads a partition with broker 2 in sync, which is registered under epoch 20."""
    made = OneBroker({"replica.selector.class": RACK_AWARE_SELECTOR})
    made.connection.is_inter_broker = True
    made.show_topics(topic_image("t", replicas=(1, 2), leader_epoch=LEADER_EPOCH))
    return made


def part(offset: int, *, leader_epoch: int = LEADER_EPOCH, last_epoch: int = -1) -> FetchRequest.FetchPartition:
    return Part(
        partition=0,
        fetch_offset=offset,
        partition_max_bytes=1 << 20,
        current_leader_epoch=leader_epoch,
        last_fetched_epoch=last_epoch,
        log_start_offset=0,
    )


def request(broker: OneBroker, *asked: FetchRequest.FetchPartition, **fields: Any) -> Any:
    topics = [FetchRequest.FetchTopic(topic_id=topic_id_of("t"), partitions=list(asked))] if asked else []
    sent = FetchRequest(max_bytes=1 << 20, min_bytes=1, topics=topics, **fields)
    return handle_fetch(broker.services, broker.context(ApiKey.FETCH, 18), sent)


def fetch(broker: OneBroker, *asked: FetchRequest.FetchPartition, epoch: int = EPOCH, **fields: Any) -> Any:
    state = FetchRequest.ReplicaState(replica_id=FOLLOWER, replica_epoch=epoch)
    return request(broker, *asked, replica_state=state, **fields)


def begin(broker: OneBroker, offset: int = 0) -> int:
    """The follower's session, from `offset` on."""
    response = fetch(broker, part(offset), session_epoch=0, max_wait_ms=500)
    assert response.session_id
    return int(response.session_id)


def only(response: Any) -> Any:
    ((data,),) = [topic.partitions for topic in response.responses]
    return data


def offsets(data: Any) -> list[int]:
    return [header.base_offset for _, header in iter_batches(data.records)]


def produce(broker: OneBroker) -> Answer:
    records = ProduceRequest.PartitionProduceData(index=0, records=batch(b"v"))
    topics = [ProduceRequest.TopicProduceData(topic_id=topic_id_of("t"), partition_data=[records])]
    sent = ProduceRequest(acks=-1, timeout_ms=1_000, topic_data=topics)
    return Answer(handle_produce(broker.services, broker.context(ApiKey.PRODUCE, 13), sent))


def test_a_follower_reads_past_the_high_watermark_and_what_it_asks_for_moves_it(broker: OneBroker) -> None:
    answer = produce(broker)
    broker.flush()
    assert answer.is_waiting, "the follower does not have it"
    data = only(fetch(broker, part(0)))
    assert (offsets(data), data.high_watermark) == ([0], 0)
    assert answer.is_waiting, "sent is not flushed"
    assert only(fetch(broker, part(1, last_epoch=LEADER_EPOCH))).high_watermark == 1
    broker.settle()
    assert answer.response.responses[0].partition_responses[0].error_code == 0


def test_a_waiting_follower_is_answered_by_the_append_not_by_the_flush(broker: OneBroker) -> None:
    session = begin(broker)
    answer = Answer(fetch(broker, session_id=session, session_epoch=1, max_wait_ms=500))
    assert answer.is_waiting
    produce(broker)
    broker.settle()
    assert offsets(only(answer.response)) == [0]


def test_news_of_the_high_watermark_is_told_at_once(broker: OneBroker) -> None:
    session = begin(broker)
    produce(broker)
    broker.flush()
    assert offsets(only(fetch(broker, session_id=session, session_epoch=1, max_wait_ms=500))) == [0]
    data = only(fetch(broker, part(1, last_epoch=LEADER_EPOCH), session_id=session, session_epoch=2, max_wait_ms=500))
    assert (offsets(data), data.high_watermark) == ([], 1)
    assert Answer(fetch(broker, session_id=session, session_epoch=3, max_wait_ms=500)).is_waiting


def test_a_fetch_that_waits_is_answered_when_its_connection_has_more_to_say(broker: OneBroker) -> None:
    session = begin(broker)
    answer = Answer(fetch(broker, session_id=session, session_epoch=1, max_wait_ms=500))
    assert answer.pending is not None
    answer.pending.hurry()
    assert answer.response.responses == []
    assert len(broker.manager.purgatory) == 0
    broker.append(b"v")
    answer.pending.hurry()


def test_a_partition_with_nothing_new_is_not_read_and_its_follower_stays_in_sync(broker: OneBroker) -> None:
    session = begin(broker)
    reads = broker.log().reads
    for epoch in range(1, 10):
        broker.time.advance_ms(20_000)
        assert fetch(broker, session_id=session, session_epoch=epoch).responses == []
    assert broker.log().reads == reads
    broker.append(b"v")
    assert broker.partition().state.propose_shrink(broker.time.monotonic_ms()) is None
    assert offsets(only(fetch(broker, session_id=session, session_epoch=10))) == [0]


@pytest.mark.parametrize(
    ("asked", "epoch", "code"),
    [
        (part(0, leader_epoch=6), EPOCH, ErrorCode.FENCED_LEADER_EPOCH),
        (part(0, leader_epoch=8), EPOCH, ErrorCode.UNKNOWN_LEADER_EPOCH),
        (part(0, leader_epoch=-1), EPOCH, ErrorCode.NOT_LEADER_OR_FOLLOWER),
        (part(0), EPOCH - 1, ErrorCode.NOT_LEADER_OR_FOLLOWER),
        (part(1), EPOCH, ErrorCode.OFFSET_OUT_OF_RANGE),
    ],
)
def test_a_fetch_that_does_not_fit_changes_nothing(
    broker: OneBroker, asked: FetchRequest.FetchPartition, epoch: int, code: ErrorCode
) -> None:
    assert only(fetch(broker, asked, epoch=epoch)).error_code == code
    assert broker.partition().state.followers[FOLLOWER].last_fetch_ms < 0


def test_a_replica_that_is_not_assigned_yet_is_told_to_wait(broker: OneBroker) -> None:
    state = FetchRequest.ReplicaState(replica_id=3, replica_epoch=1)
    assert only(request(broker, part(0), replica_state=state)).error_code == ErrorCode.UNKNOWN_LEADER_EPOCH


def test_a_diverging_follower_is_told_where_and_does_not_count(broker: OneBroker) -> None:
    broker.append(b"v")
    broker.log().assign_epoch_start(LEADER_EPOCH)
    data = only(fetch(broker, part(1, last_epoch=3)))
    assert data.error_code == 0
    assert data.diverging_epoch.epoch <= 3
    assert broker.partition().state.followers[FOLLOWER].last_fetch_ms < 0


def test_where_clients_connect_no_replica_is_served(broker: OneBroker) -> None:
    broker.connection.is_inter_broker = False
    assert only(fetch(broker, part(0))).error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER


def test_who_caught_up_is_proposed_for_the_isr_once() -> None:
    broker = OneBroker()
    broker.connection.is_inter_broker = True
    proposed: list[IsrChange] = []
    broker.manager._on_isr_change = lambda partition, change: proposed.append(change)
    image = topic_image("t", replicas=(1, 2), leader_epoch=LEADER_EPOCH)
    broker.show_topics(replace(image, partitions=(replace(image.partitions[0], isr=(1,)),)))
    broker.append(b"v")
    fetch(broker, part(0))
    assert proposed == []
    fetch(broker, part(1, last_epoch=LEADER_EPOCH))
    fetch(broker, part(1, last_epoch=LEADER_EPOCH))
    assert [(change.isr, change.broker_epochs) for change in proposed] == [((1, 2), ((2, EPOCH),))]
    assert broker.partition().state.maximal_isr == {1, 2}


def test_a_throttled_follower_that_is_not_in_sync_gets_its_share_and_one_in_sync_is_never_held_back() -> None:
    broker = OneBroker({"leader.replication.throttled.rate": "1"})
    broker.connection.is_inter_broker = True
    configs = {"leader.replication.throttled.replicas": "0:1"}
    in_sync = topic_image("t", replicas=(1, 2), leader_epoch=LEADER_EPOCH, configs=configs)
    outside = replace(in_sync.partitions[0], isr=(1,))
    broker.show_topics(replace(in_sync, partitions=(outside,)))
    for _ in range(2):
        broker.append(b"v")
    assert offsets(only(fetch(broker, part(0)))) == [0, 1]
    assert offsets(only(fetch(broker, part(0)))) == []
    broker.time.advance_ms(3_600_000)
    assert offsets(only(fetch(broker, part(0)))) == [0, 1]
    broker.show_topics(replace(in_sync, partitions=(replace(in_sync.partitions[0], partition_epoch=1),)))
    assert offsets(only(fetch(broker, part(0)))) == [0, 1]


def test_a_consumer_is_sent_elsewhere_while_a_replica_is_being_truncated() -> None:
    broker = OneBroker()
    broker.show_topics(topic_image("t", replicas=(1, 2), leader=2))
    broker.partition().is_resting = True
    response = request(broker, part(0, leader_epoch=-1), max_wait_ms=500)
    assert only(response).error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER


class TestNearestReplica:
    def send_to(self, broker: OneBroker, rack: str, offset: int = 0, version: int = 18) -> int:
        topics = [FetchRequest.FetchTopic(topic_id=topic_id_of("t"), topic="t", partitions=[part(offset)])]
        sent = FetchRequest(max_bytes=1 << 20, min_bytes=1, topics=topics, rack_id=rack)
        response = Answer(handle_fetch(broker.services, broker.context(ApiKey.FETCH, version), sent))
        return int(only(response.response).preferred_read_replica) if not response.is_waiting else -1

    def test_a_consumer_is_sent_to_the_replica_on_its_rack(self, broker: OneBroker) -> None:
        broker.append(b"v")
        fetch(broker, part(1))
        assert self.send_to(broker, "rack2") == FOLLOWER
        assert self.send_to(broker, "rack1") == -1, "the leader is on it"
        assert self.send_to(broker, "rack9") == -1
        assert self.send_to(broker, "") == -1

    def test_not_to_one_that_lacks_what_it_asks_for_or_cannot_be_reached(self, broker: OneBroker) -> None:
        broker.append(b"v")
        fetch(broker, part(0))
        assert self.send_to(broker, "rack2", offset=1) == -1
        fetch(broker, part(1))
        away = BrokerImage(2, EPOCH, (Endpoint("OTHER", "host", 1),), rack="rack2")
        broker.show(brokers=MappingProxyType({**broker.metadata.image.brokers, 2: away}))
        assert self.send_to(broker, "rack2") == -1
