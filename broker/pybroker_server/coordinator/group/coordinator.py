"""The group coordinator of a broker: which topic keeps groups, which records are in it, and how a shard is made.

Rules of this file: cheap to import. The shard and its parts are loaded when the first partition of groups is led, or by
the broker once it is ready: a start need not wait for what nobody has asked for yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from pybroker_server.config.views import BrokerConfig
from pybroker_server.coordinator.host import CoordinatorHost, Led
from pybroker_server.coordinator.records import RecordTypes
from pybroker_server.metadata.image import MetadataImage
from pybroker_server.replica.manager import ReplicaManager
from pybroker_server.runtime.ports import Entropy

if TYPE_CHECKING:
    from pybroker_server.coordinator.group.shard import GroupShard

GroupCoordinator: TypeAlias = "CoordinatorHost[GroupShard]"

OFFSETS_TOPIC: Final = "__consumer_offsets"
RECORD_TYPES: Final = RecordTypes(
    (
        "LegacyOffsetCommit",
        "OffsetCommit",
        "GroupMetadata",
        "ConsumerGroupMetadata",
        "ConsumerGroupPartitionMetadata",
        "ConsumerGroupMemberMetadata",
        "ConsumerGroupTargetAssignmentMetadata",
        "ConsumerGroupTargetAssignmentMember",
        "ConsumerGroupCurrentMemberAssignment",
        "ConsumerGroupRegularExpression",
    )
)


def group_coordinator(replicas: ReplicaManager, config: BrokerConfig, entropy: Entropy) -> GroupCoordinator:
    """The broker's group coordinator: one shard per partition of the offsets topic that it leads."""

    def make_state(config: BrokerConfig, image: MetadataImage, led: Led) -> GroupShard:
        from pybroker_server.coordinator.group.context import GroupContext
        from pybroker_server.coordinator.group.shard import GroupShard

        return GroupShard(GroupContext(config, image, entropy.uuid))

    return CoordinatorHost(OFFSETS_TOPIC, RECORD_TYPES, make_state, replicas, config)
