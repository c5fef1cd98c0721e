"""The classic groups of one shard: what clients ask of them, and how they come back from the log.

Rules of this file: pure. A group whose id was never seen is made by the first member that joins without an id, or by
offsets that are committed without membership. Refusals are Kafka's codes (protocol guide, KIP-345, KIP-394).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.messages import (
    GroupMetadataKey,
    GroupMetadataValue,
    HeartbeatRequest,
    HeartbeatResponse,
    JoinGroupRequest,
    JoinGroupResponse,
    LeaveGroupRequest,
    LeaveGroupResponse,
    SyncGroupRequest,
    SyncGroupResponse,
)
from pybroker_protocol.schema.classes import Message
from pybroker_server.coordinator.effects import Effects, Reply
from pybroker_server.coordinator.group.classic.group import ClassicGroup, GroupState
from pybroker_server.coordinator.group.classic.join import Join, refused
from pybroker_server.coordinator.group.classic.rebalance import Rebalancer, sync_response
from pybroker_server.coordinator.group.classic.records import group_from, group_record
from pybroker_server.coordinator.group.context import Client, GroupContext, Replay
from pybroker_server.coordinator.records import CoordinatorRecord


class ClassicGroups:
    """See the head of this file."""

    def __init__(self, context: GroupContext) -> None:
        self._context = context
        self._rebalancer = Rebalancer(context)
        self.replays: Mapping[type[Message], Replay] = {GroupMetadataKey: self._replay_group}

    def get_or_create(self, group_id: str, now_wall_ms: int) -> ClassicGroup:
        """Raises KafkaError UNKNOWN_MEMBER_ID when the id belongs to a group of another kind."""
        found = self._context.groups.get(group_id)
        if found is None:
            found = self._context.groups[group_id] = ClassicGroup(group_id, now_wall_ms)
        if not isinstance(found, ClassicGroup):
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
        return found

    # JoinGroup

    def join(
        self,
        effects: Effects,
        reply: Reply[JoinGroupResponse],
        request: JoinGroupRequest,
        client: Client,
        version: int,
    ) -> None:
        """Versions 0-9. The group is made when a member comes that has no id yet."""
        group_id, member_id = request.group_id, request.member_id
        known = self._context.groups.get(group_id)
        if known is not None and not isinstance(known, ClassicGroup) and known.is_empty:
            # Its members have left: a classic group takes its place.
            for tombstone in known.tombstones():
                effects.append(tombstone, replay=False)
            del self._context.groups[group_id]
            effects.on_failed(lambda code, undone: self._context.groups.update({group_id: known}))
        is_new = group_id not in self._context.groups
        if is_new and member_id:
            effects.answer(reply, refused(member_id, ErrorCode.UNKNOWN_MEMBER_ID))
            return
        group = self.get_or_create(group_id, effects.wall_ms)
        if is_new:
            effects.append(group_record(group), replay=False)
            effects.on_failed(lambda code, undone: self._forget(group))
        Join(self._context, self._rebalancer, group, request, client, version).run(effects, reply)

    def _forget(self, group: ClassicGroup) -> None:
        """Its record was not written, and those who joined are refused."""
        for member_id in [*group.members, *group.pending_members]:
            self._rebalancer.end_session(group, member_id)
        for member in group.members.values():
            if member.awaiting_join is not None:
                member.awaiting_join.fail(ErrorCode.COORDINATOR_NOT_AVAILABLE)
        self._context.groups.pop(group.group_id, None)

    # SyncGroup

    def sync(self, effects: Effects, reply: Reply[SyncGroupResponse], request: SyncGroupRequest) -> None:
        """Versions 0-5. Raises KafkaError. The leader's request makes the group stable."""
        group = self._member_group(request.group_id)
        group.check_member(request.member_id, request.group_instance_id)
        if request.generation_id != group.generation_id:
            raise KafkaError(ErrorCode.ILLEGAL_GENERATION)
        if _differs(request.protocol_type, group.type_of_protocol) or _differs(
            request.protocol_name, group.protocol_name
        ):
            raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        member = group.members[request.member_id]
        if group.state is GroupState.PREPARING_REBALANCE:
            raise KafkaError(ErrorCode.REBALANCE_IN_PROGRESS)
        self._rebalancer.has_synced(group, member.member_id)
        if group.state is GroupState.STABLE:
            effects.answer(reply, sync_response(group, member, ErrorCode.NONE))
            return
        if member.awaiting_sync is not None:
            effects.refuse(member.awaiting_sync, ErrorCode.REBALANCE_IN_PROGRESS)
        member.awaiting_sync = reply
        if member.member_id == group.leader_id:
            self._assign(effects, group, {each.member_id: bytes(each.assignment) for each in request.assignments})

    def _assign(self, effects: Effects, group: ClassicGroup, assignment: Mapping[str, bytes]) -> None:
        group.move_to(GroupState.STABLE, effects.wall_ms)
        self._rebalancer.propagate(effects, group, assignment)
        effects.append(group_record(group), replay=False)

        def undo(code: ErrorCode, undone: Effects) -> None:
            # Nobody was told: the members gather once more.
            self._rebalancer.reset_assignment(undone, group, code)
            self._rebalancer.prepare(undone, group)

        effects.on_failed(undo)

    # Heartbeat

    def heartbeat(self, effects: Effects, reply: Reply[HeartbeatResponse], request: HeartbeatRequest) -> None:
        """Versions 0-4. Raises KafkaError; REBALANCE_IN_PROGRESS is a sign of life as well."""
        group = self._member_group(request.group_id)
        group.check_member(request.member_id, request.group_instance_id)
        if request.generation_id != group.generation_id:
            raise KafkaError(ErrorCode.ILLEGAL_GENERATION)
        self._rebalancer.begin_session(effects, group, group.members[request.member_id])
        is_gathering = group.state is GroupState.PREPARING_REBALANCE
        code = ErrorCode.REBALANCE_IN_PROGRESS if is_gathering else ErrorCode.NONE
        effects.answer(reply, HeartbeatResponse(error_code=code))

    def on_commit(self, effects: Effects, group: ClassicGroup, member_id: str) -> None:
        """An offset commit is a sign of life too."""
        member = group.members.get(member_id)
        if member is not None and group.state in (GroupState.STABLE, GroupState.PREPARING_REBALANCE):
            self._rebalancer.begin_session(effects, group, member)

    # LeaveGroup

    def leave(self, effects: Effects, reply: Reply[LeaveGroupResponse], request: LeaveGroupRequest) -> None:
        """Versions 3-5, and 0-2 put into their form: a code per member. Raises KafkaError UNKNOWN_MEMBER_ID."""
        group = self._rebalancer.group(request.group_id)
        if group is None:
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
        results = []
        for each in request.members:
            code = self._leave_one(effects, group, each.member_id, each.group_instance_id)
            results.append(
                LeaveGroupResponse.MemberResponse(
                    member_id=each.member_id, group_instance_id=each.group_instance_id, error_code=code
                )
            )
        if any(result.error_code == ErrorCode.NONE for result in results):
            self._rebalancer.after_removal(effects, group)
        effects.answer(reply, LeaveGroupResponse(members=results))

    def _leave_one(self, effects: Effects, group: ClassicGroup, member_id: str, instance_id: str | None) -> ErrorCode:
        if not member_id:  # an administrator removes a static member by its instance id
            known = group.static_members.get(instance_id) if instance_id is not None else None
            if known is None:
                return ErrorCode.UNKNOWN_MEMBER_ID
            member_id = known
        elif member_id in group.pending_members:
            group.remove(member_id)
            self._rebalancer.end_session(group, member_id)
            return ErrorCode.NONE
        else:
            try:
                group.check_member(member_id, instance_id)
            except KafkaError as error:
                return error.code
        self._rebalancer.remove(effects, group, group.members[member_id])
        return ErrorCode.NONE

    def _member_group(self, group_id: str) -> ClassicGroup:
        """Of one that can have members. Raises KafkaError UNKNOWN_MEMBER_ID."""
        group = self._rebalancer.group(group_id)
        if group is None or group.state is GroupState.EMPTY:
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
        return group

    # The log

    def _replay_group(self, record: CoordinatorRecord, producer_id: int, producer_epoch: int) -> None:
        del producer_id, producer_epoch
        group_id = cast(GroupMetadataKey, record.key).group
        if record.value is None:
            if isinstance(self._context.groups.get(group_id), ClassicGroup):
                del self._context.groups[group_id]
        else:
            self._context.groups[group_id] = group_from(group_id, cast(GroupMetadataValue, record.value))

    def on_loaded(self, effects: Effects) -> None:
        """Sessions begin anew for every member; a group above today's limit has to rebalance."""
        for group in self._all():
            for member in group.members.values():
                self._rebalancer.begin_session(effects, group, member)
            if len(group.members) > self._context.config.group_max_size:
                self._rebalancer.prepare(effects, group)

    def on_unloaded(self) -> None:
        """Members who wait are answered NOT_COORDINATOR."""
        for group in self._all():
            for member in group.members.values():
                for reply in cast(tuple[Reply[Any] | None, ...], (member.awaiting_join, member.awaiting_sync)):
                    if reply is not None:
                        reply.fail(ErrorCode.NOT_COORDINATOR)
                member.awaiting_join = member.awaiting_sync = None

    def _all(self) -> list[ClassicGroup]:
        return [group for group in self._context.groups.values() if isinstance(group, ClassicGroup)]


def _differs(given: str | None, known: str | None) -> bool:
    return given is not None and known is not None and given != known
