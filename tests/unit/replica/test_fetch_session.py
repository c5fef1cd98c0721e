"""Incremental fetch sessions (KIP-227): epochs, what is left out, rotation, eviction."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest

from pybroker_protocol.errors import ErrorCode
from pybroker_server.replica.fetch_session import (
    MAX_EPOCH,
    SESSIONLESS,
    FetchSessionCache,
    SessionContext,
    SessionKind,
    next_epoch,
)

NO_ID = UUID(int=0)


@dataclass
class Result:
    """The part of `FetchResponse.PartitionData` that sessions look at."""

    error_code: int = 0
    high_watermark: int = 10
    log_start_offset: int = 0
    preferred_read_replica: int = -1
    diverging_epoch: Any = None
    records: Any = None


def asked(partition: int, offset: int = 0, max_bytes: int = 1_000) -> SimpleNamespace:
    return SimpleNamespace(
        partition=partition,
        current_leader_epoch=-1,
        fetch_offset=offset,
        last_fetched_epoch=-1,
        log_start_offset=-1,
        partition_max_bytes=max_bytes,
    )


def topic(name: str, *partitions: SimpleNamespace, topic_id: UUID = NO_ID) -> SimpleNamespace:
    return SimpleNamespace(topic=name, topic_id=topic_id, partitions=list(partitions))


def request(session_id: int, epoch: int, *topics: SimpleNamespace, forget: tuple[Any, ...] = ()) -> SimpleNamespace:
    return SimpleNamespace(
        session_id=session_id, session_epoch=epoch, topics=list(topics), forgotten_topics_data=list(forget)
    )


def new_cache(slots: int = 10, min_eviction_ms: int = 120_000) -> FetchSessionCache:
    return FetchSessionCache(slots, min_eviction_ms, count(1).__next__)


def open_session(
    cache: FetchSessionCache, *topics: SimpleNamespace, version: int = 12, now_ms: int = 0, follower: bool = False
) -> int:
    context = cache.begin(request(0, 0, *topics), version, now_ms, is_follower=follower)
    assert context.kind is SessionKind.NEW
    pairs = [(t, p, Result()) for t in topics for p in t.partitions]
    return cache.finish_full(context, pairs, len(pairs), now_ms)


def told(cache: FetchSessionCache, context: SessionContext, results: list[Result]) -> list[tuple[str, int]]:
    error, news = cache.finish_incremental(context, results)
    assert error is ErrorCode.NONE
    return [(partition.topic, partition.partition) for partition, _ in news]


def asked_for(context: SessionContext) -> list[tuple[str, int, int]]:
    assert context.partitions is not None
    return [(p.topic, p.partition, p.fetch_offset) for p in context.partitions]


def test_epochs_wrap_past_zero() -> None:
    assert [next_epoch(e) for e in (0, 1, MAX_EPOCH, -1)] == [1, 2, 1, -1]


class TestOpening:
    def test_epoch_minus_one_is_sessionless(self) -> None:
        cache = new_cache()
        assert cache.begin(request(0, -1, topic("a", asked(0))), 12, 0) is SESSIONLESS
        assert len(cache) == 0

    def test_a_full_request_closes_the_session_it_names(self) -> None:
        cache = new_cache()
        session = open_session(cache, topic("a", asked(0)))
        assert cache.begin(request(session, -1), 12, 0) is SESSIONLESS
        assert cache.get(session) is None
        other = open_session(cache, topic("a", asked(0)))
        assert cache.begin(request(other, 0, topic("a", asked(0))), 12, 0).kind is SessionKind.NEW
        assert len(cache) == 0

    def test_ids_in_use_and_zero_are_not_given_again(self) -> None:
        ids = iter([0, 7, 7, 8])
        cache = FetchSessionCache(10, 1_000, lambda: next(ids))
        assert open_session(cache, topic("a", asked(0))) == 7
        assert open_session(cache, topic("a", asked(0))) == 8


class TestContinuing:
    def test_unknown_session(self) -> None:
        assert new_cache().begin(request(9, 1), 12, 0).error is ErrorCode.FETCH_SESSION_ID_NOT_FOUND

    def test_the_epoch_must_be_the_next_one(self) -> None:
        cache = new_cache()
        session = open_session(cache, topic("a", asked(0)))
        assert cache.begin(request(session, 2), 12, 0).error is ErrorCode.INVALID_FETCH_SESSION_EPOCH
        assert cache.begin(request(session, 1), 12, 0).error is ErrorCode.NONE
        assert cache.begin(request(session, 1), 12, 0).error is ErrorCode.INVALID_FETCH_SESSION_EPOCH
        assert cache.begin(request(session, 2), 12, 0).error is ErrorCode.NONE

    def test_the_epoch_wraps(self) -> None:
        cache = new_cache()
        session_id = open_session(cache, topic("a", asked(0)))
        session = cache.get(session_id)
        assert session is not None
        session.epoch = MAX_EPOCH
        assert cache.begin(request(session_id, MAX_EPOCH), 12, 0).error is ErrorCode.NONE
        assert cache.begin(request(session_id, 1), 12, 0).error is ErrorCode.NONE

    @pytest.mark.parametrize(("opened", "continued"), [(12, 13), (13, 12)])
    def test_a_session_speaks_names_or_ids_for_life(self, opened: int, continued: int) -> None:
        cache = new_cache()
        session = open_session(cache, topic("a", asked(0), topic_id=UUID(int=1)), version=opened)
        context = cache.begin(request(session, 1), continued, 0)
        assert context.error is ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR

    def test_partitions_are_added_changed_and_forgotten(self) -> None:
        cache = new_cache()
        session = open_session(cache, topic("a", asked(0), asked(1)))
        changed = topic("a", asked(1, offset=7), asked(2))
        context = cache.begin(request(session, 1, changed), 12, 0)
        assert asked_for(context) == [("a", 0, 0), ("a", 1, 7), ("a", 2, 0)]
        forget = SimpleNamespace(topic="a", topic_id=NO_ID, partitions=[0, 9])
        context = cache.begin(request(session, 2, forget=(forget,)), 12, 0)
        assert asked_for(context) == [("a", 1, 7), ("a", 2, 0)]

    def test_with_ids_the_id_is_the_key(self) -> None:
        cache = new_cache()
        old, new = UUID(int=1), UUID(int=2)
        session = open_session(cache, topic("", asked(0), topic_id=old), version=13)
        forget = SimpleNamespace(topic="", topic_id=old, partitions=[0])
        context = cache.begin(request(session, 1, topic("", asked(0), topic_id=new), forget=(forget,)), 13, 0)
        assert context.partitions is not None
        assert [p.topic_id for p in context.partitions] == [new]

    def test_a_session_without_partitions_is_closed(self) -> None:
        cache = new_cache()
        session = open_session(cache, topic("a", asked(0)))
        forget = SimpleNamespace(topic="a", topic_id=NO_ID, partitions=[0])
        assert cache.begin(request(session, 1, forget=(forget,)), 12, 0) is SESSIONLESS
        assert len(cache) == 0


class TestAnswers:
    def begin(self, cache: FetchSessionCache, session: int, epoch: int) -> SessionContext:
        context = cache.begin(request(session, epoch), 12, 0)
        assert context.error is ErrorCode.NONE
        return context

    def test_what_the_client_knows_is_left_out(self) -> None:
        cache = new_cache()
        session = open_session(cache, topic("a", asked(0), asked(1), asked(2), asked(3)))
        quiet = self.begin(cache, session, 1)
        assert told(cache, quiet, [Result(), Result(), Result(), Result()]) == []
        context = self.begin(cache, session, 2)
        results = [Result(high_watermark=11), Result(), Result(log_start_offset=3), Result(records=b"x")]
        assert told(cache, context, results) == [("a", 0), ("a", 2), ("a", 3)]

    def test_an_added_partition_is_told_even_without_news(self) -> None:
        cache = new_cache()
        session = open_session(cache, topic("a", asked(0)))
        context = cache.begin(request(session, 1, topic("b", asked(0))), 12, 0)
        assert told(cache, context, [Result(), Result()]) == [("b", 0)]

    def test_preferred_replica_and_divergence_are_news(self) -> None:
        cache = new_cache()
        session = open_session(cache, topic("a", asked(0), asked(1)))
        context = self.begin(cache, session, 1)
        results = [Result(preferred_read_replica=3), Result(diverging_epoch=SimpleNamespace(epoch=2))]
        assert told(cache, context, results) == [("a", 0), ("a", 1)]

    def test_errors_are_told_each_time_and_recovery_once(self) -> None:
        cache = new_cache()
        session = open_session(cache, topic("a", asked(0)))
        failed = Result(error_code=6, high_watermark=-1, log_start_offset=-1)
        assert told(cache, self.begin(cache, session, 1), [failed]) == [("a", 0)]
        assert told(cache, self.begin(cache, session, 2), [failed]) == [("a", 0)]
        assert told(cache, self.begin(cache, session, 3), [Result()]) == [("a", 0)]
        assert told(cache, self.begin(cache, session, 4), [Result()]) == []

    def test_an_error_hides_the_same_high_watermark_again(self) -> None:
        cache = new_cache()
        session = open_session(cache, topic("a", asked(0)))
        assert told(cache, self.begin(cache, session, 1), [Result(error_code=6)]) == [("a", 0)]
        assert told(cache, self.begin(cache, session, 2), [Result()]) == [("a", 0)]

    def test_who_was_served_goes_to_the_end(self) -> None:
        cache = new_cache()
        session = open_session(cache, topic("a", asked(0), asked(1), asked(2)))
        context = self.begin(cache, session, 1)
        told(cache, context, [Result(records=b"x"), Result(), Result()])
        assert asked_for(self.begin(cache, session, 2)) == [("a", 1, 0), ("a", 2, 0), ("a", 0, 0)]

    def test_another_request_in_between_makes_the_answer_an_error(self) -> None:
        cache = new_cache()
        session = open_session(cache, topic("a", asked(0)))
        waiting = self.begin(cache, session, 1)
        self.begin(cache, session, 2)
        error, news = cache.finish_incremental(waiting, [Result()])
        assert error is ErrorCode.INVALID_FETCH_SESSION_EPOCH
        assert news == []

    def test_a_partition_forgotten_while_its_answer_was_made_stays_forgotten(self) -> None:
        cache = new_cache()
        session_id = open_session(cache, topic("a", asked(0), asked(1)))
        context = self.begin(cache, session_id, 1)
        session = cache.get(session_id)
        assert session is not None
        session.update([], [SimpleNamespace(topic="a", topic_id=NO_ID, partitions=[0])])
        told(cache, context, [Result(records=b"x"), Result()])
        assert list(session.partitions) == [("a", 1)]


class TestEviction:
    def test_no_place_means_session_id_zero(self) -> None:
        cache = new_cache(slots=1)
        open_session(cache, topic("a", asked(0)))
        assert open_session(cache, topic("b", asked(0)), now_ms=10) == 0
        assert new_cache(slots=0).begin(request(0, 0), 12, 0).kind is SessionKind.NEW

    def test_no_slots_at_all(self) -> None:
        assert open_session(new_cache(slots=0), topic("a", asked(0))) == 0

    def test_the_longest_unused_goes_first(self) -> None:
        cache = new_cache(slots=2, min_eviction_ms=100)
        first = open_session(cache, topic("a", asked(0)))
        second = open_session(cache, topic("b", asked(0)))
        cache.begin(request(first, 1), 12, 150)
        assert open_session(cache, topic("c", asked(0)), now_ms=200) != 0
        assert cache.get(second) is None
        assert cache.get(first) is not None
        assert cache.evictions == 1

    def test_a_larger_session_may_evict_an_old_smaller_one_in_use(self) -> None:
        cache = new_cache(slots=1, min_eviction_ms=100)
        small = open_session(cache, topic("a", asked(0)))
        cache.begin(request(small, 1), 12, 190)
        assert open_session(cache, topic("b", asked(0)), now_ms=200) == 0
        assert open_session(cache, topic("b", asked(0), asked(1)), now_ms=200) != 0
        assert cache.get(small) is None

    def test_a_young_session_is_not_evicted_for_a_consumer_but_for_a_follower(self) -> None:
        cache = new_cache(slots=1, min_eviction_ms=100)
        consumer = open_session(cache, topic("a", asked(0), asked(1)))
        assert open_session(cache, topic("b", asked(0), asked(1), asked(2)), now_ms=50) == 0
        follower = open_session(cache, topic("b", asked(0)), now_ms=50, follower=True)
        assert follower != 0
        assert cache.get(consumer) is None
        assert open_session(cache, topic("c", *(asked(i) for i in range(9))), now_ms=60) == 0
        assert cache.get(follower) is not None

    def test_counts_partitions(self) -> None:
        cache = new_cache()
        open_session(cache, topic("a", asked(0), asked(1)), topic("b", asked(0)))
        assert cache.partition_count == 3
