"""Members of a consumer group that speak the classic protocol: JoinGroup, SyncGroup, Heartbeat and LeaveGroup.

Rules of this file: pure. JoinGroup does what a full heartbeat does, and its answer never waits for others; SyncGroup
fetches the assignment; Heartbeat says REBALANCE_IN_PROGRESS whenever there is something to be fetched or given up. A
member that is told so and does not come back within its rebalance timeout is removed (KIP-848).
"""

from __future__ import annotations

from functools import partial
from typing import Final

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.messages import (
    HeartbeatRequest,
    HeartbeatResponse,
    JoinGroupRequest,
    JoinGroupResponse,
    LeaveGroupRequest,
    LeaveGroupResponse,
    SyncGroupRequest,
    SyncGroupResponse,
)
from pybroker_server.coordinator.effects import Effects, Reply
from pybroker_server.coordinator.group.classic.join import refused
from pybroker_server.coordinator.group.classic.member import protocols_of
from pybroker_server.coordinator.group.classic.subscription import CONSUMER
from pybroker_server.coordinator.group.consumer.embedded import assignment_bytes, subscription_of
from pybroker_server.coordinator.group.consumer.group import ConsumerGroup
from pybroker_server.coordinator.group.consumer.groups import ConsumerGroups
from pybroker_server.coordinator.group.consumer.heartbeat import Heartbeat, Wanted, check_static
from pybroker_server.coordinator.group.consumer.member import (
    JOINING,
    ClassicMetadata,
    ConsumerMember,
    MemberState,
    partitions_of,
)
from pybroker_server.coordinator.group.context import Client, GroupContext

_MEMBER_ID_REQUIRED_FROM: Final = 4


class ClassicMembers:
    """See the head of this file. Groups are those of `groups`."""

    def __init__(self, context: GroupContext, groups: ConsumerGroups) -> None:
        self._context = context
        self._groups = groups

    # JoinGroup

    def join(
        self,
        effects: Effects,
        reply: Reply[JoinGroupResponse],
        group: ConsumerGroup,
        request: JoinGroupRequest,
        client: Client,
        version: int,
    ) -> None:
        protocols = protocols_of(request.protocols)
        if not self._supports(group, request.protocol_type, [name for name, _ in protocols]):
            effects.answer(reply, refused(request.member_id, ErrorCode.INCONSISTENT_GROUP_PROTOCOL))
            return
        is_new = not request.member_id
        member_id = request.member_id or f"{client.client_id}-{self._context.new_uuid()}"
        if is_new and request.group_instance_id is None and version >= _MEMBER_ID_REQUIRED_FROM:
            effects.answer(reply, refused(member_id, ErrorCode.MEMBER_ID_REQUIRED))
            return
        classic = ClassicMetadata(request.session_timeout_ms, protocols)
        try:
            wanted = self._wanted(request, member_id, client, classic, is_new=is_new)
            member, _ = Heartbeat(self._context, group, wanted, effects).run()
        except KafkaError as error:
            effects.records.clear()
            effects.answer(reply, refused(request.member_id, error.code))
            return
        self._groups.after_heartbeat(effects, group.group_id, member)
        self._cancel(group, member_id, "join")
        self._watch(effects, group, member, "sync")
        effects.answer(
            reply,
            JoinGroupResponse(
                member_id=member.member_id,
                generation_id=member.epoch,
                protocol_type=CONSUMER,
                protocol_name=classic.protocols[0][0],
            ),
        )

    def _supports(self, group: ConsumerGroup, protocol_type: str, names: list[str]) -> bool:
        members = [member.classic for member in group.members.values() if member.classic is not None]
        return (
            protocol_type == CONSUMER
            and bool(names)
            and any(all(name in dict(each.protocols) for each in members) for name in names)
        )

    def _wanted(
        self, request: JoinGroupRequest, member_id: str, client: Client, classic: ClassicMetadata, *, is_new: bool
    ) -> Wanted:
        subscription = subscription_of(classic, self._context.image)
        timeout_ms = request.rebalance_timeout_ms
        return Wanted(
            member_id,
            JOINING,
            request.group_instance_id,
            subscription.rack_id,
            request.session_timeout_ms if timeout_ms < 0 else timeout_ms,
            subscription.topics,
            None,
            None,
            subscription.owned,
            client,
            classic,
            is_new,
        )

    # SyncGroup

    def sync(
        self, effects: Effects, reply: Reply[SyncGroupResponse], group: ConsumerGroup, request: SyncGroupRequest
    ) -> None:
        """Raises KafkaError."""
        member, classic = self._member(group, request.member_id, request.group_instance_id)
        name = classic.protocols[0][0]
        if request.protocol_type not in (None, CONSUMER) or request.protocol_name not in (None, name):
            raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        self._check_generation(member, request.generation_id)
        if group.target_epoch > member.epoch and member.state is not MemberState.UNREVOKED_PARTITIONS:
            self._watch(effects, group, member, "join")
            raise KafkaError(ErrorCode.REBALANCE_IN_PROGRESS)
        self._cancel(group, member.member_id, "sync")
        self._groups.begin_session(effects, group.group_id, member)
        effects.answer(
            reply,
            SyncGroupResponse(
                protocol_type=CONSUMER,
                protocol_name=name,
                assignment=assignment_bytes(partitions_of(member.assigned), classic, self._context.image),
            ),
        )

    # Heartbeat

    def heartbeat(
        self, effects: Effects, reply: Reply[HeartbeatResponse], group: ConsumerGroup, request: HeartbeatRequest
    ) -> None:
        """Raises KafkaError."""
        member, _ = self._member(group, request.member_id, request.group_instance_id)
        self._check_generation(member, request.generation_id)
        self._groups.begin_session(effects, group.group_id, member)
        code = ErrorCode.NONE
        if self._has_to_rejoin(group, member):
            code = ErrorCode.REBALANCE_IN_PROGRESS
            self._watch(effects, group, member, "join")
        effects.answer(reply, HeartbeatResponse(error_code=code))

    def _has_to_rejoin(self, group: ConsumerGroup, member: ConsumerMember) -> bool:
        if member.epoch < group.target_epoch or member.state is MemberState.UNREVOKED_PARTITIONS:
            return True
        return member.state is MemberState.UNRELEASED_PARTITIONS and not self._waits(group, member)

    def _waits(self, group: ConsumerGroup, member: ConsumerMember) -> bool:
        """Something that the member is to have is still another's."""
        return any(
            group.is_held(topic_id, index)
            for topic_id, indexes in group.target_of(member.member_id).items()
            for index in indexes - member.assigned.get(topic_id, {}).keys()
        )

    # LeaveGroup

    def leave(
        self, effects: Effects, reply: Reply[LeaveGroupResponse], group: ConsumerGroup, request: LeaveGroupRequest
    ) -> None:
        """A code per member; those who may leave do so together."""
        leaving: dict[str, ConsumerMember] = {}
        results = []
        for each in request.members:
            code = ErrorCode.NONE
            try:
                member = self._leaving(group, each.member_id, each.group_instance_id)
            except KafkaError as error:
                code = error.code
            else:
                leaving[member.member_id] = member
            results.append(
                LeaveGroupResponse.MemberResponse(
                    member_id=each.member_id, group_instance_id=each.group_instance_id, error_code=code
                )
            )
        if leaving:
            self._groups.remove(effects, group, list(leaving.values()))
        effects.answer(reply, LeaveGroupResponse(members=results))

    def _leaving(self, group: ConsumerGroup, member_id: str, instance_id: str | None) -> ConsumerMember:
        if member_id:
            if instance_id is not None:
                check_static(group.static_member(instance_id), instance_id, member_id)
            return group.member(member_id)
        known = group.static_member(instance_id) if instance_id is not None else None
        if known is None:
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
        return known

    # Checks and deadlines

    def _member(
        self, group: ConsumerGroup, member_id: str, instance_id: str | None
    ) -> tuple[ConsumerMember, ClassicMetadata]:
        """Raises KafkaError UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID."""
        if instance_id is not None:
            check_static(group.static_member(instance_id), instance_id, member_id)
        member = group.member(member_id)
        if member.classic is None:
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
        return member, member.classic

    def _check_generation(self, member: ConsumerMember, generation_id: int) -> None:
        if generation_id != member.epoch:
            raise KafkaError(ErrorCode.ILLEGAL_GENERATION)

    def _watch(self, effects: Effects, group: ConsumerGroup, member: ConsumerMember, what: str) -> None:
        """The member has its rebalance timeout to join, or to sync; what runs already goes on."""
        key = _key(group, member.member_id, what)
        if key not in self._context.timeouts:
            expire = partial(self._groups.expire, group.group_id, member.member_id)
            self._context.timeouts.set(key, effects.now_ms + max(member.rebalance_timeout_ms, 0), expire)

    def _cancel(self, group: ConsumerGroup, member_id: str, what: str) -> None:
        self._context.timeouts.cancel(_key(group, member_id, what))


def _key(group: ConsumerGroup, member_id: str, what: str) -> tuple[str, str, str]:
    return (f"consumer-{what}", group.group_id, member_id)
