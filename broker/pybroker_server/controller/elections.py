"""Who leads a partition and who is in sync, after brokers came or went.

Rules of this file: pure; (partition as it is, who may lead, the topic's rules) -> partition as it has to be. What is
committed is held by every member of the ISR, and by every eligible leader replica (ELR, KIP-966): those that left the
ISR while it was smaller than min.insync.replicas, during which the high watermark stood still. So a leader comes from
the ISR, else from the ELR, and the last replica standing is never forgotten: it goes to the ELR when it dies too. The
ELR is emptied when the ISR is large enough again. Any other leader may lose records; that needs
`unclean.leader.election.enable`, an operator's word, or a last known leader that is the only one left.

A leader epoch rises with every change of the leader, a partition epoch with every change.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from pybroker_server.config.views import BrokerConfig
from pybroker_server.metadata.image import NO_LEADER, PartitionImage, TopicImage

_TRUE = "true"


class Election(Enum):
    """What an election may do beyond keeping a leader that is good."""

    REPAIR = "repair"
    """Only replace a leader that cannot lead."""
    PREFERRED = "preferred"
    """Give leadership to the first replica if it may lead."""
    UNCLEAN = "unclean"
    """Take any replica that lives when none holds everything: an operator's word."""


@dataclass(frozen=True, slots=True)
class TopicRules:
    """What a topic's configuration says about elections."""

    min_isr: int
    allows_unclean: bool
    is_durable: bool
    """Acknowledged means flushed: a replica that crashed has all it acknowledged."""


def topic_rules(topic: TopicImage, config: BrokerConfig) -> TopicRules:
    configs, defaults = topic.configs, config.topic_defaults

    def value(name: str) -> str:
        own = configs.get(name)
        return own if own is not None else str(defaults[name]).lower()

    return TopicRules(
        min_isr=int(value("min.insync.replicas")),
        allows_unclean=value("unclean.leader.election.enable") == _TRUE,
        is_durable=value("durability") == "fsync",
    )


def needs_settling(partition: PartitionImage, active: Collection[int]) -> bool:
    """A cheap question for a walk over all partitions: would `settled` perhaps change it?"""
    return partition.leader not in active or any(node not in active for node in partition.isr)


def settled(
    partition: PartitionImage,
    active: Collection[int],
    rules: TopicRules,
    *,
    leaving: Collection[int] = (),
    election: Election = Election.REPAIR,
    lost: Collection[int] = (),
) -> PartitionImage:
    """The partition as it has to be; the same object when nothing has to change.

    `active` may lead. `leaving` shut down and still serve: one that leads goes on when nobody can follow it. `lost`
    came back without what they held: they count as in sync nowhere.
    """
    after = elected(_without(partition, lost), active, rules, leaving=leaving, election=election)
    return advanced(partition, after)


def elected(
    partition: PartitionImage,
    active: Collection[int],
    rules: TopicRules,
    *,
    leaving: Collection[int] = (),
    election: Election = Election.REPAIR,
) -> PartitionImage:
    """`settled` before its epochs are raised: for a partition that was changed in other ways already."""
    isr = tuple(node for node in partition.isr if node in active)
    if not isr and partition.leader in leaving and partition.leader in partition.isr:
        isr = (partition.leader,)
    after = with_isr(partition, isr, rules)
    leader, is_clean = _elect(after, active, leaving, rules, election)
    if leader != NO_LEADER and leader not in after.isr:
        after = _led_from_outside(after, leader, rules, is_clean=is_clean)
    return replace(after, leader=leader)


def with_isr(partition: PartitionImage, isr: Sequence[int], rules: TopicRules) -> PartitionImage:
    """With this ISR, and the ELR that follows from it. No epoch changes."""
    kept, last = _eligible(partition, isr, rules)
    return replace(partition, isr=tuple(isr), eligible_leader_replicas=kept, last_known_eligible_leader_replicas=last)


def advanced(before: PartitionImage, after: PartitionImage) -> PartitionImage:
    """`after` with the epochs that follow those of `before`; `before` itself when they are equal.

    A new leader epoch begins too when a replica is taken away: it must not fetch in the old one any more.
    """
    if after == before:
        return before
    is_new_epoch = after.leader != before.leader or not set(before.replicas) <= set(after.replicas)
    return replace(
        after,
        leader_epoch=before.leader_epoch + is_new_epoch,
        partition_epoch=before.partition_epoch + 1,
    )


def _without(partition: PartitionImage, lost: Collection[int]) -> PartitionImage:
    if not lost:
        return partition
    return replace(
        partition,
        isr=tuple(node for node in partition.isr if node not in lost),
        eligible_leader_replicas=tuple(n for n in partition.eligible_leader_replicas if n not in lost),
        last_known_eligible_leader_replicas=tuple(
            n for n in partition.last_known_eligible_leader_replicas if n not in lost
        ),
    )


def _eligible(
    partition: PartitionImage, isr: Sequence[int], rules: TopicRules
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """(ELR, last known ELR) once the ISR is `isr`."""
    if len(isr) >= min(rules.min_isr, len(partition.replicas)):
        return (), ()
    known = {*partition.eligible_leader_replicas, *partition.isr} - set(isr)
    kept = tuple(node for node in sorted(known) if node in partition.replicas)
    last = set(partition.last_known_eligible_leader_replicas) - set(kept) - set(isr)
    return kept, tuple(node for node in sorted(last) if node in partition.replicas)


def _elect(
    partition: PartitionImage,
    active: Collection[int],
    leaving: Collection[int],
    rules: TopicRules,
    election: Election,
) -> tuple[int, bool]:
    """(leader, whether it holds everything)."""
    holding = {*partition.isr, *partition.eligible_leader_replicas}
    if election is Election.PREFERRED:
        preferred = partition.replicas[0]
        if preferred in active and preferred in (partition.isr or partition.eligible_leader_replicas):
            return preferred, True
    if partition.leader in active and partition.leader in partition.isr:
        return partition.leader, True
    for replicas in (partition.isr, partition.eligible_leader_replicas):
        for node in partition.replicas:
            if node in replicas and node in active:
                return node, True
    if partition.leader in leaving and partition.leader in partition.isr:
        return partition.leader, True
    last = partition.last_known_eligible_leader_replicas
    if not holding and len(last) == 1 and last[0] in active:
        return last[0], False
    if rules.allows_unclean or election is Election.UNCLEAN:
        for node in partition.replicas:
            if node in active:
                return node, False
    return NO_LEADER, True


def _led_from_outside(partition: PartitionImage, leader: int, rules: TopicRules, *, is_clean: bool) -> PartitionImage:
    """A leader from the ELR leaves the other eligible ones as they are; after any other nobody holds what it holds."""
    if not is_clean:
        return replace(partition, isr=(leader,), eligible_leader_replicas=(), last_known_eligible_leader_replicas=())
    others = tuple(node for node in partition.eligible_leader_replicas if node != leader)
    return with_isr(replace(partition, eligible_leader_replicas=others), (leader,), rules)
