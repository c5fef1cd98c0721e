"""A consumer group: members, the target assignment, and who holds which partition.

Rules of this file: changed by replay alone, through the methods under "Changes". Checks raise KafkaError with Kafka's
codes. A partition belongs to one member at a time, from when it is assigned until the member says that it gave it up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final, NamedTuple
from uuid import UUID

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_server.coordinator.group.consumer import records
from pybroker_server.coordinator.group.consumer.member import NOTHING, Assignment, ConsumerMember, Owned
from pybroker_server.coordinator.group.group import GroupKind
from pybroker_server.coordinator.records import CoordinatorRecord

FIRST_EPOCH: Final = 1
"""Of a group before anybody subscribed to anything: the first subscription makes it 2, as in Kafka 4.3."""
UNOWNED: Final = -1
_MEMBER_EPOCHS_FROM: Final = 9


class GroupState(StrEnum):
    EMPTY = "Empty"
    ASSIGNING = "Assigning"
    RECONCILING = "Reconciling"
    STABLE = "Stable"
    DEAD = "Dead"


class ResolvedRegex(NamedTuple):
    """The topics that a pattern matched when the metadata was at `version`."""

    topics: frozenset[str]
    version: int
    timestamp_ms: int


class ConsumerGroup:
    """See the head of this file. Implements `Group`."""

    kind = GroupKind.CONSUMER
    protocol_type = "consumer"

    def __init__(self, group_id: str) -> None:
        self.group_id = group_id
        self.epoch = FIRST_EPOCH
        self.metadata_hash = 0
        self.target_epoch = 0
        self.target_timestamp_ms = 0
        """When the target assignment was made; wall clock."""
        self.target: dict[str, Assignment] = {}
        self.members: dict[str, ConsumerMember] = {}
        self.static_members: dict[str, str] = {}
        self.regexes: dict[str, ResolvedRegex] = {}
        self.is_stale = True
        """The cluster's topics may have changed since the metadata hash was made. Not durable."""
        self._holders: dict[tuple[UUID, int], tuple[str, int]] = {}

    # What others need to know (`Group`)

    @property
    def state(self) -> GroupState:
        if not self.members:
            return GroupState.EMPTY
        if self.epoch > self.target_epoch:
            return GroupState.ASSIGNING
        if all(member.is_reconciled_to(self.target_epoch) for member in self.members.values()):
            return GroupState.STABLE
        return GroupState.RECONCILING

    @property
    def state_name(self) -> str:
        return self.state

    @property
    def is_empty(self) -> bool:
        return not self.members

    def is_subscribed_to(self, topic: str) -> bool:
        return any(topic in self.topics_of(member) for member in self.members.values())

    def check_commit(
        self,
        member_id: str,
        instance_id: str | None,
        epoch: int,
        version: int,
        *,
        in_txn: bool,
        partitions: Sequence[tuple[UUID, int]] = (),
    ) -> None:
        """Raises KafkaError: UNKNOWN_MEMBER_ID, UNSUPPORTED_VERSION, STALE_MEMBER_EPOCH."""
        del instance_id
        if epoch < 0 and (not self.members or (in_txn and not member_id)):
            return
        member = self.member(member_id)
        if not in_txn and version < _MEMBER_EPOCHS_FROM and member.classic is None:
            raise KafkaError(ErrorCode.UNSUPPORTED_VERSION)
        if epoch == member.epoch:
            return
        if member.classic is not None:
            raise KafkaError(ErrorCode.ILLEGAL_GENERATION)
        # A commit that was under way while the epoch moved on counts for what the member has kept since (KIP-1251).
        kept = member.assigned
        if epoch > member.epoch or not all(
            topic_id in kept and kept[topic_id].get(index, epoch + 1) <= epoch for topic_id, index in partitions
        ):
            raise KafkaError(ErrorCode.STALE_MEMBER_EPOCH)

    def check_fetch(self, member_id: str | None, member_epoch: int) -> None:
        """Raises KafkaError: UNKNOWN_MEMBER_ID, STALE_MEMBER_EPOCH."""
        if member_id is None and member_epoch < 0:
            return
        member = self.member(member_id or "")
        if member.epoch != member_epoch:
            is_classic = member.classic is not None
            raise KafkaError(ErrorCode.ILLEGAL_GENERATION if is_classic else ErrorCode.STALE_MEMBER_EPOCH)

    def check_offset_delete(self) -> None:
        """What members subscribe to is known, so the rest may go."""

    def check_delete(self) -> None:
        """Raises KafkaError NON_EMPTY_GROUP."""
        if self.members:
            raise KafkaError(ErrorCode.NON_EMPTY_GROUP)

    def offsets_expire_from_ms(self, topic: str, commit_timestamp_ms: int) -> int | None:
        """From their commit; what is subscribed stays."""
        del topic
        return commit_timestamp_ms

    def tombstones(self) -> Sequence[CoordinatorRecord]:
        group_id = self.group_id
        return (
            *(records.current_tombstone(group_id, member_id) for member_id in self.members),
            *(records.target_tombstone(group_id, member_id) for member_id in self.target),
            records.target_epoch_tombstone(group_id),
            *(records.member_tombstone(group_id, member_id) for member_id in self.members),
            *(records.regex_tombstone(group_id, regex) for regex in self.regexes),
            records.epoch_tombstone(group_id),
        )

    # Look-ups

    def member(self, member_id: str) -> ConsumerMember:
        """Raises KafkaError UNKNOWN_MEMBER_ID."""
        found = self.members.get(member_id)
        if found is None:
            raise KafkaError(
                ErrorCode.UNKNOWN_MEMBER_ID, f"Member {member_id} is not a member of group {self.group_id}."
            )
        return found

    def static_member(self, instance_id: str) -> ConsumerMember | None:
        known = self.static_members.get(instance_id)
        return None if known is None else self.members[known]

    def topics_of(self, member: ConsumerMember) -> frozenset[str]:
        """By name and by pattern."""
        resolved = self.regexes.get(member.regex) if member.regex else None
        return frozenset(member.topics) if resolved is None else resolved.topics.union(member.topics)

    def target_of(self, member_id: str) -> Assignment:
        return self.target.get(member_id, NOTHING)

    def is_held(self, topic_id: UUID, partition: int) -> bool:
        """A member has it, or has not given it up yet."""
        return (topic_id, partition) in self._holders

    def subscribers_of(self, regex: str) -> int:
        return sum(member.regex == regex for member in self.members.values())

    def preferred_assignor(self, changed: ConsumerMember | None, default: str) -> str:
        """What most members ask for; `changed` counts in the place of its older self."""
        members = {**self.members, changed.member_id: changed} if changed is not None else self.members
        votes = Counter(member.server_assignor for member in members.values() if member.server_assignor)
        return votes.most_common(1)[0][0] if votes else default

    # Changes: replay only

    def put_member(self, member: ConsumerMember) -> None:
        old = self.members.get(member.member_id)
        if old is not None:
            self._release(old)
        self.members[member.member_id] = member
        if member.instance_id is not None:
            self.static_members[member.instance_id] = member.member_id
        for owned in (member.assigned, member.revoking):
            for topic_id, partitions in owned.items():
                for partition in partitions:
                    self._holders[topic_id, partition] = (member.member_id, member.epoch)

    def remove_member(self, member_id: str) -> None:
        old = self.members.pop(member_id, None)
        if old is None:
            return
        self._release(old)
        if old.instance_id is not None and self.static_members.get(old.instance_id) == member_id:
            del self.static_members[old.instance_id]

    def _release(self, member: ConsumerMember) -> None:
        for owned in (member.assigned, member.revoking):
            self._release_all(member.member_id, owned)

    def _release_all(self, member_id: str, owned: Owned) -> None:
        for topic_id, partitions in owned.items():
            for partition in partitions:
                # A member that replaced it under the same instance id may hold it already.
                if self._holders.get((topic_id, partition), ("", 0))[0] == member_id:
                    del self._holders[topic_id, partition]

    def topic_subscribers(self, changed: Mapping[str, ConsumerMember | None]) -> frozenset[str]:
        """All topics that members subscribe to; `changed` stand in for members, None for those that are gone."""
        members = {**self.members, **changed}
        return frozenset().union(*(self.topics_of(member) for member in members.values() if member is not None))
