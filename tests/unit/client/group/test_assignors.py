"""Assignors of the classic protocol: each partition to one member, evenly, with few moves, and handed over in steps."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pybroker import TopicPartition
from pybroker.group.assignors import ASSIGNORS, Subscriber

Assignment = dict[str, list[TopicPartition]]


def tps(topic: str, *numbers: int) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for number in numbers]


def assign(name: str, members: list[Subscriber], counts: dict[str, int]) -> Assignment:
    return ASSIGNORS[name].assign(members, counts)


def member(name: str, *topics: str, **others: object) -> Subscriber:
    return Subscriber(name, frozenset(topics), **others)  # type: ignore[arg-type]


def test_range_gives_neighbours_and_the_same_numbers_of_each_topic_to_the_same_member() -> None:
    members = [member("b", "x", "y"), member("a", "x", "y")]
    assert assign("range", members, {"x": 5, "y": 5}) == {
        "a": tps("x", 0, 1, 2) + tps("y", 0, 1, 2),
        "b": tps("x", 3, 4) + tps("y", 3, 4),
    }


def test_round_robin_deals_over_topics_to_those_who_subscribe() -> None:
    members = [member("a", "x"), member("b", "x", "y"), member("c", "y")]
    assert assign("roundrobin", members, {"x": 3, "y": 2}) == {
        "a": tps("x", 0, 2),
        "b": tps("x", 1) + tps("y", 0),
        "c": tps("y", 1),
    }


@pytest.mark.parametrize("name", ["range", "roundrobin"])
def test_a_static_member_is_placed_by_its_instance_id_whatever_its_member_id_is(name: str) -> None:
    def share_of_two(member_id: str) -> list[TopicPartition]:
        members = [member("m", "t", instance_id="one"), member(member_id, "t", instance_id="two")]
        return assign(name, members, {"t": 5})[member_id]

    assert share_of_two("a") == share_of_two("z")


def test_sticky_moves_no_more_than_it_must() -> None:
    old = [member("a", "t", owned=tuple(tps("t", 0, 1, 2)), generation=1)]
    old += [member("b", "t", owned=tuple(tps("t", 3, 4, 5)), generation=1)]
    after = assign("cooperative-sticky", [*old, member("c", "t")], {"t": 6})
    # What is to move is with nobody for this round, and the rest stays.
    assert after == {"a": tps("t", 0, 1), "b": tps("t", 3, 4), "c": []}


def test_sticky_gives_what_was_given_up_in_the_next_round() -> None:
    members = [
        member("a", "t", owned=tuple(tps("t", 0, 1)), generation=2),
        member("b", "t", owned=tuple(tps("t", 3, 4)), generation=2),
        member("c", "t", generation=2),
    ]
    assert assign("cooperative-sticky", members, {"t": 6})["c"] == tps("t", 2, 5)


def test_a_claim_of_an_older_generation_does_not_count() -> None:
    members = [
        member("a", "t", owned=tuple(tps("t", 0)), generation=3),
        member("late", "t", owned=tuple(tps("t", 0)), generation=2),
    ]
    assert assign("cooperative-sticky", members, {"t": 1}) == {"a": tps("t", 0), "late": []}


def test_two_claims_of_one_generation_free_the_partition_only_when_both_have_let_go() -> None:
    members = [member(name, "t", owned=tuple(tps("t", 0)), generation=3) for name in ("a", "b")]
    assert assign("cooperative-sticky", members, {"t": 1}) == {"a": [], "b": []}


topics = st.sampled_from(["x", "y", "z"])
counts_of_topics = st.dictionaries(topics, st.integers(0, 7))


@st.composite
def groups(draw: st.DrawFn) -> list[Subscriber]:
    names = draw(st.lists(st.sampled_from("abcdefg"), min_size=1, unique=True))
    return [
        Subscriber(
            name,
            draw(st.frozensets(topics)),
            draw(st.sampled_from([None, f"i-{name}"])),
            tuple({TopicPartition(topic, draw(st.integers(0, 8))) for topic in draw(st.frozensets(topics))}),
            draw(st.integers(-1, 3)),
        )
        for name in names
    ]


@settings(max_examples=60, deadline=None)
@given(groups(), counts_of_topics, st.sampled_from(sorted(ASSIGNORS)))
def test_each_partition_goes_to_one_subscriber_and_none_is_left_out(
    members: list[Subscriber], counts: dict[str, int], name: str
) -> None:
    assignment = assign(name, members, counts)
    topics_of = {each.member_id: each.topics for each in members}
    assert set(assignment) == set(topics_of)
    given_out = Counter(tp for share in assignment.values() for tp in share)
    assert all(count == 1 for count in given_out.values())
    assert all(tp.topic in topics_of[who] for who, share in assignment.items() for tp in share)
    wanted = {
        TopicPartition(topic, number)
        for topic in {topic for each in members for topic in each.topics}
        for number in range(counts.get(topic, 0))
    }
    held_back = {tp for each in members for tp in each.owned} if name == "cooperative-sticky" else set()
    assert given_out.keys() <= wanted
    assert wanted - given_out.keys() <= held_back


@settings(max_examples=60, deadline=None)
@given(groups(), counts_of_topics)
def test_cooperative_rounds_end_balanced_and_then_nothing_moves(
    members: list[Subscriber], counts: dict[str, int]
) -> None:
    for generation in range(10, 13):
        assignment = assign("cooperative-sticky", members, counts)
        members = [
            Subscriber(m.member_id, m.topics, m.instance_id, tuple(assignment[m.member_id]), generation)
            for m in members
        ]
    assert assign("cooperative-sticky", members, counts) == assignment
    loads = {m.member_id: len(m.owned) for m in members}
    for giver in members:
        for taker in members:
            if any(tp.topic in taker.topics for tp in giver.owned):
                assert loads[giver.member_id] - loads[taker.member_id] < 2
