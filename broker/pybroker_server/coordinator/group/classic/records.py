"""A classic group as it is stored: one record with all members (`GroupMetadata`, key type 2).

Rules of this file: pure. Written at version 3, as Kafka 4.3 does, so that older tools read it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pybroker_protocol.messages import GroupMetadataKey, GroupMetadataValue
from pybroker_server.coordinator.group.classic.group import ClassicGroup, GroupState
from pybroker_server.coordinator.group.classic.member import ClassicMember
from pybroker_server.coordinator.group.context import Client
from pybroker_server.coordinator.records import CoordinatorRecord

VALUE_VERSION: Final = 3


def group_record(group: ClassicGroup, assignment: Mapping[str, bytes] | None = None) -> CoordinatorRecord:
    """The group as it is; `assignment` by member id in place of what members have. Needs a chosen protocol."""
    protocol = group.protocol_name
    members = []
    for member in group.members.values():
        assert protocol is not None
        members.append(
            GroupMetadataValue.MemberMetadata(
                member_id=member.member_id,
                group_instance_id=member.instance_id,
                client_id=member.client.client_id,
                client_host=member.client.host,
                rebalance_timeout=member.rebalance_timeout_ms,
                session_timeout=member.session_timeout_ms,
                subscription=member.metadata(protocol),
                assignment=member.assignment if assignment is None else assignment.get(member.member_id, b""),
            )
        )
    value = GroupMetadataValue(
        protocol_type=group.protocol_type,
        generation=group.generation_id,
        protocol=protocol,
        leader=group.leader_id,
        current_state_timestamp=group.state_since_ms,
        members=members,
    )
    return CoordinatorRecord(GroupMetadataKey(group=group.group_id), value, VALUE_VERSION)


def group_from(group_id: str, value: GroupMetadataValue) -> ClassicGroup:
    """What a record says: stable with its members, or empty."""
    group = ClassicGroup(group_id, value.current_state_timestamp)
    for stored in value.members:
        session_timeout_ms = stored.session_timeout
        group.add(
            ClassicMember(
                stored.member_id,
                stored.group_instance_id,
                Client(stored.client_id, stored.client_host),
                session_timeout_ms if stored.rebalance_timeout < 0 else stored.rebalance_timeout,
                session_timeout_ms,
                value.protocol_type,
                ((value.protocol or "", bytes(stored.subscription)),),
                bytes(stored.assignment),
            )
        )
    group.type_of_protocol = value.protocol_type or None
    group.generation_id = value.generation
    group.protocol_name = value.protocol
    group.leader_id = value.leader
    group.state = GroupState.STABLE if group.members else GroupState.EMPTY
    group.refresh_topics()
    return group
