"""Fetch (key 1), versions 4 to 18: record batches from an offset on, as they lie on disk.

A client may keep a session and then names only what changed (KIP-227); without one every request lists all. What is
returned is whole batches below the high watermark, or below the last stable offset for read_committed; the batch that
holds the asked offset comes whole, its head is the client's to skip. When there is less than `min_bytes` the answer
waits for more, for at most `max_wait_ms`; errors and divergence are answered at once.

A follower fetches as a consumer does, but up to the end of the log, and what it asks for tells what it has. It is
served on the listener for brokers and nowhere else (design D12). Consumers from version 11 on may read from any
replica; when a selector is configured, the leader tells those that say their rack which one is near (KIP-392).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import FetchRequest, FetchResponse
from pybroker_server.handlers.leader_hints import leader_addresses
from pybroker_server.handlers.partition_views import reachable_brokers
from pybroker_server.handlers.registry import handles
from pybroker_server.handlers.request import Pending, Reply, RequestContext
from pybroker_server.handlers.services import Services
from pybroker_server.replica.fetch import CONSUMER, EMPTY, FetchTarget, PartitionData, ReplicaFetch, error_data
from pybroker_server.replica.fetch_session import (
    FINAL_EPOCH,
    INVALID_SESSION_ID,
    SESSIONLESS,
    SessionContext,
    SessionKind,
    SessionPartition,
)
from pybroker_server.replica.partition import Partition
from pybroker_server.replica.selector import RACK_AWARE_SELECTOR, nearest_replica

TopicResult = FetchResponse.FetchableTopicResponse

_FIRST_ID_VERSION = 13
_FIRST_HINT_VERSION = 16
_FIRST_FOLLOWER_VERSION = 11
_READ_UNCOMMITTED = 0
_READ_COMMITTED = 1
_HINTED = (ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.FENCED_LEADER_EPOCH)


def refuse_all(context: RequestContext, request: FetchRequest, code: ErrorCode) -> FetchResponse:
    """A response that says `code` of the request (version 7+) and of every partition in it."""
    return FetchResponse(
        error_code=code,
        responses=[
            TopicResult(
                topic=topic.topic,
                topic_id=topic.topic_id,
                partitions=[_not_read(asked.partition, code) for asked in topic.partitions],
            )
            for topic in request.topics
        ],
    )


@handles(ApiKey.FETCH, 4, 18, error_response=refuse_all)
def handle_fetch(services: Services, context: RequestContext, request: FetchRequest) -> Reply:
    """See the head of this file."""
    if request.isolation_level not in (_READ_UNCOMMITTED, _READ_COMMITTED):
        return refuse_all(context, request, ErrorCode.INVALID_REQUEST)
    services.replicas.check_lease(context.now_ms)
    replica_id, _ = _replica_of(request)
    if replica_id >= 0 and not context.connection.is_inter_broker:
        return _refuse_replica(request)
    session = SESSIONLESS
    if request.session_epoch != FINAL_EPOCH or request.session_id != INVALID_SESSION_ID:
        session = services.fetch_sessions.begin(
            request, context.api_version, context.now_ms, is_follower=replica_id >= 0
        )
        if session.error is not ErrorCode.NONE:
            return FetchResponse(error_code=session.error)
    return _Fetch(services, context, request, session).reply()


def _replica_of(request: FetchRequest) -> tuple[int, int]:
    """(replica id, its broker epoch); -1 for a consumer, and for an epoch that is not told."""
    state = request.replica_state
    if state is not None and state.replica_id >= 0:
        return state.replica_id, state.replica_epoch
    return request.replica_id, -1


def _refuse_replica(request: FetchRequest) -> FetchResponse:
    """Whoever it is, it is no replica of anything here: what Kafka says of an unknown one."""
    return FetchResponse(
        responses=[
            TopicResult(
                topic=topic.topic,
                topic_id=topic.topic_id,
                partitions=[
                    error_data(asked.partition, ErrorCode.NOT_LEADER_OR_FOLLOWER) for asked in topic.partitions
                ],
            )
            for topic in request.topics
        ]
    )


def _not_read(index: int, code: int) -> PartitionData:
    """A partition that was not even looked for in a log; Kafka's answer then differs in the empty list."""
    return PartitionData(partition_index=index, error_code=code, high_watermark=-1, records=EMPTY)


class _Fetch(ReplicaFetch):
    """One request on its way to its response; kept while it waits."""

    __slots__ = ("context", "pending", "request", "services", "session", "topics")

    def __init__(
        self, services: Services, context: RequestContext, request: FetchRequest, session: SessionContext
    ) -> None:
        largest = services.config.fetch_max_bytes
        max_bytes = min(largest, request.max_bytes)
        replica_id, replica_epoch = _replica_of(request)
        # A follower has its session at once: only within one is it told of the high watermark.
        is_at_once = replica_id >= 0 and session.kind is SessionKind.NEW
        super().__init__(
            services.replicas,
            max_bytes=max_bytes,
            min_bytes=min(max_bytes, request.min_bytes),
            read_committed=request.isolation_level == _READ_COMMITTED,
            deadline_ms=context.now_ms + (0 if is_at_once else request.max_wait_ms),
            replica_id=replica_id,
            replica_epoch=replica_epoch,
            may_ask_followers=replica_id == CONSUMER and context.api_version >= _FIRST_FOLLOWER_VERSION,
        )
        self.services = services
        self.context = context
        self.request = request
        self.session = session
        self.pending: Pending[FetchResponse] | None = None
        self.topics: list[Any] = []
        """For each target what names its topic: something with `topic` and `topic_id`."""

    def reply(self) -> Reply:
        self.targets = self._targets()
        if self.start(self.context.now_ms):
            return self._response()
        self.pending = Pending()
        self.pending.on_abandon = self.abandon
        if self.replica_id >= 0:
            self.pending.on_hurry = self.hurry
        return self.pending

    def preferred_replica(self, partition: Partition, offset: int) -> int | None:
        """See `ReplicaFetch.preferred_replica`: only where a selector is configured, and the consumer says its rack."""
        rack = self.request.rack_id
        if not rack or self.services.config.replica_selector_class != RACK_AWARE_SELECTOR:
            return None
        if not partition.is_serving_leader:
            return None
        reachable = reachable_brokers(self.services, self.context.connection)
        racks = {node_id: found.broker.rack for node_id, found in reachable.items()}
        return nearest_replica(partition.state, rack, racks, offset)

    def answer(self) -> None:
        """See `ReplicaFetch.answer`."""
        assert self.pending is not None
        self.pending.complete(self._response())

    # Which partitions

    def _targets(self) -> list[FetchTarget]:
        partitions = self.session.partitions
        if partitions is not None and self.replica_id >= 0:
            partitions = self.session.partitions = self._not_idle(partitions)
        if partitions is None:
            return self._requested()
        self.topics = list(partitions)
        return [self._session_target(partition) for partition in partitions]

    def _not_idle(self, partitions: list[SessionPartition]) -> list[SessionPartition]:
        """Leaves out what a follower knows all of; what the request names is news, whatever it says."""
        named = {(t.topic_id.int, p.partition) for t in self.request.topics for p in t.partitions}
        topics, now_ms = self.manager.topics_by_id, self.context.now_ms
        left: list[SessionPartition] = []
        for asked in partitions:
            hosted = topics.get(asked.topic_id.int)
            partition = hosted.partitions.get(asked.partition) if hosted is not None else None
            if (
                partition is not None
                and self.is_idle(asked, partition)
                and (asked.topic_id.int, asked.partition) not in named
                and partition.state.on_idle_fetch(
                    self.replica_id,
                    broker_epoch=self.replica_epoch,
                    fetch_offset=asked.fetch_offset,
                    now_ms=now_ms,
                )
            ):
                self.idle.append((asked, partition))
            else:
                left.append(asked)
        return left

    def no_longer_idle(self, asked: Any, partition: Partition) -> None:
        """See `ReplicaFetch.no_longer_idle`."""
        assert self.session.partitions is not None
        self.session.partitions.append(asked)
        self.topics.append(asked)
        self.targets.append(FetchTarget(asked, partition))

    def _requested(self) -> list[FetchTarget]:
        """What the request itself lists; a partition named twice is read once, where it was named last."""
        targets: list[FetchTarget] = []
        named = self.topics
        for topic in self.request.topics:
            for asked in topic.partitions:
                named.append(topic)
                targets.append(self._target(topic.topic, topic.topic_id, asked))
        if len(targets) > 1:
            by_key = {(t.topic, t.topic_id.int, x.asked.partition): (t, x) for t, x in zip(named, targets, strict=True)}
            if len(by_key) != len(targets):
                self.topics = [topic for topic, _ in by_key.values()]
                return [target for _, target in by_key.values()]
        return targets

    def _target(self, topic: str, topic_id: UUID, asked: Any) -> FetchTarget:
        by_id = self.context.api_version >= _FIRST_ID_VERSION
        replicas = self.manager
        hosted = replicas.topics_by_id.get(topic_id.int) if by_id else replicas.topics.get(topic)
        index: int = asked.partition
        partition = hosted.partitions.get(index) if hosted is not None else None
        if partition is None:
            code = replicas.missing_by_id(topic_id, index) if by_id else replicas.missing(topic, index)
            return FetchTarget(asked, None, _not_read(index, code))
        if asked.partition_max_bytes < 0 or self.request.max_bytes < 0:
            return FetchTarget(asked, None, error_data(index, ErrorCode.INVALID_REQUEST))
        return FetchTarget(asked, partition)

    def _session_target(self, partition: SessionPartition) -> FetchTarget:
        """A session by ids remembers under which name it knew them: that tells a topic that is gone from one made
        anew under its name, where a single request can only say that it does not know the id."""
        target = self._target(partition.topic, partition.topic_id, partition)
        if self.context.api_version < _FIRST_ID_VERSION:
            return target
        if not partition.topic:
            partition.topic = self.manager.topic_name(partition.topic_id)
        elif target.data is not None and target.data.error_code == ErrorCode.UNKNOWN_TOPIC_ID:
            target.data = self._replaced_or_gone(partition)
        return target

    def _replaced_or_gone(self, partition: SessionPartition) -> PartitionData:
        if partition.topic in self.manager.image.topics_by_name:
            return error_data(partition.partition, ErrorCode.INCONSISTENT_TOPIC_ID)
        return _not_read(partition.partition, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)

    # The response

    def _response(self) -> FetchResponse:
        session = self.session
        data: list[Any] = self._counted()
        if session.kind is SessionKind.INCREMENTAL:
            return self._incremental(data)
        topics = self.topics
        if len(data) == 1:
            named = topics[0]
            response = FetchResponse(
                responses=[TopicResult(topic=named.topic, topic_id=named.topic_id, partitions=data)]
            )
        else:
            response = FetchResponse(responses=_grouped(zip(topics, data, strict=True)))
        if session.kind is SessionKind.NEW:
            asked = [target.asked for target in self.targets]
            response.session_id = self.services.fetch_sessions.finish_full(
                session, zip(topics, asked, data, strict=True), len(data), self._now_ms(), self.manager.topic_name
            )
        if self.context.api_version >= _FIRST_HINT_VERSION:
            self._add_hints(response)
        return response

    def _counted(self) -> list[Any]:
        """What is told of each target, in order, once it has gone into the counts that metrics show."""
        found: list[Any] = []
        for target in self.targets:
            data = target.data
            assert data is not None
            if data.error_code:
                self.services.errors.add(ApiKey.FETCH, data.error_code)
            elif data.records and target.partition is not None:
                if self.replica_id >= 0:
                    target.partition.bytes_to_followers += len(data.records)
                else:
                    target.partition.bytes_out += len(data.records)
            found.append(data)
        return found

    def _incremental(self, data: list[Any]) -> FetchResponse:
        error, news = self.services.fetch_sessions.finish_incremental(self.session, data)
        assert self.session.session is not None
        if error is not ErrorCode.NONE:
            return FetchResponse(error_code=error)
        response = FetchResponse(session_id=self.session.session.session_id, responses=_grouped(news))
        if self.context.api_version >= _FIRST_HINT_VERSION:
            self._add_hints(response)
        return response

    def _now_ms(self) -> int:
        return self.services.runtime.clock.monotonic_ms()

    def _add_hints(self, response: FetchResponse) -> None:
        """Version 16+: who leads instead, and where to reach it (KIP-951)."""
        replicas = self.manager
        leaders: set[int] = set()
        for topic in response.responses:
            for result in topic.partitions:
                if result.error_code in _HINTED:
                    leader_id, epoch = replicas.leader_of(replicas.topic_name(topic.topic_id), result.partition_index)
                    result.current_leader = FetchResponse.LeaderIdAndEpoch(leader_id=leader_id, leader_epoch=epoch)
                    leaders.add(leader_id)
        if leaders:
            response.node_endpoints = [
                FetchResponse.NodeEndpoint(node_id=node_id, host=endpoint.host, port=endpoint.port, rack=rack)
                for node_id, endpoint, rack in leader_addresses(self.services, self.context.connection, leaders)
            ]


def _grouped(answered: Iterable[tuple[Any, Any]]) -> list[TopicResult]:
    """Partitions under their topics, in order: a topic begins anew where another came between (gotcha 51)."""
    groups: list[TopicResult] = []
    last: Any = None
    for named, data in answered:
        if last is None or named.topic != last.topic or named.topic_id != last.topic_id:
            groups.append(TopicResult(topic=named.topic, topic_id=named.topic_id, partitions=[data]))
            last = named
        else:
            groups[-1].partitions.append(data)
    return groups
