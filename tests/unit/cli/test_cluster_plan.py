"""Plans that move replicas: what must hold of every one, whatever the cluster looks like."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pybroker_server.cli.cluster_plan import Key, NoRoomError, Place, plan_balance, plan_drain

PLACES = [Place(node) for node in (1, 2, 3, 4)]


def held(layout: dict[Key, tuple[int, ...]], places: list[Place]) -> list[int]:
    return [sum(place.node_id in replicas for replicas in layout.values()) for place in places]


def test_a_drained_broker_gives_its_place_to_the_emptiest() -> None:
    layout = {("t", 0): (1, 2), ("t", 1): (2, 3), ("t", 2): (3, 1), ("u", 0): (2, 3)}
    moves = plan_drain(layout, 1, PLACES)
    assert moves == {("t", 0): (4, 2), ("t", 2): (3, 4)}


def test_racks_count_before_emptiness() -> None:
    places = [Place(1, "a"), Place(2, "b"), Place(3, "b"), Place(4, "a")]
    layout = {("t", 0): (1, 2), **{("u", index): (4,) for index in range(9)}}
    assert plan_drain(layout, 1, places) == {("t", 0): (4, 2)}


def test_without_room_it_is_refused() -> None:
    with pytest.raises(NoRoomError, match="t-0 has 3 replicas, and only 2 brokers are left"):
        plan_drain({("t", 0): (1, 2, 3)}, 1, PLACES[:3])


def test_a_new_broker_takes_its_share() -> None:
    layout = {("t", index): (1 + index % 3, 1 + (index + 1) % 3) for index in range(12)}
    moves = plan_balance(layout, PLACES)
    after = {**layout, **moves}
    assert held(after, PLACES) == [6, 6, 6, 6]
    assert len(moves) == 6


def test_what_is_even_is_left_alone() -> None:
    assert plan_balance({("t", index): (1 + index % 4,) for index in range(8)}, PLACES) == {}
    assert plan_balance({}, PLACES) == {}
    assert plan_balance({("t", 0): (1,)}, []) == {}


LAYOUTS = st.dictionaries(
    st.tuples(st.sampled_from(["t", "u"]), st.integers(0, 9)),
    st.lists(st.integers(1, 5), min_size=1, max_size=3, unique=True).map(tuple),
    max_size=20,
)
RACKS = st.lists(st.sampled_from(["a", "b", None]), min_size=5, max_size=5)


@given(layout=LAYOUTS, racks=RACKS, leaving=st.integers(1, 5))
@settings(max_examples=200, deadline=None)
def test_every_plan_keeps_replicas_apart_and_their_number(
    layout: dict[Key, tuple[int, ...]], racks: list[str | None], leaving: int
) -> None:
    places = [Place(node + 1, rack) for node, rack in enumerate(racks)]
    drained = {**layout, **plan_drain(layout, leaving, places)}
    balanced = {**layout, **plan_balance(layout, places)}
    for after in (drained, balanced):
        for key, replicas in after.items():
            assert len(set(replicas)) == len(layout[key])
    assert not any(leaving in replicas for replicas in drained.values())
    if len(set(racks)) == 1 and layout:
        counts = held(balanced, places)
        assert max(counts) - min(counts) <= 1
