"""How a classic group gets from one generation to the next: gather, elect, hand out, wait for the assignment.

Rules of this file: pure. Three deadlines: `join` ends the gathering, `sync` the wait for members that do not ask for
their assignment, `session` a member that is silent. Who does not come back in time is removed, a static member only by
its session (KIP-345). What is answered here goes through effects, after whatever the operation wrote is safe.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from pybroker_protocol.errors import ErrorCode
from pybroker_protocol.messages import JoinGroupResponse, SyncGroupResponse
from pybroker_server.coordinator.effects import Effects
from pybroker_server.coordinator.group.classic.group import ClassicGroup, GroupState
from pybroker_server.coordinator.group.classic.member import ClassicMember
from pybroker_server.coordinator.group.classic.records import group_record
from pybroker_server.coordinator.group.context import GroupContext

NEW_MEMBER_JOIN_TIMEOUT_MS: Final = 300_000
"""A new member that waits this long for the others has probably given up, and cannot say so."""

_MAY_REBALANCE: Final = frozenset({GroupState.STABLE, GroupState.COMPLETING_REBALANCE, GroupState.EMPTY})


def session_key(group_id: str, member_id: str) -> tuple[str, str, str]:
    return ("session", group_id, member_id)


class Rebalancer:
    """The steps of a rebalance, over the groups of one shard."""

    def __init__(self, context: GroupContext) -> None:
        self._context = context
        self._timeouts = context.timeouts

    def group(self, group_id: str) -> ClassicGroup | None:
        """None when there is none, or it is of another kind."""
        found = self._context.groups.get(group_id)
        return found if isinstance(found, ClassicGroup) else None

    # Sessions

    def begin_session(
        self, effects: Effects, group: ClassicGroup, member: ClassicMember, timeout_ms: int | None = None
    ) -> None:
        """A sign of life. Without `timeout_ms` the member's own session timeout."""
        wait_ms = member.session_timeout_ms if timeout_ms is None else timeout_ms
        self.watch(effects, group.group_id, member.member_id, wait_ms)

    def watch(self, effects: Effects, group_id: str, member_id: str, timeout_ms: int) -> None:
        """The same for one that is no member yet."""
        expire = partial(self._on_session_end, group_id, member_id)
        self._timeouts.set(session_key(group_id, member_id), effects.now_ms + timeout_ms, expire)

    def end_session(self, group: ClassicGroup, member_id: str) -> None:
        self._timeouts.cancel(session_key(group.group_id, member_id))

    def _on_session_end(self, group_id: str, member_id: str, effects: Effects) -> None:
        group = self.group(group_id)
        if group is None:
            return
        if member_id in group.pending_members:
            group.remove(member_id)
            self.maybe_complete_join(effects, group)
            return
        member = group.members.get(member_id)
        if member is not None and not member.stays_without_heartbeat:
            self.remove(effects, group, member)
            self.after_removal(effects, group)

    # Leaving

    def remove(self, effects: Effects, group: ClassicGroup, member: ClassicMember) -> None:
        """Takes a member out. What it waits for is answered UNKNOWN_MEMBER_ID: a client that lives joins anew."""
        self.end_session(group, member.member_id)
        group.remove(member.member_id)
        self._dismiss(effects, member, ErrorCode.UNKNOWN_MEMBER_ID)

    def _dismiss(self, effects: Effects, member: ClassicMember, code: ErrorCode, member_id: str = "") -> None:
        join, sync = member.awaiting_join, member.awaiting_sync
        member.awaiting_join = member.awaiting_sync = None
        if join is not None:
            effects.answer(join, JoinGroupResponse(member_id=member_id, error_code=code, protocol_name=None))
        if sync is not None:
            effects.answer(sync, SyncGroupResponse(error_code=code))

    def fence(self, effects: Effects, member: ClassicMember) -> None:
        """Another process took this static member's place."""
        self._dismiss(effects, member, ErrorCode.FENCED_INSTANCE_ID, member.member_id)

    def after_removal(self, effects: Effects, group: ClassicGroup) -> None:
        """Members are gone: the others share their part, or the gathering is complete without them."""
        if group.state in (GroupState.STABLE, GroupState.COMPLETING_REBALANCE):
            self.prepare(effects, group)
        else:
            self.maybe_complete_join(effects, group)

    # Gathering

    def prepare_or_complete(self, effects: Effects, group: ClassicGroup) -> None:
        """A member (re)joined: begin a rebalance, or see whether the one under way is complete now."""
        if group.state in _MAY_REBALANCE:
            self.prepare(effects, group)
        else:
            self.maybe_complete_join(effects, group)

    def prepare(self, effects: Effects, group: ClassicGroup) -> None:
        """Begins to gather the members. An empty group waits for more of them first."""
        if group.state is GroupState.COMPLETING_REBALANCE:
            self.reset_assignment(effects, group, ErrorCode.REBALANCE_IN_PROGRESS)
        self._timeouts.cancel(("sync", group.group_id))
        is_first = group.state is GroupState.EMPTY
        group.move_to(GroupState.PREPARING_REBALANCE, effects.wall_ms)
        if is_first:
            delay_ms = self._context.config.group_initial_rebalance_delay_ms
            remaining_ms = max(group.rebalance_timeout_ms - delay_ms, 0)
            self._set_join_deadline(
                effects, group, delay_ms, partial(self._on_initial_delay, group.group_id, delay_ms, remaining_ms)
            )
        elif group.all_have_joined:
            self.complete_join(effects, group)
        else:
            self._wait_for_members(effects, group)

    def _wait_for_members(self, effects: Effects, group: ClassicGroup) -> None:
        self._set_join_deadline(
            effects, group, group.rebalance_timeout_ms, partial(self._on_join_deadline, group.group_id)
        )

    def _set_join_deadline(self, effects: Effects, group: ClassicGroup, wait_ms: int, operation: object) -> None:
        self._timeouts.set(("join", group.group_id), effects.now_ms + wait_ms, operation)  # type: ignore[arg-type]

    def _on_initial_delay(self, group_id: str, delay_ms: int, remaining_ms: int, effects: Effects) -> None:
        group = self.group(group_id)
        if group is None:
            return
        if group.has_new_member and remaining_ms:
            group.has_new_member = False
            next_delay_ms = min(self._context.config.group_initial_rebalance_delay_ms, remaining_ms)
            next_remaining_ms = max(remaining_ms - delay_ms, 0)
            again = partial(self._on_initial_delay, group_id, next_delay_ms, next_remaining_ms)
            self._set_join_deadline(effects, group, next_delay_ms, again)
        else:
            self.complete_join(effects, group)

    def _on_join_deadline(self, group_id: str, effects: Effects) -> None:
        group = self.group(group_id)
        if group is not None and group.state is GroupState.PREPARING_REBALANCE:
            self.complete_join(effects, group)

    def maybe_complete_join(self, effects: Effects, group: ClassicGroup) -> None:
        """Unless it is the initial delay that has not passed yet."""
        if (
            group.state is GroupState.PREPARING_REBALANCE
            and group.previous_state is not GroupState.EMPTY
            and group.all_have_joined
        ):
            self.complete_join(effects, group)

    def complete_join(self, effects: Effects, group: ClassicGroup) -> None:
        """Ends the gathering: who did not come is removed, and the next generation begins."""
        self._timeouts.cancel(("join", group.group_id))
        for member in [m for m in group.members.values() if m.awaiting_join is None and m.instance_id is None]:
            self.remove(effects, group, member)
        if not group.elect_joined_leader() and group.members:
            # Only static members are left and none of them came: their sessions decide.
            self._wait_for_members(effects, group)
            return
        group.begin_generation(effects.wall_ms)
        if group.state is GroupState.EMPTY:
            effects.append(group_record(group), replay=False)
            return
        for member in group.members.values():
            self._welcome(effects, group, member)
        self._timeouts.set(
            ("sync", group.group_id),
            effects.now_ms + group.rebalance_timeout_ms,
            partial(self._on_sync_deadline, group.group_id, group.generation_id),
        )

    def _welcome(self, effects: Effects, group: ClassicGroup, member: ClassicMember) -> None:
        join, member.awaiting_join = member.awaiting_join, None
        if join is not None:
            effects.answer(join, join_response(group, member.member_id))
        self.begin_session(effects, group, member)
        member.is_new = False
        group.pending_sync.add(member.member_id)

    # Assigning

    def _on_sync_deadline(self, group_id: str, generation_id: int, effects: Effects) -> None:
        group = self.group(group_id)
        if group is None or group.generation_id != generation_id or not group.pending_sync:
            return
        if group.state in (GroupState.COMPLETING_REBALANCE, GroupState.STABLE):
            for member_id in list(group.pending_sync):
                member = group.members.get(member_id)
                if member is not None:
                    self.remove(effects, group, member)
            group.pending_sync.clear()
            self.prepare(effects, group)

    def has_synced(self, group: ClassicGroup, member_id: str) -> None:
        """The member asked for its assignment."""
        group.pending_sync.discard(member_id)
        if not group.pending_sync:
            self._timeouts.cancel(("sync", group.group_id))

    def propagate(self, effects: Effects, group: ClassicGroup, assignment: Mapping[str, bytes]) -> None:
        """The leader's assignment to everybody; those who wait for it are answered."""
        for member in group.members.values():
            member.assignment = assignment.get(member.member_id, b"")
        self._answer_syncs(effects, group, ErrorCode.NONE)

    def reset_assignment(self, effects: Effects, group: ClassicGroup, code: ErrorCode) -> None:
        """There will be none in this generation."""
        for member in group.members.values():
            member.assignment = b""
        self._answer_syncs(effects, group, code)

    def _answer_syncs(self, effects: Effects, group: ClassicGroup, code: ErrorCode) -> None:
        for member in group.members.values():
            sync, member.awaiting_sync = member.awaiting_sync, None
            if sync is not None:
                effects.answer(sync, sync_response(group, member, code))
                # The session stood still while the member waited.
                self.begin_session(effects, group, member)


def join_response(group: ClassicGroup, member_id: str) -> JoinGroupResponse:
    """The generation as it is, with everybody's metadata for the leader."""
    assert group.leader_id is not None
    return JoinGroupResponse(
        generation_id=group.generation_id,
        protocol_type=group.type_of_protocol,
        protocol_name=group.protocol_name,
        leader=group.leader_id,
        member_id=member_id,
        members=group.members_for_leader() if member_id == group.leader_id else [],
    )


def sync_response(group: ClassicGroup, member: ClassicMember, code: ErrorCode) -> SyncGroupResponse:
    if code is not ErrorCode.NONE:
        return SyncGroupResponse(error_code=code, assignment=member.assignment)
    return SyncGroupResponse(
        protocol_type=group.type_of_protocol, protocol_name=group.protocol_name, assignment=member.assignment
    )
