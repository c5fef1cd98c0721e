"""Assignors: everything is assigned once, evenly where subscriptions allow it, and what can stay stays."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pybroker_server.coordinator.group.consumer.assignors import ASSIGNORS, Candidate, assign_uniform

TOPICS = [UUID(int=number) for number in range(1, 4)]
COUNTS = st.fixed_dictionaries({topic: st.integers(1, 7) for topic in TOPICS})
SUBSCRIPTIONS = st.lists(st.sets(st.sampled_from(TOPICS), min_size=1).map(frozenset), min_size=1, max_size=6)


def candidates(subscriptions: list[frozenset[UUID]], current: dict[str, dict[UUID, frozenset[int]]]) -> list[Candidate]:
    return [Candidate(f"m{i}", None, topics, current.get(f"m{i}", {})) for i, topics in enumerate(subscriptions)]


@pytest.mark.parametrize("name", ASSIGNORS)
@given(subscriptions=SUBSCRIPTIONS, counts=COUNTS)
def test_every_partition_goes_to_one_subscriber(
    name: str, subscriptions: list[frozenset[UUID]], counts: dict[UUID, int]
) -> None:
    result = ASSIGNORS[name](candidates(subscriptions, {}), counts)
    given_out = [(t, p) for parts in result.values() for t, indexes in parts.items() for p in indexes]
    wanted = frozenset().union(*subscriptions)
    assert sorted(given_out) == sorted((t, p) for t, count in counts.items() if t in wanted for p in range(count))
    for number, topics in enumerate(subscriptions):
        assert result[f"m{number}"].keys() <= topics


@given(members=st.integers(1, 8), counts=COUNTS)
def test_equal_subscriptions_get_equal_shares(members: int, counts: dict[UUID, int]) -> None:
    result = assign_uniform(candidates([frozenset(TOPICS)] * members, {}), counts)
    sizes = [sum(map(len, parts.values())) for parts in result.values()]
    assert max(sizes) - min(sizes) <= 1


@given(members=st.integers(1, 8), counts=COUNTS)
def test_a_member_that_joins_takes_no_more_than_its_share(members: int, counts: dict[UUID, int]) -> None:
    topics = frozenset(TOPICS)
    before = assign_uniform(candidates([topics] * members, {}), counts)
    after = assign_uniform(candidates([topics] * (members + 1), before), counts)
    for name, parts in before.items():
        for topic, indexes in after[name].items():
            assert indexes <= parts.get(topic, frozenset()), "partitions move to the newcomer only"
    sizes = [sum(map(len, parts.values())) for parts in after.values()]
    assert max(sizes) - min(sizes) <= 1


@given(members=st.integers(2, 8), counts=COUNTS)
def test_a_member_that_leaves_takes_nothing_from_the_others(members: int, counts: dict[UUID, int]) -> None:
    topics = frozenset(TOPICS)
    before = assign_uniform(candidates([topics] * members, {}), counts)
    after = assign_uniform(candidates([topics] * (members - 1), before), counts)
    for name, parts in after.items():
        for topic, indexes in before[name].items():
            assert indexes <= parts.get(topic, frozenset())
