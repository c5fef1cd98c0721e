"""ListOffsets: offsets by name and by time, for whom, and when not yet."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.one_broker import NODE, Answer, OneBroker, batch, topic_id_of, topic_image

from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import ListOffsetsRequest
from pybroker_server.handlers.list_offsets import handle_list_offsets

Topic = ListOffsetsRequest.ListOffsetsTopic
Part = ListOffsetsRequest.ListOffsetsPartition
LATEST, EARLIEST, MAX_TIMESTAMP = -1, -2, -3


@pytest.fixture
def broker() -> OneBroker:
    """Offsets 0 to 5; timestamps 1000, 1500, 1100 / 1000, 300, 1500; all but the last batch committed."""
    made = OneBroker()
    made.show_topics(topic_image("t", 2, leader_epoch=3))
    for timestamps in ([1_000, 1_500, 1_100], [1_000, 300, 1_500]):
        append(made, timestamps)
    made.flush()
    made.show_topics(topic_image("t", 2, leader_epoch=3, partition_epoch=1, replicas=(NODE, NODE + 1)))
    append(made, [9_000])
    made.flush()
    return made


def append(broker: OneBroker, timestamps: list[int]) -> None:
    records = batch(*[b"v"] * len(timestamps), timestamps=timestamps)
    broker.partition().append(records, 1, broker.time.monotonic_ms(), broker.time.wall_ms())


def part(index: int = 0, timestamp: int = LATEST, leader_epoch: int = -1) -> ListOffsetsRequest.ListOffsetsPartition:
    return Part(partition_index=index, timestamp=timestamp, current_leader_epoch=leader_epoch)


def ask(broker: OneBroker, *asked: Any, version: int = 11, topic: str = "t", **fields: Any) -> Any:
    topics = [Topic(name=topic, partitions=list(asked))]
    request = ListOffsetsRequest(**{"replica_id": -1, "isolation_level": 0, "topics": topics, **fields})
    answer = Answer(handle_list_offsets(broker.services, broker.context(2, version), request))
    broker.blocking.run_all()
    return answer.response


def answers(response: Any) -> list[tuple[int, int, int, int, int]]:
    """(partition, error, timestamp, offset, leader epoch)"""
    return [
        (p.partition_index, p.error_code, p.timestamp, p.offset, p.leader_epoch)
        for topic in response.topics
        for p in topic.partitions
    ]


class TestOwnFlush:
    async def test_latest_waits_for_what_a_producer_was_told_before_it_was_flushed(self) -> None:
        made = OneBroker()
        made.show_topics(topic_image("t"))
        append(made, [1_000])
        topics = [Topic(name="t", partitions=[part()])]
        request = ListOffsetsRequest(replica_id=-1, isolation_level=0, topics=topics)
        answer = Answer(handle_list_offsets(made.services, made.context(2, 11), request))
        assert answer.is_waiting
        made.flush()
        assert answers(answer.response) == [(0, 0, -1, 1, 0)]

    async def test_a_replica_that_lags_is_not_waited_for(self) -> None:
        made = OneBroker()
        made.show_topics(topic_image("t", replicas=(NODE, NODE + 1)))
        append(made, [1_000])
        assert answers(ask(made, part())) == [(0, 0, -1, 0, 0)]


class TestNames:
    def test_latest_is_the_high_watermark(self, broker: OneBroker) -> None:
        assert answers(ask(broker, part())) == [(0, 0, -1, 6, 3)]

    def test_or_the_last_stable_offset(self, broker: OneBroker) -> None:
        broker.log().producer_state.first_unstable_offset = 3
        assert answers(ask(broker, part(), isolation_level=1)) == [(0, 0, -1, 3, 3)]
        assert answers(ask(broker, part())) == [(0, 0, -1, 6, 3)]

    def test_or_all_of_the_log_for_who_is_no_consumer(self, broker: OneBroker) -> None:
        assert answers(ask(broker, part(), replica_id=-2)) == [(0, 0, -1, 7, 3)]

    def test_earliest_is_the_log_start(self, broker: OneBroker) -> None:
        broker.partition().delete_records(4)
        for name in (EARLIEST, -4):
            assert answers(ask(broker, part(0, name))) == [(0, 0, -1, 4, 3)]

    def test_there_is_no_tiered_storage(self, broker: OneBroker) -> None:
        for name in (-5, -6):
            assert answers(ask(broker, part(0, name))) == [(0, 0, -1, -1, -1)]

    @pytest.mark.parametrize(
        ("name", "known_since"), [(-1, 1), (-2, 1), (-3, 7), (-4, 8), (-5, 9), (-6, 11), (-7, 12), (-(1 << 40), 12)]
    )
    def test_names_are_known_from_some_version_on(self, broker: OneBroker, name: int, known_since: int) -> None:
        for version in range(1, 12):
            expected = ErrorCode.NONE if version >= known_since else ErrorCode.UNSUPPORTED_VERSION
            ((_, code, _, _, _),) = answers(ask(broker, part(0, name), version=version))
            assert code == expected, f"version {version}"


class TestTimes:
    @pytest.mark.parametrize(
        ("timestamp", "expected"),
        [
            (0, (1_000, 0)),
            (1_000, (1_000, 0)),
            (1_001, (1_500, 1)),
            (1_500, (1_500, 1)),
            (1_501, None),
            (9_000, None),
        ],
    )
    def test_the_first_record_at_or_after(
        self, broker: OneBroker, timestamp: int, expected: tuple[int, int] | None
    ) -> None:
        found = (*expected, 3) if expected else (-1, -1, -1)
        assert answers(ask(broker, part(0, timestamp))) == [(0, 0, *found)]

    def test_the_first_of_the_records_with_the_largest(self, broker: OneBroker) -> None:
        assert answers(ask(broker, part(0, MAX_TIMESTAMP))) == [(0, 0, 1_500, 1, 3)]
        assert answers(ask(broker, part(1, MAX_TIMESTAMP))) == [(1, 0, -1, -1, -1)]

    def test_read_off_the_loop_all_in_one_go(self, broker: OneBroker) -> None:
        topics = [Topic(name="t", partitions=[part(0, 1_001), part(1, 5)])]
        request = ListOffsetsRequest(replica_id=-1, topics=topics)
        answer = Answer(handle_list_offsets(broker.services, broker.context(2, 11), request))
        assert answer.is_waiting
        assert len(broker.blocking.submitted) == 1
        broker.blocking.run_all()
        assert [p[3] for p in answers(answer.response)] == [1, -1]

    @pytest.mark.parametrize("what", ["deleted", "re-elected"])
    def test_what_was_known_before_is_checked_again(self, broker: OneBroker, what: str) -> None:
        request = ListOffsetsRequest(replica_id=-1, topics=[Topic(name="t", partitions=[part(0, 5)])])
        answer = Answer(handle_list_offsets(broker.services, broker.context(2, 11), request))
        if what == "deleted":
            broker.hide_topic(topic_id_of("t"))
            expected = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        else:
            broker.show_topics(topic_image("t", 2, leader_epoch=4, partition_epoch=1))
            expected = ErrorCode.NOT_LEADER_OR_FOLLOWER
        broker.blocking.run_all()
        assert answers(answer.response) == [(0, expected, -1, -1, -1)]

    def test_a_disk_that_fails(self, broker: OneBroker) -> None:
        broker.log().failure = OSError(5, "Input/output error")
        assert answers(ask(broker, part(0, 5))) == [(0, ErrorCode.KAFKA_STORAGE_ERROR, -1, -1, -1)]


class TestErrors:
    def test_a_partition_named_twice(self, broker: OneBroker) -> None:
        assert answers(ask(broker, part(0), part(1), part(0, EARLIEST))) == [(0, 42, -1, -1, -1), (1, 0, -1, 0, 3)]

    def test_unknown_partitions(self, broker: OneBroker) -> None:
        assert answers(ask(broker, part(9))) == [(9, 3, -1, -1, -1)]
        assert answers(ask(broker, part(), topic="nope")) == [(0, 3, -1, -1, -1)]

    @pytest.mark.parametrize(("epoch", "code"), [(2, 74), (4, 75), (3, 0)])
    def test_leader_epochs(self, broker: OneBroker, epoch: int, code: int) -> None:
        assert answers(ask(broker, part(0, LATEST, epoch)))[0][1] == code

    def test_an_isolation_level_that_there_is_not(self, broker: OneBroker) -> None:
        assert answers(ask(broker, part(), isolation_level=7)) == [(0, ErrorCode.INVALID_REQUEST, -1, -1, -1)]

    def test_nothing_asked(self, broker: OneBroker) -> None:
        assert ask(broker, topics=[]).topics == []


class TestJustElected:
    @pytest.fixture
    def elected(self) -> OneBroker:
        """Six records, of which only four are known to be committed, and a follower that has not fetched yet."""
        broker = OneBroker()
        broker.show_topics(topic_image("t", replicas=(1, 2)))
        append(broker, [1_000] * 4)
        append(broker, [2_000] * 2)
        broker.flush()
        broker.partition().state.high_watermark = 4
        broker.show_topics(topic_image("t", replicas=(1, 2), leader_epoch=1, partition_epoch=1))
        return broker

    @pytest.mark.parametrize(("version", "code"), [(4, 5), (5, 78)])
    def test_latest_is_withheld(self, elected: OneBroker, version: int, code: int) -> None:
        assert answers(ask(elected, part(), version=version)) == [(0, code, -1, -1, -1)]

    def test_a_time_that_may_lie_beyond_is_withheld(self, elected: OneBroker) -> None:
        assert answers(ask(elected, part(0, 2_000))) == [(0, 78, -1, -1, -1)]
        assert answers(ask(elected, part(0, 1_000))) == [(0, 0, 1_000, 0, 0)]

    def test_earliest_is_not(self, elected: OneBroker) -> None:
        assert answers(ask(elected, part(0, EARLIEST))) == [(0, 0, -1, 0, 0)]
