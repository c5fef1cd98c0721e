"""ConsumerGroupHeartbeat: a member joins, says what it has and wants, and is told what to have.

Rules of this file: pure. One request is one operation: everything that it changes is records, in the order in which
Kafka writes them: the member, patterns, the group's epoch, the target assignment, the member's own assignment.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_protocol.messages import ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse
from pybroker_server.coordinator.effects import Effects
from pybroker_server.coordinator.group.consumer import records
from pybroker_server.coordinator.group.consumer.group import ConsumerGroup, ResolvedRegex
from pybroker_server.coordinator.group.consumer.member import (
    JOINING,
    LEAVING_STATIC,
    Assignment,
    ClassicMetadata,
    ConsumerMember,
    Owned,
    assignment_of,
    partitions_of,
)
from pybroker_server.coordinator.group.consumer.reconcile import reconciled
from pybroker_server.coordinator.group.consumer.regex import check_regex, matching_topics
from pybroker_server.coordinator.group.consumer.target import metadata_hash, target_assignment
from pybroker_server.coordinator.group.context import Client, GroupContext

_REGEX_BATCH_MS: Final = 10_000
"""Patterns are matched anew at most this often when topics change."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a request says of its member; None leaves things as they are."""

    member_id: str
    epoch: int
    instance_id: str | None
    rack_id: str | None
    rebalance_timeout_ms: int
    topics: tuple[str, ...] | None
    regex: str | None
    server_assignor: str | None
    owned: Assignment | None
    client: Client
    classic: ClassicMetadata | None = None
    """The request is a JoinGroup: epochs are not checked, and another static member takes the place at any time."""
    is_new: bool = True
    """A JoinGroup without a member id."""

    @property
    def is_full(self) -> bool:
        """The member told everything, so it wants to be told everything: it joins, or lost an answer."""
        return self.epoch == JOINING or (
            self.rebalance_timeout_ms != -1
            and (self.topics is not None or self.regex is not None)
            and self.owned is not None
        )


def wanted_from(request: ConsumerGroupHeartbeatRequest, member_id: str, client: Client) -> Wanted:
    names = request.subscribed_topic_names
    owned = request.topic_partitions
    return Wanted(
        member_id,
        request.member_epoch,
        request.instance_id,
        request.rack_id,
        request.rebalance_timeout_ms,
        None if names is None else tuple(sorted(set(names))),
        request.subscribed_topic_regex,
        request.server_assignor,
        None if owned is None else assignment_of((each.topic_id, each.partitions) for each in owned),
        client,
    )


class Heartbeat:
    """One request on `group`, which may be one that no record has made yet."""

    def __init__(self, context: GroupContext, group: ConsumerGroup, wanted: Wanted, effects: Effects) -> None:
        self._context = context
        self._stored = self._group = group
        self._wanted = wanted
        self._effects = effects

    def run(self) -> tuple[ConsumerMember, bool]:
        """The member as it is now, and whether it is to be told its assignment. Raises KafkaError."""
        effects, group_id = self._effects, self._group.group_id
        before = self._member()
        member = self._updated(before)
        if member != before:
            effects.append(records.member_record(group_id, member))
        bumps = self._resolve(before, member) or member.topics != before.topics
        epoch = self._epoch(member, bumps=bumps)
        target_epoch, target = self._target(member, epoch)
        after = reconciled(
            member, target_epoch, self._subscribed(member, target), self._group.is_held, self._wanted.owned
        )
        if after is not member:
            effects.append(records.current_record(group_id, after))
        changed = partitions_of(before.assigned) != partitions_of(after.assigned)
        return after, self._wanted.is_full or changed

    # Who is it?

    def _member(self) -> ConsumerMember:
        group, wanted = self._group, self._wanted
        if wanted.instance_id is not None:
            return self._static_member(wanted.instance_id)
        known = group.members.get(wanted.member_id)
        if known is None and wanted.epoch == JOINING:
            self._check_room()
            return ConsumerMember(wanted.member_id)
        member = group.member(wanted.member_id)
        self._check_epoch(member)
        return member

    def _static_member(self, instance_id: str) -> ConsumerMember:
        group, wanted = self._group, self._wanted
        known = group.static_member(instance_id)
        if wanted.epoch != JOINING or not wanted.is_new:
            check_static(known, instance_id, wanted.member_id)
            assert known is not None
            self._check_epoch(known)
            return known
        if known is None:
            self._check_room()
            return group.members.get(wanted.member_id) or ConsumerMember(wanted.member_id)
        if known.epoch != LEAVING_STATIC and wanted.classic is None:
            raise KafkaError(
                ErrorCode.UNRELEASED_INSTANCE_ID,
                f"Static member {wanted.member_id} with instance id {instance_id} cannot join: the instance id is"
                f" owned by member {known.member_id}.",
            )
        same = known.member_id == wanted.member_id
        return self._returned(known) if same else self._replaced(known, instance_id)

    def _returned(self, known: ConsumerMember) -> ConsumerMember:
        return replace(known, epoch=JOINING, previous_epoch=JOINING)

    def _replaced(self, known: ConsumerMember, instance_id: str) -> ConsumerMember:
        """Another process takes the place: it inherits what is assigned, and the old member is gone."""
        group, effects, group_id = self._group, self._effects, self._group.group_id
        new = replace(self._returned(known), member_id=self._wanted.member_id)
        for tombstone in (records.current_tombstone, records.target_tombstone, records.member_tombstone):
            effects.append(tombstone(group_id, known.member_id))
        effects.append(records.member_record(group_id, new))
        effects.append(records.target_record(group_id, new.member_id, group.target_of(known.member_id)))
        effects.append(records.current_record(group_id, new))
        # What follows must see the group as it will be when these records are replayed.
        self._group = _view(
            group,
            members={**{key: each for key, each in group.members.items() if each is not known}, new.member_id: new},
            static_members={**group.static_members, instance_id: new.member_id},
            target={
                **{key: each for key, each in group.target.items() if key != known.member_id},
                new.member_id: group.target_of(known.member_id),
            },
        )
        return new

    def _check_room(self) -> None:
        most = self._context.config.group_consumer_max_size
        if len(self._group.members) >= most:
            raise KafkaError(
                ErrorCode.GROUP_MAX_SIZE_REACHED,
                f"The consumer group has reached its maximum capacity of {most} members.",
            )

    def _check_epoch(self, member: ConsumerMember) -> None:
        """A member whose last answer was lost comes with the epoch before, and may not own more than it has."""
        epoch = self._wanted.epoch
        if epoch in (JOINING, member.epoch):
            return
        if epoch == member.previous_epoch and epoch < member.epoch and _is_within(self._wanted.owned, member.assigned):
            return
        what = "greater" if epoch > member.epoch else "smaller"
        raise KafkaError(
            ErrorCode.FENCED_MEMBER_EPOCH,
            f"The consumer group member has a {what} member epoch ({epoch}) than the one known by the group"
            f" coordinator ({member.epoch}). The member must abandon all its partitions and rejoin.",
        )

    # What does it want?

    def _updated(self, member: ConsumerMember) -> ConsumerMember:
        wanted = self._wanted
        timeout_ms = wanted.rebalance_timeout_ms
        return replace(
            member,
            instance_id=member.instance_id if wanted.instance_id is None else wanted.instance_id,
            rack_id=member.rack_id if wanted.rack_id is None else wanted.rack_id,
            rebalance_timeout_ms=member.rebalance_timeout_ms if timeout_ms == -1 else timeout_ms,
            server_assignor=member.server_assignor if wanted.server_assignor is None else wanted.server_assignor,
            topics=member.topics if wanted.topics is None else wanted.topics,
            regex=member.regex if wanted.regex is None else wanted.regex,
            client=wanted.client,
            classic=wanted.classic,
        )

    def _resolve(self, before: ConsumerMember, member: ConsumerMember) -> bool:
        """Matches the member's pattern where that is due; whether somebody's topics changed by it."""
        group, effects, image = self._group, self._effects, self._context.image
        if before.regex != member.regex and before.regex and group.subscribers_of(before.regex) == 1:
            effects.append(records.regex_tombstone(group.group_id, before.regex))
        if not member.regex:
            return before.regex != member.regex
        known = group.regexes.get(member.regex)
        if known is None:
            check_regex(member.regex)
        elif not self._is_due(known):
            return before.regex != member.regex
        topics = matching_topics(member.regex, image)
        if known is not None and topics == known.topics and before.regex == member.regex:
            return False
        effects.append(records.regex_record(group.group_id, member.regex, topics, image.revision, effects.wall_ms))
        resolved = ResolvedRegex(topics, image.revision, effects.wall_ms)
        self._group = _view(group, regexes={**group.regexes, member.regex: resolved})
        return known is not None or bool(topics)

    def _is_due(self, known: ResolvedRegex) -> bool:
        age_ms = self._effects.wall_ms - known.timestamp_ms
        if age_ms >= self._context.config.group_consumer_regex_refresh_interval_ms:
            return True
        return known.version != self._context.image.revision and age_ms >= _REGEX_BATCH_MS

    # What is it to have?

    def _epoch(self, member: ConsumerMember, *, bumps: bool) -> int:
        """The group's epoch, which a change of subscriptions or of their topics bumps."""
        group = self._group
        is_new = group.target_epoch == 0
        if not bumps and not is_new and not group.is_stale:
            return group.epoch
        self._stored.is_stale = False
        found = metadata_hash(group.topic_subscribers({member.member_id: member}), self._context.image)
        epoch = group.epoch + (bumps or found != group.metadata_hash)
        if is_new or epoch > group.epoch:
            self._effects.append(records.epoch_record(group.group_id, epoch, found))
        return epoch

    def _target(self, member: ConsumerMember, epoch: int) -> tuple[int, Assignment]:
        """The target's epoch and the member's part. A group that keeps changing is assigned once per interval."""
        group, effects, config = self._group, self._effects, self._context.config
        age_ms = effects.wall_ms - group.target_timestamp_ms
        is_early = 0 <= age_ms < self._context.consumer_config(group.group_id).assignment_interval_ms
        if epoch <= group.target_epoch or is_early:
            return group.target_epoch, group.target_of(member.member_id)
        assignor = group.preferred_assignor(member, config.group_consumer_assignors[0])
        target = target_assignment(group, member, self._context.image, assignor)
        for member_id, assignment in target.items():
            if assignment != group.target.get(member_id):
                effects.append(records.target_record(group.group_id, member_id, assignment))
        effects.append(records.target_epoch_record(group.group_id, epoch, effects.wall_ms))
        return epoch, target[member.member_id]

    def _subscribed(self, member: ConsumerMember, target: Assignment) -> Assignment:
        """What of the target the member still subscribes to: it changes its mind faster than groups are assigned."""
        topics, image = self._group.topics_of(member), self._context.image
        ids = {image.topics_by_name[name].topic_id for name in topics if name in image.topics_by_name}
        return {topic_id: partitions for topic_id, partitions in target.items() if topic_id in ids}


def check_static(known: ConsumerMember | None, instance_id: str, member_id: str) -> None:
    """Raises KafkaError UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID."""
    if known is None:
        raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID, f"Instance id {instance_id} is unknown.")
    if known.member_id != member_id:
        raise KafkaError(
            ErrorCode.FENCED_INSTANCE_ID,
            f"Static member {member_id} with instance id {instance_id} was fenced by member {known.member_id}.",
        )


def _is_within(owned: Assignment | None, assigned: Owned) -> bool:
    if owned is None:
        return False
    return all(partitions <= assigned.get(topic_id, {}).keys() for topic_id, partitions in owned.items())


def _view(group: ConsumerGroup, **changes: object) -> ConsumerGroup:
    """The group as it will be; the group itself changes when the records are replayed."""
    view = ConsumerGroup.__new__(ConsumerGroup)
    view.__dict__.update(group.__dict__)
    view.__dict__.update(changes)
    return view


def response_for(member: ConsumerMember, interval_ms: int, *, tells: bool) -> ConsumerGroupHeartbeatResponse:
    response = ConsumerGroupHeartbeatResponse(
        member_id=member.member_id, member_epoch=member.epoch, heartbeat_interval_ms=interval_ms
    )
    if tells:
        response.assignment = ConsumerGroupHeartbeatResponse.Assignment(
            topic_partitions=[
                ConsumerGroupHeartbeatResponse.TopicPartitions(topic_id=topic_id, partitions=sorted(partitions))
                for topic_id, partitions in member.assigned.items()
            ]
        )
    return response
