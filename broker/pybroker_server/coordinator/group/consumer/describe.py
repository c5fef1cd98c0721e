"""A consumer group as ConsumerGroupDescribe shows it.

Rules of this file: pure.
"""

from __future__ import annotations

from pybroker_protocol.messages import ConsumerGroupDescribeResponse
from pybroker_server.coordinator.group.consumer.group import ConsumerGroup
from pybroker_server.coordinator.group.consumer.member import Assignment, ConsumerMember, partitions_of
from pybroker_server.metadata.image import MetadataImage

DescribedGroup = ConsumerGroupDescribeResponse.DescribedGroup
_Assignment = ConsumerGroupDescribeResponse.Assignment
_CLASSIC_MEMBER = 0
_CONSUMER_MEMBER = 1


def described(group: ConsumerGroup, image: MetadataImage, default_assignor: str) -> DescribedGroup:
    """State, epochs, and every member with what it has and what it is to have."""
    return DescribedGroup(
        group_id=group.group_id,
        group_state=group.state_name,
        group_epoch=group.epoch,
        assignment_epoch=group.target_epoch,
        assignor_name=group.preferred_assignor(None, default_assignor),
        members=[_described_member(group, member, image) for member in group.members.values()],
    )


def _described_member(
    group: ConsumerGroup, member: ConsumerMember, image: MetadataImage
) -> ConsumerGroupDescribeResponse.Member:
    return ConsumerGroupDescribeResponse.Member(
        member_id=member.member_id,
        instance_id=member.instance_id,
        rack_id=member.rack_id,
        member_epoch=member.epoch,
        client_id=member.client.client_id,
        client_host=member.client.host,
        subscribed_topic_names=list(member.topics),
        subscribed_topic_regex=member.regex,
        assignment=_named(_held(member), image),
        target_assignment=_named(group.target_of(member.member_id), image),
        member_type=_CONSUMER_MEMBER if member.classic is None else _CLASSIC_MEMBER,
    )


def _held(member: ConsumerMember) -> Assignment:
    """What it has, that which it is giving up included."""
    held = dict(partitions_of(member.assigned))
    for topic_id, partitions in partitions_of(member.revoking).items():
        held[topic_id] = held.get(topic_id, frozenset()) | partitions
    return held


def _named(assignment: Assignment, image: MetadataImage) -> ConsumerGroupDescribeResponse.Assignment:
    """Topics that are gone have no name and are left out."""
    return _Assignment(
        topic_partitions=[
            ConsumerGroupDescribeResponse.TopicPartitions(
                topic_id=topic_id, topic_name=image.topics_by_id[topic_id].name, partitions=sorted(partitions)
            )
            for topic_id, partitions in assignment.items()
            if topic_id in image.topics_by_id
        ]
    )
