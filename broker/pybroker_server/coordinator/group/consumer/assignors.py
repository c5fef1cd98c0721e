"""Who gets which partition: the assignors that a broker has (KIP-848), `uniform` and `range`.

Rules of this file: pure, and the same input gives the same output. Members are considered by instance id, or member id
without one, so that a static member that returns finds its partitions. Topics are ids with partition counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple
from uuid import UUID

from pybroker_server.coordinator.group.consumer.member import Assignment

Partition = tuple[UUID, int]


class Candidate(NamedTuple):
    """A member as an assignor sees it: what it subscribes to, and what it was assigned so far."""

    member_id: str
    instance_id: str | None
    topics: frozenset[UUID]
    current: Assignment

    @property
    def order(self) -> tuple[bool, str]:
        return (self.instance_id is None, self.instance_id or self.member_id)


Result = dict[str, dict[UUID, frozenset[int]]]
Assignor = Callable[[Sequence[Candidate], Mapping[UUID, int]], Result]


def assign_range(candidates: Sequence[Candidate], counts: Mapping[UUID, int]) -> Result:
    """Topic by topic, neighbouring partitions to one member: equal topics are shared out in the same way."""
    result: Result = {candidate.member_id: {} for candidate in candidates}
    ordered = sorted(candidates, key=lambda candidate: candidate.order)
    for topic_id, count in counts.items():
        subscribers = [candidate for candidate in ordered if topic_id in candidate.topics]
        if not subscribers:
            continue
        quota, extra = divmod(count, len(subscribers))
        start = 0
        for position, candidate in enumerate(subscribers):
            end = start + quota + (position < extra)
            if end > start:
                result[candidate.member_id][topic_id] = frozenset(range(start, end))
            start = end
    return result


def assign_uniform(candidates: Sequence[Candidate], counts: Mapping[UUID, int]) -> Result:
    """Everybody the same number, give or take one, as far as subscriptions allow; what can stay where it is stays."""
    ordered = sorted(candidates, key=lambda candidate: candidate.order)
    held: dict[str, list[Partition]] = {candidate.member_id: [] for candidate in ordered}
    owner: dict[Partition, str] = {}
    for candidate in ordered:
        for topic_id, partitions in candidate.current.items():
            for index in sorted(partitions):
                where = (topic_id, index)
                if topic_id in candidate.topics and index < counts.get(topic_id, 0) and where not in owner:
                    owner[where] = candidate.member_id
                    held[candidate.member_id].append(where)
    subscribers = {
        topic_id: [candidate.member_id for candidate in ordered if topic_id in candidate.topics] for topic_id in counts
    }
    free = [
        (topic_id, index)
        for topic_id, count in counts.items()
        if subscribers[topic_id]
        for index in range(count)
        if (topic_id, index) not in owner
    ]
    # Partitions that few members can take come first, so that the others even it out.
    for where in sorted(free, key=lambda each: len(subscribers[each[0]])):
        taker = min(subscribers[where[0]], key=lambda member_id: len(held[member_id]))
        held[taker].append(where)
        owner[where] = taker
    _balance(held, subscribers)
    return {member_id: _by_topic(partitions) for member_id, partitions in held.items()}


def _balance(held: dict[str, list[Partition]], subscribers: Mapping[UUID, Sequence[str]]) -> None:
    """Moves single partitions, always from who has most, until no move makes two members more equal."""
    while any(_give_one(held, subscribers, giver) for giver in sorted(held, key=lambda each: -len(held[each]))):
        pass


def _give_one(held: dict[str, list[Partition]], subscribers: Mapping[UUID, Sequence[str]], giver: str) -> bool:
    for topic_id in dict.fromkeys(topic_id for topic_id, _ in held[giver]):
        taker = min(subscribers[topic_id], key=lambda member_id: len(held[member_id]))
        if len(held[giver]) - len(held[taker]) > 1:
            where = next(each for each in reversed(held[giver]) if each[0] == topic_id)
            held[giver].remove(where)
            held[taker].append(where)
            return True
    return False


def _by_topic(partitions: Sequence[Partition]) -> dict[UUID, frozenset[int]]:
    found: dict[UUID, set[int]] = {}
    for topic_id, index in partitions:
        found.setdefault(topic_id, set()).add(index)
    return {topic_id: frozenset(indexes) for topic_id, indexes in found.items()}


ASSIGNORS: Final[Mapping[str, Assignor]] = {"uniform": assign_uniform, "range": assign_range}
