"""Incremental fetch sessions (KIP-227): a client says once what it reads, and then only what changed.

Rules of this file: pure. `begin` is called when a request comes, `finish` when its answer is ready (perhaps
after a wait); between the two another request may have used the session, which the epoch tells. What a
session asks of a partition has the names of Kafka's `FetchPartition`, so that the reader of requests and the
reader of sessions are one.

Session epochs: 0 asks for a new session, -1 closes the named one and asks for none, anything else must be the
next one of a session that exists (wrapping from 2^31-1 to 1). A session speaks topic names or topic ids, for
life.

The cache is bounded by `slots`. When it is full a new session may evict one that nobody used for
`min_eviction_ms`, else one as old as that and smaller than itself (a follower's session counts as larger than
any consumer's); if there is none, the client gets session id 0 and goes on with full requests, which is
always legal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import Any, Protocol, TypeVar
from uuid import UUID

from pybroker_protocol.errors import ErrorCode

INVALID_SESSION_ID = 0
INITIAL_EPOCH = 0
FINAL_EPOCH = -1
MAX_EPOCH = 2**31 - 1
FIRST_TOPIC_ID_VERSION = 13
_UNKNOWN_OFFSET = -1


def next_epoch(epoch: int) -> int:
    """0 is for new sessions only, so the largest epoch is followed by 1."""
    if epoch < 0:
        return FINAL_EPOCH
    return 1 if epoch == MAX_EPOCH else epoch + 1


class PartitionResult(Protocol):
    """What `finish` looks at in one partition's answer (`FetchResponse.PartitionData`)."""

    error_code: int
    high_watermark: int
    log_start_offset: int
    preferred_read_replica: int
    diverging_epoch: Any
    records: Any


Result = TypeVar("Result", bound=PartitionResult)


class SessionPartition:
    """One partition of a session: what the client last asked, and what it was last told."""

    __slots__ = (
        "current_leader_epoch",
        "fetch_offset",
        "last_fetched_epoch",
        "log_start_offset",
        "partition",
        "partition_max_bytes",
        "told_high_watermark",
        "told_log_start_offset",
        "topic",
        "topic_id",
    )

    def __init__(self, topic: str, topic_id: UUID, asked: Any) -> None:
        self.topic = topic
        self.topic_id = topic_id
        self.partition: int = asked.partition
        self.told_high_watermark = _UNKNOWN_OFFSET
        self.told_log_start_offset = _UNKNOWN_OFFSET
        self.ask(asked)

    def ask(self, asked: Any) -> None:
        """Takes over what the newest request says; `asked` is a `FetchRequest.FetchPartition`."""
        self.current_leader_epoch: int = asked.current_leader_epoch
        self.fetch_offset: int = asked.fetch_offset
        self.last_fetched_epoch: int = asked.last_fetched_epoch
        self.log_start_offset: int = asked.log_start_offset
        self.partition_max_bytes: int = asked.partition_max_bytes

    def tell(self, result: PartitionResult) -> bool:
        """Remembers what the client is told now; False when it knows all of it, so that it is left out."""
        is_news = bool(result.records) or result.preferred_read_replica != -1 or result.diverging_epoch is not None
        if result.high_watermark != self.told_high_watermark:
            self.told_high_watermark = result.high_watermark
            is_news = True
        if result.log_start_offset != self.told_log_start_offset:
            self.told_log_start_offset = result.log_start_offset
            is_news = True
        if result.error_code != 0:
            # An error is told every time; forgetting the high watermark makes the recovery news, too.
            self.told_high_watermark = _UNKNOWN_OFFSET
            is_news = True
        return is_news


SessionKey = tuple[str | int, int]


def _key(topic: Any, partition: int, uses_topic_ids: bool) -> SessionKey:
    return (topic.topic_id.int if uses_topic_ids else topic.topic, partition)


class FetchSession:
    """What one client reads. `partitions` is in the order in which they are read next."""

    __slots__ = (
        "created_ms",
        "epoch",
        "is_follower",
        "last_used_ms",
        "partitions",
        "session_id",
        "uses_topic_ids",
    )

    def __init__(self, session_id: int, *, uses_topic_ids: bool, is_follower: bool, now_ms: int) -> None:
        self.session_id = session_id
        self.uses_topic_ids = uses_topic_ids
        self.is_follower = is_follower
        self.created_ms = now_ms
        self.last_used_ms = now_ms
        self.epoch = next_epoch(INITIAL_EPOCH)
        self.partitions: dict[SessionKey, SessionPartition] = {}

    def update(self, topics: Iterable[Any], forgotten: Iterable[Any]) -> None:
        """Applies an incremental request: partitions added or changed, then those dropped."""
        for topic in topics:
            for asked in topic.partitions:
                key = _key(topic, asked.partition, self.uses_topic_ids)
                known = self.partitions.get(key)
                if known is None:
                    self.partitions[key] = SessionPartition(topic.topic, topic.topic_id, asked)
                else:
                    known.ask(asked)
        for topic in forgotten:
            for index in topic.partitions:
                self.partitions.pop(_key(topic, index, self.uses_topic_ids), None)

    def move_to_end(self, partition: SessionPartition) -> None:
        """Who was served goes behind the others, else one busy partition starves them under max_bytes."""
        key = (partition.topic_id.int if self.uses_topic_ids else partition.topic, partition.partition)
        if self.partitions.pop(key, None) is not None:
            self.partitions[key] = partition


class SessionKind(Enum):
    NONE = "none"
    """Answer in full with session id 0."""
    NEW = "new"
    """Answer in full; `finish` may create a session."""
    INCREMENTAL = "incremental"


class SessionContext:
    """One request's place in its session. `error` set: answer with it and no partitions.

    `partitions` is what to read for an incremental request, in order; None means what the request itself
    lists.
    """

    __slots__ = ("error", "expected_epoch", "is_follower", "kind", "partitions", "session", "uses_topic_ids")

    def __init__(self, kind: SessionKind, *, error: ErrorCode = ErrorCode.NONE) -> None:
        self.kind = kind
        self.error = error
        self.session: FetchSession | None = None
        self.partitions: list[SessionPartition] | None = None
        self.expected_epoch = 0
        self.uses_topic_ids = False
        self.is_follower = False


SESSIONLESS = SessionContext(SessionKind.NONE)


class FetchSessionCache:
    """All sessions of a broker."""

    def __init__(self, slots: int, min_eviction_ms: int, new_id: Callable[[], int]) -> None:
        """`slots`: max.incremental.fetch.session.cache.slots; `new_id` gives random numbers from 1 to
        2^31-1.
        """
        self.slots = slots
        self.min_eviction_ms = min_eviction_ms
        self.evictions = 0
        self._new_id = new_id
        self._sessions: dict[int, FetchSession] = {}
        """Least recently used first."""

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def partition_count(self) -> int:
        return sum(len(s.partitions) for s in self._sessions.values())

    def get(self, session_id: int) -> FetchSession | None:
        return self._sessions.get(session_id)

    def begin(self, request: Any, version: int, now_ms: int, *, is_follower: bool = False) -> SessionContext:
        """Finds what a `FetchRequest` stands on. Never raises: errors are in the context."""
        epoch = request.session_epoch
        if epoch in (INITIAL_EPOCH, FINAL_EPOCH):
            if request.session_id != INVALID_SESSION_ID:
                self._sessions.pop(request.session_id, None)
            if epoch == FINAL_EPOCH:
                return SESSIONLESS
            context = SessionContext(SessionKind.NEW)
            context.uses_topic_ids = version >= FIRST_TOPIC_ID_VERSION
            context.is_follower = is_follower
            return context
        return self._continue(request, version, now_ms)

    def _continue(self, request: Any, version: int, now_ms: int) -> SessionContext:
        session = self._sessions.get(request.session_id)
        if session is None:
            return SessionContext(SessionKind.NONE, error=ErrorCode.FETCH_SESSION_ID_NOT_FOUND)
        if session.epoch != request.session_epoch:
            return SessionContext(SessionKind.NONE, error=ErrorCode.INVALID_FETCH_SESSION_EPOCH)
        if session.uses_topic_ids != (version >= FIRST_TOPIC_ID_VERSION):
            return SessionContext(SessionKind.NONE, error=ErrorCode.FETCH_SESSION_TOPIC_ID_ERROR)
        session.update(request.topics, request.forgotten_topics_data)
        if not session.partitions:
            del self._sessions[session.session_id]
            return SESSIONLESS
        session.epoch = next_epoch(session.epoch)
        session.last_used_ms = now_ms
        self._sessions[session.session_id] = self._sessions.pop(session.session_id)
        context = SessionContext(SessionKind.INCREMENTAL)
        context.session = session
        context.expected_epoch = session.epoch
        context.partitions = list(session.partitions.values())
        return context

    def finish_incremental(
        self, context: SessionContext, results: Sequence[Result]
    ) -> tuple[ErrorCode, list[tuple[SessionPartition, Result]]]:
        """Picks what the client does not know yet. `results` stand in the order of `context.partitions`.

        The error is INVALID_FETCH_SESSION_EPOCH when another request has used the session meanwhile.
        """
        session, partitions = context.session, context.partitions
        assert session is not None
        assert partitions is not None
        if session.epoch != context.expected_epoch:
            return ErrorCode.INVALID_FETCH_SESSION_EPOCH, []
        news: list[tuple[SessionPartition, Result]] = []
        for partition, result in zip(partitions, results, strict=True):
            if partition.tell(result):
                news.append((partition, result))
                session.move_to_end(partition)
        return ErrorCode.NONE, news

    def finish_full(
        self,
        context: SessionContext,
        answered: Iterable[tuple[Any, Any, PartitionResult]],
        count: int,
        now_ms: int,
        name_of: Callable[[UUID], str] = lambda _: "",
    ) -> int:
        """Creates the session that a full request asked for; its id, or 0 when there is no place.

        `answered` gives (request topic, request partition, result) of all `count` partitions, in request order;
        `name_of` the name of a topic that the request has by id, empty when unknown.
        """
        if not self._make_room(count, context.is_follower, now_ms):
            return INVALID_SESSION_ID
        session = FetchSession(
            self._unused_id(), uses_topic_ids=context.uses_topic_ids, is_follower=context.is_follower, now_ms=now_ms
        )
        for topic, asked, result in answered:
            partition = SessionPartition(topic.topic or name_of(topic.topic_id), topic.topic_id, asked)
            partition.tell(result)
            session.partitions[_key(topic, asked.partition, context.uses_topic_ids)] = partition
        self._sessions[session.session_id] = session
        return session.session_id

    def _unused_id(self) -> int:
        while True:
            session_id = self._new_id()
            if session_id != INVALID_SESSION_ID and session_id not in self._sessions:
                return session_id

    def _make_room(self, size: int, is_follower: bool, now_ms: int) -> bool:
        if len(self._sessions) < self.slots:
            return True
        if not self._sessions:
            return False
        victim = next(iter(self._sessions.values()))
        if now_ms - victim.last_used_ms <= self.min_eviction_ms:
            candidate = self._least_valuable(is_follower, now_ms)
            if candidate is None or (candidate.is_follower, len(candidate.partitions)) >= (is_follower, size):
                return False
            victim = candidate
        del self._sessions[victim.session_id]
        self.evictions += 1
        return True

    def _least_valuable(self, for_follower: bool, now_ms: int) -> FetchSession | None:
        """Among sessions that may go: old enough, or a consumer's in favour of a follower. Only when full: a
        scan.
        """
        candidates = (
            s
            for s in self._sessions.values()
            if now_ms - s.created_ms > self.min_eviction_ms or (for_follower and not s.is_follower)
        )
        return min(candidates, key=lambda s: (s.is_follower, len(s.partitions), s.session_id), default=None)
