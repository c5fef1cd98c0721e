"""The groups whose ids fall on one partition of `__consumer_offsets`: the parts joined.

Rules of this file: pure, and thin. What kind of group a request meets decides which part answers; everything else is in
the parts: `classic/`, `consumer/` (KIP-848) and `offsets/`.
"""

from __future__ import annotations

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
from pybroker_protocol.schema.classes import Message
from pybroker_server.config.views import BrokerConfig
from pybroker_server.coordinator.effects import Effects, Reply
from pybroker_server.coordinator.group.catalogue import Catalogue
from pybroker_server.coordinator.group.classic.groups import ClassicGroups
from pybroker_server.coordinator.group.consumer.classic_members import ClassicMembers
from pybroker_server.coordinator.group.consumer.group import ConsumerGroup
from pybroker_server.coordinator.group.consumer.groups import ConsumerGroups
from pybroker_server.coordinator.group.context import Client, GroupContext, Replay
from pybroker_server.coordinator.group.offsets.offsets import Offsets
from pybroker_server.coordinator.records import CoordinatorRecord
from pybroker_server.metadata.image import MetadataImage


class GroupShard:
    """A `CoordinatorState`. The parts are open: operations are their methods."""

    def __init__(self, context: GroupContext) -> None:
        self.context = context
        self.timeouts = context.timeouts
        self.classic = ClassicGroups(context)
        self.consumer = ConsumerGroups(context)
        self.classic_members = ClassicMembers(context, self.consumer)
        self.offsets = Offsets(context, self.classic)
        self.catalogue = Catalogue(context, self.offsets.delete_all)
        self._replays: dict[type[Message], Replay] = {
            **self.classic.replays,
            **self.consumer.replays,
            **self.offsets.replays,
        }

    # Membership: which kind of group a request meets decides who answers

    def join(
        self,
        effects: Effects,
        reply: Reply[JoinGroupResponse],
        request: JoinGroupRequest,
        client: Client,
        version: int,
    ) -> None:
        """JoinGroup 0-9."""
        group = self._consumer_group(request.group_id)
        if group is None:
            self.classic.join(effects, reply, request, client, version)
        else:
            self.classic_members.join(effects, reply, group, request, client, version)

    def sync(self, effects: Effects, reply: Reply[SyncGroupResponse], request: SyncGroupRequest) -> None:
        """SyncGroup 0-5. Raises KafkaError."""
        group = self._consumer_group(request.group_id)
        if group is None:
            self.classic.sync(effects, reply, request)
        else:
            self.classic_members.sync(effects, reply, group, request)

    def heartbeat(self, effects: Effects, reply: Reply[HeartbeatResponse], request: HeartbeatRequest) -> None:
        """Heartbeat 0-4. Raises KafkaError."""
        group = self._consumer_group(request.group_id)
        if group is None:
            self.classic.heartbeat(effects, reply, request)
        else:
            self.classic_members.heartbeat(effects, reply, group, request)

    def leave(self, effects: Effects, reply: Reply[LeaveGroupResponse], request: LeaveGroupRequest) -> None:
        """LeaveGroup 3-5. Raises KafkaError UNKNOWN_MEMBER_ID for a group without members."""
        group = self._consumer_group(request.group_id)
        if group is None:
            self.classic.leave(effects, reply, request)
        else:
            self.classic_members.leave(effects, reply, group, request)

    def _consumer_group(self, group_id: str) -> ConsumerGroup | None:
        """The group, if it is one of KIP-848 with members; else the classic part answers."""
        found = self.context.groups.get(group_id)
        return found if isinstance(found, ConsumerGroup) and found.members else None

    # The state

    def replay(self, record: CoordinatorRecord, producer_id: int, producer_epoch: int) -> None:
        """See `CoordinatorState`."""
        replay = self._replays.get(type(record.key))
        if replay is not None:
            replay(record, producer_id, producer_epoch)

    def replay_marker(self, producer_id: int, producer_epoch: int, *, is_commit: bool) -> None:
        """See `CoordinatorState`."""
        del producer_epoch  # one producer has one open transaction at most
        self.offsets.replay_marker(producer_id, is_commit=is_commit)

    def on_loaded(self, effects: Effects) -> None:
        """See `CoordinatorState`."""
        self.classic.on_loaded(effects)
        self.consumer.on_loaded(effects)
        self.offsets.on_loaded(effects)

    def on_unloaded(self) -> None:
        """See `CoordinatorState`."""
        self.classic.on_unloaded()
        self.consumer.on_unloaded()

    def on_image(self, effects: Effects, image: MetadataImage) -> None:
        """See `CoordinatorState`."""
        before, self.context.image = self.context.image, image
        if before.topics_by_id is not image.topics_by_id:
            self.consumer.on_topics_changed()
        gone = {topic.name for topic_id, topic in before.topics_by_id.items() if topic_id not in image.topics_by_id}
        if gone:
            self.offsets.delete_topics(effects, frozenset(gone))

    def on_config(self, config: BrokerConfig) -> None:
        """See `CoordinatorState`."""
        self.context.config = config
