"""The target assignment of a group, and the hash that tells whether the topics it is made of have changed.

Rules of this file: pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

from pybroker_server.coordinator.group.consumer.assignors import ASSIGNORS, Candidate
from pybroker_server.coordinator.group.consumer.group import ConsumerGroup
from pybroker_server.coordinator.group.consumer.member import Assignment, ConsumerMember
from pybroker_server.metadata.image import MetadataImage

_NO_TOPICS = 0


def metadata_hash(topics: Iterable[str], image: MetadataImage) -> int:
    """Of the topics that exist: their ids and partition counts (KIP-1101). 0 without any.

    Only this coordinator ever compares it, so which hash it is does not matter to anybody else.
    """
    known = [found for name in sorted(topics) if (found := image.topics_by_name.get(name)) is not None]
    if not known:
        return _NO_TOPICS
    digest = blake2b(digest_size=8)
    for topic in known:
        digest.update(topic.topic_id.bytes)
        digest.update(len(topic.partitions).to_bytes(4, "big"))
    return int.from_bytes(digest.digest(), "big", signed=True) or 1


def target_assignment(
    group: ConsumerGroup, changed: ConsumerMember, image: MetadataImage, assignor: str
) -> dict[str, Assignment]:
    """By member id, for everybody in the group with `changed` as it is now."""
    members = {**group.members, changed.member_id: changed}
    ids = {name: topic.topic_id for name, topic in image.topics_by_name.items()}
    candidates = [
        Candidate(
            member.member_id,
            member.instance_id,
            frozenset(ids[name] for name in group.topics_of(member) if name in ids),
            group.target_of(member.member_id),
        )
        for member in members.values()
    ]
    wanted = frozenset().union(*(candidate.topics for candidate in candidates))
    counts = {
        topic_id: len(image.topics_by_id[topic_id].partitions) for topic_id in sorted(wanted, key=lambda each: each.int)
    }
    return dict(ASSIGNORS[assignor](candidates, counts))
