"""All groups of a shard, of whatever kind: listed, described and deleted.

Rules of this file: pure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Final, NamedTuple

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.messages import DescribeGroupsResponse
from pybroker_server.coordinator.effects import Effects, Reply
from pybroker_server.coordinator.group.classic.group import ClassicGroup, GroupState
from pybroker_server.coordinator.group.classic.member import ClassicMember
from pybroker_server.coordinator.group.context import GroupContext

DescribedGroup = DescribeGroupsResponse.DescribedGroup
DescribedMember = DescribeGroupsResponse.DescribedGroupMember

_NOT_FOUND_FROM: Final = 6


class ListedGroup(NamedTuple):
    group_id: str
    protocol_type: str
    state: str
    kind: str


class Catalogue:
    """See the head of this file. `delete_offsets(group id, effects)` is the offsets' part of deleting a group."""

    def __init__(self, context: GroupContext, delete_offsets: Callable[[str, Effects], None]) -> None:
        self._context = context
        self._delete_offsets = delete_offsets

    def listed(self, states: Collection[str], kinds: Collection[str]) -> Sequence[ListedGroup]:
        """Filters are lower case; empty ones let everything through (KIP-518, KIP-848)."""
        found = (
            ListedGroup(group_id, group.protocol_type, group.state_name, group.kind)
            for group_id, group in self._context.groups.items()
        )
        return [
            group
            for group in found
            if (not states or group.state.lower() in states) and (not kinds or group.kind.lower() in kinds)
        ]

    def describe(self, group_id: str, version: int) -> DescribedGroup:
        """A classic group. What is none, or not there, is Dead; since version 6 that is an error (KIP-1043)."""
        group = self._context.groups.get(group_id)
        if isinstance(group, ClassicGroup):
            return _described(group)
        answer = DescribedGroup(group_id=group_id, group_state=GroupState.DEAD)
        if version >= _NOT_FOUND_FROM:
            answer.error_code = ErrorCode.GROUP_ID_NOT_FOUND
            what = "not found" if group is None else "is not a classic group"
            answer.error_message = f"Group {group_id} {what}."
        return answer

    def delete(self, effects: Effects, reply: Reply[ErrorCode], group_id: str) -> None:
        """Raises KafkaError GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP."""
        group = self._context.groups.get(group_id)
        if group is None:
            raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND)
        group.check_delete()
        self._delete_offsets(group_id, effects)
        for record in group.tombstones():
            effects.append(record)
        effects.answer(reply, ErrorCode.NONE)


def _described(group: ClassicGroup) -> DescribedGroup:
    is_stable = group.state is GroupState.STABLE
    return DescribedGroup(
        group_id=group.group_id,
        group_state=group.state_name,
        protocol_type=group.protocol_type,
        protocol_data=(group.protocol_name or "") if is_stable else "",
        members=[_described_member(group, member, is_stable=is_stable) for member in group.members.values()],
    )


def _described_member(group: ClassicGroup, member: ClassicMember, *, is_stable: bool) -> DescribedMember:
    """Metadata only while there is an assignor that it is for."""
    return DescribedMember(
        member_id=member.member_id,
        group_instance_id=member.instance_id,
        client_id=member.client.client_id,
        client_host=member.client.host,
        member_metadata=member.metadata(group.protocol_name) if is_stable and group.protocol_name else b"",
        member_assignment=member.assignment,
    )
