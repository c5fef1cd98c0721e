"""Where replicas should go: plans for `pybroker cluster drain` and `balance`.

Rules of this file: pure. A plan keeps every replica that may stay: each that moves costs its bytes. Of the brokers that
a replica may go to it takes one whose rack has none of the partition yet, and of those the one that holds the least.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Key = tuple[str, int]
"""(topic, partition)"""
Layout = Mapping[Key, Sequence[int]]
"""Replicas by partition, preferred leader first."""


class NoRoomError(ValueError):
    """There are too few brokers for what is asked; the text is for the user."""


@dataclass(frozen=True, slots=True)
class Place:
    """A broker that may take replicas."""

    node_id: int
    rack: str | None = None


def plan_drain(layout: Layout, leaving: int, places: Sequence[Place]) -> dict[Key, tuple[int, ...]]:
    """Targets of every partition that has a replica on `leaving`, which takes none. Raises NoRoomError."""
    targets = [place for place in places if place.node_id != leaving]
    held = _held(layout, places)
    moves = {}
    for key, replicas in sorted(layout.items()):
        if leaving not in replicas:
            continue
        taken = _best(replicas, leaving, targets, held)
        if taken is None:
            raise NoRoomError(
                f"{key[0]}-{key[1]} has {len(replicas)} replicas, and only {len(targets)} brokers are left"
            )
        held[taken] += 1
        moves[key] = tuple(taken if node == leaving else node for node in replicas)
    return moves


def plan_balance(layout: Layout, places: Sequence[Place]) -> dict[Key, tuple[int, ...]]:
    """Targets after which no broker holds two replicas more than another, as far as racks allow."""
    now = {key: tuple(replicas) for key, replicas in layout.items()}
    held = _held(layout, places)
    moves: dict[Key, tuple[int, ...]] = {}
    while held:
        fullest = max(held, key=lambda node: (held[node], node))
        found = next(
            (
                (key, taken)
                for key, replicas in sorted(now.items())
                if fullest in replicas
                and (taken := _best(replicas, fullest, places, held)) is not None
                and held[taken] + 1 < held[fullest]
                and _spread(replicas, fullest, taken, places)
            ),
            None,
        )
        if found is None:
            break
        key, taken = found
        now[key] = moves[key] = tuple(taken if node == fullest else node for node in now[key])
        held[fullest] -= 1
        held[taken] += 1
    return moves


def _held(layout: Layout, places: Sequence[Place]) -> dict[int, int]:
    """Replicas by broker that may take some."""
    held = {place.node_id: 0 for place in places}
    for replicas in layout.values():
        for node in replicas:
            if node in held:
                held[node] += 1
    return held


def _best(replicas: Sequence[int], instead_of: int, places: Sequence[Place], held: Mapping[int, int]) -> int | None:
    racks = {place.node_id: place.rack for place in places}
    used = [racks.get(node) for node in replicas if node != instead_of]
    free = [place for place in places if place.node_id not in replicas]
    if not free:
        return None
    return min(free, key=lambda place: (used.count(place.rack), held[place.node_id], place.node_id)).node_id


def _spread(replicas: Sequence[int], old: int, new: int, places: Sequence[Place]) -> bool:
    """Whether the partition stands on no fewer racks afterwards."""
    racks = {place.node_id: place.rack for place in places}
    before = {racks.get(node) for node in replicas}
    after = {racks.get(node) for node in (*(n for n in replicas if n != old), new)}
    return len(after) >= len(before)
