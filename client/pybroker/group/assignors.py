"""Who gets which partition, where the leader of a classic group decides: range, round-robin, cooperative-sticky. Pure.

Rules: members are considered by instance id, or member id without one, so that a static member that returns finds its
partitions. The same input gives the same output. What a member is assigned, it is subscribed to; every partition of a
topic that somebody subscribes to is assigned to exactly one member, except those that the cooperative assignor holds
back for one round because another member still owns them (KIP-429).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from pybroker.metadata import TopicPartition

__all__ = ["ASSIGNORS", "Assignor", "Subscriber"]

Assignment = dict[str, list[TopicPartition]]


@dataclass(frozen=True, slots=True)
class Subscriber:
    """A member as the leader sees it. `owned` and `generation`: what it had, and when it got it (-1: unknown)."""

    member_id: str
    topics: frozenset[str]
    instance_id: str | None = None
    owned: tuple[TopicPartition, ...] = field(default=())
    generation: int = -1

    @property
    def order(self) -> tuple[bool, str]:
        """Static members come first, as in Java's assignors."""
        return self.instance_id is None, self.instance_id or self.member_id


Assign = Callable[[Sequence[Subscriber], Mapping[str, int]], Assignment]


class Assignor(NamedTuple):
    """`assign(members, partition count of each topic that exists)`: partitions by member id."""

    assign: Assign
    is_cooperative: bool


def assign_range(members: Sequence[Subscriber], counts: Mapping[str, int]) -> Assignment:
    """Neighbouring partitions of each topic; the same numbers of several topics go to the same member."""
    assignment: Assignment = {member.member_id: [] for member in members}
    for topic in _topics(members, counts):
        takers = sorted((m for m in members if topic in m.topics), key=lambda m: m.order)
        each, extra = divmod(counts[topic], len(takers))
        first = 0
        for index, member in enumerate(takers):
            last = first + each + (index < extra)
            assignment[member.member_id] += [TopicPartition(topic, number) for number in range(first, last)]
            first = last
    return assignment


def assign_round_robin(members: Sequence[Subscriber], counts: Mapping[str, int]) -> Assignment:
    """One partition after the other, to one member after the other."""
    assignment: Assignment = {member.member_id: [] for member in members}
    circle = sorted(members, key=lambda m: m.order)
    at = 0
    for topic in _topics(members, counts):
        for number in range(counts[topic]):
            while topic not in circle[at % len(circle)].topics:
                at += 1
            assignment[circle[at % len(circle)].member_id].append(TopicPartition(topic, number))
            at += 1
    return assignment


def assign_cooperative_sticky(members: Sequence[Subscriber], counts: Mapping[str, int]) -> Assignment:
    """Balanced with the fewest moves. What moves from a member that owns it stays unassigned until it is given up."""
    owners = _claims(members, counts)
    assignment = _balanced(members, counts, owners)
    claimed = {tp for member in members for tp in member.owned}
    return {
        member: [tp for tp in sorted(tps) if tp not in claimed or owners.get(tp) == member]
        for member, tps in assignment.items()
    }


ASSIGNORS: Final[Mapping[str, Assignor]] = {
    "range": Assignor(assign_range, is_cooperative=False),
    "roundrobin": Assignor(assign_round_robin, is_cooperative=False),
    "cooperative-sticky": Assignor(assign_cooperative_sticky, is_cooperative=True),
}


def _topics(members: Iterable[Subscriber], counts: Mapping[str, int]) -> list[str]:
    return sorted({topic for member in members for topic in member.topics if counts.get(topic, 0) > 0})


def _claims(members: Sequence[Subscriber], counts: Mapping[str, int]) -> dict[TopicPartition, str]:
    """Who owned what, by the newest generation; two claims of one generation cancel each other."""
    best: dict[TopicPartition, tuple[int, str | None]] = {}
    for member in members:
        for tp in member.owned:
            if tp.topic not in member.topics or not 0 <= tp.partition < counts.get(tp.topic, 0):
                continue
            known = best.get(tp)
            if known is None or member.generation > known[0]:
                best[tp] = (member.generation, member.member_id)
            elif member.generation == known[0]:
                best[tp] = (member.generation, None)
    return {tp: owner for tp, (_, owner) in best.items() if owner is not None}


def _balanced(
    members: Sequence[Subscriber], counts: Mapping[str, int], owners: Mapping[TopicPartition, str]
) -> dict[str, set[TopicPartition]]:
    order = sorted(members, key=lambda m: m.order)
    loads: dict[str, set[TopicPartition]] = {member.member_id: set() for member in order}
    takers = {topic: [m.member_id for m in order if topic in m.topics] for topic in _topics(members, counts)}
    free: list[TopicPartition] = []
    for topic in takers:
        for number in range(counts[topic]):
            tp = TopicPartition(topic, number)
            if tp in owners:
                loads[owners[tp]].add(tp)
            else:
                free.append(tp)
    if len({member.topics for member in members}) == 1:
        _level(loads, free)
        return loads
    # Those that few can take are placed first, while there is a choice for the others.
    for tp in sorted(free, key=lambda tp: (len(takers[tp.topic]), tp)):
        loads[min(takers[tp.topic], key=lambda m: len(loads[m]))].add(tp)
    while _move_one(loads, takers):
        pass
    return loads


def _level(loads: dict[str, set[TopicPartition]], free: list[TopicPartition]) -> None:
    """Everybody can take everything, the usual case: who has more than a fair share gives, who has less is given to.

    What does not divide evenly stays with those who have the most.
    """
    each, extra = divmod(sum(map(len, loads.values())) + len(free), len(loads))
    shares = {member: each + (rank < extra) for rank, member in enumerate(sorted(loads, key=lambda m: -len(loads[m])))}
    for member, share in shares.items():
        for tp in sorted(loads[member])[share:]:
            loads[member].discard(tp)
            free.append(tp)
    free.sort(reverse=True)
    for member, share in shares.items():
        while len(loads[member]) < share:
            loads[member].add(free.pop())


def _move_one(loads: dict[str, set[TopicPartition]], takers: Mapping[str, list[str]]) -> bool:
    """Move a partition to a member that has at least two fewer. Each move makes the loads more even, so it ends."""
    least = {topic: min(members, key=lambda m: len(loads[m])) for topic, members in takers.items()}
    for giver in sorted(loads, key=lambda m: -len(loads[m])):
        by_topic: dict[str, TopicPartition] = {}
        for tp in loads[giver]:
            by_topic[tp.topic] = max(tp, by_topic.get(tp.topic, tp))
        choices = [
            (len(loads[least[topic]]), tp)
            for topic, tp in by_topic.items()
            if len(loads[giver]) - len(loads[least[topic]]) >= 2
        ]
        if choices:
            _, moved = min(choices)
            loads[giver].discard(moved)
            loads[least[moved.topic]].add(moved)
            return True
    return False
