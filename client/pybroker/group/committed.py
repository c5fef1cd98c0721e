"""A group's committed offsets: stored and read, with one commit under way at a time so that none overtakes another.

Rules: what is committed already is not committed again. A commit that the group refuses because it has moved on
(another generation or epoch) is repeated under the new one for the partitions that this member still has; for the
others it fails with `NotAssigned`: somebody else reads them, from what was committed before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Final
from uuid import UUID

from pybroker.client import Client
from pybroker.errors import KafkaError, error_for
from pybroker.group.coordinator import Coordinator, is_for_now
from pybroker.group.settings import GroupMetadata, Position
from pybroker.metadata import ZERO_ID, TopicPartition
from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode, error_code
from pybroker_protocol.messages import (
    OffsetCommitRequest,
    OffsetCommitResponse,
    OffsetFetchRequest,
    OffsetFetchResponse,
)

__all__ = ["CommittedOffsets"]

_LAST_VERSION_OF_NAMES: Final = 9
_FIRST_VERSION_OF_GROUPS: Final = 8
_MOVED_ON: Final = frozenset(
    {ErrorCode.STALE_MEMBER_EPOCH, ErrorCode.ILLEGAL_GENERATION, ErrorCode.REBALANCE_IN_PROGRESS}
)
_NOT_YET: Final = frozenset(
    {ErrorCode.UNSTABLE_OFFSET_COMMIT, ErrorCode.UNKNOWN_TOPIC_ID, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION}
)


class CommittedOffsets:
    """`identity()` is who commits, `owns(tp)` whether the partition is this member's."""

    def __init__(
        self,
        client: Client,
        coordinator: Coordinator,
        identity: Callable[[], GroupMetadata],
        owns: Callable[[TopicPartition], bool],
    ) -> None:
        self._client = client
        self._coordinator = coordinator
        self._identity = identity
        self._owns = owns
        self._known: dict[TopicPartition, Position] = {}
        self._turn = asyncio.Lock()

    def forget(self, partitions: Iterable[TopicPartition]) -> None:
        """Others may commit for these from now on."""
        for tp in partitions:
            self._known.pop(tp, None)

    def news(self, positions: Mapping[TopicPartition, Position]) -> dict[TopicPartition, Position]:
        """Those that are not committed yet."""
        return {tp: position for tp, position in positions.items() if self._known.get(tp) != position}

    async def commit(self, positions: Mapping[TopicPartition, Position], *, time_limit: float) -> None:
        """Raises `NotAssigned`, `TimedOut`, or the first error of a partition; the others are committed."""
        async with self._turn:
            left = dict(positions)
            failures: list[KafkaError] = []
            what = f"commit of group {self._coordinator.group}"

            async def attempt() -> int:
                return await self._commit_once(left, failures) if left else ErrorCode.NONE

            await self._coordinator.persist(attempt, what, time_limit=time_limit)
            if failures:
                raise failures[0]

    async def _commit_once(self, left: dict[TopicPartition, Position], failures: list[KafkaError]) -> int:
        """Takes out of `left` what is settled; the code with which to try the rest again."""
        who = self._identity()
        request, highest = self._commit_request(left, who)
        response: OffsetCommitResponse = await self._coordinator.ask(
            self._coordinator.offsets_lane, ApiKey.OFFSET_COMMIT, request, highest=highest
        )
        again = ErrorCode.NONE
        names = {self._topic_id(tp.topic): tp.topic for tp in left}
        for topic in response.topics:
            name = topic.name or names.get(topic.topic_id, "")
            for partition in topic.partitions:
                tp = TopicPartition(name, partition.partition_index)
                if tp not in left:
                    continue
                code = error_code(partition.error_code)
                if code is ErrorCode.NONE:
                    self._known[tp] = left.pop(tp)
                elif code in _MOVED_ON and self._owns(tp) and who.generation >= 0:
                    again = ErrorCode.REQUEST_TIMED_OUT
                elif is_for_now(code):
                    again = code
                else:
                    del left[tp]
                    failures.append(error_for(code, f"commit of {tp} in group {who.group}"))
        return again

    def _commit_request(
        self, positions: Mapping[TopicPartition, Position], who: GroupMetadata
    ) -> tuple[OffsetCommitRequest, int | None]:
        topics: dict[str, OffsetCommitRequest.OffsetCommitRequestTopic] = {}
        for tp, position in positions.items():
            topic = topics.get(tp.topic)
            if topic is None:
                topic = topics[tp.topic] = OffsetCommitRequest.OffsetCommitRequestTopic(
                    name=tp.topic, topic_id=self._topic_id(tp.topic), partitions=[]
                )
            topic.partitions.append(
                OffsetCommitRequest.OffsetCommitRequestPartition(
                    partition_index=tp.partition,
                    committed_offset=position.offset,
                    committed_leader_epoch=position.leader_epoch,
                    committed_metadata=position.metadata,
                )
            )
        request = OffsetCommitRequest(
            group_id=who.group,
            generation_id_or_member_epoch=who.generation,
            member_id=who.member_id,
            group_instance_id=who.instance_id,
            topics=list(topics.values()),
        )
        has_ids = all(topic.topic_id != ZERO_ID for topic in topics.values())
        return request, None if has_ids else _LAST_VERSION_OF_NAMES

    async def fetch(
        self, partitions: Iterable[TopicPartition], *, time_limit: float
    ) -> dict[TopicPartition, Position | None]:
        """What is committed, None for nothing. Waits for transactions that commit offsets. Raises `KafkaError`."""
        found: dict[TopicPartition, Position | None] = {}
        wanted = list(partitions)
        failures: list[KafkaError] = []

        async def attempt() -> int:
            return await self._fetch_once([tp for tp in wanted if tp not in found], found, failures)

        what = f"committed offsets of group {self._coordinator.group}"
        if wanted:
            await self._coordinator.persist(attempt, what, time_limit=time_limit)
        if failures:
            raise failures[0]
        return found

    async def _fetch_once(
        self,
        wanted: list[TopicPartition],
        found: dict[TopicPartition, Position | None],
        failures: list[KafkaError],
    ) -> int:
        who = self._identity()
        by_topic: dict[str, list[int]] = {}
        for tp in wanted:
            by_topic.setdefault(tp.topic, []).append(tp.partition)
        connection = await self._coordinator.connect(self._coordinator.offsets_lane)
        has_ids = all(self._topic_id(name) != ZERO_ID for name in by_topic)
        version = connection.version_for(ApiKey.OFFSET_FETCH, None if has_ids else _LAST_VERSION_OF_NAMES)
        request = self._fetch_request(by_topic, who, version)
        response: OffsetFetchResponse = await connection.request(request, version, self._client.request_timeout)
        answer: OffsetFetchResponse | OffsetFetchResponse.OffsetFetchResponseGroup = response
        if version >= _FIRST_VERSION_OF_GROUPS:
            answer = response.groups[0]
        if answer.error_code:
            code = error_code(answer.error_code)
            return ErrorCode.REQUEST_TIMED_OUT if code in _MOVED_ON else code
        names = {self._topic_id(name): name for name in by_topic}
        again = ErrorCode.NONE
        for topic in answer.topics:
            topic_id = getattr(topic, "topic_id", ZERO_ID)
            for partition in topic.partitions:
                tp = TopicPartition(topic.name or names.get(topic_id, ""), partition.partition_index)
                code = error_code(partition.error_code)
                if code in _NOT_YET or is_for_now(code):
                    again = ErrorCode.REQUEST_TIMED_OUT
                elif code is not ErrorCode.NONE:
                    failures.append(error_for(code, f"committed offset of {tp} in group {who.group}"))
                    found[tp] = None
                elif partition.committed_offset < 0:
                    found[tp] = None
                else:
                    found[tp] = self._known[tp] = Position(
                        partition.committed_offset, partition.committed_leader_epoch, partition.metadata or ""
                    )
        return again

    def _fetch_request(self, by_topic: Mapping[str, list[int]], who: GroupMetadata, version: int) -> OffsetFetchRequest:
        if version < _FIRST_VERSION_OF_GROUPS:
            topics = [
                OffsetFetchRequest.OffsetFetchRequestTopic(name=name, partition_indexes=numbers)
                for name, numbers in by_topic.items()
            ]
            return OffsetFetchRequest(group_id=who.group, topics=topics, require_stable=True)
        group = OffsetFetchRequest.OffsetFetchRequestGroup(
            group_id=who.group,
            member_id=who.member_id if who.generation >= 0 else None,
            member_epoch=who.generation,
            topics=[
                OffsetFetchRequest.OffsetFetchRequestTopics(
                    name=name, topic_id=self._topic_id(name), partition_indexes=numbers
                )
                for name, numbers in by_topic.items()
            ],
        )
        return OffsetFetchRequest(groups=[group], require_stable=True)

    def _topic_id(self, name: str) -> UUID:
        view = self._client.cluster.topic(name)
        return view.topic_id if view is not None else ZERO_ID
