"""The admin of groups: who is in them, what they have committed, how far they are behind; moved and deleted.

Rules: a group is asked of its coordinator. Both protocols look the same from here. Offsets of a group can only be
changed while nobody consumes: the coordinator refuses otherwise, and nothing here tries to force it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, TypeVar

from pybroker.admin_calls import AdminCalls, CoordinatorKind, check
from pybroker.errors import KafkaError, NotFound, Rejected, UnsupportedVersion, error_for
from pybroker.group_info import (
    CommittedOffset,
    GroupInfo,
    GroupListing,
    PartitionLag,
    classic_group,
    consumer_group,
)
from pybroker.metadata import TopicPartition
from pybroker.offsets import ask_offsets
from pybroker.partition_reader import Start, timestamp_of
from pybroker_protocol.api_keys import ApiKey
from pybroker_protocol.errors import ErrorCode, error_code
from pybroker_protocol.messages import (
    ConsumerGroupDescribeRequest,
    DeleteGroupsRequest,
    DescribeGroupsRequest,
    ListGroupsRequest,
    OffsetCommitRequest,
    OffsetDeleteRequest,
    OffsetFetchRequest,
    OffsetFetchResponse,
)

__all__ = ["GroupAdmin"]

_BY_NAME: Final = 9
"""The newest version of OffsetCommit and OffsetFetch in which topics have names."""
_GROUPS_FROM: Final = 8
_DEAD: Final = "Dead"
_HAS_MEMBERS: Final = frozenset({ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.STALE_MEMBER_EPOCH})
"""What a commit from outside of a group is answered while somebody is in it."""
_NOT_A_CONSUMER_GROUP: Final = frozenset({ErrorCode.GROUP_ID_NOT_FOUND, ErrorCode.UNSUPPORTED_VERSION})

P = TypeVar("P", bound=tuple[str, int])


class GroupAdmin(AdminCalls):
    """See the head of this file."""

    async def groups(self, *, states: Iterable[str] = (), kinds: Iterable[str] = ()) -> list[GroupListing]:
        """Every group of the cluster, by name; only those in `states` ("Stable") or of `kinds` ("consumer")."""
        request = ListGroupsRequest(states_filter=list(states), types_filter=list(kinds))

        async def attempt() -> list[GroupListing]:
            found = {}
            for node, answer in (await self._ask_nodes(ApiKey.LIST_GROUPS, request)).items():
                check(answer.error_code, f"list the groups of node {node}", None)
                for each in answer.groups:
                    found[each.group_id] = GroupListing(
                        each.group_id, each.group_type.lower(), each.protocol_type, each.group_state, node
                    )
            return [found[name] for name in sorted(found)]

        return await self._retried("list groups", attempt)

    async def group(self, name: str) -> GroupInfo:
        """A group with its members, whichever protocol they speak. Raises `NotFound`."""

        async def attempt() -> GroupInfo:
            node = await self._coordinator(CoordinatorKind.GROUP, name)
            return await self._consumer_group(node, name) or await self._classic_group(node, name)

        return await self._retried(f"describe group {name}", attempt)

    async def group_offsets(self, name: str) -> dict[TopicPartition, CommittedOffset]:
        """What a group has committed, by partition; empty for a group that never did or is not there."""
        request = OffsetFetchRequest(
            group_id=name,
            topics=None,
            groups=[OffsetFetchRequest.OffsetFetchRequestGroup(group_id=name, topics=None)],
            require_stable=False,
        )

        async def attempt() -> dict[TopicPartition, CommittedOffset]:
            node = await self._coordinator(CoordinatorKind.GROUP, name)
            response = await self._ask_at_most(node, ApiKey.OFFSET_FETCH, request, _BY_NAME)
            return _committed(response, name)

        return await self._retried(f"offsets of group {name}", attempt)

    async def group_lag(self, name: str) -> dict[TopicPartition, PartitionLag]:
        """How far a group is behind: the partitions that it has committed or that its members own. Raises `NotFound`.

        The ends are those that every reader sees, transactions not yet ended included.
        """
        committed = await self.group_offsets(name)
        try:
            owners = (await self.group(name)).owners
        except NotFound:
            if not committed:
                raise
            owners = {}
        partitions = sorted({*committed, *owners})
        ends = await self._ends(partitions)
        return {tp: PartitionLag(committed.get(tp), ends.get(tp), owners.get(tp)) for tp in partitions}

    async def alter_group_offsets(self, name: str, offsets: Mapping[P, int | CommittedOffset]) -> None:
        """Commit for a group that nobody is in; one that is not there is made.

        Raises `Rejected` (UNKNOWN_MEMBER_ID) while it has members, `NotFound` for a partition that is not there. Some
        partitions may have been changed then.
        """
        topics: dict[str, OffsetCommitRequest.OffsetCommitRequestTopic] = {}
        for (topic, index), given in offsets.items():
            position = given if isinstance(given, CommittedOffset) else CommittedOffset(given)
            if position.offset < 0:
                raise ValueError(f"{topic}-{index}: an offset is not below zero, not {position.offset}")
            asked = topics.setdefault(topic, OffsetCommitRequest.OffsetCommitRequestTopic(name=topic, partitions=[]))
            asked.partitions.append(
                OffsetCommitRequest.OffsetCommitRequestPartition(
                    partition_index=index,
                    committed_offset=position.offset,
                    committed_leader_epoch=position.leader_epoch,
                    committed_metadata=position.metadata,
                )
            )
        request = OffsetCommitRequest(group_id=name, member_id="", topics=list(topics.values()))

        async def attempt() -> None:
            node = await self._coordinator(CoordinatorKind.GROUP, name)
            response = await self._ask_at_most(node, ApiKey.OFFSET_COMMIT, request, _BY_NAME)
            for topic in response.topics:
                for each in topic.partitions:
                    what = f"move group {name} in {topic.name}-{each.partition_index}"
                    if each.error_code in _HAS_MEMBERS:
                        raise Rejected(f"{what}: the group has members", code=error_code(each.error_code))
                    check(each.error_code, what, None)

        if topics:
            await self._retried(f"move group {name}", attempt)

    async def seek_group(
        self, name: str, start: Start, partitions: Iterable[tuple[str, int]] | None = None
    ) -> dict[TopicPartition, int]:
        """Let a group that nobody is in go on from `start` (as `Consumer`'s); where that is, by partition.

        Of all partitions that it has committed by default. Raises as `alter_group_offsets`.
        """
        timestamp_of(start)
        chosen = await self.group_offsets(name) if partitions is None else partitions
        found: dict[TopicPartition, int] = {}
        for tp, outcome in (await self._starts({TopicPartition(*each): start for each in chosen})).items():
            if isinstance(outcome, KafkaError):
                raise outcome
            found[tp] = outcome
        await self.alter_group_offsets(name, found)
        return dict(sorted(found.items()))

    async def delete_group_offsets(self, name: str, partitions: Iterable[tuple[str, int]]) -> None:
        """Forget what a group has committed in these partitions.

        Raises `NotFound`, or `Rejected` (GROUP_SUBSCRIBED_TO_TOPIC) while a member reads the topic.
        """
        topics: dict[str, OffsetDeleteRequest.OffsetDeleteRequestTopic] = {}
        for topic, index in partitions:
            asked = topics.setdefault(topic, OffsetDeleteRequest.OffsetDeleteRequestTopic(name=topic, partitions=[]))
            asked.partitions.append(OffsetDeleteRequest.OffsetDeleteRequestPartition(partition_index=index))
        request = OffsetDeleteRequest(group_id=name, topics=list(topics.values()))

        async def attempt() -> None:
            node = await self._coordinator(CoordinatorKind.GROUP, name)
            response = await self.client.ask_node(node, ApiKey.OFFSET_DELETE, request)
            check(response.error_code, f"delete offsets of group {name}", None)
            for topic in response.topics:
                for each in topic.partitions:
                    where = f"{topic.name}-{each.partition_index}"
                    check(each.error_code, f"delete the offset of group {name} in {where}", None)

        if topics:
            await self._retried(f"delete offsets of group {name}", attempt)

    async def delete_group(self, name: str, *, missing_ok: bool = False) -> bool:
        """Delete a group that nobody is in, with its offsets. Whether it was there.

        Raises `NotFound`, or `Rejected` (NON_EMPTY_GROUP).
        """
        request = DeleteGroupsRequest(groups_names=[name])
        attempts = 0

        async def attempt() -> bool:
            nonlocal attempts
            attempts += 1
            node = await self._coordinator(CoordinatorKind.GROUP, name)
            code = (await self.client.ask_node(node, ApiKey.DELETE_GROUPS, request)).results[0].error_code
            # Not there at a second try: the first one, whose answer was lost, has deleted it.
            if code == ErrorCode.GROUP_ID_NOT_FOUND and (missing_ok or attempts > 1):
                return attempts > 1
            _check_group(code, name, f"delete group {name}", None)
            return True

        return await self._retried(f"delete group {name}", attempt)

    # Inside.

    async def _consumer_group(self, node: int, name: str) -> GroupInfo | None:
        """None: it is none, or the broker does not know that kind."""
        request = ConsumerGroupDescribeRequest(group_ids=[name], include_authorized_operations=False)
        try:
            answer = (await self.client.ask_node(node, ApiKey.CONSUMER_GROUP_DESCRIBE, request)).groups[0]
        except UnsupportedVersion:
            return None
        if answer.error_code in _NOT_A_CONSUMER_GROUP:
            return None
        check(answer.error_code, f"describe group {name}", answer.error_message)
        return consumer_group(answer, node)

    async def _classic_group(self, node: int, name: str) -> GroupInfo:
        request = DescribeGroupsRequest(groups=[name], include_authorized_operations=False)
        answer = (await self.client.ask_node(node, ApiKey.DESCRIBE_GROUPS, request)).groups[0]
        # Before version 6 a group that is not there is told to be dead (KIP-1043).
        code = ErrorCode.GROUP_ID_NOT_FOUND if answer.group_state == _DEAD else answer.error_code
        _check_group(code, name, f"describe group {name}", answer.error_message)
        return classic_group(answer, node)

    async def _ends(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Where partitions end; those that are gone or have no leader are left out."""
        found = await self._starts(dict.fromkeys(partitions, "latest"))
        return {tp: offset for tp, offset in found.items() if not isinstance(offset, KafkaError)}

    async def _starts(self, starts: Mapping[TopicPartition, Start]) -> dict[TopicPartition, int | KafkaError]:
        """What a start means in a partition, or why that cannot be told: it is gone, or has no leader."""

        async def attempt() -> dict[TopicPartition, int | KafkaError]:
            leaders = await self._leaders(sorted({tp.topic for tp in starts}))
            found: dict[TopicPartition, int | KafkaError] = {}
            by_node: dict[int, dict[TopicPartition, Start]] = {}
            for tp, start in starts.items():
                leader = leaders.get(tp, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
                if isinstance(leader, ErrorCode):
                    found[tp] = error_for(leader, f"offsets of {tp}")
                else:
                    by_node.setdefault(leader, {})[tp] = start
            for node, asked in by_node.items():
                found |= await ask_offsets(self.client, node, asked)
            return found

        return await self._retried("offsets", attempt) if starts else {}

    async def _leaders(self, topics: list[str]) -> dict[TopicPartition, int | ErrorCode]:
        """The node id of each partition's leader, or why there is none; partitions that are gone are left out."""
        leaders: dict[TopicPartition, int | ErrorCode] = {}
        for topic in (await self._metadata(topics)).topics:
            for each in topic.partitions:
                tp = TopicPartition(topic.name or "", each.partition_index)
                leaders[tp] = each.leader_id if each.leader_id >= 0 else ErrorCode.LEADER_NOT_AVAILABLE
        return leaders


def _check_group(code: int, name: str, what: str, detail: str | None) -> None:
    if code == ErrorCode.GROUP_ID_NOT_FOUND:
        raise NotFound(f"there is no group {name}", code=ErrorCode.GROUP_ID_NOT_FOUND)
    check(code, what, detail)


def _committed(response: OffsetFetchResponse, name: str) -> dict[TopicPartition, CommittedOffset]:
    """The answer for one group: in the list since version 8, alone before."""
    group = response.groups[0] if response.groups else response
    check(group.error_code, f"offsets of group {name}", None)
    found: dict[TopicPartition, CommittedOffset] = {}
    for topic in group.topics:
        for each in topic.partitions:
            tp = TopicPartition(topic.name, each.partition_index)
            check(each.error_code, f"offset of group {name} in {tp}", None)
            if each.committed_offset >= 0:
                found[tp] = CommittedOffset(each.committed_offset, each.committed_leader_epoch, each.metadata or "")
    return dict(sorted(found.items()))
