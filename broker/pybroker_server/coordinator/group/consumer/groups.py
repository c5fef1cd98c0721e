"""The consumer groups of one shard: heartbeats, leaving, sessions, and how they come back from the log.

Rules of this file: pure. Requests are checked before anything is looked up, as Kafka does; refusals carry a text.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.messages import (
    ConsumerGroupCurrentMemberAssignmentKey,
    ConsumerGroupHeartbeatRequest,
    ConsumerGroupHeartbeatResponse,
    ConsumerGroupMemberMetadataKey,
    ConsumerGroupMetadataKey,
    ConsumerGroupRegularExpressionKey,
    ConsumerGroupTargetAssignmentMemberKey,
    ConsumerGroupTargetAssignmentMetadataKey,
    JoinGroupResponse,
    SyncGroupResponse,
)
from pybroker_protocol.schema.classes import Message
from pybroker_server.coordinator.effects import Effects, Reply
from pybroker_server.coordinator.group.classic.group import ClassicGroup
from pybroker_server.coordinator.group.classic.member import ClassicMember
from pybroker_server.coordinator.group.classic.rebalance import Rebalancer
from pybroker_server.coordinator.group.classic.records import group_record
from pybroker_server.coordinator.group.consumer import records
from pybroker_server.coordinator.group.consumer.group import ConsumerGroup, ResolvedRegex
from pybroker_server.coordinator.group.consumer.heartbeat import Heartbeat, check_static, response_for, wanted_from
from pybroker_server.coordinator.group.consumer.member import (
    JOINING,
    LEAVING,
    LEAVING_STATIC,
    OWNS_NOTHING,
    ConsumerMember,
    MemberState,
    assignment_of,
)
from pybroker_server.coordinator.group.consumer.migration import (
    creation_records,
    downgraded,
    may_downgrade,
    upgraded,
)
from pybroker_server.coordinator.group.consumer.target import metadata_hash
from pybroker_server.coordinator.group.context import Client, GroupContext, Replay
from pybroker_server.coordinator.records import CoordinatorRecord

HeartbeatReply = Reply[ConsumerGroupHeartbeatResponse]
_CLIENT_MADE_IDS_FROM: Final = 1
_DEADLINES: Final = ("consumer-session", "consumer-revocation", "consumer-join", "consumer-sync")


class ConsumerGroups:
    """See the head of this file."""

    def __init__(self, context: GroupContext) -> None:
        self._context = context
        self.replays: Mapping[type[Message], Replay] = {
            ConsumerGroupMetadataKey: _on_record(self._replay_epoch),
            ConsumerGroupMemberMetadataKey: _on_record(self._replay_member),
            ConsumerGroupTargetAssignmentMetadataKey: _on_record(self._replay_target_epoch),
            ConsumerGroupTargetAssignmentMemberKey: _on_record(self._replay_target),
            ConsumerGroupCurrentMemberAssignmentKey: _on_record(self._replay_current),
            ConsumerGroupRegularExpressionKey: _on_record(self._replay_regex),
        }

    def find(self, group_id: str) -> ConsumerGroup:
        """Raises KafkaError GROUP_ID_NOT_FOUND."""
        found = self._context.groups.get(group_id)
        if not isinstance(found, ConsumerGroup):
            what = "not found" if found is None else "is not a consumer group"
            raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, f"Group {group_id} {what}.")
        return found

    # ConsumerGroupHeartbeat

    def heartbeat(
        self,
        effects: Effects,
        reply: HeartbeatReply,
        request: ConsumerGroupHeartbeatRequest,
        client: Client,
        version: int,
    ) -> None:
        """Versions 0-1. Raises KafkaError with a text."""
        self._check(request, version)
        if request.member_epoch in (LEAVING, LEAVING_STATIC):
            self._leave(effects, reply, request)
            return
        group = self._group_for(effects, request)
        member_id = request.member_id or str(self._context.new_uuid())
        member, tells = Heartbeat(self._context, group, wanted_from(request, member_id, client), effects).run()
        self.after_heartbeat(effects, request.group_id, member)
        interval_ms = self._context.consumer_config(group.group_id).heartbeat_interval_ms
        effects.answer(reply, response_for(member, interval_ms, tells=tells))

    def after_heartbeat(self, effects: Effects, group_id: str, member: ConsumerMember) -> None:
        """The deadlines of a member that was just heard of."""
        self.begin_session(effects, group_id, member)
        if member.state is MemberState.UNREVOKED_PARTITIONS:
            self._await_revocation(effects, group_id, member)
        else:
            self._context.timeouts.cancel(_revocation_key(group_id, member.member_id))

    def _check(self, request: ConsumerGroupHeartbeatRequest, version: int) -> None:
        """Kafka's checks, in Kafka's order. Raises KafkaError INVALID_REQUEST, UNSUPPORTED_ASSIGNOR."""
        epoch = request.member_epoch
        needs_id = version >= _CLIENT_MADE_IDS_FROM or epoch > JOINING or epoch == LEAVING
        for name, text, is_needed in (
            ("MemberId", request.member_id, needs_id),
            ("GroupId", request.group_id, True),
            ("InstanceId", request.instance_id, True),
            ("RackId", request.rack_id, True),
        ):
            if is_needed and text is not None and not text.strip():
                raise KafkaError(ErrorCode.INVALID_REQUEST, f"{name} can't be empty.")
        if epoch == JOINING:
            self._check_join(request)
        elif epoch == LEAVING_STATIC:
            if request.instance_id is None:
                raise KafkaError(ErrorCode.INVALID_REQUEST, "InstanceId can't be null.")
        elif epoch < LEAVING_STATIC:
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"MemberEpoch is invalid: {epoch}.")
        known = self._context.config.group_consumer_assignors
        if request.server_assignor is not None and request.server_assignor not in known:
            raise KafkaError(
                ErrorCode.UNSUPPORTED_ASSIGNOR,
                f"ServerAssignor {request.server_assignor} is not supported. Supported assignors: {', '.join(known)}.",
            )

    def _check_join(self, request: ConsumerGroupHeartbeatRequest) -> None:
        wrong = ""
        if request.rebalance_timeout_ms == -1:
            wrong = "RebalanceTimeoutMs must be provided in first request."
        elif request.topic_partitions is None or request.topic_partitions:
            wrong = "TopicPartitions must be empty when (re-)joining."
        elif request.subscribed_topic_names is None and request.subscribed_topic_regex is None:
            wrong = "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining."
        if wrong:
            raise KafkaError(ErrorCode.INVALID_REQUEST, wrong)

    def _group_for(self, effects: Effects, request: ConsumerGroupHeartbeatRequest) -> ConsumerGroup:
        """The group, also one that nothing is known of yet when somebody joins. Raises KafkaError."""
        found = self._context.groups.get(request.group_id)
        if request.member_epoch == JOINING and (found is None or not isinstance(found, ConsumerGroup)):
            if found is None:
                return ConsumerGroup(request.group_id)
            if found.is_empty:
                # A group of offsets only, or one whose classic members have left: its place is taken.
                for tombstone in found.tombstones():
                    effects.append(tombstone)
                return ConsumerGroup(request.group_id)
            if isinstance(found, ClassicGroup):
                return self._upgrade(effects, found)
        return self.find(request.group_id)

    def _upgrade(self, effects: Effects, classic: ClassicGroup) -> ConsumerGroup:
        """The first member of this protocol joins a group of classic ones. Raises KafkaError."""
        group = upgraded(classic, self._context.image, self._context.config)
        for record in (*classic.tombstones(), *creation_records(group)):
            effects.append(record)
        for member in classic.members.values():
            self._release(effects, member)
        for member_ in group.members.values():
            self.begin_session(effects, group.group_id, member_)
        return group

    def _release(self, effects: Effects, member: ClassicMember) -> None:
        """What a classic member waits for will not come: it joins anew, and is a member of the consumer group then."""
        join, sync = member.awaiting_join, member.awaiting_sync
        member.awaiting_join = member.awaiting_sync = None
        code = ErrorCode.REBALANCE_IN_PROGRESS
        if join is not None:
            response = JoinGroupResponse(member_id=member.member_id, error_code=code, protocol_name=None)
            effects.answer(join, response)
        if sync is not None:
            effects.answer(sync, SyncGroupResponse(error_code=code))

    # Leaving

    def _leave(self, effects: Effects, reply: HeartbeatReply, request: ConsumerGroupHeartbeatRequest) -> None:
        group = self.find(request.group_id)
        if request.instance_id is None:
            member = group.member(request.member_id)
        else:
            known = group.static_member(request.instance_id)
            check_static(known, request.instance_id, request.member_id)
            assert known is not None
            member = known
        if request.member_epoch == LEAVING_STATIC:
            away = replace(member, epoch=LEAVING_STATIC, revoking=OWNS_NOTHING, state=MemberState.STABLE)
            effects.append(records.current_record(group.group_id, away))
            self._context.timeouts.cancel(_revocation_key(group.group_id, member.member_id))
        else:
            self.remove(effects, group, [member])
        effects.answer(
            reply, ConsumerGroupHeartbeatResponse(member_id=member.member_id, member_epoch=request.member_epoch)
        )

    def remove(self, effects: Effects, group: ConsumerGroup, members: Sequence[ConsumerMember]) -> None:
        """They are gone, and the others share their parts from the next epoch on."""
        gone = {member.member_id for member in members}
        for member_id in gone:
            for what in _DEADLINES:
                self._context.timeouts.cancel((what, group.group_id, member_id))
        if may_downgrade(group, gone, self._context.config):
            self._downgrade(effects, group, gone)
            return
        group_id = group.group_id
        for member in members:
            for tombstone in (records.current_tombstone, records.target_tombstone, records.member_tombstone):
                effects.append(tombstone(group_id, member.member_id))
        for regex in {member.regex for member in members if member.regex}:
            if all(each.member_id in gone for each in group.members.values() if each.regex == regex):
                effects.append(records.regex_tombstone(group_id, regex))
        found = metadata_hash(group.topic_subscribers(dict.fromkeys(gone)), self._context.image)
        effects.append(records.epoch_record(group_id, group.epoch + 1, found))

    def _downgrade(self, effects: Effects, group: ConsumerGroup, gone: Collection[str]) -> None:
        """Only classic members are left: a classic group again, which shares the parts of those who left."""
        context = self._context
        made = downgraded(group, gone, context.image, effects.wall_ms)
        for record in group.tombstones():
            effects.append(record)
        effects.append(group_record(made), replay=False)
        context.groups[group.group_id] = made
        effects.on_failed(lambda code, undone: context.groups.update({group.group_id: group}))
        rebalancer = Rebalancer(context)
        for member_id, member in made.members.items():
            for what in _DEADLINES:
                context.timeouts.cancel((what, group.group_id, member_id))
            rebalancer.begin_session(effects, made, member)
        rebalancer.prepare(effects, made)

    # Time

    def begin_session(self, effects: Effects, group_id: str, member: ConsumerMember) -> None:
        """A sign of life. Members of the classic protocol have a session timeout of their own."""
        wait_ms = self._context.consumer_config(group_id).session_timeout_ms
        if member.classic is not None:
            wait_ms = member.classic.session_timeout_ms
        expire = partial(self.expire, group_id, member.member_id)
        self._context.timeouts.set(_session_key(group_id, member.member_id), effects.now_ms + wait_ms, expire)

    def expire(self, group_id: str, member_id: str, effects: Effects) -> None:
        """The member was silent for too long."""
        group = self._context.groups.get(group_id)
        if isinstance(group, ConsumerGroup) and member_id in group.members:
            self.remove(effects, group, [group.members[member_id]])

    def _await_revocation(self, effects: Effects, group_id: str, member: ConsumerMember) -> None:
        """A member that does not give up its partitions in time is removed, so that others can have them."""
        key = _revocation_key(group_id, member.member_id)
        if key not in self._context.timeouts:
            expire = partial(self._on_revocation_end, group_id, member.member_id, member.epoch)
            self._context.timeouts.set(key, effects.now_ms + max(member.rebalance_timeout_ms, 0), expire)

    def _on_revocation_end(self, group_id: str, member_id: str, epoch: int, effects: Effects) -> None:
        group = self._context.groups.get(group_id)
        member = group.members.get(member_id) if isinstance(group, ConsumerGroup) else None
        if member is not None and member.epoch == epoch and member.state is MemberState.UNREVOKED_PARTITIONS:
            assert isinstance(group, ConsumerGroup)
            self.remove(effects, group, [member])

    def on_loaded(self, effects: Effects) -> None:
        """Sessions begin anew for every member."""
        for group in self._all():
            for member in group.members.values():
                self.begin_session(effects, group.group_id, member)
                if member.state is MemberState.UNREVOKED_PARTITIONS:
                    self._await_revocation(effects, group.group_id, member)

    def on_unloaded(self) -> None:
        """Nobody waits here: heartbeats are answered at once."""

    def on_topics_changed(self) -> None:
        """Topics came, went or grew: each group looks at them with its next heartbeat."""
        for group in self._all():
            group.is_stale = True

    def _all(self) -> list[ConsumerGroup]:
        return [group for group in self._context.groups.values() if isinstance(group, ConsumerGroup)]

    # The log

    def _made(self, group_id: str) -> ConsumerGroup:
        found = self._context.groups.get(group_id)
        if not isinstance(found, ConsumerGroup):
            found = self._context.groups[group_id] = ConsumerGroup(group_id)
        return found

    def _known(self, group_id: str) -> ConsumerGroup | None:
        found = self._context.groups.get(group_id)
        return found if isinstance(found, ConsumerGroup) else None

    def _replay_epoch(self, key: Any, value: Any) -> None:
        if value is None:
            if self._known(key.group_id) is not None:
                del self._context.groups[key.group_id]
            return
        group = self._made(key.group_id)
        group.epoch, group.metadata_hash = value.epoch, value.metadata_hash

    def _replay_member(self, key: Any, value: Any) -> None:
        if value is None:
            group = self._known(key.group_id)
            if group is not None:
                group.remove_member(key.member_id)
            return
        group = self._made(key.group_id)
        before = group.members.get(key.member_id) or ConsumerMember(key.member_id)
        group.put_member(
            replace(
                before,
                instance_id=value.instance_id,
                rack_id=value.rack_id,
                client=Client(value.client_id, value.client_host),
                rebalance_timeout_ms=value.rebalance_timeout_ms,
                topics=tuple(value.subscribed_topic_names),
                regex=value.subscribed_topic_regex or "",
                server_assignor=value.server_assignor,
                classic=records.classic_from(value.classic_member_metadata),
            )
        )

    def _replay_target_epoch(self, key: Any, value: Any) -> None:
        group = self._known(key.group_id) if value is None else self._made(key.group_id)
        if group is not None:
            group.target_epoch = 0 if value is None else value.assignment_epoch
            group.target_timestamp_ms = 0 if value is None else value.assignment_timestamp

    def _replay_target(self, key: Any, value: Any) -> None:
        group = self._known(key.group_id) if value is None else self._made(key.group_id)
        if group is None:
            return
        if value is None:
            group.target.pop(key.member_id, None)
        else:
            pairs = ((each.topic_id, each.partitions) for each in value.topic_partitions)
            group.target[key.member_id] = assignment_of(pairs)

    def _replay_current(self, key: Any, value: Any) -> None:
        group = self._known(key.group_id) if value is None else self._made(key.group_id)
        if group is None:
            return
        before = group.members.get(key.member_id)
        if value is None:
            if before is not None:
                group.put_member(
                    replace(before, epoch=LEAVING, previous_epoch=LEAVING, assigned=OWNS_NOTHING, revoking=OWNS_NOTHING)
                )
            return
        group.put_member(
            replace(
                before or ConsumerMember(key.member_id),
                epoch=value.member_epoch,
                previous_epoch=value.previous_member_epoch,
                state=records.state_from(value.state) or MemberState.STABLE,
                assigned=records.owned_from(value.assigned_partitions, value.member_epoch),
                revoking=records.owned_from(value.partitions_pending_revocation, value.member_epoch),
            )
        )

    def _replay_regex(self, key: Any, value: Any) -> None:
        group = self._known(key.group_id) if value is None else self._made(key.group_id)
        if group is None:
            return
        if value is None:
            group.regexes.pop(key.regular_expression, None)
        else:
            resolved = ResolvedRegex(frozenset(value.topics), value.version, value.timestamp)
            group.regexes[key.regular_expression] = resolved


def _on_record(replay: Callable[[Any, Any], None]) -> Replay:
    def on_record(record: CoordinatorRecord, producer_id: int, producer_epoch: int) -> None:
        del producer_id, producer_epoch
        replay(record.key, record.value)

    return on_record


def _session_key(group_id: str, member_id: str) -> tuple[str, str, str]:
    return ("consumer-session", group_id, member_id)


def _revocation_key(group_id: str, member_id: str) -> tuple[str, str, str]:
    return ("consumer-revocation", group_id, member_id)
