"""A classic group: its members, what they have in common, and which of Kafka's states it is in.

Rules of this file: pure, and no decisions about time: rebalances are `rebalance.py`. Membership is durable as a whole,
in one record per generation; what happens between two generations (who waits, who is pending) is not. Checks raise
KafkaError with Kafka's codes. Times are wall clock in ms where they are stored.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum
from uuid import UUID

from pybroker_protocol.errors import ErrorCode, KafkaError, ProtocolError
from pybroker_protocol.messages import GroupMetadataKey, JoinGroupResponse
from pybroker_server.coordinator.group.classic.member import ClassicMember, Protocols
from pybroker_server.coordinator.group.classic.subscription import CONSUMER, subscribed_topics
from pybroker_server.coordinator.group.group import GroupKind
from pybroker_server.coordinator.records import CoordinatorRecord


class GroupState(StrEnum):
    """As Kafka prints them. Dead is what an unknown group is described as."""

    EMPTY = "Empty"
    PREPARING_REBALANCE = "PreparingRebalance"
    COMPLETING_REBALANCE = "CompletingRebalance"
    STABLE = "Stable"
    DEAD = "Dead"


class ClassicGroup:
    """See the head of this file. Implements `Group`."""

    kind = GroupKind.CLASSIC

    def __init__(self, group_id: str, now_wall_ms: int) -> None:
        self.group_id = group_id
        self.state = GroupState.EMPTY
        self.previous_state = GroupState.DEAD
        self.state_since_ms = now_wall_ms
        """-1: written by a release that did not say."""
        self.generation_id = 0
        self.type_of_protocol: str | None = None
        """None: nobody ever joined, the group has offsets only."""
        self.protocol_name: str | None = None
        self.leader_id: str | None = None
        self.members: dict[str, ClassicMember] = {}
        self.static_members: dict[str, str] = {}
        """Member id by group instance id (KIP-345)."""
        self.pending_members: set[str] = set()
        """Were given an id and have not come back with it yet (KIP-394)."""
        self.pending_sync: set[str] = set()
        """Of this generation, and have not asked for their assignment yet."""
        self.has_new_member = False
        """Somebody joined during the initial delay, which is therefore extended."""
        self.topics: frozenset[str] | None = None
        """Subscribed by a member, as of this generation; None: cannot be told."""
        self._supporters: Counter[str] = Counter()

    # What others need to know (`Group`)

    @property
    def protocol_type(self) -> str:
        return self.type_of_protocol or ""

    @property
    def state_name(self) -> str:
        return self.state

    @property
    def is_empty(self) -> bool:
        return self.state is GroupState.EMPTY

    def is_subscribed_to(self, topic: str) -> bool:
        return self.topics is not None and topic in self.topics

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
        """Raises KafkaError: UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION, REBALANCE_IN_PROGRESS."""
        del version, partitions
        if epoch < 0 and self.state is GroupState.EMPTY:
            return  # an admin client, or a consumer that assigns itself
        if epoch >= 0 or member_id or instance_id is not None:
            self.check_member(member_id, instance_id)
            if epoch != self.generation_id:
                raise KafkaError(ErrorCode.ILLEGAL_GENERATION)
        elif not in_txn and self.state is not GroupState.EMPTY:
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
        if self.state is GroupState.COMPLETING_REBALANCE and not in_txn:
            # It knows the new generation, so it is about to sync: what it commits is of the old assignment.
            raise KafkaError(ErrorCode.REBALANCE_IN_PROGRESS)

    def check_fetch(self, member_id: str | None, member_epoch: int) -> None:
        """Anybody may read the offsets of a classic group."""

    def check_offset_delete(self) -> None:
        """Raises KafkaError NON_EMPTY_GROUP for members whose subscriptions cannot be read."""
        if self.state is not GroupState.EMPTY and self.type_of_protocol != CONSUMER:
            raise KafkaError(ErrorCode.NON_EMPTY_GROUP)

    def check_delete(self) -> None:
        """Raises KafkaError NON_EMPTY_GROUP."""
        if self.state is not GroupState.EMPTY:
            raise KafkaError(ErrorCode.NON_EMPTY_GROUP)

    def offsets_expire_from_ms(self, topic: str, commit_timestamp_ms: int) -> int | None:
        """See `Group` (KIP-211)."""
        if self.type_of_protocol is None:
            return commit_timestamp_ms
        if self.state is GroupState.EMPTY:
            return self.state_since_ms if self.state_since_ms >= 0 else commit_timestamp_ms
        if self.type_of_protocol == CONSUMER and self.topics is not None and self.state is GroupState.STABLE:
            return None if topic in self.topics else commit_timestamp_ms
        return None

    def tombstones(self) -> Sequence[CoordinatorRecord]:
        return (CoordinatorRecord(GroupMetadataKey(group=self.group_id), None),)

    # Members

    def check_member(self, member_id: str, instance_id: str | None) -> None:
        """Raises KafkaError UNKNOWN_MEMBER_ID, or FENCED_INSTANCE_ID for one that another has replaced."""
        if instance_id is not None:
            known = self.static_members.get(instance_id)
            if known is None:
                raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)
            if known != member_id:
                raise KafkaError(ErrorCode.FENCED_INSTANCE_ID)
        if member_id not in self.members:
            raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID)

    def add(self, member: ClassicMember) -> None:
        if not self.members:
            self.type_of_protocol = member.protocol_type
        if self.leader_id is None:
            self.leader_id = member.member_id
        self.members[member.member_id] = member
        self._supporters.update(name for name, _ in member.protocols)
        self.pending_members.discard(member.member_id)
        if member.instance_id is not None:
            self.static_members[member.instance_id] = member.member_id

    def remove(self, member_id: str) -> ClassicMember | None:
        """Of a member or a pending one; the next in line leads. Whoever removes it answers what it waits for."""
        member = self.members.pop(member_id, None)
        if member is not None:
            self._supporters.subtract(name for name, _ in member.protocols)
            if member.instance_id is not None and self.static_members.get(member.instance_id) == member_id:
                del self.static_members[member.instance_id]
        if self.leader_id == member_id:
            self.leader_id = next(iter(self.members), None)
        self.pending_members.discard(member_id)
        self.pending_sync.discard(member_id)
        return member

    def update(
        self, member: ClassicMember, protocols: Protocols, rebalance_timeout_ms: int, session_timeout_ms: int
    ) -> None:
        """What a member says of itself when it joins again."""
        self._supporters.subtract(name for name, _ in member.protocols)
        self._supporters.update(name for name, _ in protocols)
        member.protocols = protocols
        member.rebalance_timeout_ms = rebalance_timeout_ms
        member.session_timeout_ms = session_timeout_ms

    def replace_static(self, old: ClassicMember, new_member_id: str) -> ClassicMember:
        """A new process took the place of a static member: same role and assignment, another id."""
        new = ClassicMember(
            new_member_id,
            old.instance_id,
            old.client,
            old.rebalance_timeout_ms,
            old.session_timeout_ms,
            old.protocol_type,
            old.protocols,
            old.assignment,
        )
        led = self.leader_id == old.member_id
        # Rebuilt, so that the new one stands in the old one's place in the order of members.
        self.members = {
            new_member_id if key == old.member_id else key: new if member is old else member
            for key, member in self.members.items()
        }
        if old.member_id in self.pending_sync:
            self.pending_sync.discard(old.member_id)
        if led:
            self.leader_id = new_member_id
        assert old.instance_id is not None
        self.static_members[old.instance_id] = new_member_id
        return new

    @property
    def awaiting_join_count(self) -> int:
        return sum(member.awaiting_join is not None for member in self.members.values())

    @property
    def all_have_joined(self) -> bool:
        """Nobody is missing for the next generation."""
        return not self.pending_members and all(member.awaiting_join for member in self.members.values())

    @property
    def rebalance_timeout_ms(self) -> int:
        """The most patient member decides."""
        return max((member.rebalance_timeout_ms for member in self.members.values()), default=0)

    def elect_joined_leader(self) -> bool:
        """A leader that did not come back is replaced by a member that did. False when there is none."""
        if self.leader_id is None:
            return False
        if self.members[self.leader_id].awaiting_join is not None:
            return True
        joined = next((member for member in self.members.values() if member.awaiting_join is not None), None)
        if joined is None:
            return False
        self.leader_id = joined.member_id
        return True

    # The assignor

    def supports(self, protocol_type: str, names: Iterable[str]) -> bool:
        """Could a member with these assignors join, or stay?"""
        wanted = list(names)
        if self.state is GroupState.EMPTY:
            return bool(protocol_type) and bool(wanted)
        count = len(self.members)
        return protocol_type == self.type_of_protocol and any(self._supporters[name] == count for name in wanted)

    def select_protocol(self) -> str:
        """By vote among those that every member has. Raises KafkaError when there is none."""
        if not self.members:
            raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL)
        count = len(self.members)
        candidates = {name for name, supporters in self._supporters.items() if supporters == count}
        votes = Counter(member.vote(candidates) for member in self.members.values())
        return votes.most_common(1)[0][0]

    # States

    def move_to(self, state: GroupState, now_wall_ms: int) -> None:
        self.previous_state, self.state = self.state, state
        self.state_since_ms = now_wall_ms

    def begin_generation(self, now_wall_ms: int) -> None:
        """With the members there are: the leader is to assign; without any, the group is empty."""
        self.generation_id = self.generation_id % 0x7FFFFFFF + 1
        self.pending_sync.clear()
        self.protocol_name = self.select_protocol() if self.members else None
        self.refresh_topics()
        self.move_to(GroupState.COMPLETING_REBALANCE if self.members else GroupState.EMPTY, now_wall_ms)

    def refresh_topics(self) -> None:
        """After members or the protocol changed."""
        if self.type_of_protocol != CONSUMER:
            self.topics = None
        elif not self.members:
            self.topics = frozenset()
        elif self.protocol_name is None:
            self.topics = None
        else:
            try:
                name = self.protocol_name
                found = (subscribed_topics(member.metadata(name)) for member in self.members.values())
                self.topics = frozenset().union(*found)
            except ProtocolError:
                self.topics = None

    def members_for_leader(self) -> list[JoinGroupResponse.JoinGroupResponseMember]:
        """Everybody with the metadata of the assignor in force."""
        assert self.protocol_name is not None
        return [
            JoinGroupResponse.JoinGroupResponseMember(
                member_id=member.member_id,
                group_instance_id=member.instance_id,
                metadata=member.metadata(self.protocol_name),
            )
            for member in self.members.values()
        ]
