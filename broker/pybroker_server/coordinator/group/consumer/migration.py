"""A live group changes between the protocols: classic members inside a consumer group, and back (KIP-848).

Rules of this file: pure. A classic group becomes a consumer group when the first member of the new protocol joins it,
and turns back when the last one has left; `group.consumer.migration.policy` says which way is allowed. Members,
assignments and offsets stay.
"""

from __future__ import annotations

from collections.abc import Collection

from pybroker_protocol.errors import ErrorCode, KafkaError, ProtocolError
from pybroker_server.config.views import BrokerConfig
from pybroker_server.coordinator.group.classic.group import ClassicGroup, GroupState
from pybroker_server.coordinator.group.classic.member import ClassicMember
from pybroker_server.coordinator.group.classic.subscription import CONSUMER
from pybroker_server.coordinator.group.consumer import records
from pybroker_server.coordinator.group.consumer.embedded import assignment_bytes, assignment_from, subscription_of
from pybroker_server.coordinator.group.consumer.group import ConsumerGroup
from pybroker_server.coordinator.group.consumer.member import ClassicMetadata, ConsumerMember
from pybroker_server.coordinator.records import CoordinatorRecord
from pybroker_server.metadata.image import MetadataImage


def upgraded(group: ClassicGroup, image: MetadataImage, config: BrokerConfig) -> ConsumerGroup:
    """The group with its members as classic members of a consumer group. Raises KafkaError GROUP_ID_NOT_FOUND."""
    refusal = _no_upgrade(group, config)
    if refusal:
        raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, f"Group {group.group_id} is not a consumer group: {refusal}.")
    made = ConsumerGroup(group.group_id)
    made.epoch = made.target_epoch = group.generation_id
    try:
        for member in group.members.values():
            _take_over(made, member, group.generation_id, image)
    except (KafkaError, ProtocolError) as error:
        raise KafkaError(
            ErrorCode.GROUP_ID_NOT_FOUND, f"Group {group.group_id} cannot be upgraded to a consumer group: {error}."
        ) from None
    return made


def _no_upgrade(group: ClassicGroup, config: BrokerConfig) -> str:
    if config.group_consumer_migration_policy.lower() not in ("upgrade", "bidirectional"):
        return "group.consumer.migration.policy does not allow to upgrade it"
    if group.type_of_protocol != CONSUMER:
        return "its members are no consumers"
    if len(group.members) > config.group_consumer_max_size:
        return "it has more members than group.consumer.max.size"
    return ""


def _take_over(made: ConsumerGroup, member: ClassicMember, generation: int, image: MetadataImage) -> None:
    classic = ClassicMetadata(member.session_timeout_ms, member.protocols)
    assigned = assignment_from(member.assignment, image)
    made.target[member.member_id] = assigned
    made.put_member(
        ConsumerMember(
            member.member_id,
            instance_id=member.instance_id,
            client=member.client,
            rebalance_timeout_ms=member.rebalance_timeout_ms,
            topics=subscription_of(classic, image).topics,
            epoch=generation,
            previous_epoch=generation,
            assigned={topic: dict.fromkeys(sorted(indexes), generation) for topic, indexes in assigned.items()},
            classic=classic,
        )
    )


def creation_records(group: ConsumerGroup) -> list[CoordinatorRecord]:
    """All that the group is, in Kafka's order."""
    group_id, members = group.group_id, group.members.values()
    return [
        *(records.member_record(group_id, member) for member in members),
        records.epoch_record(group_id, group.epoch, group.metadata_hash),
        *(records.target_record(group_id, member_id, target) for member_id, target in group.target.items()),
        records.target_epoch_record(group_id, group.target_epoch, group.target_timestamp_ms),
        *(records.current_record(group_id, member) for member in members),
    ]


def may_downgrade(group: ConsumerGroup, leaving: Collection[str], config: BrokerConfig) -> bool:
    """Whether only classic members are left when these have gone."""
    rest = [member for member in group.members.values() if member.member_id not in leaving]
    return (
        bool(rest)
        and all(member.classic is not None for member in rest)
        and config.group_consumer_migration_policy.lower() in ("downgrade", "bidirectional")
        and len(rest) <= config.group_max_size
    )


def downgraded(group: ConsumerGroup, leaving: Collection[str], image: MetadataImage, now_wall_ms: int) -> ClassicGroup:
    """A classic group of those who stay, in the generation of the group's epoch."""
    made = ClassicGroup(group.group_id, now_wall_ms)
    for member in group.members.values():
        if member.member_id in leaving:
            continue
        assert member.classic is not None
        made.add(
            ClassicMember(
                member.member_id,
                member.instance_id,
                member.client,
                member.rebalance_timeout_ms,
                member.classic.session_timeout_ms,
                CONSUMER,
                member.classic.protocols,
                assignment_bytes(group.target_of(member.member_id), member.classic, image),
            )
        )
    made.state = GroupState.STABLE
    made.generation_id = group.epoch
    made.protocol_name = made.select_protocol()
    made.refresh_topics()
    return made
