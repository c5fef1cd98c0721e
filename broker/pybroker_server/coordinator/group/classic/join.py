"""JoinGroup on a classic group: new members, returning ones, and static ones that come back under another id.

Rules of this file: pure; one class, a method per way of joining. The reply may be kept by the member until the
rebalance has gathered everyone.
"""

from __future__ import annotations

from typing import Final

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.messages import JoinGroupRequest, JoinGroupResponse
from pybroker_server.coordinator.effects import Effects, Reply
from pybroker_server.coordinator.group.classic.group import ClassicGroup, GroupState
from pybroker_server.coordinator.group.classic.member import ClassicMember, protocols_of
from pybroker_server.coordinator.group.classic.rebalance import (
    NEW_MEMBER_JOIN_TIMEOUT_MS,
    Rebalancer,
    join_response,
)
from pybroker_server.coordinator.group.classic.records import group_record
from pybroker_server.coordinator.group.context import Client, GroupContext

_MEMBER_ID_REQUIRED_FROM: Final = 4
_SKIP_ASSIGNMENT_FROM: Final = 9

JoinReply = Reply[JoinGroupResponse]


def refused(member_id: str, code: ErrorCode) -> JoinGroupResponse:
    return JoinGroupResponse(member_id=member_id, error_code=code, protocol_name=None)


class Join:
    """One request. `client` is who sent it, `version` the request's."""

    def __init__(
        self,
        context: GroupContext,
        rebalancer: Rebalancer,
        group: ClassicGroup,
        request: JoinGroupRequest,
        client: Client,
        version: int,
    ) -> None:
        self._context = context
        self._rebalancer = rebalancer
        self._group = group
        self._request = request
        self._client = client
        self._version = version
        self._protocols = protocols_of(request.protocols)

    def run(self, effects: Effects, reply: JoinReply) -> None:
        group, request = self._group, self._request
        member_id = request.member_id
        if not self._has_room(member_id):
            group.remove(member_id)
            effects.answer(reply, refused("", ErrorCode.GROUP_MAX_SIZE_REACHED))
        elif not group.supports(request.protocol_type, (name for name, _ in self._protocols)):
            effects.answer(reply, refused(member_id, ErrorCode.INCONSISTENT_GROUP_PROTOCOL))
        elif not member_id:
            self._join_new(effects, reply)
        elif member_id in group.pending_members:
            self._add(effects, reply, member_id)
        else:
            self._rejoin(effects, reply)

    def _has_room(self, member_id: str) -> bool:
        """`group.max.size`: those who are in may come back."""
        group, most = self._group, self._context.config.group_max_size
        if group.state is GroupState.EMPTY:
            return True
        member = group.members.get(member_id)
        if group.state is GroupState.PREPARING_REBALANCE:
            return (member is not None and member.awaiting_join is not None) or group.awaiting_join_count < most
        return member is not None or len(group.members) < most

    # New members

    def _join_new(self, effects: Effects, reply: JoinReply) -> None:
        group, request = self._group, self._request
        instance_id = request.group_instance_id
        prefix = self._client.client_id if instance_id is None else instance_id
        member_id = f"{prefix}-{self._context.new_uuid()}"
        if instance_id is not None:
            known = group.static_members.get(instance_id)
            if known is not None:
                self._replace(effects, reply, group.members[known], member_id)
                return
        elif self._version >= _MEMBER_ID_REQUIRED_FROM:
            group.pending_members.add(member_id)
            self._rebalancer.watch(effects, group.group_id, member_id, request.session_timeout_ms)
            effects.answer(reply, refused(member_id, ErrorCode.MEMBER_ID_REQUIRED))
            return
        self._add(effects, reply, member_id)

    def _add(self, effects: Effects, reply: JoinReply, member_id: str) -> None:
        group, request = self._group, self._request
        member = ClassicMember(
            member_id,
            request.group_instance_id,
            self._client,
            self._rebalance_timeout_ms,
            request.session_timeout_ms,
            request.protocol_type,
            self._protocols,
            awaiting_join=reply,
            is_new=True,
        )
        if group.state is GroupState.PREPARING_REBALANCE and group.previous_state is GroupState.EMPTY:
            group.has_new_member = True
        group.add(member)
        self._rebalancer.begin_session(effects, group, member, NEW_MEMBER_JOIN_TIMEOUT_MS)
        self._rebalancer.prepare_or_complete(effects, group)

    @property
    def _rebalance_timeout_ms(self) -> int:
        """Version 0 has none: the session timeout serves for both."""
        wanted = self._request.rebalance_timeout_ms
        return self._request.session_timeout_ms if wanted < 0 else wanted

    # Returning members

    def _rejoin(self, effects: Effects, reply: JoinReply) -> None:
        group, request = self._group, self._request
        member_id = request.member_id
        try:
            group.check_member(member_id, request.group_instance_id)
        except KafkaError as error:
            effects.answer(reply, refused(member_id, error.code))
            return
        member = group.members[member_id]
        is_unchanged = member.protocols == self._protocols
        state = group.state
        if state is GroupState.EMPTY:
            effects.answer(reply, refused(member_id, ErrorCode.UNKNOWN_MEMBER_ID))
        elif is_unchanged and (
            state is GroupState.COMPLETING_REBALANCE or (state is GroupState.STABLE and member_id != group.leader_id)
        ):
            # The answer was lost, or a follower asks without a reason: no rebalance. A leader may have one that its
            # metadata does not show, such as new partitions.
            effects.answer(reply, join_response(group, member_id))
        else:
            self._update(effects, reply, member)
            self._rebalancer.prepare_or_complete(effects, group)

    def _update(self, effects: Effects, reply: JoinReply, member: ClassicMember) -> None:
        self._group.update(member, self._protocols, self._rebalance_timeout_ms, self._request.session_timeout_ms)
        if member.awaiting_join is not None:
            # The client gave up on its first request and sent another: the first is answered as Kafka never does,
            # so that no reply is lost.
            effects.answer(member.awaiting_join, refused(member.member_id, ErrorCode.REBALANCE_IN_PROGRESS))
        member.awaiting_join = reply

    # Static members under a new id

    def _replace(self, effects: Effects, reply: JoinReply, old: ClassicMember, member_id: str) -> None:
        group, rebalancer = self._group, self._rebalancer
        led_before = group.leader_id
        rebalancer.fence(effects, old)
        rebalancer.end_session(group, old.member_id)
        new = group.replace_static(old, member_id)
        rebalancer.begin_session(effects, group, new)
        before = (new.protocols, new.rebalance_timeout_ms, new.session_timeout_ms)
        self._update(effects, reply, new)
        if group.state is not GroupState.STABLE:
            # During CompletingRebalance too: the leader may be assigning to the old id right now.
            rebalancer.prepare_or_complete(effects, group)
            return
        if group.select_protocol() != group.protocol_name:
            rebalancer.prepare(effects, group)
            return
        new.awaiting_join = None

        def undo(code: ErrorCode, undone: Effects) -> None:
            del code
            group.update(new, *before)
            rebalancer.end_session(group, new.member_id)
            rebalancer.begin_session(undone, group, group.replace_static(new, old.member_id))

        effects.append(group_record(group), replay=False)
        effects.on_failed(undo)
        effects.answer(reply, self._replaced_response(member_id, led_before))

    def _replaced_response(self, member_id: str, led_before: str | None) -> JoinGroupResponse:
        """The generation goes on. A leader must not assign anew (KIP-814); older ones hear that the old id leads."""
        group = self._group
        if self._version >= _SKIP_ASSIGNMENT_FROM:
            response = join_response(group, member_id)
            response.skip_assignment = member_id == group.leader_id
            return response
        return JoinGroupResponse(
            generation_id=group.generation_id,
            protocol_type=group.type_of_protocol,
            protocol_name=group.protocol_name,
            leader=led_before or "",
            member_id=member_id,
        )
