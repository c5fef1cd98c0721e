"""Fetch: what is returned under which limits, when it waits, and how sessions save words."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from tests.support.one_broker import Answer, OneBroker, batch, topic_id_of, topic_image

from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import FetchRequest
from pybroker_protocol.records.batch import iter_batches, patch_offset_and_epoch
from pybroker_server.handlers.fetch import handle_fetch
from pybroker_server.metadata.image import PartitionImage

Topic = FetchRequest.FetchTopic
Part = FetchRequest.FetchPartition
BATCH = 70
"""Bytes of a batch of one record with a one-byte key and value."""


@pytest.fixture
def broker() -> OneBroker:
    made = OneBroker()
    made.show_topics(topic_image("t", 3))
    return made


def part(
    index: int = 0, offset: int = 0, *, max_bytes: int = 1 << 20, leader_epoch: int = -1, last_epoch: int = -1
) -> FetchRequest.FetchPartition:
    return Part(
        partition=index,
        fetch_offset=offset,
        partition_max_bytes=max_bytes,
        current_leader_epoch=leader_epoch,
        last_fetched_epoch=last_epoch,
    )


def fetch(broker: OneBroker, *asked: FetchRequest.FetchPartition, **fields: Any) -> Any:
    version = fields.pop("version", 12)
    topics = fields.pop("topics", [Topic(topic="t", partitions=list(asked))] if asked else [])
    request = FetchRequest(
        **{"max_wait_ms": 0, "min_bytes": 1, "max_bytes": 1 << 25, "topics": topics, "session_epoch": -1, **fields}
    )
    return handle_fetch(broker.services, broker.context(1, version), request)


def offsets(data: Any) -> list[int]:
    return [header.base_offset for _, header in iter_batches(data.records)]


def found(response: Any) -> dict[tuple[str, int], list[int]]:
    return {(t.topic, d.partition_index): offsets(d) for t in response.responses for d in t.partitions}


def only(response: Any) -> Any:
    ((data,),) = [topic.partitions for topic in response.responses]
    return data


def fill(broker: OneBroker, index: int = 0, batches: int = 3) -> None:
    for _ in range(batches):
        broker.append(b"v", index=index)


class TestReading:
    def test_everything_below_the_high_watermark(self, broker: OneBroker) -> None:
        fill(broker)
        broker.append(b"not flushed", flush=False)
        data = only(fetch(broker, part()))
        assert offsets(data) == [0, 1, 2]
        assert len(data.records) == 3 * BATCH
        assert (data.error_code, data.high_watermark, data.last_stable_offset, data.log_start_offset) == (0, 3, 3, 0)
        assert data.aborted_transactions is None
        assert data.preferred_read_replica == -1

    def test_the_batch_that_holds_the_offset_comes_whole(self, broker: OneBroker) -> None:
        broker.append(b"a", b"b", b"c")
        broker.append(b"d")
        assert offsets(only(fetch(broker, part(offset=2)))) == [0, 3]

    @pytest.mark.parametrize("offset", [3, 4])
    def test_at_and_above_the_high_watermark_there_is_nothing(self, broker: OneBroker, offset: int) -> None:
        fill(broker)
        broker.append(b"not flushed", flush=False)
        data = only(fetch(broker, part(offset=offset)))
        assert (data.error_code, data.high_watermark, len(data.records)) == (0, 3, 0)

    @pytest.mark.parametrize("offset", [-1, 0, 5])
    def test_out_of_range(self, broker: OneBroker, offset: int) -> None:
        fill(broker, batches=4)
        broker.partition().delete_records(1)
        data = only(fetch(broker, part(offset=offset)))
        assert data.error_code == ErrorCode.OFFSET_OUT_OF_RANGE
        assert (data.high_watermark, data.last_stable_offset, data.log_start_offset) == (-1, -1, -1)
        assert len(data.records) == 0

    @pytest.mark.parametrize(("epoch", "code"), [(2, 74), (4, 75), (3, 0)])
    def test_leader_epochs(self, epoch: int, code: int) -> None:
        broker = OneBroker()
        broker.show_topics(topic_image("t", leader_epoch=3))
        fill(broker)
        assert only(fetch(broker, part(leader_epoch=epoch))).error_code == code

    def test_divergence_is_told_with_no_records(self, broker: OneBroker) -> None:
        fill(broker)
        data = only(fetch(broker, part(offset=9, last_epoch=0), max_wait_ms=1_000))
        assert (data.error_code, data.high_watermark, len(data.records)) == (0, 3, 0)
        assert (data.diverging_epoch.epoch, data.diverging_epoch.end_offset) == (0, 3)
        unknown = only(fetch(broker, part(offset=1, last_epoch=6)))
        assert unknown.error_code == ErrorCode.OFFSET_OUT_OF_RANGE
        assert offsets(only(fetch(broker, part(offset=1, last_epoch=0)))) == [1, 2]

    def test_unknown_partitions(self, broker: OneBroker) -> None:
        response = fetch(
            broker, topics=[Topic(topic="nope", partitions=[part()]), Topic(topic="t", partitions=[part(9)])]
        )
        assert [d.error_code for t in response.responses for d in t.partitions] == [3, 3]

    def test_by_id_from_version_13(self, broker: OneBroker) -> None:
        fill(broker)
        topics = [Topic(topic_id=i, partitions=[part()]) for i in (topic_id_of("t"), UUID(int=77), UUID(int=0))]
        response = fetch(broker, topics=topics, version=13)
        assert [t.topic_id for t in response.responses] == [t.topic_id for t in topics]
        assert [d.error_code for t in response.responses for d in t.partitions] == [0, 100, 100]

    def test_a_disk_that_fails(self, broker: OneBroker) -> None:
        fill(broker)
        broker.log().failure = OSError(5, "Input/output error")
        for _ in range(2):
            assert only(fetch(broker, part())).error_code == ErrorCode.KAFKA_STORAGE_ERROR

    def test_replicas_do_not_fetch_here(self, broker: OneBroker) -> None:
        fill(broker)
        assert only(fetch(broker, part(), replica_id=2)).error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
        state = FetchRequest.ReplicaState(replica_id=2, replica_epoch=20)
        topics = [Topic(topic_id=topic_id_of("t"), partitions=[part()])]
        refused = only(fetch(broker, topics=topics, replica_state=state, version=15))
        assert refused.error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER

    def test_nonsense_is_refused(self, broker: OneBroker) -> None:
        fill(broker)
        assert fetch(broker, part(), isolation_level=7).error_code == ErrorCode.INVALID_REQUEST
        assert only(fetch(broker, part(max_bytes=-1))).error_code == ErrorCode.INVALID_REQUEST
        assert only(fetch(broker, part(), max_bytes=-1)).error_code == ErrorCode.INVALID_REQUEST


class TestLimits:
    def test_a_partitions_own(self, broker: OneBroker) -> None:
        fill(broker)
        assert offsets(only(fetch(broker, part(max_bytes=2 * BATCH + 1)))) == [0, 1]

    @pytest.mark.parametrize("limit", [0, 1, BATCH - 1])
    def test_one_batch_comes_whatever_its_size(self, broker: OneBroker, limit: int) -> None:
        fill(broker)
        assert offsets(only(fetch(broker, part(max_bytes=limit)))) == [0]
        assert offsets(only(fetch(broker, part(), max_bytes=limit))) == [0]

    def test_only_the_first_partition_with_data_may_exceed(self, broker: OneBroker) -> None:
        fill(broker, 1)
        fill(broker, 2)
        response = fetch(broker, part(0, max_bytes=1), part(1, max_bytes=1), part(2, max_bytes=1))
        assert found(response) == {("t", 0): [], ("t", 1): [0], ("t", 2): []}

    def test_the_requests_limit_is_shared_in_order(self, broker: OneBroker) -> None:
        for index in range(3):
            fill(broker, index)
        response = fetch(broker, part(2), part(0), part(1), max_bytes=4 * BATCH)
        assert list(found(response).items()) == [(("t", 2), [0, 1, 2]), (("t", 0), [0]), (("t", 1), [])]
        assert all(d.high_watermark == 3 for t in response.responses for d in t.partitions)

    def test_the_brokers_limit_is_on_top(self) -> None:
        broker = OneBroker({"fetch.max.bytes": "1024"})
        broker.show_topics(topic_image("t"))
        fill(broker, batches=20)
        assert len(offsets(only(fetch(broker, part())))) == 1024 // BATCH

    def test_a_partition_named_twice_is_read_where_it_was_named_last(self, broker: OneBroker) -> None:
        fill(broker)
        assert found(fetch(broker, part(0), part(1), part(0, offset=2))) == {("t", 0): [2], ("t", 1): []}

    def test_topics_are_grouped_where_they_follow_each_other(self, broker: OneBroker) -> None:
        broker.show_topics(topic_image("u"))
        topics = [
            Topic(topic="t", partitions=[part(1)]),
            Topic(topic="u", partitions=[part(0)]),
            Topic(topic="t", partitions=[part(0), part(2)]),
        ]
        response = fetch(broker, topics=topics)
        assert [(t.topic, len(t.partitions)) for t in response.responses] == [("t", 1), ("u", 1), ("t", 2)]


class TestWaiting:
    def test_until_one_byte_comes(self, broker: OneBroker) -> None:
        answer = Answer(fetch(broker, part(0), part(1), max_wait_ms=500))
        assert answer.is_waiting
        broker.append(b"v", index=1)
        assert found(answer.response) == {("t", 0): [], ("t", 1): [0]}

    def test_what_is_not_flushed_does_not_end_the_wait(self, broker: OneBroker) -> None:
        answer = Answer(fetch(broker, part(), max_wait_ms=500))
        broker.append(b"v", flush=False)
        broker.settle()
        assert answer.is_waiting
        broker.flush()
        assert found(answer.response) == {("t", 0): [0]}

    def test_until_enough_bytes_come(self, broker: OneBroker) -> None:
        fill(broker, 0, 1)
        answer = Answer(fetch(broker, part(0), part(1), max_wait_ms=500, min_bytes=3 * BATCH))
        broker.append(b"v", index=1)
        assert answer.is_waiting
        broker.append(b"v", index=0)
        assert found(answer.response) == {("t", 0): [0, 1], ("t", 1): [0]}

    def test_for_no_longer_than_allowed(self, broker: OneBroker) -> None:
        fill(broker, 0, 1)
        answer = Answer(fetch(broker, part(), max_wait_ms=500, min_bytes=10_000))
        broker.time.advance_ms(499)
        assert answer.is_waiting
        broker.time.advance_ms(1)
        assert found(answer.response) == {("t", 0): [0]}
        assert len(broker.manager.purgatory) == 0

    def test_more_than_fits_is_not_waited_for(self, broker: OneBroker) -> None:
        fill(broker)
        assert found(fetch(broker, part(), max_wait_ms=500, min_bytes=1_000, max_bytes=BATCH)) == {("t", 0): [0]}

    def test_errors_do_not_wait(self, broker: OneBroker) -> None:
        response = fetch(broker, part(0), part(9), max_wait_ms=500)
        assert [d.error_code for d in response.responses[0].partitions] == [0, 3]

    def test_nothing_asked_nothing_waited_for(self, broker: OneBroker) -> None:
        assert fetch(broker, max_wait_ms=500).responses == []

    def test_no_bytes_wanted_no_wait(self, broker: OneBroker) -> None:
        assert found(fetch(broker, part(), max_wait_ms=500, min_bytes=0)) == {("t", 0): []}

    def test_a_deleted_topic_ends_it(self, broker: OneBroker) -> None:
        answer = Answer(fetch(broker, part(), max_wait_ms=500))
        broker.hide_topic(topic_id_of("t"))
        broker.settle()
        assert only(answer.response).error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION

    def test_a_new_leader_ends_it(self, broker: OneBroker) -> None:
        topics = [Topic(topic_id=topic_id_of("t"), partitions=[part(leader_epoch=0)])]
        answer = Answer(fetch(broker, topics=topics, max_wait_ms=500, version=16))
        before_followers = Answer(fetch(broker, part(), max_wait_ms=500, version=10))
        broker.show_topics(topic_image("t", 3, replicas=(1, 2), leader=2, leader_epoch=4, partition_epoch=1))
        broker.settle()
        data = only(answer.response)
        assert data.error_code == ErrorCode.FENCED_LEADER_EPOCH
        assert only(before_followers.response).error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
        assert (data.current_leader.leader_id, data.current_leader.leader_epoch) == (2, 4)
        assert [(n.node_id, n.host, n.port) for n in answer.response.node_endpoints] == [(2, "host2", 9092)]

    def test_a_closed_connection_ends_it(self, broker: OneBroker) -> None:
        answer = Answer(fetch(broker, part(), max_wait_ms=500))
        assert answer.pending is not None
        answer.pending.abandon()
        assert len(broker.manager.purgatory) == 0
        broker.append(b"v")
        broker.time.advance_ms(1_000)
        assert answer.is_waiting

    def test_a_full_purgatory_answers_with_what_there_is(self, broker: OneBroker) -> None:
        broker.manager.purgatory.limit = 0
        answer = Answer(fetch(broker, part(), max_wait_ms=500))
        broker.settle()
        assert found(answer.response) == {("t", 0): []}

    def test_thousands_that_wait_elsewhere_are_not_touched(self, broker: OneBroker) -> None:
        waiting = [Answer(fetch(broker, part(1), max_wait_ms=500)) for _ in range(3_000)]
        reads = broker.log("t", 1).reads
        fill(broker, 0, 10)
        assert broker.log("t", 1).reads == reads
        broker.append(b"v", index=1)
        assert all(found(answer.response) == {("t", 1): [0]} for answer in waiting)


class TestColdDisks:
    def test_read_off_the_loop_all_in_one_go(self, broker: OneBroker) -> None:
        for index in range(3):
            fill(broker, index)
            broker.log("t", index).is_cold = index > 0
        answer = Answer(fetch(broker, part(0), part(1), part(2), max_wait_ms=500))
        assert answer.is_waiting
        assert len(broker.blocking.submitted) == 1
        broker.blocking.run_all()
        assert found(answer.response) == {("t", 0): [0, 1, 2], ("t", 1): [0, 1, 2], ("t", 2): [0, 1, 2]}

    def test_limits_hold_across_warm_and_cold(self, broker: OneBroker) -> None:
        for index in range(3):
            fill(broker, index)
            broker.log("t", index).is_cold = index > 0
        answer = Answer(fetch(broker, part(0), part(1), part(2), max_bytes=4 * BATCH))
        broker.blocking.run_all()
        assert found(answer.response) == {("t", 0): [0, 1, 2], ("t", 1): [0], ("t", 2): []}

    def test_the_first_batch_of_a_cold_disk_may_exceed(self, broker: OneBroker) -> None:
        fill(broker)
        broker.log().is_cold = True
        answer = Answer(fetch(broker, part(max_bytes=1)))
        broker.blocking.run_all()
        assert found(answer.response) == {("t", 0): [0]}

    @pytest.mark.parametrize("what", ["deleted", "re-elected", "trimmed"])
    def test_what_was_known_before_is_checked_again(self, broker: OneBroker, what: str) -> None:
        fill(broker)
        broker.log().is_cold = True
        answer = Answer(fetch(broker, part()))
        if what == "deleted":
            broker.hide_topic(topic_id_of("t"))
            expected = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        elif what == "re-elected":
            broker.show_topics(topic_image("t", 3, leader_epoch=1, partition_epoch=1))
            expected = ErrorCode.NOT_LEADER_OR_FOLLOWER
        else:
            broker.partition().delete_records(2)
            expected = ErrorCode.OFFSET_OUT_OF_RANGE
        broker.blocking.run_all()
        assert only(answer.response).error_code == expected
        assert len(only(answer.response).records) == 0

    def test_a_disk_that_fails(self, broker: OneBroker) -> None:
        fill(broker)
        broker.log().is_cold = True
        answer = Answer(fetch(broker, part()))
        broker.log().failure = OSError(5, "Input/output error")
        broker.blocking.run_all()
        assert only(answer.response).error_code == ErrorCode.KAFKA_STORAGE_ERROR
        assert not broker.partition().is_serving_leader

    def test_nobody_waits_for_a_closed_connection(self, broker: OneBroker) -> None:
        fill(broker)
        broker.log().is_cold = True
        answer = Answer(fetch(broker, part()))
        assert answer.pending is not None
        answer.pending.abandon()
        broker.blocking.run_all()
        assert answer.is_waiting

    def test_woken_and_cold(self, broker: OneBroker) -> None:
        answer = Answer(fetch(broker, part(), max_wait_ms=500))
        broker.log().is_cold = True
        broker.append(b"v")
        assert answer.is_waiting
        broker.blocking.run_all()
        assert found(answer.response) == {("t", 0): [0]}


class TestReadCommitted:
    def test_stops_at_the_last_stable_offset(self, broker: OneBroker) -> None:
        fill(broker)
        broker.log().producer_state.first_unstable_offset = 1
        data = only(fetch(broker, part(), isolation_level=1))
        assert offsets(data) == [0]
        assert (data.high_watermark, data.last_stable_offset) == (3, 1)
        assert data.aborted_transactions == []
        assert offsets(only(fetch(broker, part()))) == [0, 1, 2]

    def test_aborted_transactions_of_what_is_returned_by_first_offset(self, broker: OneBroker) -> None:
        fill(broker, batches=4)
        broker.log().aborted = [(7, 2), (8, 0), (9, 3)]
        data = only(fetch(broker, part(max_bytes=3 * BATCH), isolation_level=1))
        assert [(a.producer_id, a.first_offset) for a in data.aborted_transactions] == [(8, 0), (7, 2)]
        assert only(fetch(broker, part(), isolation_level=0)).aborted_transactions is None

    def test_waits_for_what_is_decided(self, broker: OneBroker) -> None:
        broker.log().producer_state.first_unstable_offset = 0
        answer = Answer(fetch(broker, part(), isolation_level=1, max_wait_ms=500))
        fill(broker, batches=1)
        assert answer.is_waiting
        broker.log().producer_state.first_unstable_offset = None
        fill(broker, batches=1)
        assert found(answer.response) == {("t", 0): [0, 1]}


class TestSessions:
    def test_only_news_are_told_and_the_served_go_to_the_end(self, broker: OneBroker) -> None:
        first = fetch(broker, part(0), part(1), session_epoch=0)
        assert first.session_id > 0
        assert found(first) == {("t", 0): [], ("t", 1): []}
        again = fetch(broker, session_id=first.session_id, session_epoch=1)
        assert (again.session_id, again.responses) == (first.session_id, [])
        fill(broker, 0)
        fill(broker, 1)
        told = fetch(broker, session_id=first.session_id, session_epoch=2, max_bytes=BATCH)
        assert list(found(told)) == [("t", 0), ("t", 1)]
        next_told = fetch(broker, session_id=first.session_id, session_epoch=3, max_bytes=BATCH)
        assert list(found(next_told).items()) == [(("t", 0), [0])]

    def test_they_may_wait(self, broker: OneBroker) -> None:
        session = fetch(broker, part(0), part(1), session_epoch=0).session_id
        answer = Answer(fetch(broker, session_id=session, session_epoch=1, max_wait_ms=500))
        broker.append(b"v", index=1)
        assert found(answer.response) == {("t", 1): [0]}
        assert answer.response.session_id == session

    def test_errors_of_the_session_itself(self, broker: OneBroker) -> None:
        session = fetch(broker, part(), session_epoch=0).session_id
        wrong_epoch = fetch(broker, session_id=session, session_epoch=5)
        assert (wrong_epoch.error_code, wrong_epoch.session_id, wrong_epoch.responses) == (71, 0, [])
        assert fetch(broker, session_id=session + 1, session_epoch=1).error_code == 70
        assert fetch(broker, session_id=session, session_epoch=1, version=13).error_code == 106

    def test_overtaken_while_waiting(self, broker: OneBroker) -> None:
        session = fetch(broker, part(), session_epoch=0).session_id
        answer = Answer(fetch(broker, session_id=session, session_epoch=1, max_wait_ms=500))
        fetch(broker, session_id=session, session_epoch=2)
        broker.append(b"v")
        assert answer.response.error_code == ErrorCode.INVALID_FETCH_SESSION_EPOCH

    def test_by_id(self, broker: OneBroker) -> None:
        topics = [
            Topic(topic_id=topic_id_of("t"), partitions=[part()]),
            Topic(topic_id=UUID(int=7), partitions=[part()]),
        ]
        session = fetch(broker, topics=topics, session_epoch=0, version=13).session_id
        told = fetch(broker, session_id=session, session_epoch=1, version=13)
        assert [(t.topic_id, t.partitions[0].error_code) for t in told.responses] == [(UUID(int=7), 100)]

    def test_no_place_for_a_session_is_no_error(self) -> None:
        broker = OneBroker()
        broker.show_topics(topic_image("t"))
        broker.services.fetch_sessions.slots = 0
        response = fetch(broker, part(), session_epoch=0)
        assert (response.error_code, response.session_id, len(response.responses)) == (0, 0, 1)


def test_a_replica_that_does_not_lead_serves_what_is_committed_to_those_who_may_ask_it() -> None:
    broker = OneBroker()
    image = topic_image("t", replicas=(1, 2), leader=2)
    broker.show_topics(image)
    assert isinstance(image.partitions[0], PartitionImage)
    assert only(fetch(broker, part(), max_wait_ms=500, version=10)).error_code == ErrorCode.NOT_LEADER_OR_FOLLOWER
    answer = Answer(fetch(broker, part(), max_wait_ms=500, version=11))
    assert answer.is_waiting
    partition = broker.partition()
    leaders = batch(b"v")
    patch_offset_and_epoch(leaders, 0, 0, 0)
    broker.log().append_as_follower(leaders, 0)
    partition.on_leader_offsets(1, 0)
    broker.settle()
    assert only(answer.response).high_watermark == 1
    assert found(answer.response) == {("t", 0): [0]}
