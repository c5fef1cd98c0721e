"""Moving a partition to other brokers (KIP-455), step by step.

Rules of this file: pure. While a partition moves, its replicas are those of the target followed by those that go;
`adding_replicas` and `removing_replicas` say which are which. The new ones catch up as any follower does. When all of
them are in sync, the target stands alone: the others leave replicas and ISR, and if the leader was one of them another
leads. Nothing is lost at any step: the ISR of the old replicas counts until the new ones are in it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from pybroker_server.controller.elections import TopicRules, elected
from pybroker_server.metadata.image import PartitionImage


def is_reassigned(partition: PartitionImage) -> bool:
    return bool(partition.adding_replicas or partition.removing_replicas)


def settled_replicas(partition: PartitionImage) -> tuple[int, ...]:
    """Those that it would have had the move not begun."""
    return tuple(node for node in partition.replicas if node not in partition.adding_replicas)


def begun(partition: PartitionImage, target: Sequence[int]) -> PartitionImage:
    """On its way to `target`, in place of any move that is under way. No epoch changes."""
    held = settled_replicas(partition)
    removing = tuple(node for node in partition.replicas if node not in target)
    return replace(
        partition,
        replicas=(*target, *removing),
        adding_replicas=tuple(node for node in target if node not in held),
        removing_replicas=removing,
    )


def cancelled(partition: PartitionImage) -> PartitionImage:
    """Back to where it was; nobody may be in sync then. No epoch changes."""
    return _narrowed(partition, settled_replicas(partition))


def completed(
    partition: PartitionImage, active: Collection[int], rules: TopicRules, *, leaving: Collection[int] = ()
) -> PartitionImage:
    """At its target, if all that are added are in sync and somebody is; else as it is. No epoch changes."""
    target = tuple(node for node in partition.replicas if node not in partition.removing_replicas)
    in_sync = [node for node in partition.isr if node in target]
    if not in_sync or not set(partition.adding_replicas) <= set(in_sync):
        return partition
    return elected(_narrowed(partition, target), active, rules, leaving=leaving)


def _narrowed(partition: PartitionImage, replicas: tuple[int, ...]) -> PartitionImage:
    def kept(nodes: Sequence[int]) -> tuple[int, ...]:
        return tuple(node for node in nodes if node in replicas)

    return replace(
        partition,
        replicas=replicas,
        isr=kept(partition.isr),
        adding_replicas=(),
        removing_replicas=(),
        eligible_leader_replicas=kept(partition.eligible_leader_replicas),
        last_known_eligible_leader_replicas=kept(partition.last_known_eligible_leader_replicas),
    )
