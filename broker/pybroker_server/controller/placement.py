"""Which brokers get the replicas of new partitions.

Rules of this file: pure; randomness comes in as two whole numbers. First replicas go round robin over a ring
of brokers in which neighbours stand on different racks and hosts as far as possible. Each further replica
goes to the broker whose host, then whose rack, holds the fewest replicas of the partition so far; of equal
ones to the next on the ring, counted from a distance that grows with each round, so that the partitions of
one broker have their other replicas spread over all others. Two replicas therefore share a host only when
every host has one (design D10).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import zip_longest

from pybroker_protocol.errors import ErrorCode, KafkaError
from pybroker_server.metadata.image import BrokerImage


def place_replicas(
    brokers: Sequence[BrokerImage], partition_count: int, replication_factor: int, *, start: int, shift: int
) -> list[tuple[int, ...]]:
    """Replicas by partition, preferred leader first. Fenced brokers are taken last, and never first.

    Raises KafkaError(INVALID_REPLICATION_FACTOR) when there are too few brokers.
    """
    if replication_factor > len(brokers):
        raise KafkaError(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            f"Unable to replicate the partition {replication_factor} time(s): the target replication factor of "
            f"{replication_factor} cannot be reached because only {len(brokers)} broker(s) are registered.",
        )
    active = ring(broker for broker in brokers if broker.is_active)
    if not active:
        raise KafkaError(
            ErrorCode.INVALID_REPLICATION_FACTOR,
            f"Unable to replicate the partition {replication_factor} time(s): all brokers are currently fenced.",
        )
    passive = ring(broker for broker in brokers if not broker.is_active)
    placed = []
    for index in range(partition_count):
        first = (start + index) % len(active)
        distance = 1 + (shift + index // len(active)) % max(len(active) - 1, 1)
        followers = [active[(first + distance + step) % len(active)] for step in range(len(active))]
        candidates = [broker for broker in followers if broker is not active[first]]
        placed.append(_replicas(active[first], candidates, passive, replication_factor))
    return placed


def ring(brokers: Iterable[BrokerImage]) -> list[BrokerImage]:
    """One broker of each rack in turn, and within a rack one of each host in turn."""
    by_rack: dict[str, dict[str, list[BrokerImage]]] = {}
    for broker in sorted(brokers, key=lambda broker: broker.node_id):
        by_rack.setdefault(broker.rack or "", {}).setdefault(_host(broker), []).append(broker)
    return _in_turn([_in_turn(list(hosts.values())) for _, hosts in sorted(by_rack.items())])


def _in_turn(groups: Sequence[Sequence[BrokerImage]]) -> list[BrokerImage]:
    return [broker for row in zip_longest(*groups) for broker in row if broker is not None]


def _host(broker: BrokerImage) -> str:
    """A broker that does not say its host stands on one of its own."""
    return broker.host_id or f"broker {broker.node_id}"


def _replicas(
    leader: BrokerImage, candidates: list[BrokerImage], passive: list[BrokerImage], count: int
) -> tuple[int, ...]:
    chosen = [leader]
    hosts, racks = Counter([_host(leader)]), Counter([leader.rack])
    remaining = [(broker, 0) for broker in candidates] + [(broker, 1) for broker in passive]
    while len(chosen) < count:
        best = min(remaining, key=lambda entry: (entry[1], hosts[_host(entry[0])], racks[entry[0].rack]))
        remaining.remove(best)
        chosen.append(best[0])
        hosts[_host(best[0])] += 1
        racks[best[0].rack] += 1
    return tuple(broker.node_id for broker in chosen)
