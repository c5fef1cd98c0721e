"""What clients ask of single partitions: another leader, or other brokers.

Rules of this file: pure. Each wish is answered for itself, with Kafka's code and words; one change carries out many of
them. All are decided on the same image, as in Kafka: of two for one partition the last that changes anything counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_server.config.views import BrokerConfig
from pybroker_server.controller.change import Change
from pybroker_server.controller.elections import Election, advanced, elected, settled, topic_rules
from pybroker_server.controller.reassignments import begun, cancelled, completed, is_reassigned, settled_replicas
from pybroker_server.controller.topics import check_replicas
from pybroker_server.metadata.image import NO_LEADER, MetadataImage, PartitionImage, TopicImage
from pybroker_server.metadata.keys import encode_partition, partition_key
from pybroker_server.metadata.store import Compare, Put


class Wish(Protocol):
    @property
    def topic(self) -> str: ...

    @property
    def index(self) -> int: ...


@dataclass(frozen=True, slots=True)
class ElectionWish:
    topic: str
    index: int


@dataclass(frozen=True, slots=True)
class MoveWish:
    topic: str
    index: int
    target: tuple[int, ...] | None
    """None: stop the move that is under way."""


W = TypeVar("W", bound=Wish)
Decide = Callable[[MetadataImage, W], tuple[TopicImage, PartitionImage]]
"""The partition as it is to be. Raises KafkaError."""
Outcomes = list[KafkaError | None]
"""One for each wish, in their order; None: granted."""


def plan_wishes(image: MetadataImage, wishes: Sequence[W], decide: Decide[W], outcomes: Outcomes) -> Change:
    """The change that grants what can be granted; `outcomes` is filled anew."""
    outcomes.clear()
    made: dict[bytes, tuple[PartitionImage, PartitionImage]] = {}
    for wish in wishes:
        try:
            topic, after = decide(image, wish)
        except KafkaError as error:
            outcomes.append(error)
            continue
        outcomes.append(None)
        before = topic.partitions[wish.index]
        if after is not before:
            made[partition_key(topic.topic_id, wish.index)] = before, after
    return Change(
        compares=[Compare(key, before.mod_revision) for key, (before, _) in made.items()],
        puts=[Put(key, encode_partition(after)) for key, (_, after) in made.items()],
    )


def decide_election(
    image: MetadataImage, wish: ElectionWish, *, election: Election, config: BrokerConfig
) -> tuple[TopicImage, PartitionImage]:
    topic = image.topics_by_name.get(wish.topic)
    if topic is None:
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"No such topic as {wish.topic}")
    if not 0 <= wish.index < len(topic.partitions):
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"No such partition as {wish.topic}-{wish.index}")
    before = topic.partitions[wish.index]
    is_preferred = election is Election.PREFERRED
    if before.leader == before.replicas[0] if is_preferred else before.leader != NO_LEADER:
        raise KafkaError(ErrorCode.ELECTION_NOT_NEEDED)
    after = settled(
        before, image.active_nodes, topic_rules(topic, config), leaving=image.leaving_nodes, election=election
    )
    if after.leader == before.leader:
        unavailable = ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE
        raise KafkaError(unavailable if is_preferred else ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE)
    return topic, after


def decide_move(
    image: MetadataImage, wish: MoveWish, *, allows_other_factor: bool, config: BrokerConfig
) -> tuple[TopicImage, PartitionImage]:
    topic = image.topics_by_name.get(wish.topic)
    if topic is None:
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"Unable to find a topic named {wish.topic}.")
    if not 0 <= wish.index < len(topic.partitions):
        raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"Unable to find partition {wish.topic}:{wish.index}.")
    before = topic.partitions[wish.index]
    if wish.target is None:
        return topic, _stopped(image, topic, before, config)
    check_replicas(image, wish.target)
    factor = len(settled_replicas(before))
    if not allows_other_factor and len(wish.target) != factor:
        raise KafkaError(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            f"The replication factor is changed from {factor} to {len(wish.target)}",
        )
    after = begun(before, wish.target)
    if is_reassigned(after):
        after = completed(after, image.active_nodes, topic_rules(topic, config), leaving=image.leaving_nodes)
    return topic, advanced(before, after)


def _stopped(image: MetadataImage, topic: TopicImage, before: PartitionImage, config: BrokerConfig) -> PartitionImage:
    if not is_reassigned(before):
        raise KafkaError(ErrorCode.NO_REASSIGNMENT_IN_PROGRESS)
    rules = topic_rules(topic, config)
    after = cancelled(before)
    if not after.isr and not after.eligible_leader_replicas and not rules.allows_unclean:
        raise KafkaError(
            ErrorCode.INVALID_REPLICA_ASSIGNMENT,
            f"Unable to revert partition assignment for {topic.name}:{before.index} because it would require an unclean"
            " leader election.",
        )
    after = elected(after, image.active_nodes, rules, leaving=image.leaving_nodes)
    return advanced(before, after)
